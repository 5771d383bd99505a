"""What a template's author can do at worst: escapes of the past stay closed, no text grows without end."""

import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from uuid import UUID

import pytest

from worker.channels.base import ContentRejected, ProviderConfig
from worker.channels.email_smtp import SmtpEmail
from worker.domain.message import MessageRef, OutgoingMessage, Sender
from worker.rendering.catalogue import Catalogue
from worker.rendering.environment import TemplateBroken
from worker.rendering.sample import sample_facts

_REF = (date(2026, 11, 2), UUID(int=1), UUID(int=2))
MANY = 10_000
"""Accounts of one borrower."""
KNOWN_ESCAPES = {
    # A compiled file name that ends the string it is quoted in; here names come from our own folders.
    "CVE-2024-56201": "{% include \"x'\\nimport os\\n'\" %}",
    # format, called by way of a filter that gets hold of the bound method.
    "CVE-2024-56326": "{{ ['{0.__class__.__init__.__globals__}'.format]|map('attr', '__call__')|first }}",
    # format, fetched by the attr filter.
    "CVE-2025-27516": "{{ ('{0.__class__.__init__.__globals__}'|attr('format'))(creditor_name) }}",
    "class walk": "{{ ().__class__.__base__.__subclasses__() }}",
    "globals of a helper": "{{ cycler.__init__.__globals__.os }}",
    "nested loops": "{% for account in accounts %}{% for account in accounts %}x{% endfor %}{% endfor %}",
    "a loop over an included file": "{% for account in accounts %}{% include '_loop.txt' %}{% endfor %}",
    "a loop over a block": "{% for account in accounts %}{% block b scoped %}{% endblock %}{% endfor %}",
    "an include of itself": "{% include 'reminder/email.txt' %}",
}


def catalogue(folder: Path, source: str) -> Catalogue:
    root = folder / "templates" / "en"
    (root / "reminder").mkdir(parents=True)
    header = "{# elements: creditor_name #}\n"
    (root / "_loop.txt").write_text("{% for account in accounts %}x{% endfor %}", encoding="utf-8")
    (root / "reminder" / "email.txt").write_text(header + source, encoding="utf-8")
    (root / "reminder" / "email.subject.txt").write_text(header + "Overdue", encoding="utf-8")
    (root / "reminder" / "email.html").write_text(header + "<p>Overdue</p>", encoding="utf-8")
    return Catalogue(folder / "templates")


@pytest.mark.parametrize("name", KNOWN_ESCAPES)
def test_an_escape_of_the_past_is_refused_and_takes_no_time(tmp_path: Path, name: str) -> None:
    facts = sample_facts("en-US", "reminder", "email")
    facts = replace(facts, accounts=facts.accounts * 300)
    began = time.monotonic()
    with pytest.raises(TemplateBroken):
        catalogue(tmp_path, KNOWN_ESCAPES[name]).render(facts)
    assert time.monotonic() - began < 5


def test_what_a_loop_makes_of_very_many_accounts_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    facts = sample_facts("en-US", "reminder", "email")
    facts = replace(facts, accounts=facts.accounts * MANY)
    source = "{% for account in accounts %}Account {{ account.reference }}, and more\n{% endfor %}"
    words = catalogue(tmp_path, source).render(facts)
    smtp = SmtpEmail.from_config(ProviderConfig({"host": "127.0.0.1", "port": "25", "tls": "none"}, "", ""))
    from_us = Sender(email_from="care@example.com")
    ref = MessageRef(*_REF)
    with pytest.raises(ContentRejected):
        smtp.build(OutgoingMessage(ref, "cards", "email", "mei@example.org", words, from_us, 3600))
