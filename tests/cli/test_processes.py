"""Terminals, signals, worker processes, imports and sockets of commands."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ftkit.cli import COMMANDS
from support.commands import run_ftkit
from support.examples import chat_example
from support.paths import BAD, MARV, SAMPLES
from support.terminal import capture_terminal

HEAVY = ["openai", "numpy", "jsonschema", "tiktoken", "fastokens", "rich", "multiprocessing"]
"""Modules that take longer to import than a sample takes to check."""


def test_colour_is_for_terminals_that_want_it() -> None:
    assert "\x1b[" not in run_ftkit("validate", BAD).stdout
    assert b"\x1b[31m" in capture_terminal("validate", BAD)
    assert b"\x1b[" not in capture_terminal("validate", BAD, env={"NO_COLOR": "1"})


def large_file(path: Path, megabytes: int) -> Path:
    """A file of clean lines and one bad one in a thousand."""
    with path.open("wb") as file:
        number = 0
        while file.tell() < megabytes << 20:
            value = chat_example(number)
            value["messages"][0]["content"] += " and so on" * 150
            file.write(b"oops\n" if number % 1000 == 500 else json.dumps(value).encode() + b"\n")
            number += 1
    return path


def test_workers_change_nothing_in_the_output(tmp_path: Path) -> None:
    path = str(large_file(tmp_path / "large.jsonl", 48))
    one, two = (
        run_ftkit("validate", path, "--output", "json", "--workers", number).stdout
        for number in "12"
    )
    assert one == two
    assert json.loads(one)["files"][0]["counts"]["json-syntax"] > 10


def test_a_progress_bar_is_shown_on_a_terminal_for_a_large_file(tmp_path: Path) -> None:
    path = str(large_file(tmp_path / "large.jsonl", 48))
    assert "MB" not in run_ftkit("validate", path).stderr
    assert b"large.jsonl" in capture_terminal("validate", path, "--select", "file-empty")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_a_signal_ends_the_command_and_its_workers_without_a_traceback(
    sent: int, code: int, tmp_path: Path
) -> None:
    path = str(large_file(tmp_path / "large.jsonl", 200))
    command = [sys.executable, "-m", "ftkit", "validate", path, "--workers", "2"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    while subprocess.run(["pgrep", "-P", str(process.pid)], stdout=subprocess.DEVNULL).returncode:
        assert process.poll() is None  # until there are workers
        time.sleep(0.02)
    os.killpg(process.pid, sent) if sent == signal.SIGINT else process.send_signal(sent)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == code
    assert errors.decode().strip() in ("", "ftkit: interrupted")
    deadline = time.monotonic() + 5
    while _group_lives(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _group_lives(process.pid)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--help"], [*HEAVY, "regex", "ftkit.rules"]),
        (["validate", MARV], [*HEAVY, "regex"]),
        (["validate", MARV, "--model", "gpt-3.5-turbo"], [*HEAVY, "regex"]),
        (["estimate", MARV], HEAVY),
    ],
)
def test_a_command_does_not_pay_for_what_it_does_not_use(
    arguments: list[str], absent: list[str]
) -> None:
    code = (
        "import sys; before = set(sys.modules);"  # those of coverage, if it is measured
        "import ftkit.cli; ftkit.cli.run(sys.argv[1:]);"
        "imported = sys.modules.keys() - before;"
        f"print([name for name in {absent!r} if name in imported], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"


def test_no_command_opens_a_socket(tmp_path: Path) -> None:
    code = (
        "import sys\ndef hook(event, args):\n    if event.startswith('socket.'): raise SystemExit('socket: ' + event)\n"
        "sys.addaudithook(hook)\nimport ftkit.cli\nfor words in (['validate', sys.argv[1], '--model', 'gpt-3.5-turbo'],"
        " ['rules'], ['schema', 'chat'], ['explain', 'contains invalid json', sys.argv[1]]): assert ftkit.cli.run(words) in (0, 1)"
    )
    path = str(SAMPLES / "bad" / "example-too-long.jsonl")
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "example-too-long" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    assert run_ftkit(command, "--help").stdout.startswith(f"Usage: ftkit {command}")


def test_the_version_is_shown() -> None:
    shown = run_ftkit("--version").stdout
    assert re.fullmatch(r"ftkit \S+ \((C extension|pure Python)\)\n", shown)


@pytest.mark.parametrize("target", ["pipe", "full"])
@pytest.mark.parametrize(
    ("arguments", "streams", "code"),
    [
        ("nosuch", ["stderr"], 2),
        ("serve --model x --help", ["stderr"], 0),
        ("validate nofile", ["stdout", "stderr"], 2),
    ],
)
def test_a_closed_or_full_stream_is_not_a_finding(
    arguments: str, streams: list[str], code: int, target: str
) -> None:
    assert run_into(target, arguments, streams) == code


def test_help_to_a_closed_stream_is_not_a_finding() -> None:
    assert run_into("pipe", "validate --help", ["stdout", "stderr"]) == 0


def run_into(target: str, arguments: str, streams: list[str]) -> int:
    """Run ftkit with streams that lead to a closed pipe or a full disk, and return its code."""
    if target == "full":
        writer = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, writer = os.pipe()
        os.close(reader)
    with open(writer, "wb") as file:
        return subprocess.run(
            [sys.executable, "-m", "ftkit", *arguments.split()],
            stdout=file if "stdout" in streams else subprocess.DEVNULL,
            stderr=file if "stderr" in streams else subprocess.DEVNULL,
            check=False,
        ).returncode


def test_an_interrupt_while_modules_are_imported_ends_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    result = subprocess.run(
        [sys.executable, "-P", "-m", "ftkit", "--version"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (130, "ftkit: interrupted\n")
