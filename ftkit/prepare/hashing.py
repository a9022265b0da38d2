"""Hashes of the content of rows, by which rows are chosen and ordered."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from ftkit.dataset.canonical import canonical_form

HASHES = 1 << 64
"""Number of possible hashes."""


def content_hash(value: Any, salt: str = "") -> int:
    """Return a number from 0 to `HASHES` - 1, evenly distributed and the same for equal values.

    Args:
        value: A JSON value. The order of its keys and its spelling make no difference.
        salt: Text that selects other numbers.
    """
    digest = blake2b(canonical_form(value), digest_size=8, person=b"ftkit", key=_key(salt))
    return int.from_bytes(digest.digest(), "big")


def _key(salt: str) -> bytes:
    return blake2b(salt.encode("utf-8", "surrogatepass")).digest() if salt else b""
