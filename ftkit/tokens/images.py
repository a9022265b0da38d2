"""The tokens of an image, by its size, its detail and the family of the model; the figures are in `catalog/images.toml`."""

from __future__ import annotations

import base64
import binascii
import io
import math
import struct

from ftkit.catalog import ImageCost
from ftkit.dataset.types import ImageUrl

ASSUMED = (1024, 1024)
"""Pixels of an image that ftkit cannot see: one behind a URL, which it does not fetch, or one that is damaged."""

TILE, FIT, SHORT = 512, 2048, 768
PATCH = 32


def image_tokens(image: ImageUrl, cost: ImageCost) -> int:
    """The tokens that the image costs at models which count that way."""
    if cost.kind == "tiles":
        return (
            cost.base if image.detail == "low" else cost.base + cost.each * _tiles(*size(image.url))
        )
    return math.ceil(cost.factor * _patches(*size(image.url), cost.most))


def size(url: str) -> tuple[int, int]:
    """Width and height of the image in a `data:` URL, in pixels; `ASSUMED` where they cannot be told."""
    if not url.startswith("data:"):
        return ASSUMED
    import imagesize

    try:
        data = base64.b64decode(url.partition(",")[2])
        width, height = imagesize.get(io.BytesIO(data))
    except (binascii.Error, ValueError, struct.error, OSError):
        return ASSUMED
    return (int(width), int(height)) if width > 0 and height > 0 else ASSUMED


def _tiles(width: int, height: int) -> int:
    scale = min(1.0, FIT / max(width, height))
    scale *= min(1.0, SHORT / (min(width, height) * scale))
    return math.ceil(width * scale / TILE) * math.ceil(height * scale / TILE)


def _patches(width: int, height: int, most: int) -> int:
    if math.ceil(width / PATCH) * math.ceil(height / PATCH) <= most:
        return math.ceil(width / PATCH) * math.ceil(height / PATCH)
    scale = math.sqrt(PATCH**2 * most / (width * height))
    across, down = width * scale / PATCH, height * scale / PATCH
    scale *= (
        min(math.floor(across) / across, math.floor(down) / down) if min(across, down) >= 1 else 1
    )
    return min(
        most,
        math.ceil(round(width * scale / PATCH, 6)) * math.ceil(round(height * scale / PATCH, 6)),
    )
