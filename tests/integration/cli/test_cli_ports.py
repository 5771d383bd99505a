"""A port that somebody else has: one line that names the address and the setting, and an exit code."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from worker.demo.processes import port


@pytest.fixture
def taken() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield str(listener.getsockname()[1])


@pytest.mark.parametrize("part", ["web", "flower"])
def test_a_service_whose_port_is_taken_says_which_setting_to_change(
    alone: Callable[..., Any], refused: Callable[..., None], taken: str, part: str
) -> None:
    setting = f"DUNLIN_{part.upper()}_PORT"
    refused(alone(part, **{setting: taken}), 4, f"127.0.0.1:{taken}", "in use", setting)


def test_an_address_that_is_not_this_machines_is_named_too(
    alone: Callable[..., Any], refused: Callable[..., None]
) -> None:
    refused(alone("web", DUNLIN_WEB_HOST="192.0.2.1"), 4, "192.0.2.1:8000", "DUNLIN_WEB_HOST")
    refused(alone("web", DUNLIN_WEB_HOST="no such host"), 4, "no such host:8000", "DUNLIN_WEB_HOST")


@pytest.mark.parametrize("option", ["--http-port", "--smtp-port"])
def test_a_sandbox_whose_port_is_taken_says_which_option_to_change(
    alone: Callable[..., Any], refused: Callable[..., None], taken: str, option: str
) -> None:
    other = "--smtp-port" if option == "--http-port" else "--http-port"
    result = alone("sandbox", option, taken, other, str(port(0)))
    refused(result, 4, f"127.0.0.1:{taken}", "in use", option)
