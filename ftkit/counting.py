"""The billed tokens of an example.

    tokens(example) = 1 + the sum over its messages of (3 + tokens(role) + tokens(content))

Source: see `tokens.PER_MESSAGE`. A preference example is as long as the longer of its two conversations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ftkit.checks import ROLES
from ftkit.examples import Assistant, Completions
from ftkit.formats import Format, message_texts
from ftkit.rules.base import Counted
from ftkit.tokens import PER_EXAMPLE, PER_MESSAGE, chunks, counter, role_tokens


def count(example: Any, format: Format, encoding: str) -> Counted:
    """The billed tokens of an example, and where those lie that are trained."""
    if isinstance(example, Completions):
        prompt, completion = counter(encoding).count((example.prompt, example.completion))
        return Counted(prompt + completion, (("$.completion", prompt, prompt + completion),))
    counted = (_count_messages(messages, encoding) for messages in format.sequences(example))
    return max(counted, key=lambda each: each.tokens)


def _count_messages(messages: Sequence[tuple[str, Any]], encoding: str) -> Counted:
    roles, counts = role_tokens(encoding), counter(encoding).count
    at, trained = PER_EXAMPLE, []
    for path, message in messages:
        start = at + PER_MESSAGE + roles[ROLES[type(message)]]
        at = start + sum(counts([text for _, text in message_texts(path, message)]))
        if isinstance(message, Assistant) and message.weight != 0:
            trained.append((path, start, at))
    return Counted(at, tuple(trained))


def may_exceed(example: Any, format: Format, limit: int, encoding: str) -> bool:
    """Whether an example may have more than `limit` tokens. False is certain; most examples are told by a part of them.

    A token is at least one byte of UTF-8, so what has been counted plus the bytes of what has not is a bound from above. The
    texts are counted piece by piece until the bound is low enough, or all is counted.
    """
    return any(_exceeds(texts, overhead, limit, encoding) for texts, overhead in _texts(example, format, encoding))


def _texts(example: Any, format: Format, encoding: str) -> Iterator[tuple[list[str], int]]:
    """The texts of each conversation of the example, and the tokens that are not in texts."""
    if isinstance(example, Completions):
        yield [example.prompt, example.completion], 0
        return
    roles = role_tokens(encoding)
    for messages in format.sequences(example):
        overhead = PER_EXAMPLE + sum(PER_MESSAGE + roles[ROLES[type(message)]] for _, message in messages)
        yield [text for path, message in messages for _, text in message_texts(path, message)], overhead


def _exceeds(texts: Sequence[str], overhead: int, limit: int, encoding: str) -> bool:
    bound = overhead + sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
    for text in sorted(texts, key=len, reverse=True):
        for piece in chunks(text, PIECE):
            if bound <= limit:
                return False
            size = len(piece) if piece.isascii() else len(piece.encode())
            bound -= size - counter(encoding).count((piece,))[0]
    return bound > limit


PIECE = 2_000
"""Characters that are counted before the bound is looked at again."""
