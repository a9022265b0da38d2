"""The reports, against golden files; `UPDATE_GOLDEN=1` writes them anew."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path

import click
import msgspec
import pytest

from ftkit import FileReport, Finding, Report, validate
from ftkit._text import excerpt, printable, ranges
from ftkit._version import __version__
from ftkit.report import RENDERERS, render_text
from ftkit.summary import first_per_rule
from support.paths import GOLDEN, ROOT


def odd_report() -> Report:
    """Findings with everything in them that needs escaping."""
    finding = Finding("FT120", "json-syntax", "error", "100 % odd:\n, \x1b[31m 'x'", 4, 7, "$.a[0]")
    findings = (
        Finding("FT211", "examples-few", "warning", "few"),
        finding,
        Finding("FT610", "image-remote", "info", "far", 9),
    )
    counts = {"json-syntax": 1, "examples-few": 1, "image-remote": 1}
    odd = FileReport("a:b,c.jsonl", "chat", 12, 11, 3400, 1, 1, 1, counts, findings)
    return Report(
        False,
        "openai",
        "gpt-3.5-turbo",
        (odd, FileReport("clean.jsonl", None, 0, 0, 0, 0, 0, 0, {}, ())),
    )


def sample_report() -> Report:
    os.chdir(ROOT)
    return validate(
        ["samples/marv.jsonl", "samples/bad/role-unknown.jsonl", "samples/bad/json-syntax.jsonl"]
    )


@pytest.mark.parametrize("name", RENDERERS)
@pytest.mark.parametrize("report", [odd_report, sample_report], ids=["odd", "samples"])
def test_the_output_is_the_golden_one(name: str, report: object) -> None:
    shown = RENDERERS[name](report()).replace(__version__, "VERSION")  # type: ignore[operator]
    path = GOLDEN / f"{report.__name__}.{name}"  # type: ignore[attr-defined]
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(shown, "utf-8")
    assert shown == path.read_text("utf-8")


def test_text_without_colour_is_the_same_text() -> None:
    assert "\x1b" not in click.unstyle(render_text(odd_report()))
    assert click.unstyle(render_text(odd_report(), quiet=True)).count("\n") == 3


def test_github_escapes_what_would_end_a_command() -> None:
    first, second, _ = RENDERERS["github"](odd_report()).splitlines()
    assert first.startswith("::warning file=a%3Ab%2Cc.jsonl,line=1,title=FT211 examples-few::")
    assert "100 %25 odd:%0A" in second


def test_sarif_has_a_line_for_everything_and_rules_that_exist() -> None:
    run = json.loads(RENDERERS["sarif"](odd_report()))["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        region = result["locations"][0]["physicalLocation"]["region"]
        assert region["startLine"] >= 1
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")


@pytest.mark.parametrize(
    ("numbers", "shown"), [([3], "3"), ([1, 2, 3, 7], "1-3, 7"), ([5, 5, 4], "4-5"), ([], "")]
)
def test_line_numbers_are_joined_to_runs(numbers: list[int], shown: str) -> None:
    assert ranges(numbers) == shown


def test_many_runs_are_cut() -> None:
    assert ranges(range(0, 100, 2), limit=3) == "0, 2, 4, …"


def test_control_characters_are_shown_and_not_sent_to_the_terminal() -> None:
    assert printable("a\x1b[31mb\u202e") == "a\\x1b[31mb\\u202e"


def test_data_is_quoted_on_one_line_and_cut() -> None:
    assert excerpt("a\nb") == "'a\\nb'"
    assert len(excerpt("x" * 1000)) < 210
    assert len(excerpt(["x" * 1000])) < 210
    assert excerpt(object()) == "<object>"


def test_the_first_of_each_rule_are_kept() -> None:
    findings = [Finding("C", rule, "error", "m", line) for line, rule in enumerate("aabab", 1)]
    assert [finding.line for finding in first_per_rule(findings, 2)] == [1, 2, 3, 5]


def test_junit_has_a_failure_for_each_finding_that_fails() -> None:
    root = ET.fromstring(RENDERERS["junit"](odd_report()))
    assert (root.get("tests"), root.get("failures")) == ("4", "1")
    assert [suite.get("name") for suite in root] == ["a:b,c.jsonl", "clean.jsonl"]
    (failure,) = root.iter("failure")
    assert failure.text == "a:b,c.jsonl:4:7: 100 % odd:\\n, \\x1b[31m 'x' ($.a[0])"
    strict = msgspec.structs.replace(odd_report(), fail_on="warning")
    assert ET.fromstring(RENDERERS["junit"](strict)).get("failures") == "2"


def test_junit_counts_the_findings_that_are_not_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("oops\n" * 20)
    report = validate(path, select=["json-syntax"], max_findings=5)
    root = ET.fromstring(RENDERERS["junit"](report))
    assert (root.get("tests"), root.get("failures")) == ("6", "6")
    assert [failure.text for failure in root.iter("failure")][-1] == "15 more findings"


def test_gitlab_fingerprints_are_distinct_and_survive_lines_above(tmp_path: Path) -> None:
    def fingerprints(text: str) -> list[str]:
        path = tmp_path / "a.jsonl"
        path.write_text(text)
        issues = json.loads(RENDERERS["gitlab"](validate(path, select=["messages-empty"])))
        return [issue["fingerprint"] for issue in issues]

    line = '{"messages": []}\n'
    one, other = fingerprints(line * 2)
    assert one != other
    good = '{"messages": [{"role": "user", "content": "a"}]}\n'
    assert fingerprints(good + line * 2) == [one, other]


def test_gitlab_paths_are_relative(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("oops\n")
    first, *_ = json.loads(RENDERERS["gitlab"](validate("./a.jsonl")))
    assert first["location"]["path"] == "a.jsonl"
