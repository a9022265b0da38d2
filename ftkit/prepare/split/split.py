"""Splits of examples into training, validation and test data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import Struct

from ftkit.dataset.inputs import Examples, File
from ftkit.prepare.audit import KEEP, Audit, Origin
from ftkit.prepare.outputs import Outputs, Target
from ftkit.prepare.prepared import open_rows, write_complete, write_rows
from ftkit.prepare.rows import Row
from ftkit.prepare.similarity.minhash import Integers
from ftkit.prepare.similarity.near import UNCHECKED, NearIndex
from ftkit.prepare.split.decide import SplitOptions, decide_subsets
from ftkit.prepare.split.hashed_rows import HashedRows, KeyPaths
from ftkit.prepare.split.links import Pair, shared_groups, similar_across
from ftkit.prepare.split.lock import VERSION, Header, Lock, read_lock


class Leak(Struct, frozen=True):
    """Two rows in different subsets with the same group or similar prompts."""

    origin: Origin
    subset: str
    other: Origin
    other_subset: str
    similarity: float
    """Jaccard similarity of the prompts, or 1 if their groups are equal."""


class Split:
    """Examples in two or three subsets.

    Attributes:
        options: Options of the split.
        audit: Counts of the rows.
        sizes: Number of rows in each subset.
        leaks: Number of pairs of rows in different subsets with the same group, and of rows with a
            prompt that is similar to one in another subset.
        shared: The first of them.
        unknown_prompts: Number of rows whose prompt is not known, so that leaks are not, either.
    """

    def __init__(
        self, table: HashedRows, subsets: Integers, options: SplitOptions, audit: Audit, lock: Lock
    ) -> None:
        self.options, self.audit = options, audit
        counts = np.bincount(subsets[subsets >= 0], minlength=len(options.names)).tolist()
        self.sizes: dict[str, int] = dict(zip(options.names, counts, strict=True))
        self.leaks = 0
        self.shared: list[Leak] = []
        self.unknown_prompts = table.unknown_prompts
        self._table, self._subsets, self._lock = table, subsets, lock

    @property
    def is_leak_free(self) -> bool:
        """True if no group is in two subsets, nor are similar prompts, if they were compared.

        False if that is not known, because the prompts of rows are not.
        """
        return not self.leaks and not self.unknown_prompts

    def rows(self, subset: str) -> Iterator[Row]:
        """Yield the rows of a subset, in their order."""
        number = self.options.names.index(subset)
        for index in np.flatnonzero(self._subsets == number).tolist():
            yield self._table.spool[index]

    def __getitem__(self, subset: str) -> list[Any]:
        return [row.value for row in self.rows(subset)]

    def write(
        self,
        paths: Mapping[str, Target],
        map: Target | None = None,
        rejects: Target | None = None,
        lock: Path | None = None,
        names: Mapping[Target, str] | None = None,
    ) -> bool:
        """Write the subsets to JSON Lines or Parquet files, all when they are complete, or none.

        Objects are replaced one after the other, the subsets last; see `open_outputs`.

        Args:
            paths: The file of each subset, or the URL of an object.
            map: JSON Lines file for the file, the line, the origins and the steps of each row.
            rejects: File for the rejected rows, as they are in their sources.
            lock: Lock file to write.
            names: Name of each file in the map; its path by default.

        Returns:
            False if no rows were written, because all were rejected, or some and `rejects` is None.

        Raises:
            FileError: A file cannot be written.
        """

        def write(outputs: Outputs) -> None:
            parts = {path: self.rows(subset) for subset, path in paths.items()}
            write_rows(parts, outputs, map, names)
            if rejects is not None:
                for line in self._table.rejects.read():
                    self.audit.save_reject(line.removesuffix(b"\n"))
            if lock is not None:
                chosen = self._subsets >= 0
                rows, groups = (self._table.column(name)[chosen] for name in ("row", "group"))
                self._lock.write(outputs.open(lock), rows, groups, self._subsets[chosen])

        return write_complete(self.audit, rejects, write)

    def add_leaks(self, pairs: Iterable[Pair]) -> None:
        """Count leaks, and name the first of them."""
        for linked in pairs:
            self.leaks += 1
            if len(self.shared) < KEEP:
                pair = [
                    (self._table.spool[row].origin, self.options.names[int(self._subsets[row])])
                    for row in (linked.row, linked.other)
                ]
                self.shared.append(Leak(*pair[0], *pair[1], linked.similarity))

    def to_dict(self) -> dict[str, Any]:
        """Return the sizes, the leaks and the audit as JSON values."""
        return {
            "sizes": self.sizes,
            "leak_free": self.is_leak_free,
            "leaks": self.leaks,
            "unknown_prompts": self.unknown_prompts,
            "shared": msgspec.to_builtins(self.shared),
            **self.audit.to_dict(),
        }


def split(  # noqa: PLR0913 # public keyword-only API
    files: File | Iterable[File] | Examples,
    *,
    ratio: Sequence[float] = (0.8, 0.1, 0.1),
    group: str = "",
    near: float | None = None,
    stratify: str = "",
    exact_size: bool = False,
    salt: str = "",
    lock: str | os.PathLike[str] | None = None,
    on_bridge: Literal["exclude", "train", "error"] = "error",
) -> Split:
    """Split examples into training, validation and test data, by the hashes of their groups.

    A row keeps its subset when other rows are added, removed or moved, unless `near`, `stratify` or
    `exact_size` are set without `lock`. The rows are held in a temporary file, and about 220 bytes
    of memory for each, or up to 1,000 with `near`.

    Args:
        files: Paths, open files, or examples.
        ratio: Shares of training and validation data, or of training, validation and test data.
        group: Path of a value, such as $.metadata.user: rows with equal values stay together. By
            default, rows with equal prompts do. A row without a known prompt counts as a whole.
        near: Jaccard similarity of the character 5-grams of prompts, from 0.7 to 1, from which rows
            stay together.
        stratify: Path of a value whose shares should be equal in all subsets.
        exact_size: Give each subset exactly its share of the rows, rounded.
        salt: Text that selects another split.
        lock: Lock file of earlier splits, which fixes the subsets of their rows and groups. It need
            not exist; `Split.write` writes it.
        on_bridge: What to do with a new row that is similar to rows of several subsets: leave it
            out, use it for training in spite of the leak, or raise an exception.

    Raises:
        FileError: A file cannot be read.
        UsageError: A parameter is invalid, the groups cannot be divided exactly, or a new row
            links two subsets and `on_bridge` is `error`.
    """
    options = SplitOptions(
        ratio=tuple(ratio),
        group=group,
        near=near,
        stratify=stratify,
        exact_size=exact_size,
        salt=salt,
        on_bridge=on_bridge,
    )
    return split_files(files, options, Audit(), Path(lock) if lock else None)


def split_files(files: Any, options: SplitOptions, audit: Audit, lock: Path | None) -> Split:
    """Return the split of files. See `split`."""
    header = Header(VERSION, options.names, options.group, options.salt)
    locked = read_lock(lock, header) if lock else Lock(header)
    table = HashedRows(KeyPaths(options.group, options.stratify, options.near is not None))
    rows = open_rows(files, "files", audit)
    for member in audit.chain():
        member.save_reject = table.rejects.write
    for row in rows:
        table.add(row, audit)
    near = options.near
    index = None if near is None else NearIndex(table.signatures(), near, table.text)
    subsets = decide_subsets(table, index, options, locked, audit)
    result = Split(table, subsets, options, audit, locked)
    audit.written = sum(result.sizes.values())
    result.add_leaks(shared_groups(table.column("group"), subsets))
    if index is not None:
        index.clear()
        result.add_leaks(similar_across(index, table, subsets))
        for number in sorted(index.unchecked):
            audit.uncheck("split", UNCHECKED, table.spool[number].origin)
    return result
