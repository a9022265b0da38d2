"""Two sets of answers to the same prompts, compared: every measure with its interval, by field and by group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from ftkit.compare.bootstrap import Interval, apart, intervals
from ftkit.compare.measures import (
    MEASURES,
    TRAITS,
    Measure,
    Trait,
    Unit,
    distance,
    field_measure,
    token_trait,
)
from ftkit.compare.recordings import Message, Prompt, look
from ftkit.compare.replies import Reply, read_reply
from ftkit.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_GROUPS = 100
"""Groups that are compared at most: more are rather the names of the prompts."""

MOST_FIELDS = 20
"""Keys of the references' JSON objects that are looked at one by one: the most frequent."""


class Pair(Struct, frozen=True):
    """A prompt with both answers. `distance` says how far these are apart, from 0 to 100; `scores` holds A's and B's measures."""

    prompt: Prompt
    a: Reply
    b: Reply
    reference: Reply | None
    distance: float
    scores: dict[str, tuple[float, float]]

    @property
    def is_same(self) -> bool:
        """Whether both answers say the same, to the letter."""
        return self.a == self.b


class Row(Struct, frozen=True):
    """One measure. `figures` holds an `Interval` for each of these, where it means something.

    `a` and `b`: A and B against the reference, or alone for what a reply has by itself; `difference`: A - B, paired; `between`: A
    against B; `reference`: what the reference has by itself.
    """

    name: str
    title: str
    unit: Unit
    figures: dict[str, Interval]


class GroupRow(Struct, frozen=True):
    """One measure in a group of prompts; `rest` holds the difference to all other groups together."""

    name: str
    title: str
    unit: Unit
    figures: dict[str, Interval]
    rest: dict[str, Interval]


class Group(Struct, frozen=True):
    """The prompts that have the same value, and the measures over them."""

    value: str
    prompts: int
    rows: tuple[GroupRow, ...]


class Comparison(Struct, frozen=True):
    """The outcome. `pairs` are in order, those that differ most first; `left_out` are the lines of prompts without two answers."""

    prompts: int
    references: int
    rows: tuple[Row, ...]
    fields: tuple[Row, ...]
    group_by: str
    groups: tuple[Group, ...]
    pairs: tuple[Pair, ...]
    left_out: tuple[int, ...]
    seed: int


UNANSWERED = "no prompt is answered by both A and B; recorded answers have to hold the same messages as the prompts"

Columns = dict[str, "NDArray[np.float64]"]
"""For each figure of a row its value for each pair; NaN where it means nothing."""


def compare(
    prompts: Sequence[Prompt],
    a: Sequence[Message | None],
    b: Sequence[Message | None],
    *,
    group_by: str = "",
    encoding: str = "",
    seed: int = 0,
) -> Comparison:
    """Compare the answers `a` and `b`, one for each prompt, or None where there is none.

    `group_by` is a dotted path into the prompts' lines; with an `encoding`, tokens are counted too. Raises `UsageError` where no
    prompt has both answers, the prompts make one group only or too many, or sacrebleu is missing.
    """
    if group_by:
        check_groups([look(prompt.line, group_by) for prompt in prompts])
    rows = [
        _pair(*each)
        for each in zip(prompts, a, b, strict=True)
        if each[1] is not None and each[2] is not None
    ]
    if not rows:
        raise UsageError(UNANSWERED)
    traits = [*TRAITS.values(), *([token_trait(encoding)] if encoding else [])]
    columns = {measure: _held(measure, rows) for measure in MEASURES.values()} | {
        trait: _had(trait, rows) for trait in traits
    }
    pairs = [_scored(pair, columns, index) for index, pair in enumerate(rows)]
    return Comparison(
        prompts=len(prompts),
        references=sum(pair.reference is not None for pair in pairs),
        rows=tuple(_rows(columns, seed)),
        fields=tuple(
            _rows({measure: _held(measure, rows) for measure in _field_measures(rows)}, seed)
        ),
        group_by=group_by,
        groups=tuple(_groups([look(pair.prompt.line, group_by) for pair in pairs], columns, seed))
        if group_by
        else (),
        pairs=tuple(
            sorted(pairs, key=lambda pair: (-pair.distance, pair.is_same, pair.prompt.number))
        ),
        left_out=tuple(
            prompt.number for prompt, *both in zip(prompts, a, b, strict=True) if None in both
        ),
        seed=seed,
    )


def _pair(prompt: Prompt, a: Message | None, b: Message | None) -> Pair:
    one, two = read_reply(a or {}), read_reply(b or {})
    reference = read_reply(prompt.reference) if prompt.reference is not None else None
    return Pair(prompt, one, two, reference, 0.0, {})


def _scored(pair: Pair, columns: Mapping[Measure | Trait, Columns], index: int) -> Pair:
    found = {
        what.name: (float(each["a"][index]), float(each["b"][index]))
        for what, each in columns.items()
    }
    scores = {name: both for name, both in found.items() if both == both and both[0] == both[0]}
    far = distance(pair.a, pair.b, float(columns[MEASURES["chrf"]]["between"][index]))
    return Pair(pair.prompt, pair.a, pair.b, pair.reference, far, scores)


def _held(measure: Measure, pairs: Sequence[Pair]) -> Columns:
    """A and B against the reference, and A against B."""
    import numpy as np

    found = np.full((len(pairs), 3), float("nan"))
    for row, pair in zip(found, pairs, strict=True):
        if pair.reference is not None and measure.applies(pair.reference, pair.a, pair.b):
            row[:2] = measure.score(pair.a, pair.reference), measure.score(pair.b, pair.reference)
        if measure.applies(None, pair.a, pair.b):
            row[2] = measure.score(pair.a, pair.b)
    return {
        "a": found[:, 0],
        "b": found[:, 1],
        "difference": found[:, 0] - found[:, 1],
        "between": found[:, 2],
    }


def _had(trait: Trait, pairs: Sequence[Pair]) -> Columns:
    """What A, B and the reference have by themselves."""
    import numpy as np

    found = np.full((len(pairs), 3), float("nan"))
    for row, pair in zip(found, pairs, strict=True):
        if trait.applies(pair.reference, pair.a, pair.b):
            row[:2] = trait.of(pair.a), trait.of(pair.b)
            row[2] = trait.of(pair.reference) if pair.reference is not None else row[2]
    return {
        "a": found[:, 0],
        "b": found[:, 1],
        "difference": found[:, 0] - found[:, 1],
        "reference": found[:, 2],
    }


def _field_measures(pairs: Iterable[Pair]) -> Iterator[Measure]:
    keys = Counter(
        key for pair in pairs if pair.reference is not None for key in pair.reference.top
    )
    yield from (field_measure(key) for key, _ in keys.most_common(MOST_FIELDS))


def _rows(
    columns: Mapping[Measure | Trait, Columns] | Mapping[Measure, Columns], seed: int
) -> Iterator[Row]:
    for what, each in columns.items():
        figures = _figures(each, seed)
        if figures:
            yield Row(what.name, what.title, what.unit, figures)


def _figures(columns: Columns, seed: int) -> dict[str, Interval]:
    found: dict[str, Interval] = {}
    for names in (("a", "b", "difference"), ("between",), ("reference",)):
        block = _block(columns, names)
        if block is not None:
            found |= dict(zip(names, intervals(block, seed), strict=True))
    return found


def _block(columns: Columns, names: Sequence[str]) -> NDArray[np.float64] | None:
    """The columns of those names side by side, in the rows where they mean something; None where there are none."""
    import numpy as np

    if names[0] not in columns:
        return None
    block = np.column_stack([columns[name] for name in names])
    block = block[~np.isnan(block).any(axis=1)]
    return block if len(block) else None


def check_groups(values: Sequence[str]) -> None:
    """Raise `UsageError` where prompts of these values make one group only, or too many."""
    sizes = Counter(values)
    if len(sizes) == 1:
        raise UsageError(
            f"--group-by: all prompts have the same value there, {next(iter(sizes))!r}; take another path, or none"
        )
    if len(sizes) > MOST_GROUPS:
        raise UsageError(
            f"--group-by: there are {len(sizes):,} different values there; {MOST_GROUPS} groups is the most"
        )


def _groups(
    values: Sequence[str], columns: Mapping[Measure | Trait, Columns], seed: int
) -> Iterator[Group]:
    """The groups, the largest first."""
    import numpy as np

    sizes = Counter(values)
    largest_first = sorted(sizes, key=lambda value: (-sizes[value], value))
    inside = {value: np.array([each == value for each in values]) for value in largest_first}
    rows: dict[str, list[GroupRow]] = {value: [] for value in inside}
    for what, each in columns.items():
        parts = {
            value: {name: column[here] for name, column in each.items()}
            for value, here in inside.items()
        }
        rests = _rests(parts, seed)
        for value, part in parts.items():
            rows[value].append(
                GroupRow(what.name, what.title, what.unit, _figures(part, seed), rests[value])
            )
    for value, found in rows.items():
        yield Group(value, sizes[value], tuple(row for row in found if row.figures))


def _rests(parts: Mapping[str, Columns], seed: int) -> dict[str, dict[str, Interval]]:
    """For each group the differences to all others together, where these mean something."""
    rests: dict[str, dict[str, Interval]] = {value: {} for value in parts}
    for names in (("a", "b", "difference"), ("between",)):
        found = {value: _block(part, names) for value, part in parts.items()}
        blocks = {value: block for value, block in found.items() if block is not None}
        if len(blocks) > 1:
            for value, each in zip(blocks, apart(list(blocks.values()), seed), strict=True):
                rests[value] |= dict(zip(names, each, strict=True))
    return rests
