"""Output formats of a validation report.

To add an output format, write a module with its renderer and add an entry to `RENDERERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ftkit.report.github import render_github
from ftkit.report.gitlab import render_gitlab
from ftkit.report.json import render_json
from ftkit.report.junit import render_junit
from ftkit.report.sarif import render_sarif
from ftkit.report.text import render_text
from ftkit.summary import Report

Renderer: TypeAlias = Callable[[Report], str]
"""Pure function from a report to the text of an output format."""

RENDERERS: dict[str, Renderer] = {
    "text": render_text,
    "json": render_json,
    "github": render_github,
    "sarif": render_sarif,
    "gitlab": render_gitlab,
    "junit": render_junit,
}
"""Renderers by output format. The keys are the choices of `--output`."""
