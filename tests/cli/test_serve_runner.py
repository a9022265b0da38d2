"""`ftkit serve --runner`: settings of the cluster, and what is refused."""

from __future__ import annotations

import socket
from importlib.util import find_spec
from pathlib import Path

import pytest

from ftkit.cli.serve_runner import cluster_settings
from ftkit.errors import UsageError
from support.commands import run_ftkit

KEY = {"FTKIT_API_KEY": "sk-1"}


@pytest.mark.parametrize(
    ("runner", "public_url", "host", "environment", "message"),
    [
        ("http://head:8265", None, "10.0.0.5", KEY, "--runner must be ray=http://HEAD:8265"),
        ("http://a:b@head:8265", None, "10.0.0.5", KEY, "--runner must be ray=http://HEAD:8265$"),
        ("ray=", None, "10.0.0.5", KEY, "--runner must be ray=http://HEAD:8265"),
        ("slurm=http://head", None, "10.0.0.5", KEY, "not 'slurm'"),
        ("ray=ray://head:10001", None, "10.0.0.5", KEY, "must be http://HOST:PORT or https://HOST"),
        ("ray=http://head:99999", None, "10.0.0.5", KEY, "must be http://HOST:PORT"),
        ("ray=http://a:b@head:8265", None, "10.0.0.5", KEY, "must not have a password; set FTKIT_"),
        ("ray=http://head:8265/api", None, "10.0.0.5", KEY, "must end after the host and the port"),
        ("ray=http://head:8265", None, "127.0.0.1", {}, "cannot reach the service at 127.0.0.1"),
        ("ray=http://head:8265", None, "0.0.0.0", KEY, "cannot reach the service at 127.0.0.1"),
        ("ray=http://head:8265", "http://localhost:1", "::", KEY, "cannot reach the service"),
        ("ray=http://head:8265", "http://s:1", "127.0.0.1", {}, "set FTKIT_API_KEY"),
        (
            "ray=http://head:8265",
            "http://s:1/v1",
            "10.0.0.5",
            KEY,
            "--public-url: the URL must end",
        ),
        (None, "http://s:1", "127.0.0.1", {}, "--public-url needs --runner"),
        ("ray=http://h:1", "http://s:1", "0.0.0.0", KEY | {"FTKIT_RAY_TOKEN": "é"}, "FTKIT_RAY_"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(
    runner: str | None,
    public_url: str | None,
    host: str,
    environment: dict[str, str],
    message: str,
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        cluster_settings(runner, public_url, host, environment)
    assert "\n" not in str(caught.value)
    assert "a:b" not in str(caught.value)


def test_the_address_of_the_service_is_its_own_unless_it_is_named() -> None:
    assert cluster_settings(None, None, "127.0.0.1", {}) is None
    local = cluster_settings("ray=http://127.0.0.1:8265/", None, "127.0.0.1", {})
    assert local
    assert (local.url, local.service_url) == ("http://127.0.0.1:8265", "")
    environment = KEY | {"FTKIT_RAY_TOKEN": "secret"}
    named = cluster_settings("ray=https://head", "https://ftkit.example/", "0.0.0.0", environment)
    assert named
    assert (named.service_url, named.token) == ("https://ftkit.example", "secret")


@pytest.mark.skipif(find_spec("torch") is None, reason="needs the extra local")
def test_a_cluster_that_is_not_there_ends_the_command(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    result = run_ftkit(
        "serve", "--port", "0", "--data-dir", str(tmp_path / "data"), "--runner", f"ray={url}"
    )
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"ftkit: the Ray cluster at {url} cannot be used: ConnectError")
