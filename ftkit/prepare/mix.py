"""Mixtures of several sources."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from math import isfinite
from typing import Any, Literal

import numpy as np
from msgspec import Struct

from ftkit._text import plural
from ftkit.dataset.inputs import Examples, File, open_sources
from ftkit.errors import UsageError
from ftkit.prepare.audit import Audit
from ftkit.prepare.file_formats import read_dataset
from ftkit.prepare.hashing import content_hash
from ftkit.prepare.parsed_rows import batches, encoding_of, parse_rows, token_counts
from ftkit.prepare.prepared import Prepared, open_rows
from ftkit.prepare.rows import Row
from ftkit.prepare.similarity.minhash import Integers
from ftkit.prepare.split.subsets import largest_remainder
from ftkit.prepare.spool import Spool

UNITS = ("rows", "tokens")
"""What weights are about."""

MIN_SHARE = 1e-100
"""Smallest weight, relative to the largest one."""

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
    model: str | None = None,
) -> Prepared:
    """Return a mixture of several sources, shuffled. The same examples give the same mixture.

    Each source gives its rows with the lowest hashes, and the mixture is in the order of the
    hashes. With `rows` the numbers are exact; with `tokens` they are nearest to the shares. The
    rows are held in a temporary file, and about 70 bytes of memory for each.

    Args:
        sources: Weights by path, or pairs of paths, open files, examples or a `Prepared` and their
            weight.
        total: Number of rows or tokens of the mixture. None: as many as the sources have.
        by: What the weights and the total count: rows, or tokens as they are billed. With tokens,
            rows that are no valid examples are rejected.
        salt: Text that selects another mixture.
        model: Model whose encoding counts the tokens; the default encoding if None.

    Raises:
        FileError: A path is not a file.
        UsageError: A weight is invalid, or a source has fewer rows or tokens than its share.
        UnknownNameError: There is no such model.
    """
    pairs = list(sources.items() if isinstance(sources, Mapping) else sources)
    weights = [weight for _, weight in pairs]
    if not pairs or not all(isfinite(weight) and weight > 0 for weight in weights):
        raise UsageError("`sources` must have weights above 0")
    if by not in UNITS:
        raise UsageError(f"`by` must be rows or tokens, not {by!r}")
    if total is not None and total < 1:
        raise UsageError(f"`total` must be 1 or more, not {total}")
    audit = Audit()
    opened = [
        _open(source, f"sources[{number}]", audit) for number, (source, _) in enumerate(pairs)
    ]
    shares = np.maximum(np.array(weights, float) / max(weights), MIN_SHARE)
    encoding = encoding_of(model)
    counted = encoding if by == "tokens" else None
    rows = _mixed(opened, shares / shares.sum(), total, counted, salt, audit)
    return Prepared(rows, audit)


class _Source(Struct):
    """Rows of a source, which can be read once, and the paths of its files."""

    paths: list[str]
    rows: Iterator[Row]


def _open(source: Any, parameter: str, audit: Audit) -> _Source:
    if isinstance(source, Prepared):
        return _Source([parameter], open_rows(source, parameter, audit))
    files = open_sources(source, parameter)
    rows = chain.from_iterable(read_dataset(file, audit) for file in files)
    return _Source([file.path for file in files], rows)


class _Pool(Struct):
    """Rows of a source, by their numbers among all rows."""

    name: str
    start: int
    hashes: array[int]
    tokens: array[int] | None
    """Tokens of each row, if they count."""

    @property
    def unit(self) -> str:
        """Name of what counts."""
        return "rows" if self.tokens is None else "tokens"

    def ranked(self) -> Integers:
        """Return the indices of the rows in the order of their hashes."""
        return np.argsort(np.frombuffer(self.hashes, np.uint64), kind="stable")

    def sizes(self) -> Integers:
        """Return the size of each row, in the order of the hashes."""
        if self.tokens is None:
            return np.ones(len(self.hashes), np.int64)
        return np.frombuffer(self.tokens, np.int64)[self.ranked()]


def _mixed(
    sources: Sequence[_Source],
    shares: Integers,
    total: int | None,
    encoding: str | None,
    salt: str,
    audit: Audit,
) -> Iterator[Row]:
    with Spool() as spool:
        pools = [_read(source, encoding, salt, spool, audit) for source in sources]
        counts = _counts(pools, shares, total)
        chosen = np.zeros(len(spool), bool)
        for pool, count in zip(pools, counts, strict=True):
            chosen[pool.start + pool.ranked()[:count]] = True
        for pool, count in zip(pools, counts, strict=True):
            for index in range(pool.start, pool.start + len(pool.hashes)):
                if not chosen[index]:
                    audit.drop("mix", _not_selected(pool, count), spool[index].origin)
        hashes = np.concatenate([np.frombuffer(pool.hashes, np.uint64) for pool in pools])
        for index in np.argsort(hashes, kind="stable").tolist():
            if chosen[index]:
                yield spool[index]


def _read(source: _Source, encoding: str | None, salt: str, spool: Spool, audit: Audit) -> _Pool:
    """Read the rows of a source, and count their tokens if there is an encoding."""
    name = ", ".join(audit.names.get(path, path) for path in source.paths)
    pool = _Pool(name, len(spool), array("Q"), array("q") if encoding else None)

    def add(row: Row) -> None:
        spool.append(row)
        pool.hashes.append(content_hash(row.value, salt))

    if pool.tokens is None or encoding is None:
        for row in source.rows:
            add(row)
        return pool
    for batch in batches(source.rows):
        examples = parse_rows(batch, None, "mix", audit)
        for example, counted in zip(examples, token_counts(examples, encoding), strict=True):
            add(example.row)
            pool.tokens.append(counted.tokens)
    return pool


def _counts(pools: Sequence[_Pool], shares: Integers, total: int | None) -> list[int]:
    """Return the number of rows to take of each source.

    Raises:
        UsageError: A source has too few rows or tokens.
    """
    unit = pools[0].unit
    ends = [np.cumsum(pool.sizes()) for pool in pools]
    available = np.array([int(sums[-1]) if len(sums) else 0 for sums in ends])
    for pool, size in zip(pools, available.tolist(), strict=True):
        if not size:
            missing = "rows" if pool.tokens is None else "valid examples, whose tokens count"
            raise UsageError(f"{pool.name} has no {missing}; leave it out of `sources`")
    most = int(np.floor((available / shares).min() + EPSILON))
    if total is not None and total > available.sum():
        raise UsageError(
            f"`sources` have {available.sum():,} {unit}, fewer than `total`; lower `total` to "
            f"{most:,}"
        )
    parts = largest_remainder(shares * (most if total is None else total))
    for pool, size, part in zip(pools, available.tolist(), parts.tolist(), strict=True):
        if part > size:
            raise UsageError(
                f"{pool.name} has {size:,} {unit}, fewer than its share of {part:,}; lower "
                f"`total` to {most:,}"
            )
    return [_nearest(sums, int(part)) for sums, part in zip(ends, parts, strict=True)]


def _nearest(ends: Integers, part: int) -> int:
    """Return the number of rows at the beginning whose sizes add up to nearly `part`."""
    count = int(np.searchsorted(ends, part))
    if count == len(ends):
        return count
    before = int(ends[count - 1]) if count else 0
    return count + (int(ends[count]) - part <= part - before)


def _not_selected(pool: _Pool, count: int) -> str:
    selected = plural(count, "row")
    if pool.tokens is not None:
        selected += f" with {int(pool.sizes()[:count].sum()):,} tokens"
    return f"not selected from {pool.name}, which gives {selected}"
