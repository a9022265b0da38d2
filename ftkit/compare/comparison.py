"""Comparison of two sets of answers to the same prompts: every measure, by JSON field and by group.

Answers become pairs of replies, then columns of scores, then rows of figures with intervals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from ftkit.compare.bootstrap import Interval, differences_to_rest, intervals
from ftkit.compare.measures import (
    MEASURES,
    REPLY_MEASURES,
    Measure,
    ReplyMeasure,
    Unit,
    distance,
    field_measure,
    token_measure,
)
from ftkit.compare.recordings import Message, Prompt, value_at
from ftkit.compare.replies import Reply, read_reply
from ftkit.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_GROUPS = 100
"""Maximum number of groups. With more, the values rather identify single prompts."""

MAX_FIELDS = 20
"""Maximum number of JSON keys that are compared one by one: the most frequent in the references."""

NO_COMMON_ANSWERS = (
    "no prompt is answered by both A and B; "
    "recorded answers must have the same messages as the prompts"
)

Columns = dict[str, "NDArray[np.float64]"]
"""Scores of one measure: for each figure a value per pair, NaN where the measure does not apply."""

AnyMeasure = Measure | ReplyMeasure

PAIRED_FIGURES = ("a", "b", "difference")
"""Figures that are resampled together, so that the difference is a paired one."""


class Pair(Struct, frozen=True):
    """A prompt with both replies.

    Attributes:
        prompt: The prompt.
        a: Reply of A.
        b: Reply of B.
        reference: The expected reply, or None.
        distance: Distance of the replies, from 0 (equal) to 100.
        scores: Scores of A and B by measure.
    """

    prompt: Prompt
    a: Reply
    b: Reply
    reference: Reply | None
    distance: float = 0.0
    scores: dict[str, tuple[float, float]] = {}

    @property
    def is_same(self) -> bool:
        """True if both replies are identical."""
        return self.a == self.b


class Row(Struct, frozen=True):
    """Figures of one measure.

    Attributes:
        name: Name of the measure.
        title: Title for tables.
        unit: Unit of the figures.
        figures: Intervals by name. `a` and `b` are the scores of A and B, compared with the
            reference where the measure needs one; `difference` is A - B, paired; `between` is A
            compared with B; `reference` is the score of the reference by itself. Figures that do
            not apply are left out.
    """

    name: str
    title: str
    unit: Unit
    figures: dict[str, Interval]


class GroupRow(Struct, frozen=True):
    """Figures of one measure in a group of prompts, with the attributes of `Row`.

    Attributes:
        rest: Differences between the group and all other groups, by figure.
    """

    name: str
    title: str
    unit: Unit
    figures: dict[str, Interval]
    rest: dict[str, Interval]


class Group(Struct, frozen=True):
    """Prompts with the same value, their number, and a row for each measure."""

    value: str
    prompts: int
    rows: tuple[GroupRow, ...]


class Comparison(Struct, frozen=True):
    """Result of a comparison.

    Attributes:
        prompts: Number of prompts.
        references: Number of compared prompts that have a reference.
        rows: A row for each measure.
        fields: A row for each key of the references' JSON objects.
        group_by: Dotted path of the values that form the groups, or "".
        groups: The groups, the largest first.
        pairs: The compared prompts, the most different replies first.
        left_out: Line numbers of the prompts that A or B did not answer.
        seed: Seed of the bootstrap.
    """

    prompts: int
    references: int
    rows: tuple[Row, ...]
    fields: tuple[Row, ...]
    group_by: str
    groups: tuple[Group, ...]
    pairs: tuple[Pair, ...]
    left_out: tuple[int, ...]
    seed: int


def compare_answers(
    prompts: Sequence[Prompt],
    a: Sequence[Message | None],
    b: Sequence[Message | None],
    *,
    group_by: str = "",
    encoding: str = "",
    seed: int = 0,
) -> Comparison:
    """Compare two sets of answers to the same prompts.

    Args:
        prompts: The prompts.
        a: An assistant message for each prompt, or None if A did not answer it.
        b: The same for B.
        group_by: Dotted path into the prompts' lines; compare the groups of prompts with equal
            values.
        encoding: Encoding in which tokens are counted. Without one, they are not.
        seed: Seed of the bootstrap.

    Raises:
        UsageError: No prompt is answered by both, there is only one group or more than
            `MAX_GROUPS`, or sacrebleu is not installed.
    """
    if group_by:
        check_groups(prompts, group_by)
    pairs, left_out = _pairs(prompts, a, b)
    if not pairs:
        raise UsageError(NO_COMMON_ANSWERS)
    columns = _all_columns(pairs, encoding)
    scored = [_scored(pair, columns, index) for index, pair in enumerate(pairs)]
    field_columns = {measure: _columns(measure, pairs) for measure in _field_measures(pairs)}
    values = [value_at(pair.prompt.line, group_by) for pair in pairs]
    return Comparison(
        prompts=len(prompts),
        references=sum(pair.reference is not None for pair in pairs),
        rows=tuple(_rows(columns, seed)),
        fields=tuple(_rows(field_columns, seed)),
        group_by=group_by,
        groups=tuple(_groups(values, columns, seed)) if group_by else (),
        pairs=tuple(sorted(scored, key=_most_different_first)),
        left_out=left_out,
        seed=seed,
    )


def check_groups(prompts: Sequence[Prompt], group_by: str) -> None:
    """Raise `UsageError` if the prompts form only one group, or more than `MAX_GROUPS`."""
    sizes = Counter(value_at(prompt.line, group_by) for prompt in prompts)
    if len(sizes) == 1:
        raise UsageError(
            f"`group_by`: all prompts have the same value {next(iter(sizes))!r} at "
            f"{group_by!r}; use another path"
        )
    if len(sizes) > MAX_GROUPS:
        raise UsageError(
            f"`group_by`: the prompts have {len(sizes):,} different values at {group_by!r}; "
            f"the maximum is {MAX_GROUPS}"
        )


def _pairs(
    prompts: Sequence[Prompt], a: Sequence[Message | None], b: Sequence[Message | None]
) -> tuple[list[Pair], tuple[int, ...]]:
    """Return the prompts that both answered, and the line numbers of the others."""
    pairs, left_out = [], []
    for prompt, answer_a, answer_b in zip(prompts, a, b, strict=True):
        if answer_a is None or answer_b is None:
            left_out.append(prompt.number)
            continue
        reference = read_reply(prompt.reference) if prompt.reference is not None else None
        pairs.append(Pair(prompt, read_reply(answer_a), read_reply(answer_b), reference))
    return pairs, tuple(left_out)


def _all_columns(pairs: Sequence[Pair], encoding: str) -> dict[AnyMeasure, Columns]:
    reply_measures = list(REPLY_MEASURES.values())
    if encoding:
        reply_measures.append(token_measure(encoding))
    columns: dict[AnyMeasure, Columns] = {
        measure: _columns(measure, pairs) for measure in MEASURES.values()
    }
    return columns | {measure: _reply_columns(measure, pairs) for measure in reply_measures}


def _columns(measure: Measure, pairs: Sequence[Pair]) -> Columns:
    """Compare A and B with the reference, and A with B."""
    import numpy as np

    scores = np.full((len(pairs), 3), float("nan"))
    for row, pair in zip(scores, pairs, strict=True):
        if pair.reference is not None and measure.applies(pair.reference, pair.a, pair.b):
            row[:2] = measure.score(pair.a, pair.reference), measure.score(pair.b, pair.reference)
        if measure.applies(None, pair.a, pair.b):
            row[2] = measure.score(pair.a, pair.b)
    a, b, between = scores.T
    return {"a": a, "b": b, "difference": a - b, "between": between}


def _reply_columns(measure: ReplyMeasure, pairs: Sequence[Pair]) -> Columns:
    """Measure A, B and the reference, each by itself."""
    import numpy as np

    scores = np.full((len(pairs), 3), float("nan"))
    for row, pair in zip(scores, pairs, strict=True):
        if measure.applies(pair.reference, pair.a, pair.b):
            row[:2] = measure.score(pair.a), measure.score(pair.b)
            if pair.reference is not None:
                row[2] = measure.score(pair.reference)
    a, b, reference = scores.T
    return {"a": a, "b": b, "difference": a - b, "reference": reference}


def _scored(pair: Pair, columns: Mapping[AnyMeasure, Columns], index: int) -> Pair:
    """Return the pair with its distance and its scores, except those that do not apply."""
    scores = {}
    for measure, column in columns.items():
        a, b = float(column["a"][index]), float(column["b"][index])
        if a == a and b == b:  # not NaN
            scores[measure.name] = (a, b)
    similarity = float(columns[MEASURES["chrf"]]["between"][index])
    far = distance(pair.a, pair.b, similarity)
    return msgspec.structs.replace(pair, distance=far, scores=scores)


def _most_different_first(pair: Pair) -> tuple[float, bool, int]:
    return -pair.distance, pair.is_same, pair.prompt.number


def _field_measures(pairs: Iterable[Pair]) -> Iterator[Measure]:
    keys = Counter(
        key for pair in pairs if pair.reference is not None for key in pair.reference.top
    )
    yield from (field_measure(key) for key, _ in keys.most_common(MAX_FIELDS))


def _rows(
    columns: Mapping[AnyMeasure, Columns] | Mapping[Measure, Columns], seed: int
) -> Iterator[Row]:
    for measure, column in columns.items():
        figures = _figures(column, seed)
        if figures:
            yield Row(measure.name, measure.title, measure.unit, figures)


def _figures(columns: Columns, seed: int) -> dict[str, Interval]:
    figures: dict[str, Interval] = {}
    for names in (PAIRED_FIGURES, ("between",), ("reference",)):
        block = _block(columns, names)
        if block is not None:
            figures |= zip(names, intervals(block, seed), strict=True)
    return figures


def _block(columns: Columns, names: Sequence[str]) -> NDArray[np.float64] | None:
    """Return columns side by side, without the rows that have a NaN, or None if no row remains."""
    import numpy as np

    if names[0] not in columns:
        return None
    block = np.column_stack([columns[name] for name in names])
    block = block[~np.isnan(block).any(axis=1)]
    return block if len(block) else None


def _groups(
    values: Sequence[str], columns: Mapping[AnyMeasure, Columns], seed: int
) -> Iterator[Group]:
    """Yield the groups of pairs with equal values, the largest first."""
    import numpy as np

    sizes = Counter(values)
    largest_first = sorted(sizes, key=lambda value: (-sizes[value], value))
    masks = {value: np.array([other == value for other in values]) for value in largest_first}
    rows: dict[str, list[GroupRow]] = {value: [] for value in masks}
    for measure, column in columns.items():
        parts = {
            value: {name: scores[mask] for name, scores in column.items()}
            for value, mask in masks.items()
        }
        rests = _rests(parts, seed)
        for value, part in parts.items():
            figures = _figures(part, seed)
            if figures:
                row = GroupRow(measure.name, measure.title, measure.unit, figures, rests[value])
                rows[value].append(row)
    for value, group_rows in rows.items():
        yield Group(value, sizes[value], tuple(group_rows))


def _rests(parts: Mapping[str, Columns], seed: int) -> dict[str, dict[str, Interval]]:
    """Return the differences between each group and all others, where at least two groups apply."""
    rests: dict[str, dict[str, Interval]] = {value: {} for value in parts}
    for names in (PAIRED_FIGURES, ("between",)):
        blocks = {
            value: block
            for value, part in parts.items()
            if (block := _block(part, names)) is not None
        }
        if len(blocks) > 1:
            differences = differences_to_rest(list(blocks.values()), seed)
            for value, difference in zip(blocks, differences, strict=True):
                rests[value] |= zip(names, difference, strict=True)
    return rests
