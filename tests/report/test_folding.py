"""Repeated findings are folded in text, and counted exactly everywhere."""

from __future__ import annotations

import functools
import itertools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ftkit import Report, validate
from ftkit.report import RENDERERS, render_text
from ftkit.summary import ALL, MESSAGES, PLACES, Finding, Lines, Summary
from ftkit.validation.repetition import RepeatCounter
from support.examples import chat_example, chat_lines
from support.fixture_types import Write
from support.paths import DATA, GOLDEN


def shown(report: Report) -> list[str]:
    """The findings as text, without colours and the name of the file."""
    text = click.unstyle(render_text(report, quiet=True)).replace(report.files[0].file, "FILE")
    return text.splitlines()


CASES: dict[str, tuple[int, Callable[[int], Any], str]] = {
    "a key on all lines": (
        60,
        lambda number: chat_example(number, id=number),
        "FILE:1: error FT203 example-unknown-key: unknown key 'id'; remove it  $.id"
        " (on all 60 lines: 1, 2, 3, …)",
    ),
    "a key on a quarter of the lines": (
        60,
        lambda number: chat_example(number, **({"id": 1} if number % 4 == 1 else {})),
        "FILE:1: error FT203 example-unknown-key: unknown key 'id'; remove it  $.id"
        " (on 15 of 60 lines: 1, 5, 9, …)",
    ),
    "a key on few lines, again and again": (
        200,
        lambda number: chat_example(number, **({"id": 1} if number % 10 == 1 else {})),
        "FILE:1: error FT203 example-unknown-key: unknown key 'id'; remove it  $.id"
        " (on 20 of 200 lines: 1, 11, 21, …)",
    ),
    "different keys on all lines": (
        60,
        lambda number: chat_example(number, **{f"key{number}": 1}),
        "FILE:1: error FT203 example-unknown-key: unknown key 'key1'; remove it  $.key1"
        " (the first of 60 findings on all 60 lines: 1, 2, 3, …)",
    ),
    "a key several times a line": (
        60,
        lambda number: {
            "messages": [
                {"role": role, "content": f"{number} {role} {turn}", "ts": 1}
                for turn in range(3)
                for role in ("user", "assistant")
            ][1::2]
        },
        "FILE:1: error FT305 message-unknown-key: an assistant message has no key 'ts'; remove it"
        "  $.messages[0].ts (180 times on all 60 lines: 1, 2, 3, …)",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_repeats_is_one_line_of_text(case: str, write: Write) -> None:
    count, make, expected = CASES[case]
    path = write([json.dumps(make(number)).encode() for number in range(1, count + 1)])
    rule = expected.split()[3].rstrip(":")
    assert shown(validate(path, select=[rule])) == [expected]


def test_other_findings_of_the_rule_are_shown_beside_a_fold(write: Write) -> None:
    lines = [chat_example(number, id=1) for number in range(60)]
    lines[6]["id2"] = 1
    path = write([json.dumps(line).encode() for line in lines])
    _, other = shown(validate(path, select=["example-unknown-key"]))
    assert other.startswith("FILE:7: error FT203 example-unknown-key: unknown key 'id2'")


def test_a_few_findings_in_a_small_file_are_shown_one_by_one(write: Write) -> None:
    path = write(chat_lines(12, {n: chat_example(n, id=1) for n in (2, 5, 7)}))
    lines = shown(validate(path, select=["example-unknown-key"]))
    assert [line.split(":")[1] for line in lines] == ["2", "5", "7"]


def test_findings_on_the_whole_file_are_folded_too(write: Write) -> None:
    path = write(chat_lines(20) * 3)
    (line,) = shown(validate(path, select=["duplicate-example"]))
    assert line.endswith("(the first of 40 findings on 40 of 60 lines: 21, 22, 23, …)")


@pytest.mark.parametrize(
    ("examples", "blank", "expected"),
    [(20, 100, "on 100 of 120 lines: 21, 22, 23, …"), (0, 1 << 21, "on all 2,097,152 lines: 1, ")],
)
def test_blank_lines_are_a_share_of_all_lines(
    examples: int, blank: int, expected: str, write: Write
) -> None:
    path = write(b"".join(line + b"\n" for line in chat_lines(examples)) + b"\n" * blank)
    (line,) = shown(validate(path, select=["line-blank", "line-blank-end"]))
    assert expected in line


def test_json_and_sarif_keep_each_finding(write: Write) -> None:
    path = write([json.dumps(chat_example(number, id=1)).encode() for number in range(60)])
    report = validate(path)
    file = json.loads(RENDERERS["json"](report))["files"][0]
    assert (file["errors"], file["counts"]["example-unknown-key"]) == (60, 60)
    assert len(file["findings"]) == 60
    assert len(json.loads(RENDERERS["sarif"](report))["runs"][0]["results"]) == 60


@pytest.mark.parametrize(
    "path", sorted((DATA / "repetition").iterdir()), ids=lambda path: path.stem
)
def test_files_with_repetition_are_reported_in_few_lines(path: Path) -> None:
    text = "".join(f"{line}\n" for line in shown(validate(path)))
    golden = GOLDEN / f"repetition-{path.stem}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, "utf-8")
    assert text == golden.read_text("utf-8")


FINDINGS = st.lists(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 80)), max_size=4), max_size=60
)
"""Rules and numbers of messages of the findings on each line."""


def summary_of(rows: Sequence[Sequence[tuple[str, int]]]) -> Summary:
    counter = RepeatCounter()
    for number, row in enumerate(rows, 1):
        for rule, message in sorted(row):
            counter.add(Finding("FT1", rule, "error", f"message {message}", number))
    return Summary(lines=len(rows), repeats=counter.repeats())


@given(FINDINGS, st.lists(st.integers(0, 60), max_size=3))
@example([[("a", number % 150)] for number in range(400)], [70, 130, 310])
def test_repetition_adds_up_exactly_over_any_parts(
    rows: list[list[tuple[str, int]]], cuts: list[int]
) -> None:
    whole = summary_of(rows)
    places = sorted({0, *(cut for cut in cuts if cut < len(rows)), len(rows)})
    parts = [summary_of(rows[start:end]) for start, end in itertools.pairwise(places)]
    assert functools.reduce(Summary.__add__, parts, Summary()).repeats == whole.repeats
    for rule, repeats in whole.repeats.items():
        assert len(repeats) <= MESSAGES + 1
        for message, repeat in repeats.items():
            found = [
                number
                for number, row in enumerate(rows, 1)
                for name, key in row
                if name == rule and message in (ALL, f"message {key}")
            ]
            lines = sorted(set(found))
            assert repeat.count == len(found)
            assert repeat.lines == Lines(len(lines), tuple(lines[:PLACES]))
            assert repeat.first.line == lines[0]
