"""Audit of a preparation: rows read and written, and the rows and values that are missing and why.

Every row that is read is written, merged into another, dropped or rejected, so that

    read + added == written + merged + dropped + rejected
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

from msgspec import Struct, to_builtins

KEEP = 1000
"""Number of entries of each effect, step and reason that are kept. Counts stay exact."""

MAX_LENGTH = 2000
"""Maximum characters of a pointer or a detail, of which only nonsense has more."""

Effect = Literal[
    "added", "merged", "changed", "found", "note", "dropped", "rejected", "loss", "unchecked"
]
"""Effect of a step on a row.

- `added`: the row gave a further output row.
- `merged`: the row is part of an output row that has another origin, too.
- `changed`: a value or the text of the row was changed on purpose. Several changes can be in a row.
- `found`: a value of the row needs a person's decision, and is as it was.
- `note`: a value of the row is not in the output, or another one, but the example is complete.
- `dropped`: the row was left out on purpose, such as a duplicate.
- `rejected`: the row could not be read or converted.
- `loss`: a value of the row is not in the output.
- `unchecked`: the row is in the output, but a bounded search did not compare it with all others.
"""


FINDINGS: tuple[Effect, ...] = ("rejected", "loss", "found", "unchecked")
"""Effects that need the attention of a person."""


class Origin(Struct, frozen=True, omit_defaults=True):
    """Place of a row in a source. Numbers begin at 1; 0 stands for none."""

    file: str
    line: int = 0
    """First line, if the source is text."""
    row: int = 0
    """Number of the row or element, if it is not that of the line."""
    sheet: str = ""
    """Name of the sheet of a workbook."""

    def __str__(self) -> str:
        sheet = f":{self.sheet}" if self.sheet else ""
        line = f":{self.line}" if self.line else ""
        row = f" row {self.row}" if self.row else ""
        return f"{self.file}{sheet}{line}{row}"


class Entry(Struct, frozen=True, omit_defaults=True):
    """An effect of a step on a row."""

    effect: Effect
    step: str
    reason: str
    """Short reason, which is the same for all rows that it applies to."""
    origin: Origin
    pointer: str = ""
    """JSON pointer (RFC 6901) to the value in the source row, or "" for the whole row."""
    detail: str = ""
    """What is special about this row."""


class Audit:
    """Counts of a preparation, and the first entries of each kind.

    Attributes:
        read: Rows read.
        written: Rows written.
        counts: Number of entries by effect, step and reason.
        entries: The first `KEEP` entries of each of them, in order.
        save_reject: Called with each rejected row as it is in its source.
        advance: Called with the name of a file in JSON Lines and the number of bytes that were read
            of it since the last call.
        names: Names to show for files whose path is that of a temporary copy, by path.
        earlier: Audits of the preparations whose rows these are.
        columns: Role and key of each message of the first row, if a table was converted.
        titles: Names of the formats of files that are not JSON Lines, by the name that is shown.
        tables: The names that are shown for files whose rows have columns.
    """

    def __init__(self) -> None:
        self.read = self.written = 0
        self.counts: Counter[tuple[Effect, str, str]] = Counter()
        self.entries: list[Entry] = []
        self.save_reject: Callable[[bytes], object] = lambda line: None
        self.advance: Callable[[str, int], object] = lambda name, size: None
        self.names: dict[str, str] = {}
        self.titles: dict[str, str] = {}
        self.tables: set[str] = set()
        self.columns: list[tuple[str, str]] = []
        self.earlier: list[Audit] = []

    def chain(self) -> Iterator[Audit]:
        """Yield this audit and those of all earlier preparations."""
        yield self
        for audit in self.earlier:
            yield from audit.chain()

    def has_columns(self, file: str) -> bool:
        """Return True if a file is a table, given the name that is shown for it."""
        return any(file in audit.tables for audit in self.chain())

    def origin(self, path: str, line: int = 0, row: int = 0, sheet: str = "") -> Origin:
        """Return the origin of a row of a file."""
        return Origin(self.names.get(path, path), line, row, sheet)

    def lose(
        self, step: str, reason: str, origin: Origin, pointer: str = "", detail: str = ""
    ) -> None:
        """Record that a value of a row is not in the output."""
        self._add("loss", step, reason, origin, pointer, detail)

    def change(
        self, step: str, reason: str, origin: Origin, pointer: str = "", detail: str = ""
    ) -> None:
        """Record that a value or the text of a row was changed; `detail` is the old value."""
        self._add("changed", step, reason, origin, pointer, detail)

    def find(
        self, step: str, reason: str, origin: Origin, pointer: str = "", detail: str = ""
    ) -> None:
        """Record that a value of a row needs a person's decision; `detail` may be a part of it."""
        self._add("found", step, reason, origin, pointer, detail)

    def note(
        self, step: str, reason: str, origin: Origin, pointer: str = "", detail: str = ""
    ) -> None:
        """Record a difference between a row and the output that is no loss."""
        self._add("note", step, reason, origin, pointer, detail)

    def drop(self, step: str, reason: str, origin: Origin, detail: str = "") -> None:
        """Record that a row was left out on purpose."""
        self._add("dropped", step, reason, origin, "", detail)

    def reject(
        self,
        step: str,
        reason: str,
        origin: Origin,
        line: bytes,
        pointer: str = "",
        detail: str = "",
    ) -> None:
        """Record that a row could not be read or converted.

        Args:
            step: Name of the step.
            reason: Short reason, which is the same for all rows that it applies to.
            origin: The row.
            line: The row as it is in its source.
            pointer: JSON pointer to the value at fault.
            detail: What is special about this row.
        """
        self._add("rejected", step, reason, origin, pointer, detail)
        self.save_reject(line)

    def merge(self, step: str, reason: str, origin: Origin) -> None:
        """Record that a row became part of the output row of another."""
        self._add("merged", step, reason, origin)

    def add(self, step: str, reason: str, origin: Origin) -> None:
        """Record that a row gave one more output row."""
        self._add("added", step, reason, origin)

    def uncheck(self, step: str, reason: str, origin: Origin) -> None:
        """Record that a bounded search did not compare a row with all others."""
        self._add("unchecked", step, reason, origin)

    def total(self, effect: Effect) -> int:
        """Return the number of entries with an effect."""
        return sum(count for key, count in self.counts.items() if key[0] == effect)

    @property
    def has_findings(self) -> bool:
        """True if rows were rejected or not compared with all others, or values lost or found."""
        return any(self.total(effect) for effect in FINDINGS)

    @property
    def is_balanced(self) -> bool:
        """True if every row that was read is accounted for."""
        left_out = self.total("merged") + self.total("dropped") + self.total("rejected")
        return self.read + self.total("added") == self.written + left_out

    def to_dict(self) -> dict[str, Any]:
        """Return the counts and the entries as JSON values."""
        return {
            "read": self.read,
            "written": self.written,
            **{effect: self.total(effect) for effect in get_args(Effect)},
            "reasons": [
                {"effect": effect, "step": step, "reason": reason, "count": count}
                for (effect, step, reason), count in self.counts.items()
            ],
            "entries": [to_builtins(entry) for entry in self.entries],
        }

    def _add(
        self,
        effect: Effect,
        step: str,
        reason: str,
        origin: Origin,
        pointer: str = "",
        detail: str = "",
    ) -> None:
        key = (effect, step, reason)
        self.counts[key] += 1
        if self.counts[key] <= KEEP:
            place = (pointer[:MAX_LENGTH], detail[:MAX_LENGTH])
            self.entries.append(Entry(effect, step, reason, origin, *place))
