"""Tokens of images."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.catalog import load_catalog
from ftkit.dataset.types import ImageUrl
from ftkit.tokens.images import ASSUMED, image_tokens, size


def png(width: int, height: int) -> str:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )
    return "data:image/png;base64," + base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("family", "width", "height", "detail", "tokens"),
    [
        ("tiles", 1024, 1024, "high", 765),
        ("tiles", 2048, 4096, "high", 1105),
        ("tiles", 4096, 8192, "low", 85),
        ("tiles", 512, 512, "auto", 255),
        ("tiles-mini", 1024, 1024, "high", 25_501),
        ("patches-mini", 1024, 1024, "high", 1659),
        ("patches-mini", 1800, 2400, "high", 2353),
        ("patches-nano", 32, 32, "high", 3),
    ],
)
def test_an_image_costs_what_its_family_says(
    family: str, width: int, height: int, detail: Any, tokens: int
) -> None:
    image = ImageUrl(png(width, height), detail)
    assert size(image.url) == (width, height)
    assert image_tokens(image, load_catalog().images[family]) == tokens


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "data:image/png;base64,AAAA",
        "data:image/png;base64,!",
        "data:,",
        "",
    ],
)
def test_an_image_that_cannot_be_seen_has_the_size_that_is_told(url: str) -> None:
    assert size(url) == ASSUMED


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_an_image_never_costs_more_than_its_family_allows(width: int, height: int) -> None:
    image = ImageUrl(png(width, height), "high")
    assert 0 < image_tokens(image, load_catalog().images["patches-mini"]) <= 1536 * 1.62 + 1
    assert 255 <= image_tokens(image, load_catalog().images["tiles"]) <= 85 + 170 * 8
