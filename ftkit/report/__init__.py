"""Reports: pure functions from values to text, JSON, GitHub annotations, SARIF and HTML.

The renderers of validation reports are imported on first use, because they import the rules, which
is slow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftkit.report.renderers import RENDERERS
    from ftkit.report.text import render_text

__all__ = ["RENDERERS", "render_text"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ftkit.report' has no attribute {name!r}")
    from ftkit.report import renderers, text

    return renderers.RENDERERS if name == "RENDERERS" else text.render_text
