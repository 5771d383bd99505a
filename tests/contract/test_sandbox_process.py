"""The sandbox as a child process, and the file it keeps."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import requests

from worker.sandbox.client import SandboxClient, SandboxUnreachable
from worker.sandbox.process import SandboxFailed, sandbox_process
from worker.sandbox.server import HostRefused, SandboxConfig, run


@pytest.fixture(scope="module")
def box():
    with sandbox_process(SandboxConfig(progress_s=0)) as running:
        yield running


@pytest.fixture
def client(box):
    yield box.client
    box.client.reset()


def wait_for(condition: Callable[[], object], deadline_s: float = 5.0) -> None:
    until = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until, "did not come true in time"
        time.sleep(0.01)


def send(client, to="+12065550101", body="Your payment is due."):
    config = SandboxConfig()
    answer = requests.post(
        f"{client.base_url}/2010-04-01/Accounts/{config.account_sid}/Messages.json",
        data={"To": to, "From": "+15005550006", "Body": body},
        auth=(config.account_sid, config.auth_token),
        timeout=5,
    )
    assert answer.status_code == 201


def answers(client: SandboxClient) -> bool:
    try:
        client.health()
    except SandboxUnreachable:
        return False
    return True


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_health_names_the_process_that_answers(box, client):
    assert client.health() == {"ok": True, "pid": box.ports.pid}
    assert box.ports.pid != os.getpid()


def test_the_child_ends_with_its_block():
    with sandbox_process(SandboxConfig()) as running:
        assert not gone(running.ports.pid)
    assert gone(running.ports.pid)


def test_the_child_ends_when_its_parent_is_killed():
    parent = (
        "import time\nfrom worker.sandbox.process import sandbox_process\n"
        "from worker.sandbox.server import SandboxConfig\n"
        "with sandbox_process(SandboxConfig()) as box:\n"
        " print(box.client.base_url, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        orphan = SandboxClient(process.stdout.readline().strip(), timeout_s=1)
        assert orphan.health()["ok"]
        process.kill()
    wait_for(lambda: not answers(orphan))


def test_a_child_that_cannot_start_says_so(capfd):
    taken = socket.create_server(("127.0.0.1", 0))
    with (
        taken,
        pytest.raises(SandboxFailed),
        sandbox_process(SandboxConfig(http_port=taken.getsockname()[1])),
    ):
        pass
    assert "address already in use" in capfd.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "sandbox.example.com", ""])  # noqa: S104 - refused
def test_a_host_others_can_reach_is_refused(host):
    with pytest.raises(HostRefused, match="loopback"):
        asyncio.run(run(SandboxConfig(host=host)))


def test_any_host_is_served_when_allowed():
    with sandbox_process(SandboxConfig(host="0.0.0.0", allow_any_host=True)) as running:  # noqa: S104 - what it is about
        assert running.client.health()["ok"]


def test_the_ipv6_loopback_is_served():
    with sandbox_process(SandboxConfig(host="::1")) as running:
        assert running.client.health()["ok"]


def test_the_journal_has_everything_that_was_received(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text('{"event": "earlier"}\n')
    with sandbox_process(SandboxConfig(journal=path, progress_s=0)) as running:
        send(running.client, body="Größe 好")
        running.client.set_fault("http_500")
        with pytest.raises(AssertionError):
            send(running.client)
        # Read while the process runs: lines are flushed one by one.
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["event"] for line in lines] == ["earlier", "accepted", "refused"]
    assert (lines[1]["text"], lines[1]["to"], lines[1]["channel"]) == ("Größe 好", "+12065550101", "sms")
    assert (lines[2]["reason"], lines[2]["message_id"] != "") == ("http_500", True)


def test_the_journal_has_the_receipts_too(tmp_path):
    path = tmp_path / "journal.jsonl"
    with sandbox_process(SandboxConfig(journal=path, progress_s=0)) as running:
        config = SandboxConfig()
        form = {
            "To": "+12065550101",
            "From": "+15005550006",
            "Body": "x",
            "StatusCallback": "http://127.0.0.1:9/?m=k",
        }
        requests.post(
            f"{running.client.base_url}/2010-04-01/Accounts/{config.account_sid}/Messages.json",
            data=form,
            auth=(config.account_sid, config.auth_token),
            timeout=5,
        )
        wait_for(lambda: path.read_text().count("\n") == 3)
    receipts = [json.loads(line) for line in path.read_text().splitlines()][1:]
    assert sorted(r["status"] for r in receipts) == ["delivered", "sent"]
    assert {r["message_id"] for r in receipts} == {"k"}


def test_only_its_owner_can_read_the_journal(tmp_path):
    path = tmp_path / "journal.jsonl"
    with sandbox_process(SandboxConfig(journal=path)):
        assert path.stat().st_mode & 0o777 == 0o600
