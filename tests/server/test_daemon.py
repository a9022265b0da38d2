"""Starting, finding and stopping the local server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from filelock import FileLock

from ftkit._local import find_running
from ftkit.cli import cli, run
from ftkit.client.connect import connect
from ftkit.server.app import ServerSettings
from ftkit.server.daemon import stop
from support.commands import run_ftkit
from support.examples import chat_lines
from support.fixture_types import Write
from support.local_server import LocalServer
from support.models import SMOKE


def test_a_second_service_on_a_folder_is_refused(local_server: LocalServer) -> None:
    from ftkit.errors import UsageError
    from ftkit.server.run import run as serve

    with pytest.raises(UsageError, match="another service uses"):
        serve(ServerSettings(local_server.folder), "127.0.0.1", 0, print)


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    from ftkit.errors import UsageError
    from ftkit.server.run import run as serve

    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(UsageError, match="choose another `port`"),
    ):
        serve(ServerSettings(tmp_path), "127.0.0.1", taken.getsockname()[1], print)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "FTKIT_API_KEY"),
        (["--host", "example.com"], "FTKIT_API_KEY"),
        (["--map", "x"], "NAME=BASE"),
        (["--answers", "x"], "BASE=URL"),
        (["--port", "99999"], "--port"),
    ],
)
def test_a_service_that_cannot_be_is_one_line_and_2(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("ftkit.cli.serve.PACKAGES", ())
    assert run(["serve", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_missing_packages_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ftkit.cli.serve.PACKAGES", ("no_such_package",))
    assert run(["serve"]) == 2
    assert "no_such_package is missing" in capsys.readouterr().err


def test_status_and_stop_say_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalServer(tmp_path / "data") as server:
        monkeypatch.setenv("FTKIT_DATA_DIR", str(server.folder))
        status = CliRunner().invoke(
            cli, ["serve", "status", "--output", "json"], standalone_mode=False
        )
        assert json.loads(status.output) == {
            "running": True,
            "url": server.url,
            "pid": server.pid,
            "folder": str(server.folder),
            "services": [{"url": server.url, "pid": server.pid, "folder": str(server.folder)}],
        }
        stopped = CliRunner().invoke(cli, ["serve", "stop"], standalone_mode=False)
        assert stopped.output == f"stopped {server.url}\n"
        assert (
            CliRunner().invoke(cli, ["serve", "status"], standalone_mode=False).output
            == "not running\n"
        )


def test_stop_returns_when_the_service_no_longer_uses_its_folder(tmp_path: Path) -> None:
    unfinished = (
        b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x"
    )
    with LocalServer(tmp_path / "data") as server:
        address = ("127.0.0.1", int(server.url.split(":")[2].removesuffix("/v1")))
        with socket.create_connection(address) as connection:  # the service waits for its request
            connection.sendall(unfinished)
            time.sleep(0.1)
            assert stop(server.folder)
            with FileLock(server.folder / "service.lock", timeout=0):
                pass


def test_status_finds_a_service_with_another_data_folder_and_shows_how_to_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FTKIT_STATE_DIR", str(tmp_path / "state"))
    with LocalServer(tmp_path / "elsewhere") as server:
        assert run(["serve", "status"]) == 0
        shown, note = capfd.readouterr()
        assert shown == (
            f"running at {server.url} (process {server.pid}), data in {server.folder}\n"
        )
        command = f"ftkit jobs list --provider local --base-url {server.url}"
        assert note == f"  Reach it with: {command}\n"
        assert run(command.split()[1:]) == 0
        assert run(["serve", "--data-dir", str(tmp_path / "no"), "status"]) == 1
        assert run(["serve", "stop"]) == 0
        note = capfd.readouterr().err.splitlines()[-1]
        assert run(note.partition("with: ftkit ")[2].split()) == 0
        assert run(["serve", "status"]) == 1


@pytest.mark.training
@pytest.mark.parametrize("log_level", ["info", "warning"])
def test_the_log_level_info_has_a_line_for_each_request_but_none_for_health_checks(
    log_level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx

    monkeypatch.setenv("FTKIT_DATA_DIR", str(tmp_path / "data"))
    log = tmp_path / "log"
    command = [sys.executable, "-m", "ftkit", "serve", "--port", "0", "--log-level", log_level]
    with log.open("wb") as stderr, subprocess.Popen(command, stderr=stderr) as process:
        try:
            while not (running := find_running(tmp_path / "data")):
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            httpx.get(f"{running.url}/models", params={"key": "sk-secret"}, timeout=60)
            httpx.get(f"{running.url}/no%1b[31m", timeout=60)
        finally:
            process.terminate()
            process.wait(30)
    lines = log.read_text().splitlines()[1:]
    if log_level == "warning":
        assert not lines
        return
    assert [line[10:].rpartition("  ")[0] for line in lines] == [
        "GET /v1/models  200",
        r"GET /v1/no\x1b[31m  404",
    ]


def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    from ftkit.errors import FtkitError
    from ftkit.server.daemon import find_or_start

    held = FileLock(tmp_path / "service.lock")
    with held, pytest.raises(FtkitError, match=r"did not start \(.+\); see .+service.log"):
        find_or_start(tmp_path, print)


def test_a_service_that_runs_is_found_and_not_started_again(local_server: LocalServer) -> None:
    from ftkit.server.daemon import find_or_start

    assert find_or_start(local_server.folder, print).url == local_server.url


def test_another_service_on_the_port_of_one_that_was_killed_is_not_taken_for_it(
    local_server: LocalServer, tmp_path: Path
) -> None:
    announced = {"pid": os.getpid(), "url": local_server.url}
    for secret in ({}, {"secret": ""}, {"secret": "of the service that was killed"}):
        (tmp_path / "server.json").write_text(json.dumps({**announced, **secret}))
        assert find_running(tmp_path) is None
        assert stop(tmp_path) is None


def test_a_service_proves_its_identity_and_reveals_neither_its_secret_nor_its_process(
    local_server: LocalServer,
) -> None:
    import httpx

    announcement = local_server.folder / "server.json"
    assert announcement.stat().st_mode & 0o777 == 0o600
    secret = json.loads(announcement.read_bytes())["secret"]
    health = local_server.url.replace("/v1", "/health")
    proofs = [
        httpx.get(health, params={"challenge": text}, timeout=60).json()["proof"] for text in "aab"
    ]
    assert proofs[0] == proofs[1] != proofs[2]
    assert secret not in proofs
    assert httpx.get(health, timeout=60).json() == {"status": "ok", "proof": None}


def test_the_commands_find_the_service_that_runs(
    local_server: LocalServer, write: Write, tmp_path: Path
) -> None:
    environment = {
        "FTKIT_DATA_DIR": str(local_server.folder),
        "FTKIT_STATE_DIR": str(tmp_path / "state"),
    }

    def ftkit(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_ftkit(*arguments, "--provider", "local", env=environment)

    done = ftkit(
        "submit", str(write(chat_lines(12))), "--model", SMOKE, "--yes", "--suffix", "mine"
    )
    assert done.returncode == 0, done.stderr
    assert "$0.00" in done.stdout
    id = done.stdout.split()[-2]
    assert id in ftkit("jobs", "list").stdout
    assert json.loads(ftkit("jobs", "show", id, "--output", "json").stdout)["id"] == id
    shown = next(line for line in ftkit("models", "list").stdout.splitlines() if SMOKE in line)
    assert shown.split() == [SMOKE, "-", "ftkit", "-"]
    assert connect("local", environment={**os.environ, **environment}).job(id).id == id
    assert (
        ftkit("estimate", str(write(chat_lines(12))), "--model", "Qwen/Qwen3-0.6B").returncode == 0
    )
    cancelled = ftkit(
        "jobs", "cancel", id, "--output", "json"
    )  # where there is no PyTorch, it has failed by now
    assert (
        f'"{id}"' in cancelled.stdout if cancelled.returncode == 0 else "failed" in cancelled.stderr
    )
