"""Validation reports as SARIF 2.1.0, the format of code scanning services.

See https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html.
"""

from __future__ import annotations

import json
import os
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from ftkit._version import __version__
from ftkit.rules import RULES
from ftkit.summary import FileReport, Finding, Report

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"error": "error", "warning": "warning", "info": "note"}
"""SARIF level of each severity."""


def render_sarif(report: Report) -> str:
    """Render a report as one SARIF run with the rules that have findings."""
    rules = {name for file in report.files for name in file.counts}
    names = sorted(rules, key=lambda name: RULES[name].code)
    indices = {name: index for index, name in enumerate(names)}
    results = [
        _result(file, finding, indices[finding.rule])
        for file in report.files
        for finding in file.findings
    ]
    driver = {
        "name": "ftkit",
        "semanticVersion": __version__,
        "rules": [_rule(name) for name in names],
    }
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _rule(name: str) -> dict[str, Any]:
    rule = RULES[name]
    return {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.doc},
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
    }


def _uri(path: str) -> str:
    """Return the relative or absolute path of a file as a URI reference, percent-encoded."""
    return quote(os.fsencode(PurePath(path).as_posix()))


def _result(file: FileReport, finding: Finding, rule_index: int) -> dict[str, Any]:
    region = {"startLine": max(finding.line, 1)}
    if finding.column:
        region["startColumn"] = finding.column
    location: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": _uri(file.file)},
            "region": region,
        },
    }
    if finding.path != "$":
        location["logicalLocations"] = [{"fullyQualifiedName": finding.path}]
    return {
        "ruleId": finding.code,
        "ruleIndex": rule_index,
        "level": LEVELS[finding.severity],
        "message": {"text": finding.message},
        "locations": [location],
    }
