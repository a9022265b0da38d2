"""Text from a provider, from the user's files and from arguments cannot control the terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from ftkit.cli import terminal
from ftkit.cli.live import View
from ftkit.cli.output import progress_bar
from ftkit.client.resources import Event, Job
from ftkit.jobs.watch import Update
from support.examples import chat_lines
from support.fake_provider import FakeProvider, error_body
from support.fixture_types import Run
from support.terminal import run_in_terminal

EVIL = (
    "\x1b]0;title\x07\x1b[2J\x1b[31m\x9b31m\x7f\x00\b\r\v\x85\u202e\u2066\u200e\u200f\u061c\u2028\n"
    "::error::x"
)
"""What must not reach a terminal: escapes, C0, DEL and C1 controls, bidi controls, separators."""

RAW = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


@pytest.fixture
def hostile(fake_provider: FakeProvider) -> FakeProvider:
    """A provider with such text wherever a provider has text."""
    file = fake_provider.add_file(f"a{EVIL}.jsonl", b"step,train_loss\n1,0.5\n2,0.4\n", f"x{EVIL}")
    file |= {"status": f"s{EVIL}", "status_details": EVIL, "extra": {EVIL: [EVIL, "\ud800"]}}
    text = {
        name: f"{name}{EVIL}"
        for name in ("model", "status", "training_file", "validation_file", "organization_id")
    }
    job = fake_provider.add_job(
        {
            **text,
            "fine_tuned_model": f"ft:m{EVIL}",
            "hyperparameters": {f"n{EVIL}": EVIL},
            "method": {"type": EVIL},
            "metadata": {EVIL: EVIL},
            "user_provided_suffix": EVIL,
            "error": {"message": EVIL, "code": EVIL},
            "result_files": [file["id"]],
            "big": float("1e400"),
        }
    )
    fake_provider.add_event(job["id"], EVIL, level=EVIL, type=EVIL, data={EVIL: EVIL})
    fake_provider.checkpoints[job["id"]] = [
        {
            "id": EVIL,
            "fine_tuned_model_checkpoint": EVIL,
            "step_number": 1,
            "metrics": {"train_loss": 1.5, EVIL: 2},
        }
    ]
    name = "ft:tuned"
    fake_provider.models[name] = {"id": name, "owned_by": EVIL, "created": 1, "shutdown_date": EVIL}
    fake_provider.models[EVIL] = {"id": EVIL, "owned_by": EVIL, "created": 1}
    fake_provider.on_chat = lambda body: {"content": EVIL}
    fake_provider.refuse["GET /fine_tuning/jobs/refused"] = (400, error_body(EVIL, EVIL))
    return fake_provider


COMMANDS = [
    "jobs list",
    "jobs show JOB",
    "jobs events JOB",
    "jobs checkpoints JOB",
    "jobs metrics JOB",
    "jobs metrics JOB --output csv",
    "jobs doctor JOB",
    "jobs cancel JOB",
    "jobs watch JOB",
    "jobs show refused",
    "jobs show EVIL",
    "jobs list --status EVIL",
    "jobs EVIL",
    "EVIL",
    "files list",
    "files show FILE",
    "files delete FILE",
    "files delete FILE --yes",
    "files upload EVIL",
    "models list",
    "models show ft:tuned",
    "models delete ft:tuned",
    "models export EVIL dir",
    "chat m EVIL",
    "chat m hello --output EVIL",
    "providers --facts EVIL",
    "catalog --provider EVIL",
    "schema EVIL",
    "rule EVIL",
    "explain EVIL",
    "validate EVIL",
    "estimate EVIL",
    "submit EVIL --model m",
    "submit data.jsonl --model EVIL --yes",
    "submit data.jsonl --model gpt-4o-mini-2024-07-18 --dry-run --metadata EVIL=EVIL",
    "compare m EVIL --prompts data.jsonl",
    "compare m n --prompts data.jsonl --limit 2 --yes",
    "migrate EVIL --to nebius",
    "serve --map EVIL",
    "serve --answers EVIL",
    "archive verify EVIL",
    "jobs list --provider EVIL",
    "jobs list --base-url EVIL",
    "jobs list --EVIL",
]
"""Every command that prints something of a provider or an argument."""


def arguments(command: str, provider: FakeProvider) -> list[str]:
    """The arguments, with ids and hostile text in place of their names."""
    job, file = next(iter(provider.jobs)), next(iter(provider.files))
    values = {"JOB": job, "FILE": file, "EVIL": EVIL.replace("\0", "")}
    return [
        re.sub("JOB|FILE|EVIL", lambda match: values[match[0]], part) for part in command.split()
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_prints_a_control_character(
    command: str, hostile: FakeProvider, ftkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "watch" in command:
        hostile.on_job = lambda job: job.update(status="failed")
    Path("data.jsonl").write_bytes(b"".join(line + b"\n" for line in chat_lines(12)))
    done = ftkit(*arguments(command, hostile))
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1, 2)
    shown = done.stdout + done.stderr
    assert shown
    assert not RAW.findall(shown)
    assert "\n::error::" not in shown.replace("\r", "\n")


JSON_COMMANDS = [
    command
    for command in COMMANDS
    if "JOB" in command.split()
    or "FILE" in command.split()
    or command in ("jobs list", "files list", "models list", "models show ft:tuned")
    if "csv" not in command and not command.startswith("files delete FILE")
]


@pytest.mark.parametrize("command", [*JSON_COMMANDS, "chat m EVIL", "explain EVIL"])
def test_json_is_escaped_and_equal(command: str, hostile: FakeProvider, ftkit: Run) -> None:
    if "watch" in command:
        hostile.on_job = lambda job: job.update(status="failed")
    done = ftkit(*arguments(command, hostile), "--output", "json")
    assert not RAW.findall(done.stdout)
    values = [json.loads(done.stdout)] if "watch" not in command else []
    values += [json.loads(line) for line in done.stdout.splitlines() if "watch" in command]
    if command == "jobs show JOB":
        expected = next(iter(hostile.jobs.values()))
        assert values == [{**expected, "big": None}]
    if command == "files list":
        assert values == [list(hostile.files.values())]
    for value in values:
        json.dumps(value, allow_nan=False)


@pytest.mark.parametrize(
    ("command", "question", "spoof"),
    [
        ("files delete FILE", b"Delete file-", "harmless.jsonl\r\x1b[2KDelete other?"),
        ("models delete ft:tuned", b"Delete ft:tuned", ""),
    ],
)
def test_a_confirmation_cannot_be_spoofed(
    command: str, question: bytes, spoof: str, hostile: FakeProvider, provider_url: str
) -> None:
    file = next(iter(hostile.files.values()))
    file["filename"], file["id"] = f"{spoof}{EVIL}", "file-1"
    code, shown = run_in_terminal(
        provider_url, *arguments(command, hostile), answers={b"[y/N]": b"n\n"}
    )
    assert code == 2
    (line,) = [line for line in shown.split(b"\n") if question in line]
    text = line.decode().replace("\x1b[?25h", "").rstrip("\r")
    assert not RAW.findall(text)
    assert file["id"] in hostile.files


def test_the_live_view_and_the_chat_escape_what_they_show(
    hostile: FakeProvider, provider_url: str
) -> None:
    hostile.on_job = lambda job: job.update(status="failed")
    for command in ("jobs watch JOB", "jobs show JOB", "models list"):
        _, shown = run_in_terminal(provider_url, *arguments(command, hostile))
        assert b"\x1b]0;" not in shown
        assert b"\x1b[2J\x1b" not in shown
        assert b"\x9b31m" not in shown.replace("ü".encode(), b"")
        assert "\u202e" not in shown.decode()


def test_views_and_progress_bars_do_not_show_the_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "_secrets", set())
    terminal.hide(key := "sk-live-0123456789")
    job = Job.read({"id": "ftjob-1", "model": key, "status": key})
    event = Event.read({"message": f"no access with {key}"})
    view = View()
    view.apply(Update(job, (event,), f"refused: {key}"))
    terminal.console().print(view.render(100))
    monkeypatch.setattr("ftkit.cli.output.is_terminal", lambda stream: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress_bar() as show:
        show(f"fetching {key}", 1, 2)
    shown = capsys.readouterr()
    for text in shown:
        assert "(the key)" in text
        assert key not in text


def test_logs_of_libraries_are_escaped(hostile: FakeProvider, provider_url: str) -> None:
    command = [sys.executable, "-m", "ftkit", "compare", "m", "n", "--prompts", "p.jsonl", "--yes"]
    Path("p.jsonl").write_text(json.dumps({"messages": [{"role": "user", "content": EVIL}]}))
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "OPENAI_LOG": "debug",
            "OPENAI_API_KEY": "sk-test",
            "FTKIT_BASE_URL": provider_url,
        },
        check=False,
    )
    assert "DEBUG" in done.stderr
    assert not RAW.findall(done.stderr)
    assert "sk-test" not in done.stderr


def test_text_of_any_language_is_shown_as_it_is(fake_provider: FakeProvider, ftkit: Run) -> None:
    words = "naïve 日本語\u3000العربية עברית ไทย 👩‍💻 a\u00a0b."
    fake_provider.models[words] = {"id": words, "owned_by": "x", "created": 1}
    assert words in ftkit("models", "list", "--output", "json").stdout
    assert ftkit("chat", "m", words).stdout.split() == words.split()[::-1]


@pytest.mark.parametrize("output", ["text", "json", "github", "sarif", "gitlab", "junit"])
def test_the_name_of_a_file_is_no_workflow_command(output: str, ftkit: Run) -> None:
    name = "a\n::error::x\r::set-output name=a::b.jsonl"
    Path(name).write_text('{"messages": []}\n')
    other = os.fsdecode(b"b\xff\n::error::y.jsonl")
    Path(other).write_text("x\n")
    done = ftkit("validate", name, other, "missing\n::error::z.jsonl", "--output", output)
    again = ftkit("validate", name, other, "--output", output)
    for shown in (done.stdout, done.stderr, again.stdout, again.stderr):
        lines = re.split("[\r\n]", shown)
        commands = [line for line in lines if line.lstrip().startswith("::")]
        assert all(line.startswith(("::error file=", "::warning file=")) for line in commands)
        assert not RAW.findall(shown)
    if output == "json":
        assert [file["file"] for file in json.loads(again.stdout)["files"]] == [name, other]


def test_the_uris_of_sarif_are_percent_encoded(ftkit: Run) -> None:
    name = os.fsdecode("a b#ü%41?".encode() + b"\xff:\n.jsonl")
    Path(name).write_text('{"messages": []}\n')
    log = json.loads(ftkit("validate", name, "--output", "sarif").stdout)
    location = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert location["artifactLocation"]["uri"] == "a%20b%23%C3%BC%2541%3F%FF%3A%0A.jsonl"


def test_every_control_character_is_escaped() -> None:
    from ftkit.cli.terminal import UNSAFE, UNSAFE_ALWAYS

    for code in range(0x110000):
        char = chr(code)
        is_control = unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") and char not in "\n\t"
        is_bidi = unicodedata.bidirectional(char) in (
            *("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"),
        )
        expected = is_control or is_bidi or char in "\u200e\u200f\u061c"
        assert bool(UNSAFE_ALWAYS.match(char)) == expected, hex(code)
        assert bool(UNSAFE.match(char)) == expected, hex(code)


def test_non_utf8_names_are_submitted_and_uploaded(
    fake_provider: FakeProvider, ftkit: Run, tmp_path: Path
) -> None:
    name = os.fsdecode(b"tr\xffain.jsonl")
    Path(name).write_bytes(b"".join(line + b"\n" for line in chat_lines(12)))
    submit = ("submit", name, "--model", "gpt-4o-mini-2024-07-18", "--yes", "--output", "json")
    done = ftkit(*submit)
    assert done.returncode == 0, done.stderr
    (file,) = fake_provider.files.values()
    assert file["filename"].startswith("tr\ufffdain-")
    assert json.loads(ftkit(*submit).stdout)["adopted"]
    job: dict[str, Any] = next(iter(fake_provider.jobs.values()))
    job |= {"status": "failed", "error": {"message": "bad", "code": "x"}}
    diagnosis = json.loads(ftkit("jobs", "doctor", job["id"], "--output", "json").stdout)
    assert diagnosis["file"] == str(tmp_path / name)
    assert ftkit(*submit[:-2], "--dry-run").returncode == 0
    assert ftkit("files", "upload", name).returncode == 0
    Path(name).write_bytes(b"x")
    assert ftkit("files", "upload", name).returncode == 0
    assert len(fake_provider.files) == 2


def test_a_key_that_the_provider_sends_back_is_not_printed(
    fake_provider: FakeProvider, ftkit: Run
) -> None:
    fake_provider.key = "sk-0123456789"
    job = fake_provider.add_job(
        {"model": "sk-0123456789", "status": "failed", "x": "a sk-0123456789"}
    )
    for arguments in (["show", job["id"]], ["doctor", job["id"]], ["list"]):
        for output in ("text", "json"):
            done = ftkit(
                "jobs", *arguments, "--output", output, env={"OPENAI_API_KEY": "sk-0123456789"}
            )
            assert done.returncode in (0, 1)
            assert "sk-0123456789" not in done.stdout + done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_text_that_the_encoding_of_the_output_lacks_is_escaped(
    encoding: str, fake_provider: FakeProvider, provider_url: str
) -> None:
    name = "\u65e5\u672c \U0001f600 \xfc \x7f\x9b"
    fake_provider.models[name] = {"id": name, "owned_by": "x", "created": 1}
    environment = {
        **os.environ,
        "PYTHONIOENCODING": encoding,
        "OPENAI_API_KEY": "sk-test",
        "FTKIT_BASE_URL": provider_url,
    }
    command = [sys.executable, "-m", "ftkit", "models", "list"]
    text, document = (
        subprocess.run([*command, *more], capture_output=True, env=environment, check=True)
        for more in ((), ("--output", "json"))
    )
    assert json.loads(document.stdout.decode(encoding)) == [fake_provider.models[name]]
    assert b"\\x7f\\x9b" in text.stdout


def test_a_command_without_standard_output_is_no_failure(provider_url: str) -> None:
    code = "import sys; sys.stdout = None; from ftkit.cli import run; sys.exit(run(['rules']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
