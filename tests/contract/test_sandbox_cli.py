"""The sandbox as a command, and its table of messages."""

import json
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from typer.testing import CliRunner

from worker.cli.sandbox import app
from worker.sandbox.client import SandboxClient, SandboxUnreachable
from worker.sandbox.process import sandbox_process
from worker.sandbox.server import SandboxConfig

COMMAND = [sys.executable, "-c", "from worker.cli.sandbox import app; app()"]
ANY_PORTS = ["--http-port", "0", "--smtp-port", "0"]


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


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(client: SandboxClient) -> bool:
    try:
        client.health()
    except SandboxUnreachable:
        return False
    return True


def start(*options: str) -> subprocess.Popen:
    return subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def command() -> Iterator[tuple[int, dict[str, int]]]:
    """The pid of a started command, and what it said once ready."""
    with start(*ANY_PORTS, "--json", "--auth-token", "another") as process:
        yield process.pid, json.loads(process.stdout.readline())
        process.terminate()


def test_the_command_tells_its_ports_as_json(command):
    pid, ports = command
    assert ports["pid"] == pid
    assert SandboxClient(f"http://127.0.0.1:{ports['http']}").health()["pid"] == pid
    with smtplib.SMTP("127.0.0.1", ports["smtp"]) as mail:
        assert mail.noop()[0] == 250


def test_the_command_knows_only_the_token_it_is_given(command):
    with pytest.raises(AssertionError, match="401"):
        send(SandboxClient(f"http://127.0.0.1:{command[1]['http']}"))


def test_the_command_ends_on_sigterm_even_while_a_request_hangs():
    with start(*ANY_PORTS, "--json") as process, ThreadPoolExecutor() as pool:
        client = SandboxClient(f"http://127.0.0.1:{json.loads(process.stdout.readline())['http']}")
        client.set_fault("timeout")
        hanging = pool.submit(send, client)
        wait_for(client.messages)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert process.stderr.read() == ""
        assert isinstance(hanging.exception(5), requests.ConnectionError)


def test_the_command_tells_a_person_where_it_listens():
    with start(*ANY_PORTS) as process:
        assert process.stdout.readline().startswith("sandbox at http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0


def test_the_command_names_the_extra_that_the_mail_server_needs():
    without = "import sys; sys.modules['aiosmtpd'] = None; "
    answer = subprocess.run(
        [*COMMAND[:2], without + COMMAND[2], *ANY_PORTS],
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )
    assert answer.returncode == 4
    assert "aiosmtpd" in said(answer)
    assert "extra `local`" in said(answer)


def said(result) -> str:
    """What stood on standard error, however it was wrapped."""
    return " ".join(result.stderr.split())


def test_the_command_refuses_a_host_others_can_reach():
    answer = CliRunner().invoke(app, [*ANY_PORTS, "--host", "192.0.2.1"])
    assert answer.exit_code == 4
    assert "'192.0.2.1' is not a loopback address" in said(answer)


def test_the_command_says_that_a_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = CliRunner().invoke(app, ["--http-port", str(taken.getsockname()[1]), "--smtp-port", "0"])
    assert answer.exit_code == 4
    assert "address already in use" in said(answer)


def test_messages_prints_a_table_with_each_texts_first_sixty_characters(client):
    send(client, body="[red]pay[/red]" + "q" * 80)
    answer = CliRunner().invoke(app, ["messages", "--url", client.base_url])
    assert answer.exit_code == 0
    assert "+12065550101" in answer.stdout
    assert "[red]pay[/red]" in answer.stdout
    assert answer.stdout.count("q") == 60 - len("[red]pay[/red]")


def test_messages_shows_mail_by_its_subject(box, client):
    with smtplib.SMTP("127.0.0.1", box.ports.smtp) as mail:
        mail.sendmail("mail@example.com", "borrower@example.com", "Subject: Reminder\r\n\r\nLong text")
    answer = CliRunner().invoke(app, ["messages", "--url", client.base_url, "--channel", "email"])
    assert "Reminder" in answer.stdout
    assert "Long text" not in answer.stdout


def test_messages_prints_json(client):
    send(client, body="Größe")
    answer = CliRunner().invoke(app, ["messages", "--url", client.base_url, "--json", "--channel", "sms"])
    assert [m["text"] for m in json.loads(answer.stdout)] == ["Größe"]


def test_messages_says_in_one_line_that_no_sandbox_answers():
    answer = CliRunner().invoke(app, ["messages", "--url", f"http://127.0.0.1:{closed_port()}"])
    assert answer.exit_code == 5
    assert answer.stderr.count("\n") == 1
    assert "no sandbox answers at http://127.0.0.1:" in answer.stderr


@pytest.mark.parametrize("options", [("--channel", "fax"), ("--url", "localhost:8026")])
def test_messages_says_what_is_senseless(client, options):
    answer = CliRunner().invoke(app, ["messages", "--url", client.base_url, *options])
    assert answer.exit_code == 4
    assert options[1] in said(answer)
