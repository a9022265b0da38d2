"""Adds the tokens of examples up in ledgers, one for each encoding and way of counting images.

Examples are taken in until there is enough text to count at once. The texts are counted once for each encoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct

from ftkit.catalog import ImageCost
from ftkit.dataset.formats import Format
from ftkit.dataset.types import Completions, System, User
from ftkit.tokens.counting import Part, overhead, sequences
from ftkit.tokens.encodings import counter
from ftkit.tokens.images import image_tokens
from ftkit.tokens.stats import Cut, Histogram, TokenStats

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TOGETHER = 4 << 20
"""Bytes of lines whose tokens are counted together."""


class Metered(Struct, frozen=True):
    """A way to count tokens: the encoding, the cost of images, and the limits at which sequences are cut; and its name."""

    name: str
    encoding: str
    limits: tuple[int, ...] = ()
    images: ImageCost | None = None


class Meter:
    """Takes examples of a format, and adds their tokens up as is asked for."""

    def __init__(self, asked: Sequence[Metered], format: Format) -> None:
        self.ledgers = {each.name: TokenStats() for each in asked}
        self._asked = asked
        self._format = format
        self._kept: list[Any] = []
        self._size = 0

    def add(self, example: Any, size: int) -> None:
        """Take in an example whose line has `size` bytes."""
        self._kept.append(example)
        self._size += size
        if self._size > TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Count what has been taken in."""
        if not self._kept:
            return
        batch = _Batch(self._kept, self._format)
        plain = batch.plain()
        for encoding in dict.fromkeys(each.encoding for each in self._asked):
            counted = _Counts(batch, encoding)
            for each in self._asked:
                if each.encoding == encoding:
                    self.ledgers[each.name] += counted.ledger(plain, each)
        self._kept, self._size = [], 0


class _Batch:
    """Some examples, laid out: parts of sequences of examples in rows, with the places where each begins and ends."""

    def __init__(self, examples: Sequence[Any], format: Format) -> None:
        self.examples = examples
        self.parts: list[Part] = []
        self.sequence_ends: list[int] = [0]
        self.example_ends: list[int] = [0]
        for example in examples:
            for parts in sequences(example, format):
                self.parts += parts
                self.sequence_ends.append(len(self.parts))
            self.example_ends.append(len(self.sequence_ends) - 1)
        self.format = format

    def plain(self) -> TokenStats:
        """What does not depend on how tokens are counted."""
        kinds: dict[str, int] = {}
        messages: Histogram = {}
        without_system = without_user = 0
        for number, example in enumerate(self.examples):
            held = self._messages(example)
            messages[len(held)] = messages.get(len(held), 0) + 1
            types = set(map(type, held))
            without_system += System not in types and bool(held)
            without_user += User not in types and bool(held)
            for kind in self._kinds(number):
                kinds[kind] = kinds.get(kind, 0) + 1
        return TokenStats(
            len(self.examples),
            messages=messages,
            kinds=kinds,
            without_system=without_system,
            without_user=without_user,
        )

    def _messages(self, example: Any) -> list[Any]:
        if isinstance(example, Completions):
            return []
        return [
            message
            for conversation in self.format.conversations(example)[:2]
            for message in conversation.messages
        ]

    def _kinds(self, number: int) -> set[str]:
        first, last = self.example_ends[number], self.example_ends[number + 1]
        parts = self.parts[self.sequence_ends[first] : self.sequence_ends[last]]
        found = {kind for part in parts if part.kinds for kind in part.kinds}
        return found | {"preferences"} if last - first > 1 else found


class _Span(NamedTuple):
    """Where trained tokens lie in a sequence."""

    start: int
    end: int


class _Counts:
    """The tokens of a batch in one encoding."""

    def __init__(self, batch: _Batch, encoding: str) -> None:
        import numpy as np

        self.batch = batch
        parts = batch.parts
        counts = counter(encoding).count([text for part in parts for text in part.texts])
        ends = np.cumsum([0, *(len(part.texts) for part in parts)])
        self.texts: NDArray[np.int64] = np.diff(_sums(np.asarray(counts, np.int64))[ends])
        self.overhead = np.asarray([overhead(part, encoding) for part in parts], np.int64)
        self.trained = np.asarray([part.trained for part in parts], bool)

    def ledger(self, plain: TokenStats, asked: Metered) -> TokenStats:
        """The ledger of the batch."""
        import msgspec
        import numpy as np

        batch, parts = self.batch, self.overhead + self.texts
        for index, part in enumerate(
            batch.parts if asked.images and "images" in plain.kinds else ()
        ):
            parts[index] += (
                sum(image_tokens(image, asked.images) for image in part.images)
                if asked.images
                else 0
            )
        lengths = np.diff(_sums(parts)[batch.sequence_ends])
        learned = np.diff(_sums(self.texts * self.trained)[batch.sequence_ends])
        return msgspec.structs.replace(
            plain,
            lengths=histogram(lengths),
            trained=histogram(np.diff(_sums(learned)[batch.example_ends])),
            trained_cut={limit: self._cut(parts, lengths, limit) for limit in asked.limits},
            answers=self._answers(),
        )

    def _cut(self, parts: NDArray[np.int64], lengths: NDArray[np.int64], limit: int) -> Cut:
        """What the limit takes away of the trained tokens."""
        import numpy as np

        examples, tokens = set(), 0
        for sequence in np.flatnonzero(lengths > limit).tolist():
            lost = sum(
                span.end - max(span.start, limit)
                for span in self._trained(parts, sequence)
                if span.end > limit
            )
            tokens += lost
            if lost:
                examples.add(int(np.searchsorted(self.batch.example_ends, sequence, "right")))
        return Cut(len(examples), tokens)

    def _trained(self, parts: NDArray[np.int64], sequence: int) -> list[_Span]:
        first, last = self.batch.sequence_ends[sequence], self.batch.sequence_ends[sequence + 1]
        ends = parts[first:last].cumsum()
        spans = zip(ends, self.texts[first:last], self.trained[first:last], strict=True)
        return [_Span(int(end - own), int(end)) for end, own, trained in spans if trained]

    def _answers(self) -> int:
        """The tokens of the last trained part of each sequence."""
        import numpy as np

        ends = np.asarray(self.batch.sequence_ends)
        last = np.maximum.accumulate(np.where(self.trained, np.arange(len(self.trained)), -1))[
            ends[1:] - 1
        ]
        return int(self.texts[last[last >= ends[:-1]]].sum())


def _sums(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sums of the first 0, 1, 2, ... of the numbers."""
    import numpy as np

    return np.concatenate([np.zeros(1, np.int64), np.cumsum(numbers, dtype=np.int64)])


def histogram(numbers: NDArray[np.int64]) -> Histogram:
    """How often each number occurs."""
    import numpy as np

    values, times = np.unique(numbers, return_counts=True)
    return dict(zip(values.tolist(), times.tolist(), strict=True))
