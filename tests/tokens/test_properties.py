"""Properties of token counting that hold for any text."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit.dataset.formats import FORMATS
from ftkit.tokens.byte_pairs import MAX_MERGED, MAX_WORD
from ftkit.tokens.counting import count, may_exceed
from ftkit.tokens.encodings import (
    CASE_FOLDED,
    CHUNK,
    TokenCounter,
    chunks,
    has_fastokens,
    load_fastokens,
    pair_counter,
    tiktoken_encoding,
)
from support.property_tests import example_count

WORDS = [
    "I'LL",
    "don't",
    "antidisestablishmentarianism",
    "qzxvkj",
    " ",
    "  \n",
    "\r\n",
    "\t",
    "123456",
    "_init__(self):",
    "naïve",
    "Straße",
    "東京タワー",
    "مرحبا",
    "नमस्ते",
    "ÅÄÖåäö",
    "://",
    "<|endoftext|>",
]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200) | st.text(
    "aſKK<|>' \n9é漢", max_size=60
)


@pytest.mark.skipif(not has_fastokens(), reason="fastokens has no wheels for this platform")
@pytest.mark.parametrize("encoding", ["cl100k_base", "o200k_base"])
def test_both_tokenizers_count_alike(encoding: str) -> None:
    counter = TokenCounter(encoding, load_fastokens(encoding))

    @given(st.lists(texts, min_size=1, max_size=5))
    @settings(max_examples=example_count(200))
    def alike(some: list[str]) -> None:
        assert counter.count(some) == [
            len(tiktoken_encoding(encoding).encode_ordinary(text)) for text in some
        ]

    alike()


@pytest.mark.parametrize("encoding", ["cl100k_base", "o200k_base"])
def test_python_counts_like_tiktoken(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftkit.tokens.byte_pairs.MAX_MERGED", sys.maxsize)
    words = st.lists(st.sampled_from(WORDS), max_size=12).map("".join)
    counter = pair_counter(encoding)

    @given(texts | words)
    @settings(max_examples=example_count(200))
    def alike(text: str) -> None:
        tokens = counter.count(text)
        if set(text).isdisjoint(CASE_FOLDED) and tokens is not None:
            assert tokens == len(tiktoken_encoding(encoding).encode_ordinary(text))

    alike()
    pair_counter.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cl100k_base", "o200k_base"])
def test_python_splits_at_characters_like_tiktoken(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftkit.tokens.byte_pairs.MAX_MERGED", sys.maxsize)
    counter, encode = pair_counter(encoding), tiktoken_encoding(encoding).encode_ordinary
    unlike = []
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        category = unicodedata.category(character)
        if category in ("Cn", "Co", "Cs") or character in CASE_FOLDED:
            continue
        if category == "Lo" and code % 16:  # many and alike: Chinese, Korean
            continue
        text = f"a{character}B {character}1 {character}\n{character}{character}'S"
        if counter.count(text) != len(encode(text)):
            unlike.append(character)
    assert unlike == []
    pair_counter.cache_clear()


def test_python_counts_most_texts() -> None:
    pair_counter.cache_clear()
    assert None not in map(pair_counter("o200k_base").count, ["".join(WORDS), "日本語", "🙂" * 9])


def test_python_leaves_much_text_without_spaces_to_tiktoken() -> None:
    counter = pair_counter("o200k_base")
    text = ",".join(f"q{number:b}z" for number in range(9000)).replace("0", "x").replace("1", "j")
    assert (counter.count(text), counter.merged - MAX_MERGED < MAX_WORD) == (None, True)
    assert TokenCounter("o200k_base").count([text[:200_000]])[0] > 10_000
    pair_counter.cache_clear()


@given(
    st.lists(st.sampled_from(["word ", "x", "\n", "漢", "a b ", "    "]), max_size=80).map("".join),
    st.integers(5, 60),
)
def test_the_chunks_of_a_text_join_to_the_text_and_count_alike(text: str, size: int) -> None:
    cut = list(chunks(text, size))
    assert "".join(cut) == text
    if (
        all(chunk.isascii() and " " in chunk for chunk in cut[:-1])
        and len(cut) > 1
        and len(max(cut, key=len)) < 2 * size
    ):
        whole = len(tiktoken_encoding("cl100k_base").encode_ordinary(text))
        assert (
            sum(len(tiktoken_encoding("cl100k_base").encode_ordinary(chunk)) for chunk in cut)
            == whole
        )


def test_a_chunk_is_cut_between_words() -> None:
    text = "some words " * CHUNK
    assert all(chunk.endswith(("words", "some")) for chunk in list(chunks(text))[:-1])


@given(st.lists(texts, min_size=1, max_size=4), st.integers(1, 300))
def test_an_example_said_to_fit_does_fit(some: list[str], limit: int) -> None:
    value = {"messages": [{"role": "user", "content": text} for text in some]}
    example = FORMATS["chat"].build(value)
    tokens = count([example], FORMATS["chat"], "cl100k_base")[0].tokens
    assert may_exceed(example, FORMATS["chat"], limit, "cl100k_base") or tokens <= limit
