"""Reproducible samples of rows."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from ftkit.dataset.inputs import Examples, File
from ftkit.errors import UsageError
from ftkit.prepare.audit import Audit
from ftkit.prepare.hashing import HASHES, content_hash
from ftkit.prepare.prepared import Prepared, Step, prepare_files
from ftkit.prepare.rows import Row
from ftkit.prepare.spool import Spool


def sample(
    files: File | Iterable[File] | Examples,
    *,
    count: int | None = None,
    fraction: float | None = None,
    salt: str = "",
) -> Prepared:
    """Return a sample of examples, in their order. The same examples give the same sample.

    A row is chosen by the hash of its content. With `fraction`, rows that are added later change
    nothing for the others, and equal rows are chosen together.

    Args:
        files: Paths, open files, or examples.
        count: Number of examples: those with the lowest hashes.
        fraction: Share of the examples, from 0 to 1, approximately.
        salt: Text that selects another sample.

    Raises:
        UsageError: Not exactly one of `count` and `fraction` is given, or it is out of range.
    """
    if (count is None) == (fraction is None):
        raise UsageError("set either `count` or `fraction`")
    if count is not None:
        return prepare_files(files, [sample_count(count, salt)])
    return prepare_files(files, [sample_fraction(fraction or 0.0, salt)])


def sample_fraction(fraction: float, salt: str = "") -> Step:
    """Return a step that keeps a share of the rows."""
    if not 0 <= fraction <= 1:
        raise UsageError(f"`fraction` must be from 0 to 1, not {fraction}")

    def step(rows: Iterable[Row], audit: Audit) -> Iterator[Row]:
        for row in rows:
            if content_hash(row.value, salt) < fraction * HASHES:
                yield row
            else:
                audit.drop("sample", "not in the sample", row.origin)

    return step


def sample_count(count: int, salt: str = "") -> Step:
    """Return a step that keeps a number of rows. It holds the rows in a temporary file."""
    if count < 0:
        raise UsageError(f"`count` must be 0 or more, not {count}")

    def step(rows: Iterable[Row], audit: Audit) -> Iterator[Row]:
        import numpy as np

        hashes = array("Q")
        with Spool() as spool:
            for row in rows:
                spool.append(row)
                hashes.append(content_hash(row.value, salt))
            is_chosen = np.zeros(len(spool), bool)
            order = np.argsort(np.frombuffer(hashes, np.uint64), kind="stable")
            is_chosen[order[:count]] = True
            for row, chosen in zip(spool, is_chosen.tolist(), strict=True):
                if chosen:
                    yield row
                else:
                    audit.drop("sample", "not in the sample", row.origin)

    return step
