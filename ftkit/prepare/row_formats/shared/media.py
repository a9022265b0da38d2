"""Images in rows: `data:` URLs, and the type that the name of an image tells."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_DATA_URL = re.compile(r"data:([^;,]+);base64,", re.IGNORECASE)

_TYPES = {
    "gif": "image/gif",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
}
"""Types of images by extension: those that OpenAI's vision models read."""


def data_url(type: str, data: str) -> str:
    """Return the `data:` URL of data in base64."""
    return f"data:{type};base64,{data}"


def split_data_url(url: str) -> tuple[str, str] | None:
    """Return type and data of a `data:` URL in base64, or None for another URL."""
    match = _DATA_URL.match(url)
    return (match[1], url[match.end() :]) if match else None


def media_type(url: str) -> str | None:
    """Return the type of an image by the extension of its URL, or None."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return None
    return _TYPES.get(path.rpartition(".")[2].lower())
