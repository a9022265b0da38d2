"""The command `ftkit validate`."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.commands import run_ftkit
from support.examples import chat_example, chat_lines
from support.fixture_types import Write
from support.paths import BAD, MARV, SAMPLES
from support.terminal import capture_terminal


def test_a_clean_file_ends_with_0_and_says_so() -> None:
    done = run_ftkit("validate", MARV)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("All clear: 58 examples in 1 file.\n")


def test_errors_end_with_1_and_a_line_that_counts() -> None:
    done = run_ftkit("validate", BAD)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("Found 2 errors, 1 warning in 1 file")


def test_warnings_fail_only_when_asked_to() -> None:
    path = str(SAMPLES / "tool-calls.jsonl")
    assert run_ftkit("validate", path).returncode == 0
    assert run_ftkit("validate", path, "--fail-on", "warning").returncode == 1


PROBLEMS = {
    "a missing file": (["validate", "nowhere.jsonl"], "no such file: nowhere.jsonl"),
    "a folder without files": (["validate", "."], ". is a folder without .jsonl or .jsonl.gz"),
    "a folder as validation file": (["validate", MARV, "--validation-file", "."], "is a folder"),
    "statistics as SARIF": (
        ["validate", MARV, "--statistics", "--output", "sarif"],
        "--statistics needs --output text or json, not sarif",
    ),
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
    "an unknown option": (
        ["validate", MARV, "--modle", "x"],
        "No such option '--modle'; did you mean '--model'? (see `ftkit validate --help`)",
    ),
    "the beginning of a renamed option": (
        ["compare", MARV, MARV, "--see"],
        "No such option '--see'; did you mean '--bootstrap-seed'",
    ),
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
    arguments, message = PROBLEMS[problem]
    done = run_ftkit(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.startswith("ftkit: ")
    assert done.stderr.count("\n") == 1


def test_standard_input_is_read_and_named(write: Write) -> None:
    data = b"".join(line + b"\n" for line in chat_lines(12, {4: b"oops"}))
    done = run_ftkit("validate", "-", input=data)
    assert done.returncode == 1
    assert "-:4:1: error FT120 json-syntax" in done.stdout


def test_standard_input_that_is_a_terminal_is_one_line() -> None:
    assert b"redirect a file to it" in capture_terminal("validate", "-")


def test_several_files_and_patterns_are_checked_each_once() -> None:
    shown = json.loads(
        run_ftkit("validate", MARV, str(SAMPLES / "m*.jsonl"), BAD, "--output", "json").stdout
    )
    assert [Path(file["file"]).name for file in shown["files"]] == [
        "marv.jsonl",
        "role-unknown.jsonl",
    ]


def test_the_json_has_the_keys_that_are_documented() -> None:
    shown = json.loads(run_ftkit("validate", BAD, "--output", "json").stdout)
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
        "fixable",
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
        run_ftkit(
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
    assert run_ftkit("validate", MARV, "--quiet").stdout == ""
    assert all(": " in line for line in run_ftkit("validate", BAD, "--quiet").stdout.splitlines())


def test_more_findings_than_are_shown_are_listed_by_their_lines(write: Write) -> None:
    odd = {number: chat_example(number, **{f"k{number}": 1}) for number in range(1, 41)}
    path = write(chat_lines(240, odd))
    out = run_ftkit("validate", str(path), "--select", "example-unknown-key").stdout
    assert out.count("error FT203") == 11
    assert "30 more on lines 11-40" in out
    assert run_ftkit("validate", str(path), "--max-findings", "50").stdout.count("FT203") == 40


def test_max_findings_shows_repeated_findings_one_by_one(write: Write) -> None:
    path = write([b'{"messages": []}'] * 40)
    assert run_ftkit("validate", str(path)).stdout.count("FT303") == 1
    assert run_ftkit("validate", str(path), "--max-findings", "50").stdout.count("FT303") == 40


def test_a_validation_file_is_checked_and_compared(write: Write) -> None:
    train, other = write(chat_lines(12)), write(chat_lines(3, {3: b"oops"}), "other.jsonl")
    out = run_ftkit("validate", str(train), "--validation-file", str(other)).stdout
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
    done = run_ftkit(
        "validate",
        str(write(rows)),
        "--grader",
        str(grader),
        "--select",
        "rft-grader-field",
        "--output",
        "json",
    )
    findings = json.loads(done.stdout)["files"][0]["findings"]
    assert [(finding["line"], "item.a.b" in finding["message"]) for finding in findings] == [
        (4, True)
    ]


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


def test_a_folder_is_searched_for_files(tmp_path: Path) -> None:
    data = b"\n".join(chat_lines(12))
    for name in (
        "b.jsonl",
        "sub/a.jsonl",
        "sub/deep/c.jsonl",
        "notes.txt",
        "all.json",
        ".hidden.jsonl",
        ".git/d.jsonl",
        "sub/node_modules/e.jsonl",
    ):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "data" / "z.jsonl.gz").write_bytes(gzip.compress(data))
    (tmp_path / "data" / "sub" / "loop").symlink_to(tmp_path / "data")

    def files(*arguments: str) -> list[str]:
        done = run_ftkit("validate", *arguments, "--output", "json")
        return [file["file"] for file in json.loads(done.stdout)["files"]]

    below = ["data/b.jsonl", "data/z.jsonl.gz", "data/sub/a.jsonl", "data/sub/deep/c.jsonl"]
    assert files("data") == below
    assert files("data", "data/b.jsonl", "data/notes.txt") == [*below, "data/notes.txt"]
    assert files("data/.git") == ["data/.git/d.jsonl"]
    assert files("data/sub/node_modules/e.jsonl") == ["data/sub/node_modules/e.jsonl"]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_a_folder_is_checked_without_what_is_not_a_file(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    make(tmp_path / "data" / "a.jsonl")
    alone = run_ftkit("validate", "data")
    warning = "ftkit: data/a.jsonl is skipped: it is not a regular file\n"
    assert alone.returncode == 2
    assert alone.stderr.startswith(f"{warning}ftkit: data is a folder without .jsonl")
    (tmp_path / "data" / "b.jsonl").write_bytes(b"\n".join(chat_lines(12)))
    done = run_ftkit("validate", "data", "--output", "json")
    assert (done.returncode, done.stderr) == (0, warning)
    assert [file["file"] for file in json.loads(done.stdout)["files"]] == ["data/b.jsonl"]


def test_statistics_count_the_findings_of_each_rule(write: Write) -> None:
    one = write(chat_lines(60, {3: b"oops", 5: b"oops"}))
    other = write(chat_lines(60, {3: b"oops", 7: b'{"messages": []}'}), "other.jsonl")
    arguments = ("validate", str(one), str(other), "--statistics", "--max-findings", "1")
    done = run_ftkit(*arguments)
    assert done.returncode == 1
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["code", "rule", "severity", "findings", "files"],
        ["FT120", "json-syntax", "error", "3", "2"],
        ["FT303", "messages-empty", "error", "1", "1"],
    ]
    counts = json.loads(run_ftkit(*arguments, "--output", "json").stdout)
    assert (counts["ok"], counts["files"]) == (False, 2)
    assert counts["statistics"][0] == {
        "code": "FT120",
        "rule": "json-syntax",
        "severity": "error",
        "count": 3,
        "files": 2,
    }
    clean = run_ftkit("validate", MARV, "--statistics", "--ignore", "examples-few")
    assert clean.stdout == "No findings in 1 file.\n"


def test_statistics_have_the_severity_of_the_findings(write: Write) -> None:
    shared = [chat_example(number) for number in range(50)]
    for number, example in enumerate(shared):
        example["messages"][0]["content"] = f"Prompt {number % 5}"
    lines = [json.dumps(example).encode() for example in shared]
    by_design = write(lines)
    conflict = write([*chat_lines(60), lines[0], lines[5]], "conflict.jsonl")
    done = run_ftkit(
        *("validate", str(by_design), str(conflict)),
        *("--statistics", "--select", "duplicate-conflict", "--output", "json"),
    )
    rows = json.loads(done.stdout)["statistics"]
    assert [(row["severity"], row["count"], row["files"]) for row in rows] == [
        ("info", 1, 1),
        ("warning", 1, 1),
    ]
