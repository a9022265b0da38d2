"""Fingerprints that stay on the nodes of a cluster, which compare them there.

    scanned shards → PartitionByPrompt → partition 0 → FindCopies, CountConflicts, … → lines
                                       → partition 1 → …

Only the answers come back: lines of copies, conflicts and overlap, and counts. The number of
different answers takes a second exchange, since equal answers may have different prompts.
"""

from __future__ import annotations

import functools
import operator
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from ftkit.rules.fingerprints import (
    COLUMNS,
    FINGERPRINT_BYTES,
    Conflicts,
    LinePairs,
    SharedPrompts,
    pairs_in_file_order,
)
from ftkit.validation.partition_operations import (
    ConflictCounts,
    CountAnswers,
    CountConflicts,
    FindConflicts,
    FindCopies,
    FindOverlap,
    Operation,
    PartitionByAnswer,
    PartitionByPrompt,
)

STORED = struct.Struct("<QQQ")
"""Record in `Summary.fingerprints` for those that a task left on its node: a `Stored`.

Its first field is at the place of `line` in `FINGERPRINT`, so that `Summary.plus` moves it.
"""
assert STORED.size == FINGERPRINT_BYTES
assert COLUMNS[0] == "line"

PARTITION_BYTES = 1 << 28
"""Mean bytes of fingerprints in a partition, and of those that are partitioned by one task.

Partitions are larger if there are `MAX_PARTITIONS`. Comparing them takes almost four times their
memory.
"""

MAX_PARTITIONS = 2000
"""Maximum number of outputs of a task; Ray is tested with 3,000."""

MAX_INPUTS = 1000
"""Maximum number of shards that are partitioned by one task."""

Output = tuple[int, int]
"""Reference to what a task left on its node: the number of the task, and that of the output."""


class Stored(NamedTuple):
    """Fingerprints that a task left on its node.

    Attributes:
        lines_before: Number of lines of the file before those that it scanned.
        task: Number of the task.
        examples: Number of fingerprints.
    """

    lines_before: int
    task: int
    examples: int


class Step(NamedTuple):
    """An operation on outputs of other tasks.

    Attributes:
        operation: The operation.
        inputs: Its inputs.
        outputs: Number of outputs that it leaves on its node.
    """

    operation: Operation
    inputs: Sequence[Output]
    outputs: int = 0


class Nodes(Protocol):
    """Nodes that run steps and keep their outputs."""

    def run(self, steps: Iterable[Step]) -> Iterator[tuple[int, bytes]]:
        """Yield the number of the task of each step, and its result, in order."""

    def release(self, tasks: Iterable[int]) -> None:
        """Drop the outputs of tasks."""


class PartitionedFingerprints:
    """Fingerprints of a file that are kept on nodes.

    Args:
        data: `STORED` records of the tasks that scanned the file, in its order.
        nodes: The nodes.
    """

    def __init__(self, data: bytes, nodes: Nodes) -> None:
        self._stored = list(map(Stored._make, STORED.iter_unpack(data)))
        self._nodes = nodes
        size = FINGERPRINT_BYTES * sum(stored.examples for stored in self._stored)
        self._count = min(size // PARTITION_BYTES + 1, MAX_PARTITIONS)
        self._partition_tasks: dict[int, list[int]] = {}
        self._answer_counts: dict[bool, int] = {}

    def copies(self) -> LinePairs:
        """Return the line of each copy, and that of the first example equal to it."""
        return _in_file_order(self._ask(FindCopies()))

    def conflicts(self) -> Conflicts:
        """Return the examples with the same prompt and different answers."""
        counts = (
            msgspec.msgpack.decode(result, type=ConflictCounts)
            for result in self._ask(CountConflicts())
        )
        return PartitionedConflicts(self, functools.reduce(operator.add, counts))

    def conflict_lines(self) -> LinePairs:
        """Return the line of each conflict, and that of the first example with the prompt."""
        return _in_file_order(self._ask(FindConflicts()))

    def overlap(self, other: PartitionedFingerprints) -> LinePairs:
        """Return the line of each example that another file has, too, and its first line there."""
        steps = [
            Step(FindOverlap(len(others)), [*others, *own])
            for others, own in zip(
                other._inputs(self._count), self._inputs(self._count), strict=True
            )
        ]
        pairs = _in_file_order(result for _, result in self._nodes.run(steps))
        if other._count != self._count:  # other files may have yet another number of partitions
            other._release_partitions(self._count)
        return pairs

    def distinct_answers(self, only_conflicts: bool = False) -> int:
        """Return the number of different answers, to all prompts or to those with several."""
        if only_conflicts not in self._answer_counts:
            self._answer_counts[only_conflicts] = self._count_answers(only_conflicts)
        return self._answer_counts[only_conflicts]

    def _count_answers(self, only_conflicts: bool) -> int:
        count = self._count
        partition = PartitionByAnswer(count, only_conflicts)
        steps = [Step(partition, inputs, count) for inputs in self._inputs(count)]
        tasks = [task for task, _ in self._nodes.run(steps)]
        steps = [Step(CountAnswers(), inputs) for inputs in _transposed(tasks, count)]
        results = [result for _, result in self._nodes.run(steps)]
        self._nodes.release(tasks)
        return sum(msgspec.msgpack.decode(result, type=int) for result in results)

    def close(self) -> None:
        """Release the fingerprints on the nodes."""
        for count in list(self._partition_tasks):
            self._release_partitions(count)
        self._nodes.release([stored.task for stored in self._stored])
        self._stored = []

    def _release_partitions(self, count: int) -> None:
        self._nodes.release(self._partition_tasks.pop(count, ()))

    def _ask(self, operation: Operation) -> Iterator[bytes]:
        """Yield the result of an operation on each partition."""
        steps = [Step(operation, inputs) for inputs in self._inputs(self._count)]
        return (result for _, result in self._nodes.run(steps))

    def _inputs(self, count: int) -> list[list[Output]]:
        """Return the outputs that make up each partition, in file order."""
        if count not in self._partition_tasks:
            steps = (
                Step(
                    PartitionByPrompt(tuple(stored.lines_before for stored in group), count),
                    [(stored.task, 0) for stored in group],
                    count,
                )
                for group in self._groups()
            )
            self._partition_tasks[count] = [task for task, _ in self._nodes.run(steps)]
        return _transposed(self._partition_tasks[count], count)

    def _groups(self) -> Iterator[list[Stored]]:
        """Yield the fingerprints that are partitioned together."""
        group: list[Stored] = []
        size = 0
        for stored in self._stored:
            if group and (size >= PARTITION_BYTES or len(group) == MAX_INPUTS):
                yield group
                group, size = [], 0
            group.append(stored)
            size += FINGERPRINT_BYTES * stored.examples
        if group:
            yield group


class PartitionedConflicts:
    """Conflicts among fingerprints that are kept on nodes."""

    def __init__(self, fingerprints: PartitionedFingerprints, counts: ConflictCounts) -> None:
        self._fingerprints, self._counts = fingerprints, counts
        self.count, self.examples = counts.count, counts.examples

    def lines(self) -> LinePairs:
        """Return the line of each conflict, and that of the first example with the prompt."""
        return self._fingerprints.conflict_lines() if self.count else ()

    def shared_prompts(self) -> SharedPrompts:
        """Return the number of prompts, examples and answers that are involved."""
        answers = self._fingerprints.distinct_answers(only_conflicts=True)
        counts = self._counts
        return SharedPrompts(counts.prompts, counts.sharing, answers, counts.lines)


def _transposed(tasks: Sequence[int], count: int) -> list[list[Output]]:
    """Return the outputs of each partition, given the tasks that have one for each."""
    return [[(task, number) for task in tasks] for number in range(count)]


def _in_file_order(results: Iterable[bytes]) -> LinePairs:
    """Return the pairs of lines of all partitions, by the first line."""
    import numpy as np

    return pairs_in_file_order(np.frombuffer(b"".join(results), "<u8").reshape(-1, 2))
