"""Index of jobs, files and models in the journal: the account that each of them belongs to."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from ftkit._text import is_encodable
from ftkit.jobs.journal import Journal

Kind = Literal["job", "file", "model"]

MAX_MATCHES = 10
"""Maximum number of resources that are looked up at once."""

MAX_ID = 500
"""Maximum length of an id that is recorded. Those of the known providers have up to 150."""

DIGEST_BYTES = 8
"""Length of the digest of a key: enough to tell keys apart, and too short to find one."""

SELECT_MATCHES = """
SELECT id, account, max(time) AS time FROM (
    SELECT kind, id, account, time FROM created UNION ALL SELECT kind, id, account, time FROM seen
)
WHERE kind = :kind AND substr(id, 1, length(:start)) = :start
AND (
    :owner IN ('', account) OR substr(account, 1, length(:owner) + 1) = :owner || ' '
)
GROUP BY id
ORDER BY id != :start, time DESC
LIMIT :limit
"""

SELECT_LAST = """
SELECT id, account FROM created
WHERE kind = :kind AND (
    :owner IN ('', account) OR substr(account, 1, length(:owner) + 1) = :owner || ' '
)
ORDER BY time DESC
LIMIT 1
"""


class Resource(Struct, frozen=True):
    """Job, file or model.

    Attributes:
        id: Its id.
        account: `Client.account` that it belongs to.
    """

    id: str
    account: str


class ResourceIndex:
    """Index of the jobs, files and models that were created from this machine, or shown by ftkit.

    `owner` narrows a search to a `Client.account`, or to all accounts at the provider of that name.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def find(self, kind: Kind, start: str, owner: str = "") -> list[Resource]:
        """Return the resource with this id, or else those whose ids start with it, newest first.

        At most `MAX_MATCHES` are returned.
        """
        if not start or not is_encodable(start):
            return []
        values = {"kind": kind, "start": start, "owner": owner, "limit": MAX_MATCHES}
        with self._journal.database() as database:
            rows = database.execute(SELECT_MATCHES, values).fetchall()
        resources = [Resource(row["id"], row["account"]) for row in rows]
        return resources[:1] if resources and resources[0].id == start else resources

    def last(self, kind: Kind, owner: str = "") -> Resource | None:
        """Return the job or file that was created last from this machine, or None."""
        with self._journal.database() as database:
            row = database.execute(SELECT_LAST, {"kind": kind, "owner": owner}).fetchone()
        return Resource(**row) if row else None

    def record(self, kind: Kind, ids: Iterable[str], account: str) -> None:
        """Record that an account has these jobs, files or models."""
        now = time.time()
        rows = [(kind, id, account, now) for id in ids if len(id) <= MAX_ID and is_encodable(id)]
        with self._journal.database() as database:
            database.execute("BEGIN")
            database.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)", rows)
            database.execute("COMMIT")

    def record_key(self, account: str, key: str) -> None:
        """Record a digest of the API key that is sent to an account's address."""
        salt = secrets.token_bytes(16)
        with self._journal.database() as database:
            database.execute(
                "INSERT OR REPLACE INTO keys VALUES (?, ?, ?)", (account, salt, _digest(salt, key))
            )

    def has_key(self, account: str, key: str) -> bool:
        """Return True if this API key was the last one to be recorded for the account."""
        with self._journal.database() as database:
            row = database.execute(
                "SELECT salt, digest FROM keys WHERE account = ?", (account,)
            ).fetchone()
        return row is not None and hmac.compare_digest(row["digest"], _digest(row["salt"], key))


def _digest(salt: bytes, key: str) -> bytes:
    return hmac.digest(salt, key.encode(), hashlib.sha256)[:DIGEST_BYTES]
