"""One pure function for each output format of a `Report`. The keys are the choices of `--output`."""

from collections.abc import Callable

from ftkit.report.github import render_github
from ftkit.report.json import render_json
from ftkit.report.sarif import render_sarif
from ftkit.report.text import render_text
from ftkit.summary import Report

RENDERERS: dict[str, Callable[[Report], str]] = {
    "text": render_text,
    "json": render_json,
    "github": render_github,
    "sarif": render_sarif,
}

__all__ = ["RENDERERS", "render_github", "render_json", "render_sarif", "render_text"]
