"""The commands that list rules, print schemas and explain messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ftkit.catalog import known_messages
from ftkit.cli import cli
from ftkit.rules import RULES
from ftkit.validation.provider_messages import interpret
from support.commands import run_ftkit
from support.examples import chat_example, chat_lines
from support.fixture_types import Write
from support.paths import MARV, SAMPLES


def test_rules_are_listed_and_explained() -> None:
    listed = run_ftkit("rules").stdout.splitlines()
    assert any(line.startswith("FT120  json-syntax") for line in listed)
    assert len(json.loads(run_ftkit("rules", "--output", "json").stdout)) == len(listed)
    shown = run_ftkit("rule", "json-syntax").stdout
    parts = (
        "json-syntax (FT120, error)",
        "single quotes",
        "Bad:",
        "Good:",
        "Evidence:",
        "https://",
    )
    assert all(part in shown for part in parts)
    rule = json.loads(run_ftkit("rule", "FT120", "--output", "json").stdout)
    assert rule["rule"] == "json-syntax"
    assert json.loads(rule["good"])["messages"]
    assert rule["sources"][1] == {
        "name": "RFC 8259, JSON",
        "url": "https://www.rfc-editor.org/rfc/rfc8259",
        "date": "",
        "detail": "",
    }


def test_a_long_sample_is_shown_by_its_first_and_last_lines() -> None:
    shown = run_ftkit("rule", "duplicate-example").stdout
    bad, good = (shown.partition(label)[2].splitlines()[1:6] for label in ("Bad:", "Good:"))
    assert bad[0] == bad[4]
    assert bad[2].strip() == "… (57 more lines)"
    assert good[0] != good[4]


def test_a_schema_is_json_schema_that_the_samples_satisfy() -> None:
    import jsonschema

    schema = json.loads(run_ftkit("schema", "chat").stdout)
    for line in (SAMPLES / "tool-calls.jsonl").read_text("utf-8").splitlines():
        jsonschema.validate(json.loads(line), schema)


@pytest.mark.parametrize("text", ["Example {} is bad", "Flagged lines: 4, {}"])
def test_a_number_that_no_line_has_is_not_taken_for_one(text: str) -> None:
    meaning = interpret(text.format("9" * 5000))
    assert meaning.lines == ((4,) if "4" in text else ())
    done = CliRunner().invoke(cli, ["explain", text.format("9" * 5000)])
    assert done.exception is None


def test_a_message_is_explained_with_the_lines_of_the_file() -> None:
    path = str(SAMPLES / "bad" / "json-syntax.jsonl")
    done = run_ftkit(
        "explain", "Example 5 cannot be parsed. Error: line contains invalid json", path
    )
    assert done.returncode == 0
    assert f"{path}:5: FT120 json-syntax" in done.stdout
    assert "The message names line 5." in done.stdout


def test_findings_that_repeat_are_folded_but_for_the_line_that_the_message_names(
    write: Write,
) -> None:
    path = write([json.dumps(chat_example(number, id=number)).encode() for number in range(40)])
    done = run_ftkit("explain", 'Example 7 contains an extra "id"', str(path))
    assert done.stdout.splitlines()[-2:] == [
        f"{path}:7: FT203 example-unknown-key: unknown key 'id'; remove it",
        f"{path}:1: FT203 example-unknown-key: unknown key 'id'; remove it"
        " (on all 40 lines: 1, 2, 3, …)",
    ]


def test_a_message_about_moderation_names_its_lines() -> None:
    shown = json.loads(
        run_ftkit(
            "explain", "failed moderation safety checks. Flagged lines: 4, 13", "--output", "json"
        ).stdout
    )
    assert (shown["rules"], shown["lines"], shown["known"]) == ([], [4, 13], True)
    assert "safety screening" in shown["other"][0]["means"]


def test_a_message_that_nobody_knows_ends_with_1() -> None:
    done = run_ftkit("explain", "the moon is made of cheese", MARV)
    assert done.returncode == 1
    assert "not known" in done.stdout
    assert "report the message in a new issue" in done.stdout


def test_an_unknown_message_lists_the_nearest_rules() -> None:
    message = "Invalid weight in row 7"
    done = run_ftkit("explain", message)
    assert done.returncode == 1
    assert "  FT340  weight-value  A weight is neither 0 nor 1." in done.stdout
    shown = json.loads(run_ftkit("explain", message, "--output", "json").stdout)
    assert shown["nearest"] == ["weight-value", "weight-type", "weight-role"]
    assert (shown["known"], shown["rules"]) == (False, [])


@pytest.mark.parametrize("name", known_messages())
def test_a_known_message_is_explained_with_its_source(name: str) -> None:
    known = known_messages()[name]
    for text in known.says:
        done = CliRunner().invoke(cli, ["explain", f"Error: {text}."])
        assert f"{known.means}\n{known.do}\nSource: {known.source} (checked " in done.output


@pytest.mark.parametrize(
    ("message", "rule"),
    [("Missing 'prompt' key on line 1", "FT902"), ("Unsupported role: human", "FT307")],
)
def test_a_rule_is_explained_with_its_source(message: str, rule: str) -> None:
    done = CliRunner().invoke(cli, ["explain", message])
    assert rule in done.output
    assert "Source: " in done.output
    assert "OpenAI API error message: reported by users" in done.output


@pytest.mark.parametrize(
    ("message", "is_known"),
    [
        ("413", True),
        ("413 Request", True),
        ("HTTP status: 413", True),
        ("Error code: 413 - {}", True),
        ("failed on example 413", False),
        ("Error code: 4130", False),
    ],
)
def test_a_status_is_recognised_where_it_is_one(message: str, is_known: bool) -> None:
    done = CliRunner().invoke(cli, ["explain", message])
    assert ("split the file" in done.output, "not known" in done.output) == (
        is_known,
        not is_known,
    )


def test_a_message_is_read_from_standard_input_even_if_a_terminal_wrapped_it() -> None:
    done = run_ftkit("explain", "-", input="{'message': 'No such\n  File object: file-1'}")
    assert (done.returncode, "`ftkit files list`" in done.stdout) == (0, True)
    done = run_ftkit("explain", "-", input=" \n")
    assert (done.returncode, done.stdout) == (2, "")
    assert "MESSAGE is empty" in done.stderr


def test_a_message_whose_fault_the_file_does_not_have_says_so() -> None:
    assert "has none of these errors" in run_ftkit("explain", "contains invalid json", MARV).stdout


@pytest.mark.parametrize(
    "command",
    [
        ("rule", "example-too-long"),
        ("explain", "Missing 'prompt' key on line 1"),
        ("explain", "training_not_available"),
        ("explain", "Invalid weight in row 7"),
    ],
    ids=" ".join,
)
def test_an_explanation_is_wrapped_on_a_terminal_only(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    piped = CliRunner().invoke(cli, command).output
    for module in ("rules", "explain"):
        monkeypatch.setattr(f"ftkit.cli.{module}.terminal_width", lambda: 80)
    shown = CliRunner().invoke(cli, command).output
    assert shown.split() == piped.split()
    assert all(len(line) <= 80 for line in shown.partition("Bad:")[0].splitlines())
    assert any(len(line) > 80 for line in piped.partition("Bad:")[0].splitlines())


def test_the_lines_of_a_rule_are_as_written_in_a_pipe() -> None:
    doc = RULES["example-too-long"].doc
    assert f"\n\n{doc}\n\nBad:" in CliRunner().invoke(cli, ["rule", "example-too-long"]).output


def test_an_unknown_message_that_names_a_line_shows_the_findings_on_the_whole_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("prompt,completion\nHi,Ho\n")
    done = run_ftkit("explain", "Line 5", str(path))
    assert f"names line 5.\n{path}: FT201 format-unknown: the file is CSV" in done.stdout


@pytest.mark.parametrize(
    ("message", "lines"), [("Line 5", "line 5"), ("line 5, line 6", "lines 5, 6")]
)
def test_lines_without_findings_are_stated(message: str, lines: str) -> None:
    done = run_ftkit("explain", message, MARV)
    assert done.stdout.endswith(f"{MARV} has no findings on {lines}.\n")


def test_a_line_behind_the_end_is_stated_and_no_unrelated_warning(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"\n".join(chat_lines(12)))
    done = run_ftkit("explain", "Line 99", str(path))
    assert done.stdout.endswith(f"names line 99.\n{path} has only 12 lines.\n")


def test_a_message_is_explained_with_a_file_on_standard_input() -> None:
    data = b"\n".join([*chat_lines(60), b"oops"])
    done = run_ftkit("explain", "contains invalid json", "-", input=data)
    assert (done.returncode, "\n-:61: FT120 json-syntax: " in done.stdout) == (0, True)
    both = run_ftkit("explain", "-", "-", input=data)
    assert both.returncode == 2
    assert both.stderr == "ftkit: only one of MESSAGE and FILE can be -, standard input\n"
