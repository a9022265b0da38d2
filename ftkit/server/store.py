"""What the service knows, in SQLite: files, uploads, parts, jobs, events, checkpoints and models, each a JSON document.

`shown` is the object as the API shows it, `kept` what the service needs besides. Every change is committed before it returns,
and any number of processes may read and write.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

Kind = Literal["file", "upload", "part", "job", "event", "checkpoint", "model"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS things (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL, tenant TEXT NOT NULL, parent TEXT NOT NULL,
    shown TEXT NOT NULL, kept TEXT NOT NULL, status TEXT GENERATED ALWAYS AS (json_extract(shown, '$.status')) VIRTUAL,
    UNIQUE (kind, id)
);
CREATE INDEX IF NOT EXISTS things_in_order ON things (kind, tenant, parent, seq);
CREATE INDEX IF NOT EXISTS things_by_status ON things (kind, status);
"""

WAIT = 30
"""Seconds to wait for another process that writes."""


class Thing(Struct):
    """A document of the service."""

    seq: int
    kind: Kind
    id: str
    tenant: str
    parent: str
    shown: dict[str, Any]
    kept: dict[str, Any]


class Store:
    """The documents in a file. `durable` makes every change survive a loss of power, not only a kill."""

    def __init__(self, path: Path, durable: bool = True) -> None:
        self._path, self._durable = path, durable
        self._local = threading.local()
        with self.transaction() as database:
            for statement in SCHEMA.split(";"):
                database.execute(statement)

    def _database(self) -> sqlite3.Connection:
        """The connection of this thread."""
        found: sqlite3.Connection | None = getattr(self._local, "database", None)
        if found is None:
            found = self._local.database = sqlite3.connect(
                self._path, timeout=WAIT, isolation_level=None
            )
            found.execute("PRAGMA journal_mode = WAL")
            found.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        return found

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Several changes at once, or none of them; may stand inside another."""
        database = self._database()
        if database.in_transaction:
            yield database
            return
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
        except BaseException:
            database.rollback()
            raise
        database.commit()

    def add(
        self,
        kind: Kind,
        id: str,
        tenant: str,
        shown: Mapping[str, Any],
        kept: Mapping[str, Any] | None = None,
        parent: str = "",
    ) -> bool:
        """Add a document; returns whether it is new."""
        row = (kind, id, tenant, parent, json.dumps(shown), json.dumps(kept or {}))
        query = "INSERT OR IGNORE INTO things (kind, id, tenant, parent, shown, kept) VALUES (?, ?, ?, ?, ?, ?)"
        with self.transaction() as database:
            return database.execute(query, row).rowcount == 1

    def text(self, kind: Kind, id: str, tenant: str) -> bytes | None:
        """The JSON that is shown of a document."""
        query = "SELECT shown FROM things WHERE kind = ? AND id = ? AND tenant = ?"
        row = self._database().execute(query, (kind, id, tenant)).fetchone()
        return row[0].encode() if row else None

    def get(self, kind: Kind, id: str, tenant: str | None = None) -> Thing | None:
        """A document; of that tenant only, if one is given."""
        found = next(self._things("kind = ? AND id = ?", (kind, id)), None)
        return found if found and tenant in (None, found.tenant) else None

    def _things(self, where: str, values: tuple[str, ...]) -> Iterator[Thing]:
        query = f"SELECT seq, kind, id, tenant, parent, shown, kept FROM things WHERE {where} ORDER BY seq"
        for seq, named, id, tenant, parent, shown, kept in (
            self._database().execute(query, values).fetchall()
        ):
            yield Thing(seq, named, id, tenant, parent, json.loads(shown), json.loads(kept))

    def with_status(self, kind: Kind, status: str) -> list[Thing]:
        """The documents in that state, the oldest first."""
        return list(self._things("kind = ? AND status = ?", (kind, status)))

    def children(self, kind: Kind, parent: str) -> list[Thing]:
        """The documents that belong to another, the oldest first."""
        return list(self._things("kind = ? AND parent = ?", (kind, parent)))

    def page(
        self,
        kind: Kind,
        tenant: str,
        *,
        parent: str = "",
        after: str = "",
        limit: int = 20,
        oldest_first: bool = False,
        equal: Mapping[str, str] | None = None,
    ) -> tuple[list[bytes], bool]:
        """The JSON of a page of documents, and whether there are more. `equal` maps JSON paths to the texts found there."""
        where, values = "kind = ? AND tenant = ? AND parent = ?", [kind, tenant, parent]
        for path, value in (equal or {}).items():
            where += " AND json_extract(shown, ?) = ?"
            values += [path, value]
        if after:
            where += f" AND seq {'>' if oldest_first else '<'} (SELECT seq FROM things WHERE kind = ? AND id = ? AND tenant = ?)"
            values += [kind, after, tenant]
        query = f"SELECT shown FROM things WHERE {where} ORDER BY seq {'ASC' if oldest_first else 'DESC'} LIMIT {limit + 1}"
        rows = [row[0].encode() for row in self._database().execute(query, values)]
        return rows[:limit], len(rows) > limit

    def change(self, kind: Kind, id: str, edit: Callable[[Thing], bool | None]) -> Thing | None:
        """Edit a document; returns it as it is then. Nothing is changed where `edit` returns False."""
        with self.transaction() as database:
            thing = self.get(kind, id)
            if thing is not None and edit(thing) is not False:
                values = (json.dumps(thing.shown), json.dumps(thing.kept), thing.seq)
                database.execute("UPDATE things SET shown = ?, kept = ? WHERE seq = ?", values)
        return thing

    def remove(self, kind: Kind, id: str) -> None:
        """Remove a document."""
        with self.transaction() as database:
            database.execute("DELETE FROM things WHERE kind = ? AND id = ?", (kind, id))

    def count(self, kind: Kind, tenant: str, statuses: tuple[str, ...]) -> int:
        """How many documents are in one of those states."""
        marks = ", ".join("?" * len(statuses))
        query = f"SELECT count(*) FROM things WHERE kind = ? AND tenant = ? AND status IN ({marks})"
        found: int = self._database().execute(query, (kind, tenant, *statuses)).fetchone()[0]
        return found

    def holds(self, kind: Kind, path: str, value: str) -> bool:
        """Whether any tenant has a document with that value at a JSON path of what is kept."""
        query = "SELECT 1 FROM things WHERE kind = ? AND json_extract(kept, ?) = ? LIMIT 1"
        return self._database().execute(query, (kind, path, value)).fetchone() is not None

    def holds_adapter(self, job: str, step: int) -> bool:
        """Whether any model has the adapter that a job had made by that step."""
        query = "SELECT 1 FROM things WHERE kind = 'model' AND json_extract(kept, '$.job') = ? AND json_extract(kept, '$.step') = ?"
        return self._database().execute(query, (job, step)).fetchone() is not None

    def close(self) -> None:
        """Close the connection of this thread."""
        found: sqlite3.Connection | None = getattr(self._local, "database", None)
        if found is not None:
            found.close()
            self._local.database = None
