"""Rules on duplicates."""

from __future__ import annotations

import click
import pytest

from ftkit import validate
from ftkit.report import render_text
from support.fixture_types import Write


def chats(pairs: list[tuple[str, str]]) -> list[bytes]:
    line = (
        '{"messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "%s"}]}'
    )
    return [(line % pair).encode() for pair in pairs]


ONE_BY_ONE = [(f"Q{number % 50}", f"A{number}") for number in range(60)]
SHARED = [(f"Q{number % 31}", f"A{number}") for number in range(522)]
SHARED += [(f"Other {number}", f"B{number}") for number in range(58)]
LABELS = [(f"Q{number % 10}", ["yes", "no", "both"][number % 3]) for number in range(60)]
PAIRS = [(f"Q{number % 30}", f"A{number}") for number in range(60)]

CASES = {
    "prompts that are shared by design": (
        SHARED,
        "info",
        "522 of 580 examples share 31 prompts, with different answers: lines 32, 33, 34, …; "
        "fine if answers may vary",
    ),
    "labels that contradict each other": (
        LABELS,
        "warning",
        "60 of 60 examples share 10 prompts, with different answers: lines 11, 12, 13, …; "
        "keep one answer each if only one is right",
    ),
    "two answers to each prompt": (
        PAIRS,
        "warning",
        "60 of 60 examples share 30 prompts, with different answers: lines 31, 32, 33, …; "
        "keep one answer each if only one is right",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_conflicts_of_a_large_share_of_the_file_are_one_finding(case: str, write: Write) -> None:
    pairs, severity, message = CASES[case]
    report = validate(write(chats(pairs)), select=["duplicate-conflict"], fail_on="warning")
    file = report.files[0]
    (finding,) = file.findings
    assert (finding.severity, finding.line, finding.message) == (severity, 0, message)
    assert (file.counts, file.errors) == ({"duplicate-conflict": 1}, 0)
    assert (file.warnings, file.infos) == ((1, 0) if severity == "warning" else (0, 1))
    assert report.ok == (severity == "info")
    assert f"{severity} FT221 duplicate-conflict: " in click.unstyle(render_text(report))


def test_conflicts_of_a_small_share_are_found_line_by_line(write: Write) -> None:
    file = validate(write(chats(ONE_BY_ONE)), select=["duplicate-conflict"]).files[0]
    assert [finding.line for finding in file.findings] == list(range(51, 61))
    assert (file.counts, file.warnings) == ({"duplicate-conflict": 10}, 10)


@pytest.mark.parametrize("pairs", [ONE_BY_ONE, LABELS, [(f"Q{n}", "A") for n in range(20)]])
def test_files_of_any_size_are_compared_alike(
    pairs: list[tuple[str, str]], write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(chats([*pairs, pairs[0]]))
    few = validate(path)
    monkeypatch.setattr("ftkit.rules.fingerprints.MAX_WITHOUT_NUMPY", -1)
    assert validate(path) == few
