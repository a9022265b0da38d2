"""Image token costs, by size, detail and model family. The figures are in `catalog/images.toml`."""

from __future__ import annotations

import base64
import binascii
import io
import math
import struct

from ftkit.catalog import ImageCost
from ftkit.dataset.types import ImageUrl

ASSUMED = (1024, 1024)
"""Assumed width and height of an image that is behind a URL, which is not fetched, or damaged."""

MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"GIF8", b"BM")
"""First bytes of the images whose size is read: JPEG, PNG, WEBP, GIF and BMP.

imagesize takes quadratic time for a damaged image of some other formats, and no provider trains on
them.
"""

TILE = 512
"""Side of a tile in pixels."""
FIT = 2048
"""Longest side in pixels after the first scaling of the tile method."""
SHORT = 768
"""Shortest side in pixels after the second scaling of the tile method."""
PATCH = 32
"""Side of a patch in pixels."""


def image_tokens(image: ImageUrl, cost: ImageCost) -> int:
    """Return the number of tokens of an image."""
    if cost.kind == "patches":
        return math.ceil(cost.factor * _patches(*size(image.url), cost.most))
    if image.detail == "low":
        return cost.base
    return cost.base + cost.per_tile * _tiles(*size(image.url))


def size(url: str) -> tuple[int, int]:
    """Return the width and height in pixels of the image in a `data:` URL, or else `ASSUMED`."""
    if not url.startswith("data:"):
        return ASSUMED
    import imagesize

    try:
        data = base64.b64decode(url.partition(",")[2])
        if not data.startswith(MAGIC):
            return ASSUMED
        width, height = imagesize.get(io.BytesIO(data))
    except (binascii.Error, ValueError, struct.error, OSError):
        return ASSUMED
    return (int(width), int(height)) if width > 0 and height > 0 else ASSUMED


def _tiles(width: int, height: int) -> int:
    """Return the number of tiles: fit into `FIT`, shrink the short side to `SHORT`, then tile."""
    scale = min(1.0, FIT / max(width, height))
    scale *= min(1.0, SHORT / (min(width, height) * scale))
    return math.ceil(width * scale / TILE) * math.ceil(height * scale / TILE)


def _patches(width: int, height: int, limit: int) -> int:
    """Return the number of patches, after scaling the image down until `limit` patches cover it."""
    patches = math.ceil(width / PATCH) * math.ceil(height / PATCH)
    if patches <= limit:
        return patches
    scale = math.sqrt(PATCH**2 * limit / (width * height))
    columns, rows = width * scale / PATCH, height * scale / PATCH
    if min(columns, rows) >= 1:
        scale *= min(math.floor(columns) / columns, math.floor(rows) / rows)
    return min(
        limit,
        math.ceil(round(width * scale / PATCH, 6)) * math.ceil(round(height * scale / PATCH, 6)),
    )
