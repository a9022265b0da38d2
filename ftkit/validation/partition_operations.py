"""Operations on partitions of fingerprints: values that can be sent to the nodes of a cluster.

All examples with the same prompt are in the same partition, so each partition is compared alone.
An operation depends on its inputs only, so it can run again when its outputs were lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Struct

from ftkit.rules.fingerprints import (
    RecordConflicts,
    find_copies,
    find_overlap,
    records_of,
)
from ftkit.summary import PLACES, moved_fingerprints

if TYPE_CHECKING:
    import numpy as np

    from ftkit.rules.fingerprints import Records


class Outcome(NamedTuple):
    """Outcome of an operation.

    Attributes:
        result: Bytes for the machine where the command runs.
        outputs: Inputs of further operations, which stay on the node.
    """

    result: bytes
    outputs: Sequence[bytes] = ()


class PartitionByPrompt(Struct, tag=True, frozen=True):
    """Partition the fingerprints of scanned shards by prompt: an output for each partition.

    Attributes:
        offsets: Number of lines before each shard.
        count: Number of partitions.
    """

    offsets: tuple[int, ...]
    count: int

    def __call__(self, inputs: Sequence[bytes]) -> Outcome:
        """Return the partitions, with the lines numbered in the whole file."""
        moved = [
            moved_fingerprints(data, offset)
            for data, offset in zip(inputs, self.offsets, strict=True)
        ]
        records = _joined(moved)
        return Outcome(b"", _rows_by_partition(records, records["prompt"], self.count))


class FindCopies(Struct, tag=True, frozen=True):
    """Find the copies in a partition: pairs of lines."""

    def __call__(self, inputs: Sequence[bytes]) -> Outcome:
        """Return the line of each copy, and that of the first example equal to it."""
        return Outcome(find_copies(_joined(inputs)).tobytes())


class ConflictCounts(Struct, frozen=True):
    """Conflicts in a partition, or in all of them; see `rules.fingerprints.Conflicts`."""

    examples: int = 0
    """Number of examples that were compared."""
    count: int = 0
    """Number of examples with another answer than the first one with the same prompt."""
    prompts: int = 0
    """Number of prompts with different answers."""
    sharing: int = 0
    """Number of examples with one of these prompts."""
    lines: tuple[int, ...] = ()
    """The first `PLACES` lines of the conflicts."""

    def __add__(self, other: ConflictCounts) -> ConflictCounts:
        return ConflictCounts(
            self.examples + other.examples,
            self.count + other.count,
            self.prompts + other.prompts,
            self.sharing + other.sharing,
            tuple(sorted((*self.lines, *other.lines))[:PLACES]),
        )


class CountConflicts(Struct, tag=True, frozen=True):
    """Count the conflicts in a partition: `ConflictCounts`."""

    def __call__(self, inputs: Sequence[bytes]) -> Outcome:
        """Return the counts."""
        conflicts = RecordConflicts(_joined(inputs))
        counts = ConflictCounts(
            conflicts.examples,
            conflicts.count,
            conflicts.prompt_count(),
            len(conflicts.sharing_answers()),
            conflicts.first_lines(),
        )
        return Outcome(msgspec.msgpack.encode(counts))


class FindConflicts(Struct, tag=True, frozen=True):
    """Find the conflicts in a partition: pairs of lines."""

    def __call__(self, inputs: Sequence[bytes]) -> Outcome:
        """Return the line of each conflict, and that of the first example with the prompt."""
        return Outcome(RecordConflicts(_joined(inputs)).pairs().tobytes())


class FindOverlap(Struct, tag=True, frozen=True):
    """Find the examples of a partition that another file has, too: pairs of lines.

    Attributes:
        others: Number of inputs that are of the other file; they come first.
    """

    others: int

    def __call__(self, inputs: Sequence[bytes]) -> Outcome:
        """Return the line of each such example, and its first line in the other file."""
        records, others = _joined(inputs[self.others :]), _joined(inputs[: self.others])
        return Outcome(find_overlap(records, others).tobytes())


class PartitionByAnswer(Struct, tag=True, frozen=True):
    """Partition the different answers of a partition: an output for each partition of answers.

    Attributes:
        count: Number of partitions of answers.
        only_conflicts: Leave out the answers to prompts that have one answer.
    """

    count: int
    only_conflicts: bool

    def __call__(self, inputs: Sequence[bytes]) -> Outcome:
        """Return the partitions."""
        import numpy as np

        records = _joined(inputs)
        answers = (
            RecordConflicts(records).sharing_answers() if self.only_conflicts else records["answer"]
        )
        unique = np.unique(answers)
        return Outcome(b"", _rows_by_partition(unique, unique, self.count))


class CountAnswers(Struct, tag=True, frozen=True):
    """Count the different answers in a partition of answers."""

    def __call__(self, inputs: Sequence[bytes]) -> Outcome:
        """Return the number of different answers."""
        import numpy as np

        answers = np.frombuffer(b"".join(inputs), "<u8")
        return Outcome(msgspec.msgpack.encode(int(np.unique(answers).size)))


Operation = (
    PartitionByPrompt
    | FindCopies
    | CountConflicts
    | FindConflicts
    | FindOverlap
    | PartitionByAnswer
    | CountAnswers
)


def _joined(inputs: Sequence[bytes]) -> Records:
    """Return the records of all inputs, in their order."""
    return records_of(b"".join(inputs))


def _rows_by_partition(
    rows: np.ndarray[Any, Any], hashes: np.ndarray[Any, Any], count: int
) -> list[bytes]:
    """Return the rows of each partition in their order, partitioned by hashes."""
    import numpy as np

    numbers = (hashes % np.uint64(count)).astype(np.uint16)
    order = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers, minlength=count))
    return [rows[indices].tobytes() for indices in np.split(order, ends[:-1])]
