"""Every file of the corpus gets the verdict, the rules and the lines that it should."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ftkit import validate
from support.paths import CASES

ALL: list[dict[str, Any]] = json.loads((CASES / "cases.json").read_text("utf-8"))["cases"]


@pytest.mark.parametrize("case", ALL, ids=lambda case: str(case["name"]))
def test_the_case_has_the_verdict_the_rules_and_the_lines_expected(case: dict[str, Any]) -> None:
    report = validate(CASES / case["file"], format=case.get("run_as")).files[0]
    assert (report.errors == 0) == (case["expected"] == "valid")
    expected = {rule["rule"]: rule for rule in case["rules"]}
    for name, rule in expected.items():
        findings = [finding for finding in report.findings if finding.rule == name]
        assert findings
        assert {finding.severity for finding in findings} == {rule["severity"]}
        lines = sorted({finding.line for finding in findings})
        # A file of another known shape gets one finding for all of its lines.
        assert lines == (rule["lines"] or [0]) or (name == "format-unknown" and lines == [0])
    further = [
        finding
        for finding in report.findings
        if finding.severity == "error" and finding.rule not in expected
    ]
    assert further == []
