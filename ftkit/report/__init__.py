"""Reports: pure functions from values to text. What stands here is imported when it is asked for: rules take long to import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftkit.report.renderers import (
        RENDERERS,
        render_github,
        render_json,
        render_sarif,
        render_text,
    )

__all__ = ["RENDERERS", "render_github", "render_json", "render_sarif", "render_text"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ftkit.report' has no attribute {name!r}")
    from ftkit.report import renderers

    return getattr(renderers, name)
