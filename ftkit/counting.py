"""The billed tokens of an example.

    tokens(example) = 1 + the sum over its messages of (3 + tokens(role) + tokens(content))

Source: see `tokens.PER_MESSAGE`. A preference example is as long as the longer of its two conversations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from ftkit.examples import Assistant, Completions
from ftkit.formats import Format, message_texts
from ftkit.rules.base import Counted
from ftkit.tokens import PER_EXAMPLE, PER_MESSAGE, PER_ROLE, chunks, counter

PIECE = 2_000
"""Characters that are counted before the bound is looked at again."""

CERTAIN = 5
"""Bytes for each token of the limit from which an example is counted as a whole at once: few are that far below it."""


def count(examples: Sequence[Any], format: Format, encoding: str) -> list[Counted]:
    """For each example its billed tokens, and where those lie that are trained. All texts are counted in one call."""
    laid_out = [list(_conversations(example, format)) for example in examples]
    texts = [text for conversations in laid_out for parts in conversations for part in parts for text in part.texts]
    counts = iter(counter(encoding).count(texts))
    return [max((_add_up(parts, counts) for parts in each), key=lambda counted: counted.tokens) for each in laid_out]


class _Part(NamedTuple):
    """One message, or one of the two texts of a completions example: tokens before its texts, and the texts."""

    path: str
    overhead: int
    texts: tuple[str, ...]
    trained: bool


def _conversations(example: Any, format: Format) -> Iterator[list[_Part]]:
    if isinstance(example, Completions):
        completion = _Part("$.completion", 0, (example.completion,), True)
        yield [_Part("$.prompt", 0, (example.prompt,), False), completion]
        return
    for messages in format.sequences(example):
        parts = [_Part("$", PER_EXAMPLE, (), False)]
        for path, message in messages:
            texts = tuple(text for _, text in message_texts(path, message))
            trained = isinstance(message, Assistant) and message.weight != 0
            parts.append(_Part(path, PER_MESSAGE + PER_ROLE, texts, trained))
        yield parts


def _add_up(parts: Iterable[_Part], counts: Iterator[int]) -> Counted:
    at, trained = 0, []
    for part in parts:
        start = at + part.overhead
        at = start + sum(islice(counts, len(part.texts)))
        if part.trained:
            trained.append((part.path, start, at))
    return Counted(at, tuple(trained))


def may_exceed(example: Any, format: Format, limit: int, encoding: str) -> bool:
    """Whether an example may have more than `limit` tokens. False is certain; most examples are told by a part of them.

    A token is at least one byte of UTF-8, so what has been counted plus the bytes of what has not is a bound from above. The
    texts are counted piece by piece until the bound is low enough, or all is counted. Once the fast tokenizer is loaded, it
    counts them all more quickly.
    """
    if counter(encoding).is_fast:
        return True
    for parts in _conversations(example, format):
        texts = [text for part in parts for text in part.texts]
        if _exceeds(texts, sum(part.overhead for part in parts), limit, encoding):
            return True
    return False


def _exceeds(texts: Sequence[str], overhead: int, limit: int, encoding: str) -> bool:
    bound = overhead + sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
    if bound > CERTAIN * limit:
        return True
    for text in sorted(texts, key=len, reverse=True):
        for piece in chunks(text, PIECE):
            if bound <= limit:
                return False
            size = len(piece) if piece.isascii() else len(piece.encode())
            bound -= size - counter(encoding).count((piece,))[0]
    return bound > limit
