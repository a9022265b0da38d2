"""Validation reports as a JSON object with stable keys."""

from __future__ import annotations

import json
from typing import Any

from ftkit._version import __version__
from ftkit.summary import FileReport, Finding, Report


def render_json(report: Report) -> str:
    """Render a report as JSON; see `docs/output.md` for the keys."""
    files = [file_as_dict(file) for file in report.files]
    head = {
        "ftkit": __version__,
        "ok": report.ok,
        "provider": report.provider,
        "model": report.model,
    }
    return json.dumps({**head, "files": files}, indent=2, ensure_ascii=False) + "\n"


def file_as_dict(file: FileReport) -> dict[str, Any]:
    """Return the JSON object of a file."""
    return {
        "file": file.file,
        "format": file.format,
        "lines": file.lines,
        "examples": file.examples,
        "bytes": file.bytes,
        "errors": file.errors,
        "warnings": file.warnings,
        "infos": file.infos,
        "counts": file.counts,
        "findings": [finding_as_dict(finding) for finding in file.findings],
    }


def finding_as_dict(finding: Finding) -> dict[str, Any]:
    """Return the JSON object of a finding. `line` and `column` are null if they are unknown."""
    return {
        "code": finding.code,
        "rule": finding.rule,
        "severity": finding.severity,
        "line": finding.line or None,
        "column": finding.column or None,
        "path": finding.path,
        "message": finding.message,
    }
