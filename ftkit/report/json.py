"""The report as one JSON object, with stable keys."""

from __future__ import annotations

import json
from typing import Any

from ftkit._version import __version__
from ftkit.summary import FileReport, Finding, Report


def render_json(report: Report) -> str:
    """See `docs/output.md` for the keys. `line` and `column` are null for what has none."""
    files = [file_as_dict(file) for file in report.files]
    head = {
        "ftkit": __version__,
        "ok": report.ok,
        "provider": report.provider,
        "model": report.model,
    }
    return json.dumps({**head, "files": files}, indent=2, ensure_ascii=False) + "\n"


def file_as_dict(file: FileReport) -> dict[str, Any]:
    """One file of the report."""
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
    """One finding of the report."""
    return {
        "code": finding.code,
        "rule": finding.rule,
        "severity": finding.severity,
        "line": finding.line or None,
        "column": finding.column or None,
        "path": finding.path,
        "message": finding.message,
    }
