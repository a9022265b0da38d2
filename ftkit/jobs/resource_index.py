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
"""Maximum number of ids that a prefix is expanded to."""

MAX_ID = 500
"""Maximum length of an id that is recorded. Those of the known providers have up to 150."""

DIGEST_BYTES = 8
"""Length of the digest of a key: enough to tell keys apart, and too short to find one."""

SELECT_RESOURCES = """
SELECT id, account, max(is_created) AS is_created FROM known
WHERE id = :id AND kind = :kind AND (
    :owner IN ('', account) OR substr(account, 1, length(:owner) + 1) = :owner || ' '
)
GROUP BY account
ORDER BY max(time) DESC
"""

SELECT_IDS = """
SELECT id FROM known
WHERE substr(id, 1, length(:prefix)) = :prefix AND kind = :kind AND (
    :owner IN ('', account) OR substr(account, 1, length(:owner) + 1) = :owner || ' '
)
GROUP BY id
ORDER BY max(time) DESC
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
        is_created: False if it was not created from this machine, but shown by ftkit.
    """

    id: str
    account: str
    is_created: bool = True


class ResourceIndex:
    """Index of the jobs, files and models that were created from this machine, or shown by ftkit.

    `owner` narrows a search to a `Client.account`, or to all accounts at the provider of that name.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def find(self, kind: Kind, id: str, owner: str = "") -> list[Resource]:
        """Return the resources with this id, one for each account, newest first."""
        if not is_encodable(id):
            return []
        with self._journal.database() as database:
            values = {"kind": kind, "id": id, "owner": owner}
            rows = database.execute(SELECT_RESOURCES, values).fetchall()
        return [Resource(row["id"], row["account"], bool(row["is_created"])) for row in rows]

    def expand(self, kind: Kind, prefix: str, owner: str = "") -> list[str]:
        """Return the newest ids that start with a prefix, at most `MAX_MATCHES`."""
        if not is_encodable(prefix):
            return []
        values = {"kind": kind, "prefix": prefix, "owner": owner, "limit": MAX_MATCHES}
        with self._journal.database() as database:
            return [row["id"] for row in database.execute(SELECT_IDS, values)]

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
