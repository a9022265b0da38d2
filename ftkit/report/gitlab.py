"""Validation reports as GitLab Code Quality reports, shown in merge requests.

See https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import PurePath
from typing import Any

from ftkit.summary import FileReport, Finding, Report

SEVERITIES = {"error": "major", "warning": "minor", "info": "info"}
"""GitLab severity of each severity."""


def render_gitlab(report: Report) -> str:
    """Render a report as a JSON array with an object for each finding."""
    seen: Counter[tuple[str, str, str]] = Counter()
    issues = [_issue(file, finding, seen) for file in report.files for finding in file.findings]
    return json.dumps(issues, indent=2, ensure_ascii=False) + "\n"


def _issue(
    file: FileReport, finding: Finding, seen: Counter[tuple[str, str, str]]
) -> dict[str, Any]:
    path = "" if finding.path == "$" else f" ({finding.path})"
    description = f"{finding.message}{path}"
    # Without the line, a finding keeps its fingerprint when lines are inserted above it.
    identity = (file.file, finding.rule, description)
    seen[identity] += 1
    text = "\n".join((*identity, str(seen[identity])))
    return {
        "description": description,
        "check_name": f"{finding.code} {finding.rule}",
        "fingerprint": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        "severity": SEVERITIES[finding.severity],
        "location": {
            "path": PurePath(file.file).as_posix(),  # which has no leading "./"
            "lines": {"begin": max(finding.line, 1)},
        },
    }
