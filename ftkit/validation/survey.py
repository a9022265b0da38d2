"""Survey of a file for its report: roles, languages and groups of duplicates, in one more read."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from ftkit.dataset.canonical import canonical_form, fingerprint
from ftkit.dataset.formats import FORMATS, Format, Text
from ftkit.dataset.inputs import open_source
from ftkit.dataset.reader import READ_ERRORS, blocks
from ftkit.errors import FileError
from ftkit.rules.fingerprints import first_equal, records_of
from ftkit.summary import Lines
from ftkit.validation.linter import little_endian
from ftkit.validation.scan import Progress

if TYPE_CHECKING:
    from ftkit.rules.fingerprints import Records

MAX_PATTERNS = 1_000
"""Maximum number of sequences of roles that are counted; the others are counted together."""

OTHER = "other"
"""Name for all sequences of roles beyond `MAX_PATTERNS`."""

MAX_TURNS = 12
"""Number of groups of roles from which on the name of a sequence of roles is cut."""

SAMPLED = 2_000
"""Maximum number of examples whose language is detected: the first one of each of as many parts."""

LANGUAGE_CHARACTERS = 1_000
"""Maximum number of characters of an example from which its language is detected."""

GROUPS = 10
"""Maximum number of groups of duplicates: the largest."""

GROUP_LINES = 12
"""Maximum number of lines of a group that are named."""

Detect = Callable[[str], str]
"""Function from a text to the code of its language."""


class Survey(Struct):
    """Roles, languages and duplicates of a file, which complete the report on it.

    Attributes:
        examples: Number of examples that were read.
        roles: Number of messages of each role.
        patterns: Number of examples with each sequence of roles.
        with_tools: Number of examples that declare tools or functions.
        languages: Number of examples in each language, among those that were sampled.
        copies: Largest groups of equal examples.
        conflicts: Largest groups of examples with the same prompt and different answers.
    """

    examples: int = 0
    roles: Counter[str] = msgspec.field(default_factory=Counter)
    patterns: Counter[str] = msgspec.field(default_factory=Counter)
    with_tools: int = 0
    languages: Counter[str] = msgspec.field(default_factory=Counter)
    copies: list[Lines] = []
    conflicts: list[Lines] = []


def survey(
    path: str,
    format: str,
    *,
    examples: int,
    detect: Detect | None = None,
    has_duplicates: bool = True,
    progress: Progress | None = None,
) -> Survey:
    """Read a file once more and return its survey.

    Memory does not grow with the file but for 24 bytes per example if it has duplicates.

    Args:
        path: The file; read through gzip if its name ends in `.gz`.
        format: Name of its format.
        examples: Number of its examples, over which the sample for languages is spread.
        detect: Function that detects languages, or None to leave them out.
        has_duplicates: Find the groups of duplicates.
        progress: Called with the path and the bytes read since the last call.

    Raises:
        FileError: The file cannot be read.
    """
    surveyor = _Surveyor(FORMATS[format], max(examples // SAMPLED, 1), detect, has_duplicates)
    for number, line in read_lines(path, progress):
        surveyor.add(number, line)
    return surveyor.result()


def read_lines(path: str, progress: Progress | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file with their numbers, from 1.

    Raises:
        FileError: The file cannot be read.
    """
    number = 0
    try:
        for part in open_source(path, "file").parts():
            for block in blocks(part):
                for line in block.lines:
                    number += 1
                    yield number, line
                if progress:
                    progress(path, block.size)
    except READ_ERRORS as error:
        raise FileError(f"cannot read {path}: {error}") from error


class _Surveyor:
    """Adds up the survey of lines."""

    def __init__(
        self, format: Format, every: int, detect: Detect | None, has_duplicates: bool
    ) -> None:
        self._format = format
        self._every = every
        self._detect = detect
        self._has_duplicates = has_duplicates
        self._survey = Survey()
        self._fingerprints = array("Q")

    def add(self, number: int, line: bytes) -> None:
        """Add a line; one that is no valid example is left out."""
        try:
            example = self._format.decode(line)
            canonical = canonical_form(example) if self._has_duplicates else b""
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
            return
        result, format = self._survey, self._format
        if self._detect and result.examples % self._every == 0:
            texts = " ".join(text for _, text in format.texts(example))
            result.languages[self._detect(texts[:LANGUAGE_CHARACTERS])] += 1
        result.examples += 1
        roles = [_role(item) for _, item, _ in next(iter(format.sequences(example)), [])]
        result.roles.update(roles)
        pattern = pattern_of(roles)
        is_known = pattern in result.patterns or len(result.patterns) < MAX_PATTERNS
        result.patterns[pattern if is_known else OTHER] += 1
        result.with_tools += any(
            bool(conversation.tools or conversation.functions)
            for conversation in format.conversations(example)
        )
        if self._has_duplicates:
            parts = format.prompt_and_answer(example, canonical)
            self._fingerprints.extend((number, *(fingerprint(part, 0) for part in parts)))

    def result(self) -> Survey:
        """Return the survey, with the groups of duplicates."""
        if self._fingerprints:
            records = records_of(little_endian(self._fingerprints))
            self._survey.copies = _groups(records, "prompt", "answer")
            self._survey.conflicts = _groups(records, "prompt")
        return self._survey


def _role(item: object) -> str:
    return item.kind if isinstance(item, Text) else str(item.__struct_config__.tag)  # type: ignore[attr-defined]


def pattern_of(roles: Sequence[str]) -> str:
    """Return the name of a sequence of roles, with repeated pairs counted.

    Examples: `system, user, assistant` and `system, 3 x (user, assistant)`.
    """
    pairs: list[tuple[str, ...]] = []
    index = 0
    while index < len(roles):
        pair = tuple(roles[index : index + 2])
        is_turn = len(pair) == 2 and pair[1] == "assistant" and pair[0] != "system"
        pairs.append(pair if is_turn else pair[:1])
        index += len(pairs[-1])
    runs = [(pair, len(list(run))) for pair, run in groupby(pairs)]
    names = [
        ", ".join(pair)
        if count == 1
        else f"{count} x ({', '.join(pair)})"
        if len(pair) > 1
        else f"{count} x {pair[0]}"
        for pair, count in runs[:MAX_TURNS]
    ]
    return ", ".join(names) + (", …" if len(runs) > MAX_TURNS else "")


def _groups(records: Records, *columns: str) -> list[Lines]:
    """Return the largest groups of examples with equal columns.

    Examples that share only their prompt are a group if they have different answers.
    """
    import numpy as np

    first = first_equal(records, *columns)
    if columns == ("prompt",):
        differs = records["answer"] != records["answer"][first]
        mixed = np.zeros(len(records), bool)
        mixed[first[differs]] = True
        members = mixed[first].nonzero()[0]
    else:
        members = np.arange(len(records))
    firsts, counts = np.unique(first[members], return_counts=True)
    order = np.lexsort((firsts, -counts))[:GROUPS]
    return [
        Lines(count, tuple(records["line"][members][first[members] == head][:GROUP_LINES].tolist()))
        for head, count in zip(firsts[order].tolist(), counts[order].tolist(), strict=True)
        if count > 1
    ]
