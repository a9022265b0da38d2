"""The report as workflow commands, which GitHub Actions shows beside the lines of a pull request."""

from __future__ import annotations

from ftkit.summary import Report

LEVELS = {"error": "error", "warning": "warning", "info": "notice"}


def render_github(report: Report) -> str:
    """One `::error file=...` line for each finding."""
    return "".join(
        f"::{LEVELS[finding.severity]} file={_property(file.file)},line={finding.line or 1}"
        + (f",col={finding.column}" if finding.column else "")
        + f",title={_property(f'{finding.code} {finding.rule}')}::{_data(_located(finding.path, finding.message))}\n"
        for file in report.files
        for finding in file.findings
    )


def _located(path: str, message: str) -> str:
    return message if path == "$" else f"{message} ({path})"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
