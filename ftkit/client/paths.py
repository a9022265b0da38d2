"""Ids as segments of URL paths."""

from __future__ import annotations

from urllib.parse import quote

from ftkit.errors import UsageError


def path_segment(id: str) -> str:
    """Quote an id as one segment of a URL path; a segment of dots would name another path."""
    if not id:
        raise UsageError("the id must not be empty")
    if not id.strip("."):
        return id.replace(".", "%2E")
    return quote(id, safe="", errors="surrogatepass")


def sdk_segment(id: str) -> str:
    """Quote an id for a method of the SDK, which quotes it itself in newer releases."""
    try:
        from openai._utils import path_template  # noqa: F401
    except ImportError:
        return path_segment(id)
    path_segment(id)
    return id
