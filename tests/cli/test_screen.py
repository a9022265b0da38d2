"""The command `ftkit screen`: its report, redaction, confirmation and exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result

from ftkit._local import RUN_MODULE
from ftkit.cli import cli
from ftkit.cli.screen import KINDS
from ftkit.errors import UsageError
from ftkit.prepare.screen import kinds
from support.fake_provider import FakeProvider, serving
from support.runner import cli_runner

TEXT = "Mail jo.doe@acme.com or pay by 4111 1111 1111 1111."


def ftkit(*arguments: object, input: bytes = b"") -> Result:
    return cli_runner().invoke(cli, list(map(str, arguments)), input=input, standalone_mode=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A file with two values on its second line."""
    path = tmp_path / "data.jsonl"
    path.write_text(f'{{"text": "fine"}}\n{json.dumps({"text": TEXT})}\n')
    return path


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeProvider]:
    """A provider with moderation, to which the environment leads."""
    state = FakeProvider()
    monkeypatch.setenv("FTKIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("FTKIT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("OPENAI_API_KEY", state.key)
    with serving(state) as url:
        monkeypatch.setenv("FTKIT_BASE_URL", url)
        yield state


def test_the_report_has_the_place_and_a_part_of_each_value(data: Path) -> None:
    done = ftkit("screen", data)
    assert (done.return_value, done.stderr) == (1, "")
    assert done.stdout == (
        "Read 2 rows, found 2 values.\n"
        "  e-mail address: 1\n"
        f"    {data}:2 /text jo…@acme.com\n"
        "  payment card number: 1\n"
        f"    {data}:2 /text …1111\n"
    )


def test_a_file_without_findings_ends_with_0() -> None:
    done = ftkit("screen", "-", input=b'{"text": "fine"}\n')
    assert (done.return_value, done.stdout) == (0, "Read 1 row, found nothing.\n")


def test_the_report_as_json_has_counts_and_places(data: Path) -> None:
    done = ftkit("screen", data, "--report", "json", "--kind", "card")
    report = json.loads(done.stdout)
    assert (done.return_value, report["found"], report["read"]) == (1, 1, 2)
    assert report["entries"] == [
        {
            "effect": "found",
            "step": "screen",
            "reason": "payment card number",
            "origin": {"file": str(data), "line": 2},
            "pointer": "/text",
            "detail": "…1111",
        }
    ]


def test_many_places_are_counted_and_the_first_shown(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"a": "jo@acme.com"}\n' * 30)
    done = ftkit("screen", path)
    assert "  e-mail address: 30\n" in done.stdout
    assert done.stdout.endswith(f"    {path}:20 /a j…@acme.com\n    … and 10 more\n")


def test_redacted_rows_are_written(data: Path) -> None:
    done = ftkit("screen", data, "--redact", "--in-place", "--map", "map")
    assert done.return_value == 0
    assert done.stdout.startswith(f"Read 2 rows, wrote 2 to {data}, made 2 changes.\n")
    text = "Mail [e-mail address] or pay by [payment card number]."
    assert data.read_text() == f'{{"text": "fine"}}\n{{"text":"{text}"}}\n'
    assert ftkit("screen", data).return_value == 0


def test_what_cannot_be_redacted_ends_with_1(tmp_path: Path) -> None:
    done = ftkit("screen", "-", "--redact", input=b'{"card": 4111111111111111}\n')
    assert (done.return_value, done.stdout) == (1, '{"card": 4111111111111111}\n')
    assert "found by screen: payment card number: 1" in done.stderr


def test_rejected_rows_are_reported(data: Path) -> None:
    data.write_text(data.read_text() + "{\n")
    done = ftkit("screen", data, "--kind", "iban")
    assert done.return_value == 1
    assert done.stdout.startswith("Read 3 rows, found nothing, rejected 1 row.\n  not JSON: 1\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "x"], "`--output-file` needs `--redact`"),
        (["--in-place"], "`--in-place` needs `--redact`"),
        (["--yes"], "`--batch` and `--yes` need `--moderation`"),
        (["--batch"], "`--batch` and `--yes` need `--moderation`"),
    ],
)
def test_options_without_effect_are_refused(data: Path, options: list[str], message: str) -> None:
    done = ftkit("screen", data, *options)
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)


@pytest.mark.parametrize("option", [[], ["--batch"]])
def test_moderation_says_what_is_sent_and_names_lines(
    service: FakeProvider, data: Path, option: list[str]
) -> None:
    data.write_text('{"text": "hate"}\n{"text": "fine"}\n{"text": "hate!"}\n')
    service.moderation.polls = 1
    done = ftkit("screen", data, "--moderation", "--yes", *option)
    assert done.return_value == 1
    assert done.stdout == (
        "Read 3 rows, found 2 values.\n"
        "  likely to be flagged: hate: 2\n"
        f"    {data}:1 /text score 0.90\n"
        f"    {data}:3 /text score 0.90\n"
    )
    assert "3 texts with 13 characters" in done.stderr
    assert "omni-moderation-latest at OpenAI, http://127.0.0.1" in done.stderr
    assert "free (OpenAI moderation guide" in done.stderr


def test_a_command_that_is_killed_after_its_request_creates_no_second_batch(
    service: FakeProvider, data: Path
) -> None:
    command = [*RUN_MODULE, "ftkit", "screen", str(data), "--moderation", "--batch", "--yes"]
    process: subprocess.Popen[bytes] | None = None

    def kill(method: str, path: str) -> str:
        if (method, path) == ("POST", "/v1/batches") and process:
            process.kill()
            process.wait()
        return ""

    service.faults = kill
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert len(service.moderation.batches) == 1
    service.faults = lambda method, path: ""
    service.moderation.polls = 1
    done = ftkit(*command[4:])
    assert (done.return_value, len(service.moderation.batches)) == (1, 1)
    assert "exists already" in done.stderr


def test_moderation_asks_before_it_sends(service: FakeProvider, data: Path) -> None:
    done = ftkit("screen", data, "--moderation")
    assert "pass --yes" in str(done.exception)
    assert service.requests == []


def test_the_kinds_of_the_option_are_those_of_the_function() -> None:
    assert tuple(kinds.KINDS) == KINDS
    assert tuple(kinds.DESCRIPTIONS) == KINDS
