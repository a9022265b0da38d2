"""SQLite database of the service's objects: files, uploads, jobs, events, checkpoints, models.

Each object is a row with two JSON documents: `shown` holds its public fields, `kept` its internal
ones. Every change is committed before it returns, and any number of processes may read and write.

SQLite overwrites what is deleted with zeros (`secure_delete`). Its write-ahead log holds earlier
changes until `checkpoint` empties it.
"""

from __future__ import annotations

import json
import sqlite3
import string
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from ftkit.server.objects import StoredObject

T = TypeVar("T", bound=StoredObject)

RANK = "coalesce(json_extract(kept, '$.rank'), 0)"
"""Rank of an object in a queue."""

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS things (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    parent TEXT NOT NULL,
    shown TEXT NOT NULL,
    kept TEXT NOT NULL,
    status TEXT GENERATED ALWAYS AS (json_extract(shown, '$.status')) VIRTUAL,
    UNIQUE (kind, id)
);
CREATE INDEX IF NOT EXISTS things_in_order ON things (kind, tenant, parent, seq);
DROP INDEX IF EXISTS things_by_status;
CREATE INDEX IF NOT EXISTS things_in_queue ON things (
    kind, status, tenant, {RANK} DESC, seq
) WHERE status IS NOT NULL;
CREATE INDEX IF NOT EXISTS things_by_expiry ON things (kind, json_extract(shown, '$.expires_at'));
"""
"""Tables and indexes. `things_by_status` is an index of earlier versions."""

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

BUSY_SECONDS = 30
"""Seconds to wait for another process that writes."""


class PageQuery(Struct, frozen=True, kw_only=True):
    """Selection of a page of a list.

    Attributes:
        parent: Id of the object that the listed objects belong to, or "".
        after: Id of the object before the page, or "" for the first page.
        limit: Maximum number of objects.
        oldest_first: List the oldest objects first, instead of the newest.
        equal: Values that the public JSON must have, by JSON path.
        metadata: Values that the metadata must have, by key.
        text: Text that one of `searched` must have, or "". The case of ASCII letters is ignored.
        searched: JSON paths of the values in which `text` is searched; at least one if it is set.
    """

    parent: str = ""
    after: str = ""
    limit: int = 20
    oldest_first: bool = False
    equal: Mapping[str, str] = {}
    metadata: Mapping[str, str] = {}
    text: str = ""
    searched: Sequence[str] = ()


class Database:
    """The objects of a service.

    Args:
        path: Database file, created if it does not exist.
        durable: Make every change survive a loss of power, not only the end of the process.
    """

    def __init__(self, path: Path, durable: bool = True) -> None:
        self._path, self._durable = path, durable
        self._local = threading.local()
        with self.transaction() as connection:
            for statement in SCHEMA.split(";"):
                connection.execute(statement)

    def _connection(self) -> sqlite3.Connection:
        """Return the connection of this thread."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
            self._local.connection = connection
            connection.create_function("has_metadata", 2, _has_metadata, deterministic=True)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        return connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit all changes of the block, or none if it raises. May be nested."""
        connection = self._connection()
        if connection.in_transaction:
            yield connection
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.commit()  # which fails if the disk is full
        except BaseException:
            connection.rollback()
            raise

    def add(self, value: StoredObject) -> bool:
        """Add an object. Return False if there is one with its id already."""
        public, internal = value.documents()
        owner = (value.kind, public["id"], value.tenant, value.parent)
        query = (
            "INSERT OR IGNORE INTO things (kind, id, tenant, parent, shown, kept)"
            " VALUES (?, ?, ?, ?, ?, ?)"
        )
        with self.transaction() as connection:
            row = (*owner, json.dumps(public), json.dumps(internal))
            return connection.execute(query, row).rowcount == 1

    def encoded(self, type: type[StoredObject], id: str, tenant: str) -> bytes | None:
        """Return the public JSON of a tenant's object, or None."""
        query = "SELECT shown FROM things WHERE kind = ? AND id = ? AND tenant = ?"
        row = self._connection().execute(query, (type.kind, id, tenant)).fetchone()
        return row[0].encode() if row else None

    def get(self, type: type[T], id: str, tenant: str | None = None) -> T | None:
        """Return the object with that id, or None.

        Args:
            type: Type of the object.
            id: Id of the object.
            tenant: Return None if another tenant owns the object; if None, ignore the owner.
        """
        value = next(self._select(type, "id = ?", (id,)), None)
        return value if value and tenant in (None, value.tenant) else None

    def require(self, type: type[T], id: str, tenant: str) -> T:
        """Return the tenant's object with that id.

        Raises:
            MissingObjectError: The object does not exist.
        """
        value = self.get(type, id, tenant)
        if value is None:
            raise type.missing(id)
        return value

    def _select(self, type: type[T], condition: str, values: tuple[str | int, ...]) -> Iterator[T]:
        query = (
            "SELECT tenant, parent, shown, kept FROM things"
            f" WHERE kind = ? AND {condition} ORDER BY seq"
        )
        rows = self._connection().execute(query, (type.kind, *values)).fetchall()
        for tenant, parent, public, internal in rows:
            yield type.from_documents(tenant, parent, json.loads(public), json.loads(internal))

    def owners(self, type: type[StoredObject], *statuses: str) -> dict[str, str]:
        """Return the tenants of the objects with one of these statuses, by id, the oldest first."""
        query = (
            "SELECT id, tenant FROM things WHERE kind = ?"
            f" AND status IN ({_placeholders(statuses)}) ORDER BY seq"
        )
        return dict(self._connection().execute(query, (type.kind, *statuses)))

    def expired(self, type: type[T], time: int) -> list[T]:
        """Return the objects of all tenants that expire at that Unix time or earlier."""
        return list(self._select(type, "json_extract(shown, '$.expires_at') <= ?", (time,)))

    def all(self, type: type[T]) -> list[T]:
        """Return all objects of a type, the oldest first."""
        return list(self._select(type, "TRUE", ()))

    def internal_values(self, type: type[StoredObject], name: str) -> set[str]:
        """Return the different values of an internal field of all objects of a type."""
        query = "SELECT DISTINCT json_extract(kept, ?) FROM things WHERE kind = ?"
        return {row[0] for row in self._connection().execute(query, (f"$.{name}", type.kind))}

    def with_field(self, type: type[T], tenant: str, path: str, value: str) -> list[T]:
        """Return the tenant's objects with that value at a JSON path of their public JSON."""
        condition = "tenant = ? AND json_extract(shown, ?) = ?"
        return list(self._select(type, condition, (tenant, path, value)))

    def children(self, type: type[T], parent: str) -> list[T]:
        """Return the objects that belong to another, the oldest first."""
        return list(self._select(type, "parent = ?", (parent,)))

    def page(
        self, type: type[StoredObject], tenant: str, query: PageQuery
    ) -> tuple[list[bytes], bool]:
        """Return the public JSON of each object on a page, and True if more objects follow."""
        condition = "kind = ? AND tenant = ? AND parent = ?"
        values = [type.kind, tenant, query.parent]
        for path, value in query.equal.items():
            condition += " AND json_extract(shown, ?) = ?"
            values += [path, value]
        if query.metadata:
            condition += " AND has_metadata(shown, ?)"
            values.append(json.dumps(query.metadata))
        if query.text:
            # A text that a value has is in the JSON, too, where it is found in half the time.
            condition += " AND instr(lower(shown), ?)"
            values.append(lower(json.dumps(query.text)[1:-1]))
            part = "instr(lower(json_extract(shown, ?)), ?)"
            condition += f" AND ({' OR '.join([part] * len(query.searched))})"
            values += [value for path in query.searched for value in (path, lower(query.text))]
        if query.after:
            condition += (
                f" AND seq {'>' if query.oldest_first else '<'}"
                " (SELECT seq FROM things WHERE kind = ? AND id = ? AND tenant = ?)"
            )
            values += [type.kind, query.after, tenant]
        order = "ASC" if query.oldest_first else "DESC"
        # One row more than the page has, to see whether more follow.
        statement = (
            f"SELECT shown FROM things WHERE {condition} ORDER BY seq {order}"
            f" LIMIT {query.limit + 1}"
        )
        rows = [row[0].encode() for row in self._connection().execute(statement, values)]
        return rows[: query.limit], len(rows) > query.limit

    def change(self, type: type[T], id: str, edit: Callable[[T], bool | None]) -> T | None:
        """Edit an object in a transaction.

        Args:
            type: Type of the object.
            id: Id of the object.
            edit: Changes the object in place; nothing is saved if it returns False.

        Returns:
            The object after `edit`, or None if it does not exist.
        """
        with self.transaction() as connection:
            value = self.get(type, id)
            if value is not None and edit(value) is not False:
                public, internal = value.documents()
                connection.execute(
                    "UPDATE things SET shown = ?, kept = ? WHERE kind = ? AND id = ?",
                    (json.dumps(public), json.dumps(internal), type.kind, id),
                )
        return value

    def remove(self, type: type[StoredObject], id: str) -> None:
        """Remove an object."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM things WHERE kind = ? AND id = ?", (type.kind, id))

    def remove_children(self, type: type[StoredObject], parent: str, tenant: str) -> None:
        """Remove the tenant's objects of a type that belong to another."""
        query = "DELETE FROM things WHERE kind = ? AND tenant = ? AND parent = ?"
        with self.transaction() as connection:
            connection.execute(query, (type.kind, tenant, parent))

    def count(self, type: type[StoredObject], tenant: str, *statuses: str) -> int:
        """Return the number of a tenant's objects, or of those with one of these statuses."""
        query = "SELECT count(*) FROM things WHERE kind = ? AND tenant = ?"
        if statuses:
            query += f" AND status IN ({_placeholders(statuses)})"
        row = self._connection().execute(query, (type.kind, tenant, *statuses)).fetchone()
        return int(row[0])

    def count_by_status(self, type: type[StoredObject]) -> dict[str, int]:
        """Return the number of the objects of all tenants by status."""
        query = "SELECT status, count(*) FROM things WHERE kind = ? GROUP BY status"
        return dict(self._connection().execute(query, (type.kind,)))

    def total_bytes(self, tenant: str | None = None) -> int:
        """Return the size of all files and pending uploads, or of those of a tenant."""
        query = (
            "SELECT total(json_extract(shown, '$.bytes')) FROM things"
            " WHERE (kind = 'file' OR kind = 'upload' AND status = 'pending')"
        )
        values = () if tenant is None else (tenant,)
        query += " AND tenant = ?" * len(values)
        return int(self._connection().execute(query, values).fetchone()[0])

    def matching(self, type: type[T], *statuses: str, **internal: str | int) -> list[T]:
        """Return the objects of all tenants that match, the oldest first.

        Args:
            type: Type of the objects.
            *statuses: Statuses of which an object must have one. Without any, all match.
            **internal: Values of internal fields, by their JSON path without the `$.`.
        """
        return list(self._select(type, *_conditions(statuses, internal)))

    def exists(self, type: type[StoredObject], *statuses: str, **internal: str | int) -> bool:
        """Return True if an object matches; see `matching`."""
        condition, values = _conditions(statuses, internal)
        query = f"SELECT 1 FROM things WHERE kind = ? AND {condition} LIMIT 1"
        return self._connection().execute(query, (type.kind, *values)).fetchone() is not None

    def rows(self, query: str, values: Mapping[str, str | int]) -> list[tuple[Any, ...]]:
        """Return the rows of a query that changes nothing."""
        return self._connection().execute(query, values).fetchall()

    def checkpoint(self) -> None:
        """Empty the write-ahead log, which may still hold deleted objects.

        It stays as it is while another process reads or writes.
        """
        connection = self._connection()
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")

    def close(self) -> None:
        """Close the connection of this thread."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None


def lower(text: str) -> str:
    """Return a text with ASCII letters in lower case, as the function of that name in SQL."""
    return text.translate(_LOWER)


def _has_metadata(shown: str, metadata: str) -> bool:
    """Return True if an object has all these values in its metadata.

    A function of SQLite's would not find every key: it takes some characters for a JSON path, and
    ends texts at a NUL.
    """
    return bool(json.loads(metadata).items() <= (json.loads(shown).get("metadata") or {}).items())


def _conditions(
    statuses: tuple[str, ...], internal: Mapping[str, str | int]
) -> tuple[str, tuple[str | int, ...]]:
    """Return the SQL condition on objects with these statuses and fields, and its parameters."""
    condition = f"status IN ({_placeholders(statuses)})" if statuses else "TRUE"
    condition += " AND json_extract(kept, ?) = ?" * len(internal)
    fields = [value for name, field in internal.items() for value in (f"$.{name}", field)]
    return condition, (*statuses, *fields)


def _placeholders(values: tuple[str, ...]) -> str:
    return ", ".join("?" * len(values))
