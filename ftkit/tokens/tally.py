"""Token tally: adds up the token statistics of examples, for several counting methods at once.

Examples are collected until there is enough text to count in one call. Their texts are then counted
once for each encoding:

    examples -> _Batch (parts in rows) -> _Counts (one encoding) -> TokenStats (one method)
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate, islice, pairwise
from operator import add, mul
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from ftkit.catalog import ImageCost
from ftkit.dataset.formats import Format
from ftkit.dataset.types import System, User
from ftkit.tokens.counting import Part, overhead, sequences
from ftkit.tokens.encodings import token_counter
from ftkit.tokens.images import image_tokens
from ftkit.tokens.stats import Cut, Histogram, TokenStats

BATCH_BYTES = 4 << 20
"""Bytes of lines whose tokens are counted together."""


class CountingMethod(Struct, frozen=True):
    """A method of counting tokens."""

    name: str
    encoding: str
    limits: tuple[int, ...] = ()
    """Limits on the tokens of a sequence, for each of which the lost trained tokens are counted."""
    images: ImageCost | None = None


class Tally:
    """Token statistics of the examples that are added to it."""

    def __init__(self, methods: Sequence[CountingMethod], format: Format) -> None:
        self.stats = {method.name: TokenStats() for method in methods}
        """Statistics by the name of the method; complete after `flush`."""
        self._methods = methods
        self._format = format
        self._pending: list[Any] = []
        self._size = self._extra_keys = 0

    def add(self, example: Any, size: int, has_extra_keys: bool = False) -> None:
        """Add an example.

        Args:
            example: The example.
            size: Bytes of its line.
            has_extra_keys: True if keys that providers refuse are left out of it.
        """
        self._pending.append(example)
        self._size += size
        self._extra_keys += has_extra_keys
        if self._size > BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Count the examples that are pending."""
        if not self._pending:
            return
        batch = _Batch(self._pending, self._format)
        common = batch.common_stats(self._extra_keys)
        for encoding in dict.fromkeys(method.encoding for method in self._methods):
            counts = _Counts(batch, encoding)
            for method in self._methods:
                if method.encoding == encoding:
                    self.stats[method.name] += counts.stats(common, method)
        self._pending, self._size, self._extra_keys = [], 0, 0


class _Batch:
    """The parts of all sequences of some examples in one list."""

    def __init__(self, examples: Sequence[Any], format: Format) -> None:
        self.examples = examples
        self.format = format
        self.parts: list[Part] = []
        self.sequence_ends: list[int] = [0]
        """Number of parts before each sequence, and of all parts."""
        self.example_ends: list[int] = [0]
        """Number of sequences before each example, and of all sequences."""
        for example in examples:
            for parts in sequences(example, format):
                self.parts += parts
                self.sequence_ends.append(len(self.parts))
            self.example_ends.append(len(self.sequence_ends) - 1)

    def common_stats(self, extra_keys: int) -> TokenStats:
        """Return the statistics that do not depend on the counting method.

        Args:
            extra_keys: Number of the examples with keys that providers refuse.
        """
        approximations: dict[str, int] = {}
        messages: Histogram = {}
        without_system = without_user = 0
        for index, example in enumerate(self.examples):
            example_messages = self.format.messages(example)
            number = len(example_messages)
            messages[number] = messages.get(number, 0) + 1
            types = set(map(type, example_messages))
            without_system += System not in types and number > 0
            without_user += User not in types and number > 0
            for name in self._approximations(index):
                approximations[name] = approximations.get(name, 0) + 1
        return TokenStats(
            len(self.examples),
            messages=messages,
            approximations=approximations,
            without_system=without_system,
            without_user=without_user,
            extra_keys=extra_keys,
        )

    def _approximations(self, index: int) -> set[str]:
        first, end = self.example_ends[index], self.example_ends[index + 1]
        parts = self.parts[self.sequence_ends[first] : self.sequence_ends[end]]
        names = {name for part in parts if part.approximations for name in part.approximations}
        return names | {"preferences"} if end - first > 1 else names


class _Span(NamedTuple):
    """Range of trained tokens in a sequence."""

    start: int
    end: int


class _Counts:
    """Token counts of a batch in one encoding."""

    def __init__(self, batch: _Batch, encoding: str) -> None:
        self.batch = batch
        parts = batch.parts
        texts = [text for part in parts for text in part.texts]
        counts = iter(token_counter(encoding).count(texts))
        self.texts = [sum(islice(counts, len(part.texts))) for part in parts]
        self.overhead = [overhead(part, encoding) for part in parts]
        self.is_trained = [part.trained for part in parts]
        trained = _sums(map(mul, self.texts, self.is_trained), batch.sequence_ends)
        self.trained = dict(Counter(_sums(trained, batch.example_ends)))
        self.answers = self._answers()

    def stats(self, common: TokenStats, method: CountingMethod) -> TokenStats:
        """Return the statistics of the batch.

        Args:
            common: The statistics that do not depend on the method.
            method: The method, in the encoding of these counts.
        """
        batch, parts = self.batch, list(map(add, self.overhead, self.texts))
        if method.images and "images" in common.approximations:
            for index, part in enumerate(batch.parts):
                parts[index] += sum(image_tokens(image, method.images) for image in part.images)
        lengths = _sums(parts, batch.sequence_ends)
        return msgspec.structs.replace(
            common,
            lengths=dict(Counter(lengths)),
            trained=self.trained,
            trained_cut={limit: self._cut(parts, lengths, limit) for limit in method.limits},
            answers=self.answers,
        )

    def _cut(self, parts: Sequence[int], lengths: Sequence[int], limit: int) -> Cut:
        """Return the trained tokens beyond a limit."""
        examples, tokens = set(), 0
        for sequence, length in enumerate(lengths):
            if length <= limit:
                continue
            lost = sum(
                span.end - max(span.start, limit)
                for span in self._trained_spans(parts, sequence)
                if span.end > limit
            )
            tokens += lost
            if lost:
                examples.add(bisect_right(self.batch.example_ends, sequence))
        return Cut(len(examples), tokens)

    def _trained_spans(self, parts: Sequence[int], sequence: int) -> list[_Span]:
        first, end = self.batch.sequence_ends[sequence], self.batch.sequence_ends[sequence + 1]
        ends = accumulate(parts[first:end])
        rows = zip(ends, self.texts[first:end], self.is_trained[first:end], strict=True)
        return [_Span(end - text, end) for end, text, is_trained in rows if is_trained]

    def _answers(self) -> int:
        """Return the tokens of the last trained part of each sequence, added up."""
        tokens = 0
        for first, end in pairwise(self.batch.sequence_ends):
            last = next((i for i in range(end - 1, first - 1, -1) if self.is_trained[i]), None)
            tokens += 0 if last is None else self.texts[last]
        return tokens


def _sums(numbers: Iterable[int], ends: Sequence[int]) -> list[int]:
    """Return the sum of the numbers between each two neighbours of `ends`."""
    before = list(accumulate(numbers, initial=0))
    return [before[end] - before[start] for start, end in pairwise(ends)]
