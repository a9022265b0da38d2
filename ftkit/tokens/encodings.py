"""Offline token counters. The vocabularies are package data, verified by hash.

tiktoken is the reference; the others give equal counts. `compiled`, a C extension, loads in 0.02 s
and is several times as fast. Without it, up to `FEW_CHARACTERS` are counted in Python, by
`byte_pairs`, before tiktoken is loaded, which takes 0.1 s to 0.3 s; fastokens takes over for large
amounts where it is installed, since it is as fast as the extension but slow to load. Texts with one
of the `CASE_FOLDED` characters always go to tiktoken, since the others may split them differently.
The text of a special token such as `<|endoftext|>` is counted as ordinary text.
"""

from __future__ import annotations

import hashlib
import re
from binascii import a2b_base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from operator import sub
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ftkit.dataset.plain import texts_of
from ftkit.errors import FtkitError
from ftkit.tokens.byte_pairs import PairCounter
from ftkit.tokens.compiled import CompiledCounter, is_compiled

if TYPE_CHECKING:
    import tiktoken

PER_EXAMPLE = 1
"""Billed tokens of each example, beside those of its messages.

Source of this and the next two: the `trained_tokens` of two real jobs on gpt-4o-mini-2024-07-18 (25
examples, 83 messages, 4 epochs: 6,104; 10 examples, 30 messages, 10 epochs: 4,480). They are two
equations in the overheads of an example and of a message, with one solution.
"""
PER_MESSAGE = 3
"""Billed tokens of each message, beside its role and its texts."""
PER_ROLE = 1
"""Tokens of a role name."""

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
"""Tokens of each kind of part beside its texts, by encoding. `priming` starts a model's reply.

Sources: for `tools`, `function` and `priming`, "How to count tokens with tiktoken" in the OpenAI
cookbook; for `bytes`, the chat template in `ftkit/server/training/smoke.py`, which writes a special
token before and after each message.
"""

FAST_FROM = 3_000_000
"""Characters in one call that make fastokens worth loading.

It takes 0.4 s for cl100k_base and 1 s for o200k_base.
"""

FEW_CHARACTERS = 300_000
"""Characters of an encoding that a process counts before it loads tiktoken."""

CASE_FOLDED = "\u017f\u212a"
"""Characters that case folding maps to the ASCII letters s and k."""

CHUNK = 250_000
"""Characters of a chunk that is tokenized at once."""

BATCH = 2_000_000
"""Characters in one call of fastokens, whose memory use grows with its input."""

_WORD_END = re.compile(r"[A-Za-z](?= [A-Za-z])")


class Encoding(Struct, frozen=True):
    """A byte-pair encoding."""

    name: str
    sha256: str
    """SHA-256 of the vocabulary file, which holds the merge ranks."""
    pattern: str
    """Regular expression that splits text before merging."""


# The patterns are those of tiktoken 0.14 (MIT licence), published together with the ranks.
ENCODINGS = {
    encoding.name: encoding
    for encoding in (
        Encoding(
            "cl100k_base",
            "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"
            r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
        ),
        Encoding(
            "o200k_base",
            "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
            r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
    )
}

CountTexts = Callable[[Sequence[str]], list[int]]
"""A function that returns the number of tokens of each text."""


class TokenCounter:
    """Token counter of one encoding. `token_counter` returns the shared one of the process.

    `count_fast` counts all texts if it is given, or else `compiled`; without them, fastokens is
    loaded for large inputs.
    """

    def __init__(
        self,
        encoding: str,
        count_fast: CountTexts | None = None,
        compiled: CompiledCounter | None = None,
    ) -> None:
        self.encoding = encoding
        self._count_fast = count_fast
        self._compiled = compiled
        self._characters = 0

    @property
    def is_fast(self) -> bool:
        """True if counting all of a text is no slower than finding out if it has to be counted."""
        return self._count_fast is not None or self._compiled is not None

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text. The texts have no lone surrogates."""
        if self._compiled:
            return self._count_compiled(self._compiled, texts)
        characters = sum(map(len, texts))
        self._characters += characters
        if self._count_fast is None and characters > FAST_FROM and has_fastokens():
            self._count_fast = load_fastokens(self.encoding)
        if self._count_fast is None:
            return [self._count_one(text) for text in texts]
        counts = _count_in_batches(self._count_fast, texts)
        for index, text in enumerate(texts):
            if _has_case_folded(text):
                counts[index] = self._count_reference(text)
        return counts

    def count_tagged(self, parts: Sequence[bytes]) -> list[int]:
        """Return the number of tokens of each text in tagged texts, as in `plain.PlainLine`."""
        if self._compiled and max(map(len, parts), default=0) <= CHUNK:
            counts = self._compiled.count_tagged(parts)
            if -1 not in counts:
                return counts
        return self.count([text for part in parts for text in texts_of(part)])

    def count_over(self, tagged: bytes, limit: int) -> list[int] | None:
        """Return the number of tokens of each text of a plain line, given its tagged texts.

        The result is None for a line that has at most `limit` tokens. The tag of a text has at
        least as many bytes as a message has tokens beside its text.
        """
        overheads = OVERHEADS[self.encoding]
        limit -= overheads["example"]
        if len(tagged) <= limit:
            return None
        if self._compiled and len(tagged) <= CHUNK:
            counts = self._compiled.count_over(tagged, limit, overheads["message"])
            if counts is None or -1 not in counts:
                return counts
        return self.count_tagged([tagged])

    def _count_compiled(self, counter: CompiledCounter, texts: Sequence[str]) -> list[int]:
        if max(map(len, texts), default=0) > CHUNK:
            return [sum(self._count_whole(counter, list(chunks(text)))) for text in texts]
        return self._count_whole(counter, texts)

    def _count_whole(self, counter: CompiledCounter, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of texts that need not be cut into chunks."""
        counts = counter.count(texts)
        if -1 in counts:
            rows = zip(texts, counts, strict=True)
            return [self._count_reference(text) if count < 0 else count for text, count in rows]
        return counts

    def _count_one(self, text: str) -> int:
        tokens = None
        if self._characters <= FEW_CHARACTERS and not _has_case_folded(text):
            tokens = pair_counter(self.encoding).count(text)
        return self._count_reference(text) if tokens is None else tokens

    def _count_reference(self, text: str) -> int:
        encode = tiktoken_encoding(self.encoding).encode_ordinary
        return sum(len(encode(chunk)) for chunk in chunks(text))


class ByteCounter(TokenCounter):
    """Token counter for models whose tokens are the bytes of UTF-8."""

    is_fast = True

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of bytes of each text."""
        return [utf8_size(text) for text in texts]


def _has_case_folded(text: str) -> bool:
    return not text.isascii() and any(char in text for char in CASE_FOLDED)


def utf8_size(text: str) -> int:
    """Return the number of bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def _count_in_batches(count: CountTexts, texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text, counting about `BATCH` characters at a time."""
    counts: list[int] = []
    batch: list[str] = []
    size = 0
    for text in texts:
        size += len(text)
        if size > BATCH or len(text) > CHUNK:
            counts += count(batch)
            batch, size = [], len(text)
        if len(text) > CHUNK:
            counts.append(sum(count([chunk])[0] for chunk in chunks(text)))
            size = 0
        else:
            batch.append(text)
    return counts + count(batch)


@cache
def token_counter(encoding: str) -> TokenCounter:
    """Return the token counter of this process for an encoding."""
    if encoding == "bytes":
        return ByteCounter(encoding)
    return TokenCounter(encoding, compiled=load_compiled(encoding) if is_compiled() else None)


def chunks(text: str, size: int = CHUNK) -> Iterator[str]:
    """Yield a text in chunks of `size` to `2 * size` characters, to bound the memory for counting.

    A chunk ends before a space between two ASCII letters, where no token can cross. If there is no
    such place, the text is cut anyway, and the count may be off by a token or two for each such
    cut.
    """
    start = 0
    while len(text) - start > size:
        word_end = _WORD_END.search(text, start + size, start + 2 * size)
        end = word_end.end() if word_end else start + 2 * size
        yield text[start:end]
        start = end
    yield text[start:]


def vocabulary_path(encoding: str) -> Path:
    """Return the path of the vocabulary file of an encoding."""
    return Path(__file__).parent / "vocab" / f"{encoding}.tiktoken"


def _read_vocabulary(encoding: str) -> bytes:
    """Return the vocabulary file of an encoding after checking its hash."""
    data = vocabulary_path(encoding).read_bytes()
    if hashlib.sha256(data).hexdigest() != ENCODINGS[encoding].sha256:
        raise FtkitError(f"ftkit's vocabulary file for {encoding} is damaged; reinstall ftkit")
    return data


@cache
def tiktoken_encoding(encoding: str) -> tiktoken.Encoding:
    """Return the tiktoken encoding with the vocabulary of the package.

    Raises:
        FtkitError: The vocabulary file is damaged.
    """
    import tiktoken

    return tiktoken.Encoding(
        encoding,
        pat_str=ENCODINGS[encoding].pattern,
        mergeable_ranks=dict(_parse_ranks(_read_vocabulary(encoding))),
        special_tokens={},
    )


def _parse_ranks(vocabulary: bytes) -> Iterable[tuple[bytes, int]]:
    """Return each token with its merge rank."""
    columns = vocabulary.split()
    return zip(map(a2b_base64, columns[::2]), map(int, columns[1::2]), strict=True)


@cache
def pair_counter(encoding: str) -> PairCounter:
    """Return the counter of this process for small amounts of text in an encoding.

    Raises:
        FtkitError: The vocabulary file is damaged.
    """
    return PairCounter(_read_vocabulary(encoding), ENCODINGS[encoding].pattern)


def load_compiled(encoding: str) -> CompiledCounter:
    """Return the counter in C.

    Raises:
        FtkitError: The vocabulary file is damaged.
    """
    return CompiledCounter(_read_vocabulary(encoding), splits_case=encoding == "o200k_base")


def has_fastokens() -> bool:
    """Return True if fastokens is installed. It has no wheels for Linux on Arm."""
    return find_spec("fastokens") is not None


def load_fastokens(encoding: str) -> CountTexts:
    """Return a function that counts tokens with fastokens.

    Raises:
        FtkitError: The vocabulary file is damaged.
    """
    from fastokens import Tokenizer

    _read_vocabulary(encoding)
    tokenizer: Any = Tokenizer.from_tiktoken(str(vocabulary_path(encoding)), encoding=encoding)

    def count(texts: Sequence[str]) -> list[int]:
        _, offsets = tokenizer.encode_batch_flat(list(texts), False, True)
        ends = memoryview(offsets).cast("Q").tolist()
        return list(map(sub, ends[1:], ends))

    return count
