"""The command itself, in a process of its own: what it prints where, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import ROOT, Write, example, lines

from ftkit.cli import COMMANDS

SAMPLES = ROOT / "samples"
MARV = str(SAMPLES / "marv.jsonl")
BAD = str(SAMPLES / "bad" / "role-unknown.jsonl")


def ftkit(
    *arguments: str, input: bytes | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "ftkit", *arguments],
        input=input,
        capture_output=True,
        env={**os.environ, **(env or {})},
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def test_a_clean_file_ends_with_0_and_says_so() -> None:
    done = ftkit("validate", MARV)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("All clear: 58 examples in 1 file.\n")


def test_errors_end_with_1_and_a_line_that_counts() -> None:
    done = ftkit("validate", BAD)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("Found 2 errors, 1 warning in 1 file")


def test_warnings_fail_only_when_asked_to() -> None:
    path = str(SAMPLES / "tool-calls.jsonl")
    assert ftkit("validate", path).returncode == 0
    assert ftkit("validate", path, "--fail-on", "warning").returncode == 1


PROBLEMS = {
    "a missing file": (["validate", "nowhere.jsonl"], "no such file: nowhere.jsonl"),
    "a folder": (["validate", "."], "is a folder"),
    "no file": (["validate"], "Missing argument"),
    "a pattern without files": (["validate", "*.nothing"], "no file matches '*.nothing'"),
    "an unknown model": (
        ["validate", MARV, "--model", "gpt-4o-mini"],
        "did you mean 'gpt-4o-mini-2024-07-18'?",
    ),
    "an unknown provider": (["validate", MARV, "--provider", "opnai"], "did you mean 'openai'?"),
    "an unknown rule": (
        ["validate", MARV, "--select", "json-sintax"],
        "did you mean 'json-syntax'?",
    ),
    "an unknown rule to explain": (
        ["rule", "nothing-like-it"],
        "unknown rule 'nothing-like-it'. `ftkit rules` lists all.",
    ),
    "an unknown format": (["validate", MARV, "--format", "chta"], "'chta' is not one of"),
    "an unknown schema": (["schema", "chta"], "did you mean 'chat'?"),
    "an unknown option": (["validate", MARV, "--modle", "x"], "No such option"),
    "an unknown command": (["valdate", MARV], "No such command"),
    "no workers": (["validate", MARV, "--workers", "0"], "0 is not in the range"),
    "a missing grader": (
        ["validate", MARV, "--grader", "nowhere.json"],
        "cannot open nowhere.json",
    ),
    "a grader that is not JSON": (["validate", MARV, "--grader", MARV], "is not JSON"),
    "no rule left": (
        ["validate", MARV, "--select", "secret", "--ignore", "secret"],
        "no rule is left",
    ),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_problem_is_one_line_on_standard_error_and_2(problem: str) -> None:
    arguments, said = PROBLEMS[problem]
    done = ftkit(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.startswith("ftkit: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            'base-url = "http://models.example/v1"',
            "base-url cannot stand there, since keys are sent to it; set FTKIT_BASE_URL",
        ),
        ('modle = "x"', "has no setting 'modle'; did you mean 'model'?"),
        ("ignore = 5", "[tool.ftkit]"),
        ("max-findings = true", "[tool.ftkit]"),
        ("model = [", "cannot read"),
    ],
)
def test_odd_settings_are_one_line_that_names_their_file(
    settings: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.ftkit]\n{settings}\n")
    done = ftkit("validate", MARV)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "pyproject.toml" in done.stderr
    assert said in done.stderr


def test_an_odd_value_of_a_variable_names_the_variable() -> None:
    done = ftkit("validate", MARV, env={"FTKIT_MAX_FINDINGS": "abc"})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "(from FTKIT_MAX_FINDINGS; see `ftkit validate --help`)" in done.stderr
    assert "from " not in ftkit("validate", MARV, "--max-findings", "abc").stderr


def test_a_grader_for_files_without_items_is_refused_and_one_of_the_settings_waits_for_others(
    tmp_path: Path,
) -> None:
    (tmp_path / "grader.json").write_text(
        '{"type": "string_check", "input": "{{item.x}}", "name": "a"}'
    )
    done = ftkit("validate", MARV, "--grader", "grader.json")
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        f"ftkit: --grader is for reinforcement files; {MARV} is chat\n",
    )
    (tmp_path / "pyproject.toml").write_text('[tool.ftkit]\ngrader = "grader.json"\n')
    assert ftkit("validate", MARV).returncode == 0


def test_options_go_before_variables_and_these_before_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.ftkit]\noutput = "json"\nmodel = "gpt-4.1-2025-04-14"\nignore = ["examples-few"]\n'
    )
    shown = json.loads(ftkit("validate", str(SAMPLES / "tool-calls.jsonl")).stdout)
    assert (shown["model"], shown["files"][0]["warnings"]) == ("gpt-4.1-2025-04-14", 0)
    variable = {"FTKIT_MODEL": "gpt-3.5-turbo"}
    assert json.loads(ftkit("validate", MARV, env=variable).stdout)["model"] == "gpt-3.5-turbo"
    assert (
        json.loads(ftkit("validate", MARV, "--model", "gpt-4-0613", env=variable).stdout)["model"]
        == "gpt-4-0613"
    )


def test_standard_input_is_read_and_named(write: Write) -> None:
    data = b"".join(line + b"\n" for line in lines(12, {4: b"oops"}))
    done = ftkit("validate", "-", input=data)
    assert done.returncode == 1
    assert "-:4:1: error FT120 json-syntax" in done.stdout


def test_standard_input_that_is_a_terminal_is_one_line() -> None:
    assert b"redirect a file into it" in on_a_terminal("validate", "-")


def test_several_files_and_patterns_are_checked_each_once() -> None:
    shown = json.loads(
        ftkit("validate", MARV, str(SAMPLES / "m*.jsonl"), BAD, "--output", "json").stdout
    )
    assert [Path(file["file"]).name for file in shown["files"]] == [
        "marv.jsonl",
        "role-unknown.jsonl",
    ]


def test_the_json_has_the_keys_that_are_documented() -> None:
    shown = json.loads(ftkit("validate", BAD, "--output", "json").stdout)
    assert list(shown) == ["ftkit", "ok", "provider", "model", "files"]
    file = shown["files"][0]
    assert list(file) == [
        "file",
        "format",
        "lines",
        "examples",
        "bytes",
        "errors",
        "warnings",
        "infos",
        "counts",
        "findings",
    ]
    assert list(file["findings"][0]) == [
        "code",
        "rule",
        "severity",
        "line",
        "column",
        "path",
        "message",
    ]
    assert file["findings"][0]["line"] is None


def test_select_and_ignore_may_be_given_several_times() -> None:
    shown = json.loads(
        ftkit(
            "validate",
            BAD,
            "--select",
            "FT3,FT2",
            "--ignore",
            "FT211",
            "--ignore",
            "FT1",
            "--output",
            "json",
        ).stdout
    )
    assert set(shown["files"][0]["counts"]) == {"role-unknown"}


def test_quiet_prints_findings_only() -> None:
    assert ftkit("validate", MARV, "--quiet").stdout == ""
    assert all(": " in line for line in ftkit("validate", BAD, "--quiet").stdout.splitlines())


def test_more_findings_than_are_shown_are_listed_by_their_lines(write: Write) -> None:
    path = write([b'{"messages": []}'] * 40)
    out = ftkit("validate", str(path), "--select", "messages-empty").stdout
    assert "30 more, on lines 11-40" in out
    assert ftkit("validate", str(path), "--max-findings", "50").stdout.count("FT303") == 40


def test_a_validation_file_is_checked_and_compared(write: Write) -> None:
    train, other = write(lines(12)), write(lines(3, {3: b"oops"}), "other.jsonl")
    out = ftkit("validate", str(train), "--validation-file", str(other)).stdout
    assert f"{train}:1: warning FT222 split-overlap" in out
    assert f"{other}:3:1: error FT120" in out


def test_a_grader_asks_for_its_fields(write: Write) -> None:
    grader = write(
        b'{"input": "{{ item.a.b }} {{item[\'c\']}} {{ item.messages }}", "reference": "{{sample.output_text}}"}',
        "g.json",
    )
    rows = [
        json.dumps(
            {"messages": [{"role": "user", "content": str(n)}], "a": {"b": n}, "c": 1}
        ).encode()
        for n in range(12)
    ]
    rows[3] = rows[3].replace(b'"b"', b'"x"')
    done = ftkit(
        "validate",
        str(write(rows)),
        "--grader",
        str(grader),
        "--select",
        "rft-grader-field",
        "--output",
        "json",
    )
    found = json.loads(done.stdout)["files"][0]["findings"]
    assert [(each["line"], "item.a.b" in each["message"]) for each in found] == [(4, True)]


def on_a_terminal(*arguments: str, env: Mapping[str, str] | None = None) -> bytes:
    """What the command writes on a terminal."""
    main, side = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", **(env or {})}
    command = [sys.executable, "-m", "ftkit", *arguments]
    with subprocess.Popen(
        command, stdin=side, stdout=side, stderr=side, env=environment
    ) as process:
        os.close(side)
        shown = b""
        try:
            while data := os.read(main, 65536):
                shown += data
        except OSError:
            pass
        process.wait()
    os.close(main)
    return shown


def test_colour_is_for_terminals_that_want_it() -> None:
    assert "\x1b[" not in ftkit("validate", BAD).stdout
    assert b"\x1b[31m" in on_a_terminal("validate", BAD)
    assert b"\x1b[" not in on_a_terminal("validate", BAD, env={"NO_COLOR": "1"})


def large_file(path: Path, megabytes: int) -> Path:
    """A file of clean lines and one bad one in a thousand."""
    with path.open("wb") as file:
        number = 0
        while file.tell() < megabytes << 20:
            value = example(number)
            value["messages"][0]["content"] += " and so on" * 150
            file.write(b"oops\n" if number % 1000 == 500 else json.dumps(value).encode() + b"\n")
            number += 1
    return path


def test_workers_change_nothing_in_the_output(tmp_path: Path) -> None:
    path = str(large_file(tmp_path / "large.jsonl", 48))
    one, two = (
        ftkit("validate", path, "--output", "json", "--workers", number).stdout for number in "12"
    )
    assert one == two
    assert json.loads(one)["files"][0]["counts"]["json-syntax"] > 10


def test_a_progress_bar_is_shown_on_a_terminal_for_a_large_file(tmp_path: Path) -> None:
    path = str(large_file(tmp_path / "large.jsonl", 48))
    assert "MB" not in ftkit("validate", path).stderr
    assert b"large.jsonl" in on_a_terminal("validate", path, "--select", "file-empty")


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_command_and_its_workers_without_a_traceback(
    sent: int, code: int, tmp_path: Path
) -> None:
    path = str(large_file(tmp_path / "large.jsonl", 200))
    command = [sys.executable, "-m", "ftkit", "validate", path, "--workers", "2"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    time.sleep(0.4)
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
        (["--help"], ["openai", "numpy", "jsonschema", "tiktoken", "rich"]),
        (["validate", MARV], ["openai", "jsonschema", "tiktoken", "rich"]),
    ],
)
def test_a_command_does_not_pay_for_what_it_does_not_use(
    arguments: list[str], absent: list[str]
) -> None:
    code = (
        "import sys, ftkit.cli; ftkit.cli.run(sys.argv[1:]);"
        f"print([name for name in {absent!r} if name in sys.modules], file=sys.stderr)"
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


def test_rules_are_listed_and_explained() -> None:
    listed = ftkit("rules").stdout.splitlines()
    assert any(line.startswith("FT120  json-syntax") for line in listed)
    assert len(json.loads(ftkit("rules", "--output", "json").stdout)) == len(listed)
    shown = ftkit("rule", "json-syntax").stdout
    parts = (
        "json-syntax (FT120, error)",
        "single quotes",
        "Bad:",
        "Good:",
        "Evidence:",
        "https://",
    )
    assert all(part in shown for part in parts)
    rule = json.loads(ftkit("rule", "FT120", "--output", "json").stdout)
    assert rule["rule"] == "json-syntax"
    assert json.loads(rule["good"])["messages"]
    assert rule["sources"][1] == {
        "name": "RFC 8259, JSON",
        "url": "https://www.rfc-editor.org/rfc/rfc8259",
        "date": "",
        "detail": "",
    }


def test_a_long_sample_is_shown_by_its_first_and_last_lines() -> None:
    shown = ftkit("rule", "duplicate-example").stdout
    bad, good = (shown.partition(label)[2].splitlines()[1:6] for label in ("Bad:", "Good:"))
    assert bad[0] == bad[4]
    assert bad[2].strip() == "… (57 more lines)"
    assert good[0] != good[4]


def test_a_schema_is_json_schema_that_the_samples_satisfy() -> None:
    import jsonschema

    schema = json.loads(ftkit("schema", "chat").stdout)
    for line in (SAMPLES / "tool-calls.jsonl").read_text("utf-8").splitlines():
        jsonschema.validate(json.loads(line), schema)


def test_a_message_is_explained_with_the_lines_of_the_file() -> None:
    path = str(SAMPLES / "bad" / "json-syntax.jsonl")
    done = ftkit("explain", "Example 5 cannot be parsed. Error: line contains invalid json", path)
    assert done.returncode == 0
    assert f"{path}:5: FT120 json-syntax" in done.stdout
    assert "The message names line 5." in done.stdout


def test_a_message_about_moderation_names_its_lines() -> None:
    shown = json.loads(
        ftkit(
            "explain", "failed moderation safety checks. Flagged lines: 4, 13", "--output", "json"
        ).stdout
    )
    assert (shown["rules"], shown["lines"], shown["known"]) == ([], [4, 13], True)
    assert "safety screening" in shown["other"][0]["means"]


def test_a_message_that_nobody_knows_ends_with_1() -> None:
    done = ftkit("explain", "the moon is made of cheese", MARV)
    assert done.returncode == 1
    assert "not known" in done.stdout


def test_a_message_whose_fault_the_file_does_not_have_says_so() -> None:
    assert "has none of these errors" in ftkit("explain", "contains invalid json", MARV).stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    assert ftkit(command, "--help").stdout.startswith(f"Usage: ftkit {command}")


def test_the_version_is_shown() -> None:
    assert ftkit("--version").stdout.startswith("ftkit ")


def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ftkit", "validate", BAD],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
