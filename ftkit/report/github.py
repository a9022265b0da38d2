"""Validation reports as GitHub Actions workflow commands, shown as annotations in pull requests.

See https://docs.github.com/actions/reference/workflow-commands-for-github-actions.
"""

from __future__ import annotations

from ftkit.summary import Finding, Report

LEVELS = {"error": "error", "warning": "warning", "info": "notice"}
"""Workflow command of each severity."""


def render_github(report: Report) -> str:
    """Render a report as one `::error file=...` line for each finding."""
    return "".join(
        _command(file.file, finding) for file in report.files for finding in file.findings
    )


def _command(file: str, finding: Finding) -> str:
    properties = [f"file={_property(file)}", f"line={finding.line or 1}"]
    if finding.column:
        properties.append(f"col={finding.column}")
    properties.append(f"title={_property(f'{finding.code} {finding.rule}')}")
    message = _data(_located(finding.path, finding.message))
    return f"::{LEVELS[finding.severity]} {','.join(properties)}::{message}\n"


def _located(path: str, message: str) -> str:
    return message if path == "$" else f"{message} ({path})"


def _data(text: str) -> str:
    """Escape the message of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escape the value of a property of a workflow command."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
