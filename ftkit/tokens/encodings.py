"""Token counts, without the network: the byte-pair ranks are package data, checked by hash.

tiktoken is the reference. It loads in a tenth of a second, so it serves until much text comes at once; then the fast
tokenizer takes over where it has wheels. The two are equal except on strings that hold one of `ODD` (case folding maps them
to ASCII letters), which always go to tiktoken. Text of special tokens (`<|endoftext|>`) is counted as ordinary text.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ftkit.errors import FtkitError

if TYPE_CHECKING:
    import tiktoken

PER_EXAMPLE = 1
PER_MESSAGE = 3
PER_ROLE = 1
"""Billed tokens beside those of the texts: an example costs 1, a message 3 and its role, which is one token.

Source: the `trained_tokens` of two real jobs on gpt-4o-mini-2024-07-18 (25 examples, 83 messages, 4 epochs: 6,104; 10
examples, 30 messages, 10 epochs: 4,480). They give two equations in the two overheads, with this one solution.
"""

BILLED = {
    "example": PER_EXAMPLE,
    "message": PER_MESSAGE + PER_ROLE,
    "prompt": 0,
    "completion": 0,
    "tools": 12,
    "priming": 3,
}
OVERHEADS = {
    "cl100k_base": {**BILLED, "function": 10},
    "o200k_base": {**BILLED, "function": 7},
    "bytes": {
        "example": 0,
        "message": 2,
        "prompt": 0,
        "completion": 1,
        "tools": 2,
        "priming": 1,
        "function": 0,
    },
}
"""By encoding, what each piece of an example costs beside its texts, and what a request costs for its answer to begin (`priming`).

Sources: for tools, their functions and the priming, OpenAI's cookbook, How to count tokens with tiktoken; for bytes, the chat
template in `ftkit/server/training/smoke.py`, which writes a mark before each message and one at its end.
"""

FAST_FROM = 3_000_000
"""Characters in one call for which the fast tokenizer is worth loading (0.4 s for cl100k_base, 1 s for o200k_base)."""

ODD = re.compile("[\u017f\u212a]")
CHUNK = 250_000
BATCH = 2_000_000
_WORD_END = re.compile(r"[A-Za-z](?= [A-Za-z])")


class Encoding(Struct, frozen=True):
    """A byte-pair encoding: the SHA-256 of its ranks and the pattern that cuts text into the pieces that are merged."""

    name: str
    sha256: str
    pattern: str


# The patterns are those of tiktoken 0.14 (MIT licence), which publishes them with the ranks.
ENCODINGS = {
    encoding.name: encoding
    for encoding in (
        Encoding(
            "cl100k_base",
            "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
            r"|\s+(?!\S)|\s",
        ),
        Encoding(
            "o200k_base",
            "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
            r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
    )
}

Count = Callable[[Sequence[str]], list[int]]


class Counter:
    """Counts tokens in one encoding. Make it with `counter`, which keeps one for each encoding and process."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self._fast: Count | None = None

    @property
    def is_fast(self) -> bool:
        """Whether the fast tokenizer is loaded, so that counting much takes no longer than finding out what need not be counted."""
        return self._fast is not None

    def count(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text. The texts hold no lone surrogates."""
        if self._fast is None and sum(map(len, texts)) > FAST_FROM and has_fast():
            self._fast = fast(self.encoding)
        if self._fast is None:
            return [self._count_one(text) for text in texts]
        counts = self._count_fast(self._fast, texts)
        for index, text in enumerate(texts):
            if not text.isascii() and ODD.search(text):
                counts[index] = self._count_one(text)
        return counts

    def _count_fast(self, count: Count, texts: Sequence[str]) -> list[int]:
        counts = [0] * len(texts)
        pieces = ((index, piece) for index, text in enumerate(texts) for piece in chunks(text))
        for some in _batches(pieces):
            for (index, _), number in zip(some, count([piece for _, piece in some]), strict=True):
                counts[index] += number
        return counts

    def _count_one(self, text: str) -> int:
        return sum(len(reference(self.encoding).encode_ordinary(chunk)) for chunk in chunks(text))


class ByteCounter(Counter):
    """Counts the bytes of UTF-8, for models whose tokens these are."""

    is_fast = True

    def count(self, texts: Sequence[str]) -> list[int]:
        """The number of bytes of each text."""
        return [size(text) for text in texts]


def size(text: str) -> int:
    """The bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def _batches(pieces: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """The pieces in runs of about `BATCH` characters: what the fast tokenizer needs grows with what it is given."""
    batch: list[tuple[int, str]] = []
    size = 0
    for index, piece in pieces:
        batch.append((index, piece))
        size += len(piece)
        if size > BATCH:
            yield batch
            batch, size = [], 0
    yield batch


@cache
def counter(encoding: str) -> Counter:
    """The counter of this process for the encoding of that name."""
    return ByteCounter(encoding) if encoding == "bytes" else Counter(encoding)


def chunks(text: str, size: int = CHUNK) -> Iterator[str]:
    """Cut a text into chunks of about `size` characters, where no token can cross, so that counting it needs little memory.

    Such a place is before a space between two ASCII letters. Where the next `size` characters hold none, the text is cut
    anyway, and the count may be off by a token or two for each such cut.
    """
    start = 0
    while len(text) - start > size:
        found = _WORD_END.search(text, start + size, start + 2 * size)
        end = found.end() if found else start + 2 * size
        yield text[start:end]
        start = end
    yield text[start:]


def _vocabulary_path(encoding: str) -> Path:
    return Path(__file__).parent / "vocab" / f"{encoding}.tiktoken"


def _vocabulary(encoding: str) -> bytes:
    data = _vocabulary_path(encoding).read_bytes()
    if hashlib.sha256(data).hexdigest() != ENCODINGS[encoding].sha256:
        raise FtkitError(
            f"the vocabulary {encoding} that came with ftkit is damaged; install ftkit again"
        )
    return data


@cache
def reference(encoding: str) -> tiktoken.Encoding:
    """tiktoken's encoding of that name, made from the ranks in the package; raises `FtkitError` if they are damaged."""
    import tiktoken

    ranks = dict(_ranks(_vocabulary(encoding)))
    return tiktoken.Encoding(
        encoding, pat_str=ENCODINGS[encoding].pattern, mergeable_ranks=ranks, special_tokens={}
    )


def _ranks(data: bytes) -> Iterator[tuple[bytes, int]]:
    for line in data.splitlines():
        token, _, rank = line.partition(b" ")
        yield base64.b64decode(token), int(rank)


def has_fast() -> bool:
    """Whether the fast tokenizer is installed here; it has no wheels for Linux on Arm."""
    return find_spec("fastokens") is not None


def fast(encoding: str) -> Count:
    """The fast tokenizer for that encoding, as a function from texts to counts."""
    import numpy as np
    from fastokens import Tokenizer

    _vocabulary(encoding)
    tokenizer: Any = Tokenizer.from_tiktoken(str(_vocabulary_path(encoding)), encoding=encoding)

    def count(texts: Sequence[str]) -> list[int]:
        _, offsets = tokenizer.encode_batch_flat(list(texts), False, True)
        counts: list[int] = np.diff(np.frombuffer(offsets, np.uint64)).tolist()
        return counts

    return count
