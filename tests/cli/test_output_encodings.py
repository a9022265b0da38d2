"""Output survives every encoding of the terminal, and every unexpected exception is exit code 2."""

from __future__ import annotations

import io
import json
import signal
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator

import pytest

from ftkit.cli import COMMANDS, run
from ftkit.cli.live import View
from ftkit.cli.terminal import console
from ftkit.client.resources import Event, Job
from ftkit.jobs.watch import Update
from support.fixture_types import Write
from support.paths import BAD, MARV

Invoke = Callable[..., tuple[int, str, str]]

JAPANESE = "\u30e6\u30fc\u30b6\u30fc"
ENCODINGS = ["ascii", "cp1252", "cp932", "utf-16"]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Iterator[Invoke]:
    """Run ftkit in this process with standard streams of an encoding."""
    handler = signal.getsignal(signal.SIGTERM)

    def call(*arguments: str, encoding: str = "utf-8", input: bytes = b"") -> tuple[int, str, str]:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(input), encoding))
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        code = run(list(arguments))
        texts = []
        for stream in (out, err):
            stream.flush()
            assert isinstance(stream.buffer, io.BytesIO)
            texts.append(stream.buffer.getvalue().decode(encoding))
        return code, texts[0], texts[1]

    yield call
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def japanese(write: Write) -> str:
    """A file with a role in Japanese."""
    return str(write([f'{{"messages":[{{"role":"{JAPANESE}","content":"a"}}]}}'.encode()]))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("output", ["text", "github", "json", "sarif", "gitlab", "junit"])
def test_findings_are_printed_in_any_encoding(
    output: str, encoding: str, japanese: str, invoke: Invoke
) -> None:
    code, out, err = invoke("validate", japanese, "--output", output, encoding=encoding)
    assert (code, err) == (1, "")
    escaped = JAPANESE.encode("ascii", "backslashreplace").decode()
    if output == "junit":
        out = "".join(ET.fromstring(out.encode("ascii")).itertext())
    assert JAPANESE in out or escaped in out
    if output in ("json", "sarif", "gitlab"):
        assert JAPANESE in str(json.loads(out))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("catalog",),
        ("rule", "json-syntax"),
        ("explain", JAPANESE),
        ("validate", f"{JAPANESE}.jsonl"),
        ("validate", BAD, "--provider", JAPANESE),
        ("estimate", MARV, "--model", JAPANESE),
    ],
    ids=lambda arguments: arguments[0],
)
def test_no_command_fails_for_the_encoding(
    arguments: tuple[str, ...], encoding: str, invoke: Invoke
) -> None:
    code, out, err = invoke(*arguments, encoding=encoding)
    assert "unexpected" not in err
    assert bool(out) == (code < 2)
    assert code < 2 or err.count("\n") == 1


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_live_view_is_drawn_in_any_encoding(encoding: str, invoke: Invoke) -> None:
    invoke("rules", encoding=encoding)  # leaves streams of that encoding, as `run` sets them up
    event = Event.read({"message": JAPANESE, "data": {"train_loss": 1.0, "step": 1}})
    view = View()
    view.apply(Update(Job.read({"id": JAPANESE}), (event,), ""))
    console().print(view.render(80))


def test_input_of_another_encoding_is_one_line(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    code, _, err = invoke("chat", "m", encoding="ascii", input=JAPANESE.encode())
    assert code == 2
    assert err == (
        "ftkit: standard input is not ascii text; set PYTHONIOENCODING to its encoding\n"
    )


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a command with a bug."""
    monkeypatch.setitem(COMMANDS, "broken", ("support.broken_command", "Fail."))


@pytest.mark.usefixtures("broken")
def test_an_unexpected_exception_is_one_line_and_exit_code_2(invoke: Invoke) -> None:
    code, out, err = invoke("broken", f"{JAPANESE}\n\x1b[2J", encoding="ascii")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("ftkit: unexpected RuntimeError: \\u30e6")
    assert "\\n\\x1b[2J; this is a bug in ftkit" in err
    assert "set FTKIT_TRACEBACK=1, run the command again and report the traceback" in err
    assert "Error; this is a bug" in invoke("broken")[2]


def test_an_error_of_the_system_without_standard_output_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], broken_disk: None
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert run(["broken_disk"]) == 2
    assert capsys.readouterr().err == "ftkit: [Errno 28] No space left on device\n"


@pytest.fixture
def broken_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Add a command that fails as on a full disk."""
    handler = signal.getsignal(signal.SIGTERM)
    module = "support.broken_command"
    monkeypatch.setitem(COMMANDS, "broken_disk", (module, "Fail."))
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.usefixtures("broken")
def test_a_traceback_is_shown_on_request(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTKIT_TRACEBACK", "1")
    code, _, err = invoke("broken", "oops")
    assert code == 2
    assert err.startswith("Traceback (most recent call last):\n")
    assert err.splitlines()[-1].startswith("ftkit: unexpected RuntimeError: oops; this is a bug")
