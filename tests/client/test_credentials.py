"""API keys and where they come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftkit.client.client import Client
from ftkit.client.connect import connect
from ftkit.errors import ProviderError, UsageError
from support.connections import OPENAI_KEY, connect_to
from support.fake_provider import FakeProvider, error_body
from support.mock_transport import engine

SentKey = Callable[[Client], str]


@pytest.fixture
def sent_key(monkeypatch: pytest.MonkeyPatch) -> SentKey:
    """Return the API key that a client sends."""

    def send_and_read_key(client: Client) -> str:
        requests: list[Any] = []

        def answer(self: Any, request: Any, **options: Any) -> Any:
            requests.append(request)
            return engine.Response(200, json={"id": "m"}, request=request)

        monkeypatch.setattr(engine.Client, "send", answer)
        client.model("m")
        return str(requests[-1].headers["Authorization"]).removeprefix("Bearer ")

    return send_and_read_key


def test_the_key_comes_from_the_environment_or_from_a_private_file(
    sent_key: SentKey, tmp_path: Path
) -> None:
    home = {"HOME": str(tmp_path)}
    with pytest.raises(UsageError, match="no key for openai: set OPENAI_API_KEY"):
        connect("openai", environment=home)
    path = tmp_path / ".config" / "ftkit" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text('[keys]\nopenai = "sk-file"\n')
    path.chmod(0o644)
    with pytest.raises(UsageError, match="can be read by others"):
        connect("openai", environment=home)
    path.chmod(0o600)
    assert sent_key(connect("openai", environment=home)) == "sk-file"
    assert sent_key(connect("openai", environment=home | OPENAI_KEY)) == "sk-env"


def test_the_address_of_a_provider_may_stand_beside_its_key(tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    path = tmp_path / "ftkit" / "config.toml"
    path.parent.mkdir()
    path.touch(0o600)
    path.write_text(
        '[keys]\nazure = "k"\nopenai = "o"\n[base-url]\nazure = "https://mine.test/v1"\nnebius = 5\n'
    )
    assert connect("azure", environment=home).account == "azure https://mine.test/v1"
    assert (
        connect("azure", "https://other.test/v1", environment=home).account
        == "azure https://other.test/v1"
    )
    assert connect("openai", environment=home).account == "openai https://api.openai.com/v1"
    with pytest.raises(
        UsageError, match=r"the address of nebius under \[base-url\] must be a string"
    ):
        connect("nebius", environment=home | {"NEBIUS_API_KEY": "n"})


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("http://localhost:8000/v1", "none"),
        ("http://127.0.0.2:8000/v1", "none"),
        ("http://[::1]:8000/v1", "none"),
        ("https://api.openai.com/v1/", None),
        ("http://localhost.example/v1", None),
        ("http://127.0.0.1.example/v1", None),
    ],
)
def test_only_a_server_on_this_machine_needs_no_key(
    address: str, key: str | None, sent_key: SentKey, tmp_path: Path
) -> None:
    if key:
        client = connect("openai", address, environment={"HOME": str(tmp_path)})
        assert sent_key(client) == key
    else:
        with pytest.raises(UsageError, match="no key for"):
            connect("openai", address, environment={"HOME": str(tmp_path)})
    assert sent_key(connect("openai", address, environment=OPENAI_KEY)) == "sk-env"


@pytest.mark.parametrize("key", ["sk-te\nst", "sk-te st", "sk-tést"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(UsageError, match="the key in OPENAI_API_KEY") as raised:
        connect("openai", environment={"OPENAI_API_KEY": key})
    assert "sk-" not in str(raised.value)


def test_what_a_service_repeats_of_the_key_is_not_shown(
    fake_provider: FakeProvider, provider_url: str
) -> None:
    fake_provider.refuse["GET /fine_tuning/jobs/ftjob-1"] = (
        400,
        error_body("bad header: Bearer sk-test \x1b[31m"),
    )
    with pytest.raises(ProviderError, match=r"Bearer \(the key\) \\x1b") as raised:
        connect_to(provider_url).job("ftjob-1")
    assert "sk-test" not in str(raised.value)
