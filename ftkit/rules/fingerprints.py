"""Comparison of the examples of a file, and of two files, by their fingerprints.

`Fingerprints` is the interface that rules use. `LocalFingerprints` keeps them in the memory of this
process; the functions below it compare numpy records, of a whole file or of a part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from ftkit.summary import FINGERPRINT, PLACES

if TYPE_CHECKING:
    import numpy as np

    Records = np.ndarray[Any, Any]
    """Numpy record array with the columns line, prompt and answer, in file order."""

    Pairs = np.ndarray[Any, Any]
    """Array of two columns of `<u8`: lines of examples, and the lines these are compared with."""

LinePairs = Iterable[tuple[int, int]]
"""Pairs of lines in file order: of an example, and of the first one that it is compared with."""

MAX_WITHOUT_NUMPY = 20_000
"""Maximum number of examples that are compared without numpy, whose import takes longer."""

COLUMNS = [name for name, _ in FINGERPRINT]
"""Names of the columns of the fingerprints, which are 64-bit numbers."""

FINGERPRINT_BYTES = 8 * len(COLUMNS)
"""Bytes of the fingerprint of an example."""


BLOCK = 1 << 16
"""Number of pairs that are converted at a time, since Python's numbers take four times as much."""


class SharedPrompts(Struct, frozen=True):
    """Examples whose prompt has different answers.

    Attributes:
        prompts: Number of such prompts.
        examples: Number of examples with one of them.
        answers: Number of different answers of these examples.
        lines: The first `PLACES` lines whose answer is not the first one to their prompt.
    """

    prompts: int
    examples: int
    answers: int
    lines: tuple[int, ...]


class Conflicts(Protocol):
    """Examples with another answer than the first example with the same prompt."""

    @property
    def count(self) -> int:
        """Number of these examples."""

    @property
    def examples(self) -> int:
        """Number of all examples that were compared."""

    def lines(self) -> LinePairs:
        """Return the line of each, and that of the first example with the prompt."""

    def shared_prompts(self) -> SharedPrompts:
        """Return the number of prompts, examples and answers that are involved."""


class Fingerprints(Protocol):
    """Fingerprints of the examples of a file."""

    def copies(self) -> LinePairs:
        """Return the line of each copy, and that of the first example equal to it."""

    def conflicts(self) -> Conflicts:
        """Return the examples with the same prompt and different answers."""

    def overlap(self, other: Any) -> LinePairs:
        """Return the line of each example that another file has, too, and its first line there.

        Args:
            other: Fingerprints of the other file, of the same type as these.
        """

    def distinct_answers(self) -> int:
        """Return the number of different answers."""

    def close(self) -> None:
        """Release the fingerprints. They cannot be used afterwards."""


class LocalFingerprints:
    """Fingerprints in the memory of this process.

    Args:
        data: The `FINGERPRINT` records of the examples.
    """

    def __init__(self, data: bytes = b"") -> None:
        self._data = data

    def copies(self) -> LinePairs:
        """Return the line of each copy, and that of the first example equal to it."""
        if not self._may_share_prompts():
            return ()
        return line_pairs(find_copies(records_of(self._data)))

    def conflicts(self) -> Conflicts:
        """Return the examples with the same prompt and different answers."""
        if not self._may_share_prompts():
            return NoConflicts()
        return RecordConflicts(records_of(self._data))

    def overlap(self, other: LocalFingerprints) -> LinePairs:
        """Return the line of each example that another file has, too, and its first line there."""
        if not other._data:
            return ()
        return line_pairs(find_overlap(records_of(self._data), records_of(other._data)))

    def distinct_answers(self) -> int:
        """Return the number of different answers."""
        if self._has_few():
            return len(set(self._column("answer")))
        import numpy as np

        return int(np.unique(records_of(self._data)["answer"]).size)

    def close(self) -> None:
        """Release the fingerprints."""
        self._data = b""

    def _may_share_prompts(self) -> bool:
        """Return False if the file is small and no two of its examples have the same prompt."""
        if not self._has_few():
            return True
        prompts = self._column("prompt")
        return len(set(prompts)) < len(prompts)

    def _has_few(self) -> bool:
        return len(self._data) <= MAX_WITHOUT_NUMPY * FINGERPRINT_BYTES

    def _column(self, name: str) -> list[int]:
        """Return a column of the fingerprints, to compare its values with each other only.

        They are read in the byte order of the machine, so they may not be the numbers that were
        hashed.
        """
        numbers = memoryview(self._data).cast("Q").tolist()
        return numbers[COLUMNS.index(name) :: len(COLUMNS)]


class NoConflicts:
    """Conflicts of a file in which no two examples have the same prompt."""

    count = examples = 0

    def lines(self) -> LinePairs:
        """Return no lines."""
        return ()

    def shared_prompts(self) -> SharedPrompts:
        """Return zeros."""
        return SharedPrompts(0, 0, 0, ())


class RecordConflicts:
    """Conflicts among records.

    Args:
        records: The records of all examples that may have the same prompts.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._first = first_equal(records, "prompt")
        answers = records["answer"]
        self._conflicts = (answers != answers[self._first]).nonzero()[0]
        self.count = len(self._conflicts)
        self.examples = len(records)

    def pairs(self) -> Pairs:
        """Return the line of each conflict, and that of the first example with the prompt."""
        return _pairs(self._records, self._conflicts, self._records, self._first[self._conflicts])

    def lines(self) -> LinePairs:
        """Return the line of each conflict, and that of the first example with the prompt."""
        return line_pairs(self.pairs())

    def sharing_answers(self) -> np.ndarray[Any, Any]:
        """Return the answer of each example whose prompt has different answers."""
        import numpy as np

        answers: np.ndarray[Any, Any] = self._records["answer"]
        return answers[np.isin(self._first, self._prompts)]

    def prompt_count(self) -> int:
        """Return the number of prompts with different answers."""
        return len(self._prompts)

    def first_lines(self) -> tuple[int, ...]:
        """Return the first `PLACES` lines of the conflicts."""
        return tuple(self._records["line"][self._conflicts[:PLACES]].tolist())

    def shared_prompts(self) -> SharedPrompts:
        """Return the number of prompts, examples and answers that are involved."""
        import numpy as np

        answers = self.sharing_answers()
        return SharedPrompts(
            self.prompt_count(), len(answers), np.unique(answers).size, self.first_lines()
        )

    @cached_property
    def _prompts(self) -> np.ndarray[Any, Any]:
        """Return the index of the first example with each prompt that has different answers."""
        import numpy as np

        return np.unique(self._first[self._conflicts])


def records_of(data: bytes) -> Records:
    """Return the fingerprints as a numpy record array with columns line, prompt and answer."""
    import numpy as np

    return np.frombuffer(data, FINGERPRINT)


def first_equal(records: Records, *columns: str) -> np.ndarray[Any, Any]:
    """Return, for each example, the index of the first one with equal fingerprint columns."""
    import numpy as np

    order = np.lexsort([records[column] for column in columns])
    ordered = records[order]
    begins = np.zeros(len(records), bool)
    begins[:1] = True
    for column in columns:
        begins[1:] |= ordered[column][1:] != ordered[column][:-1]
    first = np.empty(len(records), np.intp)
    first[order] = order[begins][np.cumsum(begins) - 1] if len(records) else 0
    return first


def find_copies(records: Records) -> Pairs:
    """Return the line of each copy, and that of the first example equal to it."""
    lines = records["line"]
    first = first_equal(records, "prompt", "answer")
    copies = (lines[first] != lines).nonzero()[0]
    return _pairs(records, copies, records, first[copies])


def find_overlap(records: Records, others: Records) -> Pairs:
    """Return the line of each example that others equal, and the line of the first of those."""
    import numpy as np

    is_candidate = np.isin(records["prompt"], others["prompt"])
    is_candidate &= np.isin(records["answer"], others["answer"])
    candidates = records[is_candidate]
    first = first_equal(np.concatenate((others, candidates)), "prompt", "answer")[len(others) :]
    shared = (first < len(others)).nonzero()[0]
    return _pairs(candidates, shared, others, first[shared])


def line_pairs(pairs: Pairs) -> Iterator[tuple[int, int]]:
    """Yield the rows of pairs."""
    for start in range(0, len(pairs), BLOCK):
        yield from map(tuple, pairs[start : start + BLOCK].tolist())


def pairs_in_file_order(pairs: Pairs) -> Iterator[tuple[int, int]]:
    """Return the rows of pairs by their first line, which no two have in common."""
    import numpy as np

    order = np.argsort(pairs[:, 0])
    blocks = (order[start : start + BLOCK] for start in range(0, len(order), BLOCK))
    return chain.from_iterable(line_pairs(pairs[block]) for block in blocks)


def _pairs(one: Records, indices: Any, two: Records, other_indices: Any) -> Pairs:
    """Return the lines of some records, and those of as many other records."""
    import numpy as np

    pairs = np.column_stack((one["line"][indices], two["line"][other_indices]))
    return pairs.astype("<u8", copy=False)
