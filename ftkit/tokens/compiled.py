"""Optional token counter in C, which loads and counts sooner than the tokenizers it replaces.

A text is split and merged as in `byte_pairs`. Without the extension, the counters in `encodings`
give the same counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from ftkit.dataset.plain import VARIABLE


def is_compiled() -> bool:
    """Return True if the extension was compiled and is not turned off."""
    if os.environ.get(VARIABLE):
        return False
    try:
        import ftkit.tokens._pairs  # noqa: F401
    except ImportError:
        return False
    return True


class CompiledCounter:
    """Counts the tokens of texts, or returns -1 for those that tiktoken has to count.

    These have one of the `encodings.CASE_FOLDED` characters, or one that is newer than the tables.

    Args:
        vocabulary: The lines of a `.tiktoken` file: a token in Base64, and its rank.
        splits_case: True to split words like o200k_base: before most capital letters.
    """

    def __init__(self, vocabulary: bytes, splits_case: bool) -> None:
        from ftkit.tokens import _pairs

        self._extension = _pairs
        self._vocabulary = _pairs.load(vocabulary, splits_case)

    def count(self, texts: Iterable[str]) -> list[int]:
        """Return the number of tokens of each text, or -1."""
        return self._extension.count_texts(self._vocabulary, tuple(texts))

    def count_tagged(self, parts: Iterable[bytes]) -> list[int]:
        """Return the number of tokens of each text in tagged texts, as in `PlainLine`, or -1."""
        return self._extension.count_tagged(self._vocabulary, tuple(parts))

    def count_over(self, tagged: bytes, limit: int, overhead: int) -> list[int] | None:
        """Return the counts of tagged texts, or None if they have at most `limit` tokens.

        A token has at least one byte, so most texts within the limit are counted in part only.

        Args:
            tagged: The texts, as in `PlainLine`.
            limit: Maximum number of tokens.
            overhead: Tokens of a message beside its text, at most as many as its tag has bytes.
        """
        return self._extension.count_over(self._vocabulary, tagged, limit, overhead)
