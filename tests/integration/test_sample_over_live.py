"""A forgotten variable puts no sample in the place of a portfolio that reaches people."""

from typing import Any

import pytest

from worker.pipeline.book import sync_portfolios
from worker.portfolios.load import SHIPPED, PolicyInvalid, load_all

PROVIDERS = {"sms": {"twilio"}, "email": {"smtp"}, "in_app": {"inbox"}}


@pytest.mark.parametrize("mode", ["allowlist", "live"])
def test_a_sample_does_not_take_the_place_of_a_portfolio_that_reaches_people(book: Any, mode: str) -> None:
    book.run("UPDATE portfolios SET mode = :mode, title = 'The real one'", mode=mode)
    with pytest.raises(PolicyInvalid, match=rf"^portfolio uk is {mode} .*DUNLIN_PORTFOLIOS_DIR not set\?$"):
        sync_portfolios(book.engine, load_all(None, PROVIDERS))
    assert book.rows("SELECT id, mode, title FROM portfolios") == [
        {"id": "uk", "mode": mode, "title": "The real one"}
    ]


def test_a_file_of_the_lenders_may_bring_a_portfolio_back_to_the_sandbox(book: Any) -> None:
    book.run("UPDATE portfolios SET mode = 'live'")
    sync_portfolios(book.engine, load_all(SHIPPED, PROVIDERS))
    assert book.one("SELECT mode FROM portfolios WHERE id = 'uk'") == "sandbox"


def test_samples_are_tried_beside_each_other(book: Any) -> None:
    sync_portfolios(book.engine, load_all(None, PROVIDERS))
    assert book.one("SELECT count(*) FROM portfolios WHERE mode = 'sandbox'") == 3
