"""Token counts by the published formula, and random histograms."""

from __future__ import annotations

import datetime
from typing import Any

from hypothesis import strategies as st

from ftkit.tokens.encodings import tiktoken_encoding
from ftkit.tokens.stats import Histogram

TODAY = datetime.date(2026, 11, 20)


def count_by_hand(messages: list[dict[str, Any]], encoding: str = "o200k_base") -> int:
    """The formula, written down once more."""
    count = tiktoken_encoding(encoding).encode_ordinary
    return 1 + sum(
        3 + len(count(message["role"])) + len(count(message["content"])) for message in messages
    )


histograms: st.SearchStrategy[Histogram] = st.dictionaries(
    st.integers(0, 300), st.integers(1, 4), max_size=12
)
