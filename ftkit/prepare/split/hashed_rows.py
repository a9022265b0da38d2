"""Rows to split, with the hashes of what decides about their subset."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from msgspec import Struct

from ftkit.prepare.audit import Audit
from ftkit.prepare.hashing import content_hash
from ftkit.prepare.paths import look_up, parse_path
from ftkit.prepare.rows import Row
from ftkit.prepare.similarity.content import compared_text, has_unknown_prompt, split_answer
from ftkit.prepare.similarity.minhash import Integers, Signatures
from ftkit.prepare.spool import LineSpool, Spool

UNKNOWN_PROMPT = "the prompt is not known"
"""Reason why a row was not checked for leaks."""


class KeyPaths(Struct, frozen=True):
    """Values of a row that decide about its subset."""

    group: str = ""
    """Path of the value that the rows of a group share, or "" for the prompt."""
    stratum: str = ""
    """Path of the value whose shares are equal in all subsets, or ""."""
    has_texts: bool = False
    """True if prompts are compared."""


class HashedRows:
    """Rows in a temporary file, and their hashes.

    Attributes:
        spool: The rows.
        rejects: The rows that are rejected, as they are in their sources.
        unknown_prompts: Number of rows that count as a whole because their prompt is not known.
    """

    def __init__(self, paths: KeyPaths) -> None:
        self.spool, self.rejects = Spool(), LineSpool()
        self.unknown_prompts = 0
        self._paths = paths
        self._group = parse_path(paths.group, "group")
        self._stratum = parse_path(paths.stratum, "stratify")
        self._columns = {name: array("Q") for name in ("row", "group", "stratum", "text")}
        self._signatures = Signatures()

    def add(self, row: Row, audit: Audit) -> None:
        """Add a row, or reject it if it has no value at a path."""
        prompt, answer = split_answer(row.value)
        group = look_up(row.value, self._group) if self._paths.group else prompt
        stratum = look_up(row.value, self._stratum) if self._paths.stratum else ""
        for name, value in (("group", group), ("stratum", stratum)):
            if value is None and getattr(self._paths, name):
                reason = f"no value at {getattr(self._paths, name)!r}"
                audit.reject("split", reason, row.origin, row.encode_source())
                return
        compares_prompts = not self._paths.group or self._paths.has_texts
        if compares_prompts and answer is None and has_unknown_prompt(row.value):
            self.unknown_prompts += 1
            audit.uncheck("split", UNKNOWN_PROMPT, row.origin)
        self.spool.append(row)
        self._columns["row"].append(content_hash(row.value))
        self._columns["group"].append(content_hash(group))
        self._columns["stratum"].append(content_hash(stratum))
        if self._paths.has_texts:
            text = compared_text(prompt)
            self._columns["text"].append(content_hash(text))
            self._signatures.add(text)

    def __len__(self) -> int:
        return len(self.spool)

    def column(self, name: str) -> Integers:
        """Return the hashes of all rows: `row`, `group`, `stratum`, or `text`."""
        return np.frombuffer(self._columns[name], np.uint64)

    def signatures(self) -> tuple[Integers, Integers]:
        """Return the signatures of the prompts and their sizes."""
        return self._signatures.arrays()

    def text(self, index: int) -> str:
        """Return the prompt of a row as text."""
        value: Any = self.spool[index].value
        return compared_text(split_answer(value)[0])
