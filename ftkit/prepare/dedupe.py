"""Removal of duplicates, near-duplicates and conflicting answers."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import numpy as np
from msgspec import Struct

from ftkit.dataset.inputs import Examples, File
from ftkit.errors import UsageError
from ftkit.prepare.audit import Audit, Origin
from ftkit.prepare.hashing import content_hash
from ftkit.prepare.prepared import Prepared, Step, prepare_files, read_others
from ftkit.prepare.rows import Row
from ftkit.prepare.similarity.content import compared_text, has_unknown_prompt, split_answer
from ftkit.prepare.similarity.minhash import Integers, Signatures
from ftkit.prepare.similarity.near import UNCHECKED, NearIndex, check_threshold
from ftkit.prepare.spool import Spool

CHOICES = {
    "compare": ("example", "prompt"),
    "keep": ("first", "longest"),
    "conflicts": ("keep", "drop"),
}
"""Values of the parameters that have a choice."""

UNKNOWN_PROMPT = "the prompt is not known, so the whole row was compared; convert first"
"""Reason why a row was not compared as asked."""

RETAINED, CONFLICT = -1, -2
"""Values in place of the row that is written instead of a row."""


class Duplicate(Struct, frozen=True):
    """A row that is dropped, and the row that is written instead or is one of `against`."""

    duplicate: Origin
    original: Origin
    similarity: float
    """Jaccard similarity of their texts, or 1 if they are equal."""


Save = Callable[[Duplicate], object]
"""A function that is called with each row that is dropped as a duplicate."""


def _ignore(duplicate: Duplicate) -> None:
    pass


def dedupe(
    files: File | Iterable[File] | Examples,
    *,
    compare: Literal["example", "prompt"] = "example",
    near: float | None = None,
    keep: Literal["first", "longest"] = "first",
    against: File | Iterable[File] | Examples | None = None,
    conflicts: Literal["keep", "drop"] = "keep",
    save: Save = _ignore,
) -> Prepared:
    """Return examples without duplicates, in their order.

    A row is only dropped for a row that is written, or one of `against`: near-duplicates of
    near-duplicates stay. The rows are held in a temporary file, and about 100 bytes of memory for
    each, or up to 1,000 with `near`.

    Args:
        files: Paths, open files, or examples.
        compare: What is compared: the whole example, or its prompt. A row without a known prompt is
            compared as a whole, and counted as unchecked.
        near: Jaccard similarity of character 5-grams, from 0.7 to 1, from which two rows are
            duplicates. System messages and tools are not compared. None: only equal rows are.
        keep: Which of several duplicates to keep: the first one, or the one with the longest text.
        against: Drop rows that these files or examples have, too.
        conflicts: Drop all rows with equal prompts and different answers, or keep them. A row
            without a known prompt is counted as unchecked.
        save: Called with each duplicate. The audit has only the first ones.

    Raises:
        FileError: A file of `against` has a line that is not JSON.
        UsageError: A parameter has an invalid value.
    """
    step = dedupe_step(
        compare=compare, near=near, keep=keep, against=against, conflicts=conflicts, save=save
    )
    return prepare_files(files, [step])


def dedupe_step(
    *,
    compare: str = "example",
    near: float | None = None,
    keep: str = "first",
    against: Any = None,
    conflicts: str = "keep",
    save: Save = _ignore,
) -> Step:
    """Return a step that removes duplicates. See `dedupe`."""
    check_threshold(near)
    for name, value in (("compare", compare), ("keep", keep), ("conflicts", conflicts)):
        if value not in CHOICES[name]:
            raise UsageError(f"`{name}` must be {' or '.join(CHOICES[name])}, not {value!r}")
    part = _prompt if compare == "prompt" else _example

    def step(rows: Iterable[Row], audit: Audit) -> Iterator[Row]:
        with Spool() as spool:
            table = _Table(spool, part, near, keep == "longest", conflicts == "drop")
            if against is not None:
                for row in read_others(against, "against"):
                    table.add(row)
            table.others = len(spool)
            for row in rows:
                table.add(row)
            yield from table.remaining(audit, save)

    return step


def _example(value: Any) -> Any:
    return value


def _prompt(value: Any) -> Any:
    return split_answer(value)[0]


class _Decisions(Struct):
    """The row that is written instead of each row, or `RETAINED` or `CONFLICT`."""

    instead: Integers
    similarities: Integers


class _Table:
    """Rows in a temporary file, with their hashes and signatures.

    Attributes:
        others: Number of rows at the beginning that are only compared with.
    """

    def __init__(
        self,
        spool: Spool,
        part: Callable[[Any], Any],
        near: float | None,
        prefers_longest: bool,
        drops_conflicts: bool,
    ) -> None:
        self.others = 0
        self._spool, self._part, self._near = spool, part, near
        self._prefers_longest, self._drops_conflicts = prefers_longest, drops_conflicts
        self._compares_prompts = drops_conflicts or part is _prompt
        self._hashes, self._lengths = array("Q"), array("L")
        self._prompts, self._answers = array("Q"), array("Q")
        self._signatures = Signatures()

    def add(self, row: Row) -> None:
        """Add a row."""
        self._spool.append(row)
        part = self._part(row.value)
        self._hashes.append(content_hash(part))
        if self._near is not None:
            self._signatures.add(compared_text(part))
        if self._prefers_longest:
            self._lengths.append(len(compared_text(row.value)))
        if self._drops_conflicts:
            prompt, answer = split_answer(row.value)
            self._prompts.append(content_hash(prompt))
            self._answers.append(content_hash(answer))

    def remaining(self, audit: Audit, save: Save) -> Iterator[Row]:
        """Yield the rows without duplicates and conflicts."""
        decisions, unchecked = self._decide()
        for index, row in enumerate(self._spool):
            instead = int(decisions.instead[index])
            if index < self.others:
                continue
            if instead == RETAINED:
                if self._compares_prompts and has_unknown_prompt(row.value):
                    audit.uncheck("dedupe", UNKNOWN_PROMPT, row.origin)
                if index in unchecked:
                    audit.uncheck("dedupe", UNCHECKED, row.origin)
                yield row
            elif instead == CONFLICT:
                audit.drop("dedupe", "same prompt, but different answers", row.origin)
            else:
                original = self._spool[instead].origin
                similarity = float(decisions.similarities[index])
                place = " of the other files" if instead < self.others else ""
                if np.isnan(similarity):
                    audit.drop("dedupe", f"duplicate{place}", row.origin, f"of {original}")
                else:
                    detail = f"{similarity:.3f} with {original}"
                    audit.drop("dedupe", f"near-duplicate{place}", row.origin, detail)
                save(Duplicate(row.origin, original, 1 if np.isnan(similarity) else similarity))

    def _decide(self) -> tuple[_Decisions, set[int]]:
        """Return the decisions, and the rows that were not compared with all similar ones."""
        count = len(self._spool)
        decisions = _Decisions(np.full(count, RETAINED), np.full(count, np.nan))
        if self._drops_conflicts:
            decisions.instead[self.others :][self._conflicting()] = CONFLICT
        order = np.arange(self.others, count)
        if self._prefers_longest:
            lengths = np.frombuffer(self._lengths, np.dtype(f"u{self._lengths.itemsize}"))
            order = order[np.argsort(-lengths[self.others :].astype(np.int64), kind="stable")]
        order = np.concatenate((np.arange(self.others), order))
        order = order[decisions.instead[order] == RETAINED]
        hashes = np.frombuffer(self._hashes, np.uint64)[order]
        _, firsts, groups = np.unique(hashes, return_index=True, return_inverse=True)
        first = order[firsts[groups.reshape(-1)]]  # numpy 2.0 alone keeps the shape
        is_copy = first != order
        decisions.instead[order[is_copy]] = first[is_copy]
        if self._near is not None:
            return decisions, self._decide_near(decisions, order[~is_copy].tolist(), self._near)
        return decisions, set()

    def _decide_near(self, decisions: _Decisions, order: list[int], near: float) -> set[int]:
        """Drop each row that is similar to one before it that is not dropped.

        Returns:
            The rows that were not compared with all similar ones.
        """
        index = NearIndex(self._signatures.arrays(), near, self._text)
        for row in order:
            match = next(index.similar(row), None) if row >= self.others else None
            if match is None:
                index.insert(row)
            else:
                decisions.instead[row], decisions.similarities[row] = match
        return index.unchecked

    def _text(self, index: int) -> str:
        return compared_text(self._part(self._spool[index].value))

    def _conflicting(self) -> Integers:
        """Return True for the rows whose prompt has different answers."""
        prompts = np.frombuffer(self._prompts, np.uint64)[self.others :]
        answers = np.frombuffer(self._answers, np.uint64)[self.others :]
        order = np.lexsort((answers, prompts))
        prompts, answers = prompts[order], answers[order]
        is_new = np.ones(len(order), bool)
        is_new[1:] = prompts[1:] != prompts[:-1]
        groups = np.cumsum(is_new) - 1
        differs = np.zeros(len(order), bool)
        differs[1:] = ~is_new[1:] & (answers[1:] != answers[:-1])
        result = np.zeros(len(order), bool)
        result[order] = np.bincount(groups, differs)[groups] > 0 if len(order) else False
        return result
