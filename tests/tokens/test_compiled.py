"""The token counter in C agrees with tiktoken and with the counters that it replaces."""

from __future__ import annotations

import os
import sys
import unicodedata
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit.dataset.canonical import chat_parts
from ftkit.dataset.formats import FORMATS
from ftkit.errors import FtkitError
from ftkit.tokens import compiled, encodings
from ftkit.tokens.compiled import CompiledCounter, is_compiled
from ftkit.tokens.counting import count
from ftkit.tokens.encodings import (
    CASE_FOLDED,
    CHUNK,
    ENCODINGS,
    TokenCounter,
    load_compiled,
    tiktoken_encoding,
    vocabulary_path,
)
from support.character_classes import header
from support.portable_code import compile_portable
from support.property_tests import example_count

pytestmark = pytest.mark.skipif(
    not is_compiled() and not os.environ.get("FTKIT_REQUIRE_EXTENSION"),
    reason="the extension was not compiled",
)

CLASSES = Path(compiled.__file__).with_name("_classes.h")

PIECES = [
    *"aAsStTzZ'-_/.,1 \n\r\té漢ʰǅ٣。\u0301\u2003\x85\x0b",
    "I'LL",
    "don't",
    "camelCaseWord",
    "antidisestablishmentarianism",
    "qzxvkj",
    "  \n",
    "123456",
    "東京タワー",
    "नमस्ते",
    "<|endoftext|>",
]

texts = st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=100
)


@cache
def counter(encoding: str) -> CompiledCounter:
    return load_compiled(encoding)


def reference(encoding: str, text: str) -> int:
    return len(tiktoken_encoding(encoding).encode_ordinary(text))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_texts_have_as_many_tokens_as_with_tiktoken(encoding: str) -> None:
    @given(st.lists(texts, max_size=4))
    @settings(max_examples=example_count(600))
    def alike(some: list[str]) -> None:
        counts = counter(encoding).count(some)
        for text, tokens in zip(some, counts, strict=True):
            assert tokens in (-1, reference(encoding, text))
        assert TokenCounter(encoding, compiled=counter(encoding)).count(some) == [
            reference(encoding, text) for text in some
        ]

    alike()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * 127,
        "a" * 128,
        "a" * 129,
        "ab" * 3_000,
        "漢字" * 300,
        "ab漢" * 500,
        "qwrtpsdfg" * 100,
        " " * 5_000 + "x",
        "\n" + " " * 5_000 + "x",
        " " * 5_000 + "\n" + " " * 50,
        "A" * 3_000 + "漢" + "A" * 3_000,
        "=" * 1_000 + "\r\n/" * 10,
        "\u0301A" * 100 + "b",
        "x" + "\u0301" * 100,
    ],
)
def test_long_words_have_as_many_tokens_as_with_tiktoken(encoding: str, text: str) -> None:
    assert counter(encoding).count([text]) == [reference(encoding, text)]


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_texts_are_split_at_each_character_as_with_tiktoken(encoding: str) -> None:
    unlike = []
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Cs" or (category in ("Lo", "Co", "Cn") and code % 16):  # many and alike
            continue
        text = f"a{character}B {character}1 {character}\n{character}{character}'S"
        if counter(encoding).count([text])[0] not in (-1, reference(encoding, text)):
            unlike.append(character)
    assert unlike == []


@pytest.mark.slow
def test_the_code_for_other_compilers_counts_the_same(tmp_path: Path) -> None:
    portable = compile_portable("ftkit.tokens._pairs", tmp_path)
    vocabulary = vocabulary_path("o200k_base").read_bytes()
    loaded = portable.load(vocabulary, True)

    @given(texts | st.text("aB -é", max_size=100))
    @settings(max_examples=example_count(400))
    def alike(text: str) -> None:
        assert portable.count_texts(loaded, (text,)) == counter("o200k_base").count([text])

    alike()


@pytest.mark.parametrize("character", [*CASE_FOLDED, "\u0378", "\U000e0fff"])
def test_characters_that_are_split_in_another_way_are_left_to_tiktoken(character: str) -> None:
    text = f"it'{character} so"
    assert counter("cl100k_base").count(["so", text]) == [1, -1]
    expected = [1, reference("cl100k_base", text)]
    assert TokenCounter("cl100k_base", compiled=counter("cl100k_base")).count(["so", text]) == (
        expected
    )


@pytest.mark.skipif(unicodedata.unidata_version != "14.0.0", reason="another edition of Unicode")
def test_the_classes_of_characters_are_up_to_date() -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        CLASSES.write_text(header())
    assert CLASSES.read_text() == header()


messages = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["system", "user", "assistant"]),
    texts,
)


@given(st.lists(messages, min_size=1, max_size=4), st.integers(1, 150))
def test_only_lines_over_the_limit_are_counted_to_their_end(
    some: list[dict[str, str]], limit: int
) -> None:
    example = FORMATS["chat"].build({"messages": some})
    parts = chat_parts(example)
    token_counter = TokenCounter("cl100k_base", compiled=counter("cl100k_base"))
    tokens = count([example], FORMATS["chat"], "cl100k_base")[0].tokens
    contents = [message["content"] for message in some]
    assert token_counter.count_tagged(parts) == token_counter.count(contents)
    counts = token_counter.count_over(b"".join(parts), limit)
    if tokens > limit:
        assert counts == token_counter.count(contents)
    elif "".join(contents).isascii():
        assert counts is None


def test_texts_of_more_than_a_chunk_are_counted_in_chunks() -> None:
    text = "some words " * (CHUNK // 8)
    token_counter = TokenCounter("cl100k_base", compiled=counter("cl100k_base"))
    assert token_counter.count([text, "x"]) == [reference("cl100k_base", text), 1]
    assert token_counter.count_tagged([f"{text}\xff".encode("latin-1") + b"user\xff"]) == [
        reference("cl100k_base", text)
    ]


@pytest.mark.parametrize(
    "vocabulary",
    [b"YQ", b"YQ== 1", b"YQ== x\n", b"YQ==\n", b" 1\n", b"!\n", b"YQ== 99999999\n"],
)
def test_a_damaged_vocabulary_is_refused(vocabulary: bytes) -> None:
    with pytest.raises(ValueError, match="not a vocabulary"):
        CompiledCounter(vocabulary, splits_case=False)


@pytest.mark.parametrize("tagged", [b"x", b"x\xff", b"x\xffuser", b"x\xffuser\xffy"])
def test_texts_without_tags_are_refused(tagged: bytes) -> None:
    with pytest.raises(ValueError, match="tag"):
        counter("cl100k_base").count_tagged([tagged])
    with pytest.raises(ValueError, match="tag"):
        counter("cl100k_base").count_over(tagged, -9, 4)


def test_bytes_that_are_not_utf8_do_no_harm() -> None:
    for lead in range(0x80, 0xFF):
        tagged = b"x" + bytes([lead]) + b"\xffuser\xff"
        assert len(counter("o200k_base").count_tagged([tagged])) == 1


def test_anything_else_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        counter("cl100k_base").count([b"x"])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        counter("cl100k_base").count_tagged(["x"])  # type: ignore[list-item]


def test_a_damaged_vocabulary_file_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "cl100k_base.tiktoken"
    path.write_bytes(b"YQ== 1\n")
    monkeypatch.setattr(encodings, "vocabulary_path", lambda encoding: path)
    with pytest.raises(FtkitError, match="damaged"):
        load_compiled("cl100k_base")


def test_a_variable_turns_the_extension_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTKIT_PURE_PYTHON", "1")
    assert not is_compiled()
