"""Removal of rows that share text with the data that a model is evaluated on."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from itertools import islice, repeat
from typing import Any

import numpy as np

from ftkit.dataset.inputs import Examples, File
from ftkit.errors import UsageError
from ftkit.prepare.audit import Audit, Origin
from ftkit.prepare.prepared import Prepared, Step, prepare_files, read_others
from ftkit.prepare.rows import Row
from ftkit.prepare.similarity.content import has_unknown_prompt, split_answer, texts
from ftkit.prepare.similarity.minhash import Integers, scramble

MAX_NGRAM = 100

UNKNOWN_PROMPT = "the prompt is not known, so all texts are compared"
"""Note on a row of the evaluation."""

WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")
"""A word, or a character of a language that is written without spaces."""

PART = 1 << 16
"""Words of a text that are hashed at a time."""

_WEIGHTS = scramble(np.arange(1, MAX_NGRAM + 1, dtype=np.uint64)) | np.uint64(1)
"""Weights of the words of an n-gram."""


def decontaminate(
    files: File | Iterable[File] | Examples,
    *,
    against: File | Iterable[File] | Examples,
    ngram: int = 8,
) -> Prepared:
    """Return the examples that share no text with those of an evaluation.

    A row is dropped if one of its texts has `ngram` consecutive words that a prompt of `against`
    has, too, or is equal to one of these with fewer words. Case and punctuation make no difference.
    The n-grams of `against` take 16 bytes of memory each, and its rows about 100.

    Args:
        files: Paths, open files, or examples.
        against: Paths, open files, or examples of the evaluation. Of a row without a known prompt,
            all texts are compared; system messages are not.
        ngram: Number of words.

    Raises:
        FileError: A file of `against` has a line that is not JSON.
        UsageError: `ngram` is out of range.
    """
    return prepare_files(files, [decontaminate_step(against, ngram)])


def decontaminate_step(against: Any, ngram: int = 8) -> Step:
    """Return a step that drops the rows that share text with others. See `decontaminate`."""
    if not 1 <= ngram <= MAX_NGRAM:
        raise UsageError(f"`ngram` must be from 1 to {MAX_NGRAM}, not {ngram}")

    def step(rows: Iterable[Row], audit: Audit) -> Iterator[Row]:
        index = _Index(against, ngram, audit)
        for row in rows:
            match = index.find(row.value)
            if match is None:
                yield row
            else:
                words, origin = match
                detail = f"{origin}: {words}"
                audit.drop("decontaminate", "shares text", row.origin, detail)

    return step


class _Index:
    """The n-grams of the prompts of an evaluation."""

    def __init__(self, against: Any, ngram: int, audit: Audit) -> None:
        self._ngram = ngram
        self._origins: list[Origin] = []
        hashes, owners = array("Q"), array("L")
        for number, row in enumerate(read_others(against, "against")):
            self._origins.append(row.origin)
            if has_unknown_prompt(row.value):
                audit.note("decontaminate", UNKNOWN_PROMPT, row.origin)
            for text in texts(split_answer(row.value)[0]):
                for _, grams in ngram_hashes(text, ngram):
                    hashes.frombytes(grams.tobytes())
                    owners.extend(repeat(number, len(grams)))
        self._grams, first = np.unique(np.frombuffer(hashes, np.uint64), return_index=True)
        self._owners = np.frombuffer(owners, np.dtype(f"u{owners.itemsize}"))[first]

    def find(self, value: Any) -> tuple[str, Origin] | None:
        """Return the first n-gram of a row that is in the index, and the first row that has it."""
        if not len(self._grams):
            return None
        for text in texts(value, with_shared=True):
            for first, grams in ngram_hashes(text, self._ngram):
                places = np.minimum(np.searchsorted(self._grams, grams), len(self._grams) - 1)
                hits = np.flatnonzero(self._grams[places] == grams)
                if len(hits):
                    words = islice(_words(text), first + int(hits[0]), None)
                    origin = self._origins[int(self._owners[places[hits[0]]])]
                    return " ".join(islice(words, self._ngram)), origin
        return None


def _words(text: str) -> Iterator[str]:
    return (match[0] for match in WORD.finditer(text.lower()))


def ngram_hashes(text: str, ngram: int) -> Iterator[tuple[int, Integers]]:
    """Yield the hashes of the n-grams of a text, in order and in parts.

    A text with fewer words has one n-gram: that of all its words. The hashes are different in each
    process.

    Args:
        text: The text.
        ngram: Number of words.

    Yields:
        Number of the first word of a part, from 0, and the hash of the n-gram at each word.
    """
    hashes = map(hash, _words(text))
    part = np.fromiter(islice(hashes, PART), np.int64).view(np.uint64)
    if len(part) < ngram:
        yield from [(0, _combine(part, len(part)))] if len(part) else []
        return
    first = 0
    while len(part) >= ngram:
        grams = _combine(part, ngram)
        yield first, grams
        first += len(grams)
        more = np.fromiter(islice(hashes, PART), np.int64).view(np.uint64)
        part = np.concatenate((part[len(grams) :], more))


def _combine(words: Integers, length: int) -> Integers:
    """Return a hash of each run of words of that length."""
    count = len(words) - length + 1
    total = np.zeros(count, np.uint64)
    for index in range(length):
        total += words[index : index + count] * _WEIGHTS[index]
    return total
