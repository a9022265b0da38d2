"""Streaming of completions: incremental decoding, and stop sequences."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

pytestmark = pytest.mark.training

TEXTS = (
    "plain text " * 60,
    "naïve café — 你好, 😀😀 " * 40,
    "😀" * 200,
    "x",
    "",
    " leading\n\n  spaces ",
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from ftkit.server.training.smoke import build_tokenizer

    return build_tokenizer()


@pytest.fixture(scope="module")
def fallback_tokenizer() -> Any:
    """A tokenizer like that of Llama 2: words that begin with a space, and bytes for the rest."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<unk>": 0, **{f"<0x{byte:02X}>": byte + 1 for byte in range(256)}}
    for character in "▁abcdefghijklmnopqrstuvwxyz":
        vocabulary[character] = len(vocabulary)
    backend = Tokenizer(
        models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True)
    )
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


def stream(tokenizer: Any, ids: list[int], sizes: random.Random | None = None) -> list[str]:
    """Return the parts that the decoder returns for tokens that arrive one by one, or in groups."""
    from ftkit.server.generation.streaming import IncrementalDecoder

    decoder, parts = IncrementalDecoder(tokenizer), []
    at = 0
    while at < len(ids):
        size = sizes.randint(1, 9) if sizes else 1
        parts.append(decoder.add(ids[at : at + size]))
        at += size
    return [*parts, decoder.add([], final=True)]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("grouped", [False, True])
def test_the_parts_of_a_text_join_to_the_text(
    text: str, grouped: bool, tokenizer: Any, fallback_tokenizer: Any
) -> None:
    for each in (tokenizer, fallback_tokenizer):
        ids = each(text, add_special_tokens=False)["input_ids"]
        parts = stream(each, ids, random.Random(1) if grouped else None)
        assert "".join(parts) == each.decode(ids, skip_special_tokens=True) == text
        assert not any("\N{REPLACEMENT CHARACTER}" in part for part in parts)


def test_a_part_arrives_with_its_last_token(tokenizer: Any) -> None:
    ids = tokenizer("a😀b", add_special_tokens=False)["input_ids"]
    assert stream(tokenizer, ids) == ["a", "", "", "", "😀", "b", ""]


@pytest.mark.parametrize("seed", range(20))
def test_random_tokens_decode_to_the_same_text_as_at_once(seed: int, tokenizer: Any) -> None:
    choices = random.Random(seed)
    ids = [choices.randrange(len(tokenizer)) for _ in range(500)]
    assert "".join(stream(tokenizer, ids)) == tokenizer.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize("kind", ["text", "invalid bytes", "special tokens"])
def test_a_long_completion_takes_the_same_time_for_each_token(kind: str, tokenizer: Any) -> None:
    (byte,) = tokenizer("a", add_special_tokens=False)["input_ids"]
    invalid = tokenizer("é", add_special_tokens=False)["input_ids"][1]
    id = {"text": byte, "invalid bytes": invalid, "special tokens": tokenizer.eos_token_id}[kind]
    start = time.process_time()
    parts = stream(tokenizer, [id] * 20_000)
    assert time.process_time() - start < 20
    assert len("".join(parts)) == (0 if kind == "special tokens" else 20_000)


@pytest.mark.parametrize(
    ("parts", "stops", "text", "found"),
    [
        (["oykoT"], ["ko"], "oy", True),
        (["oy", "k", "oT"], ["ko"], "oy", True),
        (["oy", "k"], ["ko"], "oyk", False),
        (["a", "b", "c"], ["abd", "bc"], "a", True),
        (["ab", "ab", "ac"], ["abac"], "ab", True),
        (["abc"], ["c", "a"], "", True),
        (["abc"], [], "abc", False),
        (["a" * 1000, "b"], ["a" * 256 + "b"], "a" * 744, True),
    ],
)
def test_text_ends_before_the_first_stop_sequence(
    parts: list[str], stops: list[str], text: str, found: bool
) -> None:
    from ftkit.server.generation.streaming import StopSequences

    sequences = StopSequences(stops)
    passed = [sequences.add(part) for part in parts]
    assert "".join([*passed, sequences.add("", final=True)]) == text
    assert sequences.found is found


def test_long_stop_sequences_take_little_time() -> None:
    from ftkit.server.generation.streaming import StopSequences

    sequences = StopSequences(["a" * 255 + end for end in "bcde"])
    start = time.process_time()
    for _ in range(5000):
        sequences.add("a")
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([[1, 2, 5], [6]], [5, 6]),
        ([[1], [2], [5, 6]], [5, 6]),
        ([[7, 7, 1, 2, 5]], [5]),  # after another channel
        ([[1, 2], [1, 2]], [1, 2]),  # a lead in the answer is text of the answer
        ([[7, 8, 9]], []),
    ],
)
def test_an_answer_begins_after_the_special_tokens_of_its_lead(
    tokens: list[list[int]], expected: list[int]
) -> None:
    from ftkit.server.generation.streaming import LeadFilter

    lead = LeadFilter("<a><b>", [1, 2])
    assert [id for ids in tokens for id in lead.add_tokens(ids)] == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["\nHi", "!"], "Hi!"),
        (["\n", "Hi"], "Hi"),
        (["Hi"], "Hi"),
        (["", "\n"], ""),
        (["\n\nHi"], "\nHi"),
        ([], ""),
    ],
)
def test_an_answer_begins_after_the_text_of_its_lead(texts: list[str], expected: str) -> None:
    from ftkit.server.generation.streaming import LeadFilter

    lead = LeadFilter("\n", [])
    assert "".join([*(lead.add_text(text) for text in texts), lead.add_text("", True)]) == expected
