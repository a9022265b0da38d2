"""Texts of durations."""

from __future__ import annotations

import pytest

from ftkit._text import format_duration, format_size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7_500, "2 h 5 min"),
        (7_201, "2 h"),
        (100_000, "1 d 3 h"),
        (-1, "0 s"),
    ],
)
def test_durations_are_shown_with_their_two_largest_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1,023 bytes"),
        (1024, "1.0 KiB"),
        (150 << 20, "150 MiB"),
        (3 << 40, "3.0 TiB"),
    ],
)
def test_sizes_have_binary_units(size: int, text: str) -> None:
    assert format_size(size) == text
