"""Token tally: adds up the token statistics of examples, for several counting methods at once.

Examples are collected until there is enough text to count in one call. Their texts are then counted
once for each encoding:

    examples -> _Batch (parts in rows) -> _Counts (one encoding) -> TokenStats (one method)

Plain lines come first in a batch, those with the same roles together: their parts are the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from operator import add, mul
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from ftkit.catalog import ImageCost
from ftkit.dataset.formats import Format
from ftkit.dataset.plain import PlainLine, placeholder
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
        self._plain: dict[bytes, list[PlainLine]] = {}
        self._size = self._extra_keys = 0

    def add(self, example: Any, size: int, has_extra_keys: bool = False) -> None:
        """Add an example.

        Args:
            example: The example.
            size: Bytes of its line.
            has_extra_keys: True if keys that providers refuse are left out of it.
        """
        self._pending.append(example)
        self._extra_keys += has_extra_keys
        self._add_size(size)

    def add_plain(self, line: PlainLine, size: int) -> None:
        """Add a plain line of `size` bytes."""
        self._plain.setdefault(line[0], []).append(line)
        self._add_size(size)

    def _add_size(self, size: int) -> None:
        self._size += size
        if self._size > BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Count the examples that are pending."""
        if not self._pending and not self._plain:
            return
        batch = _Batch(self._plain, self._pending, self._format)
        common = batch.common_stats(self._extra_keys)
        for encoding in dict.fromkeys(method.encoding for method in self._methods):
            counts = _Counts(batch, encoding)
            for method in self._methods:
                if method.encoding == encoding:
                    self.stats[method.name] += counts.stats(common, method)
        self._pending, self._plain, self._size, self._extra_keys = [], {}, 0, 0


class _Group(NamedTuple):
    """Examples that follow one another, and whose parts differ only in their texts."""

    example: Any
    """One of the examples, or their placeholder."""
    layout: list[list[Part]]
    """Parts of its sequences."""
    number: int
    """Number of examples."""


class _Batch:
    """The parts of all sequences of some examples, in order.

    Attributes:
        groups: The examples. Those of plain lines have a placeholder.
        tagged: The tagged texts of the plain lines, in order.
        texts: The other texts.
        sequence_ends: Number of parts before each sequence, and of all parts.
        example_ends: Number of sequences before each example, and of all sequences.
    """

    def __init__(
        self, plain: Mapping[bytes, list[PlainLine]], examples: Sequence[Any], format: Format
    ) -> None:
        self.format = format
        self.groups = [
            self._group(placeholder(roles), len(lines)) for roles, lines in plain.items()
        ]
        self.tagged = [part for lines in plain.values() for line in lines for part in line[1:]]
        others = [self._group(example, 1) for example in examples]
        self.texts = [
            text
            for group in others
            for parts in group.layout
            for part in parts
            for text in part.texts
        ]
        self.groups += others
        sizes: list[int] = []
        numbers: list[int] = []
        for _, layout, number in self.groups:
            sizes += [len(parts) for parts in layout] * number
            numbers += [len(layout)] * number
        self.sequence_ends = _prefix_sums(sizes)
        self.example_ends = _prefix_sums(numbers)

    def _group(self, example: Any, number: int) -> _Group:
        return _Group(example, list(sequences(example, self.format)), number)

    def column(self, value: Callable[[Part], int]) -> list[int]:
        """Return a value of each part."""
        column: list[int] = []
        for _, layout, number in self.groups:
            column += [value(part) for parts in layout for part in parts] * number
        return column

    def image_tokens(self, cost: ImageCost) -> list[int]:
        """Return the tokens of the images of each part."""
        return self.column(lambda part: sum(image_tokens(image, cost) for image in part.images))

    def common_stats(self, extra_keys: int) -> TokenStats:
        """Return the statistics that do not depend on the counting method.

        Args:
            extra_keys: Number of the examples with keys that providers refuse.
        """
        approximations: dict[str, int] = {}
        lengths: Histogram = {}
        without_system = without_user = 0
        for example, layout, number in self.groups:
            messages = self.format.messages(example)
            lengths[len(messages)] = lengths.get(len(messages), 0) + number
            types = set(map(type, messages))
            without_system += number * (System not in types and bool(messages))
            without_user += number * (User not in types and bool(messages))
            for name in _approximations(layout):
                approximations[name] = approximations.get(name, 0) + number
        return TokenStats(
            len(self.example_ends) - 1,
            messages=lengths,
            approximations=approximations,
            without_system=without_system,
            without_user=without_user,
            extra_keys=extra_keys,
        )


def _approximations(layout: Sequence[Sequence[Part]]) -> set[str]:
    """Return the approximations of an example."""
    names = {name for parts in layout for part in parts for name in part.approximations}
    return names | {"preferences"} if len(layout) > 1 else names


class _Span(NamedTuple):
    """Range of trained tokens in a sequence."""

    start: int
    end: int


class _Counts:
    """Token counts of a batch in one encoding."""

    def __init__(self, batch: _Batch, encoding: str) -> None:
        self.batch = batch
        counter = token_counter(encoding)
        counts = counter.count_tagged(batch.tagged) + counter.count(batch.texts)
        self.texts = _sums(counts, _prefix_sums(batch.column(lambda part: len(part.texts))))
        self.overhead = batch.column(lambda part: overhead(part, encoding))
        self.is_trained = batch.column(lambda part: part.trained)
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
            parts = list(map(add, parts, batch.image_tokens(method.images)))
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
            last = end - 1
            while last >= first and not self.is_trained[last]:
                last -= 1
            if last >= first:
                tokens += self.texts[last]
        return tokens


def _sums(numbers: Iterable[int], ends: Sequence[int]) -> list[int]:
    """Return the sum of the numbers between each two neighbours of `ends`."""
    before = _prefix_sums(numbers)
    return [before[end] - before[start] for start, end in pairwise(ends)]


def _prefix_sums(numbers: Iterable[int]) -> list[int]:
    """Return the sums of the first 0, 1, 2, ... numbers."""
    return list(accumulate(numbers, initial=0))
