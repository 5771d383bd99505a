"""A sandbox for each file that names a CONFIG, with Twilio's SDK in front and a receiver behind it."""

from collections.abc import Iterator

import pytest
from twilio.rest import Client

from tests.contract.callbacks import Receiver, receiving
from tests.contract.twilio_sdk import sdk
from worker.sandbox.process import SandboxProcess, sandbox_process


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[SandboxProcess]:
    with sandbox_process(request.module.CONFIG) as process:
        yield process


@pytest.fixture
def box(running: SandboxProcess) -> Iterator[SandboxProcess]:
    yield running
    running.client.clear_faults()
    running.client.reset()


@pytest.fixture
def twilio(box: SandboxProcess, request: pytest.FixtureRequest) -> Iterator[Client]:
    with sdk(box.client.base_url, request.module.CONFIG) as client:
        yield client


@pytest.fixture
def receiver(box: SandboxProcess) -> Iterator[Receiver]:
    with receiving() as made:
        yield made
        # What is still due would be posted to nobody.
        box.client.clear_faults()
        box.client.reset()
