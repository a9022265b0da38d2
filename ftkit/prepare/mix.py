"""Mixtures of several sources."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Literal

import numpy as np
from msgspec import Struct

from ftkit._text import plural
from ftkit.dataset.inputs import Examples, File, open_sources
from ftkit.dataset.reader import Source
from ftkit.errors import UsageError
from ftkit.prepare.audit import Audit
from ftkit.prepare.file_formats import read_values
from ftkit.prepare.hashing import content_hash
from ftkit.prepare.prepared import Prepared
from ftkit.prepare.rows import Row
from ftkit.prepare.similarity.content import texts
from ftkit.prepare.similarity.minhash import Integers
from ftkit.prepare.split.subsets import largest_remainder
from ftkit.prepare.spool import Spool
from ftkit.tokens.encodings import token_counter

UNITS = ("rows", "tokens")
"""What weights are about."""

ENCODING = "o200k_base"
"""Encoding that tokens are counted in."""

COUNTED = 4_000_000
"""Characters whose tokens are counted together."""

EPSILON = 1e-9
"""Error of the division of numbers of rows."""

Sources = Mapping[str, float] | Iterable[tuple[File | Iterable[File] | Examples, float]]
"""Sources with their weights."""


def mix(
    sources: Sources,
    *,
    total: int | None = None,
    by: Literal["rows", "tokens"] = "rows",
    salt: str = "",
) -> Prepared:
    """Return a mixture of several sources, shuffled. The same examples give the same mixture.

    Each source gives its rows with the lowest hashes, and the mixture is in the order of the
    hashes. With `rows` the numbers are exact; with `tokens` they are nearest to the shares. The
    rows are held in a temporary file, and about 30 bytes of memory for each.

    Args:
        sources: Weights by path, or pairs of paths, open files or examples and their weight.
        total: Number of rows or tokens of the mixture. None: as many as the sources have.
        by: What the weights and the total count: rows, or tokens of the texts in o200k_base.
        salt: Text that selects another mixture.

    Raises:
        UsageError: A weight is invalid, or a source has fewer rows or tokens than its share.
    """
    pairs = list(sources.items() if isinstance(sources, Mapping) else sources)
    weights = [weight for _, weight in pairs]
    if not pairs or not all(isfinite(weight) and weight > 0 for weight in weights):
        raise UsageError("`sources` must have weights above 0")
    if by not in UNITS:
        raise UsageError(f"`by` must be rows or tokens, not {by!r}")
    if total is not None and total < 1:
        raise UsageError(f"`total` must be 1 or more, not {total}")
    opened = [
        open_sources(source, f"sources[{number}]") for number, (source, _) in enumerate(pairs)
    ]
    shares = np.array(weights, float) / sum(weights)
    audit = Audit()
    return Prepared(_mixed(opened, shares, total, by, salt, audit), audit)


class _Pool(Struct):
    """Rows of a source, by their numbers among all rows."""

    name: str
    start: int
    hashes: array[int]
    tokens: array[int]

    def ranked(self) -> Integers:
        """Return the indices of the rows in the order of their hashes."""
        return np.argsort(np.frombuffer(self.hashes, np.uint64), kind="stable")

    def sizes(self, by: str) -> Integers:
        """Return the size of each row, in the order of the hashes."""
        if by == "rows":
            return np.ones(len(self.hashes), np.int64)
        return np.frombuffer(self.tokens, np.int64)[self.ranked()]


def _mixed(
    opened: Sequence[Sequence[Source]],
    shares: Integers,
    total: int | None,
    by: str,
    salt: str,
    audit: Audit,
) -> Iterator[Row]:
    with Spool() as spool:
        pools = [_read(sources, by, salt, spool, audit) for sources in opened]
        counts = _counts(pools, shares, total, by)
        chosen = np.zeros(len(spool), bool)
        for pool, count in zip(pools, counts, strict=True):
            chosen[pool.start + pool.ranked()[:count]] = True
        for pool, count in zip(pools, counts, strict=True):
            for index in range(pool.start, pool.start + len(pool.hashes)):
                if not chosen[index]:
                    reason = f"not among {_amount(pool, count, by)}"
                    audit.drop("mix", reason, spool[index].origin)
        hashes = np.concatenate([np.frombuffer(pool.hashes, np.uint64) for pool in pools])
        for index in np.argsort(hashes, kind="stable").tolist():
            if chosen[index]:
                yield spool[index]


def _read(sources: Sequence[Source], by: str, salt: str, spool: Spool, audit: Audit) -> _Pool:
    name = ", ".join(audit.names.get(source.path, source.path) for source in sources)
    pool = _Pool(name, len(spool), array("Q"), array("q"))
    pending: list[list[str]] = []
    length = 0
    for source in sources:
        for row in read_values(source, audit):
            spool.append(row)
            pool.hashes.append(content_hash(row.value, salt))
            if by == "tokens":
                pending.append(list(texts(row.value, with_shared=True)))
                length += sum(map(len, pending[-1]))
                if length > COUNTED:
                    pool.tokens.extend(_count(pending))
                    pending, length = [], 0
    pool.tokens.extend(_count(pending))
    return pool


def _count(rows: Sequence[Sequence[str]]) -> Iterator[int]:
    """Yield the number of tokens of each row."""
    counts = iter(token_counter(ENCODING).count([text for row in rows for text in row]))
    for row in rows:
        yield sum(next(counts) for _ in row)


def _counts(pools: Sequence[_Pool], shares: Integers, total: int | None, by: str) -> list[int]:
    """Return the number of rows to take of each source.

    Raises:
        UsageError: A source has too few rows or tokens.
    """
    ends = [np.cumsum(pool.sizes(by)) for pool in pools]
    available = np.array([int(sums[-1]) if len(sums) else 0 for sums in ends])
    for pool, size in zip(pools, available.tolist(), strict=True):
        if not size:
            raise UsageError(f"{pool.name} has no {by}; leave it out of `sources`")
    most = int(np.floor((available / shares).min() + EPSILON))
    parts = largest_remainder(shares * (most if total is None else total))
    for pool, size, part in zip(pools, available.tolist(), parts.tolist(), strict=True):
        if part > size:
            raise UsageError(
                f"{pool.name} has {size:,} {by}, fewer than its share of {part:,}; lower `total` "
                f"to {most:,}"
            )
    return [_nearest(sums, int(part)) for sums, part in zip(ends, parts, strict=True)]


def _nearest(ends: Integers, part: int) -> int:
    """Return the number of rows at the beginning whose sizes add up to nearly `part`."""
    count = int(np.searchsorted(ends, part))
    if count == len(ends):
        return count
    before = int(ends[count - 1]) if count else 0
    return count + (int(ends[count]) - part <= part - before)


def _amount(pool: _Pool, count: int, by: str) -> str:
    rows = plural(count, "row")
    if by == "tokens":
        rows += f" ({int(pool.sizes(by)[:count].sum()):,} tokens)"
    return f"{rows} of {pool.name}"
