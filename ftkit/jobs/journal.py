"""What ftkit is about to do at a service, and what came of it, kept so that a crash at any moment costs nothing twice.

Before each step the intent is written, after it the result; SQLite makes each of these durable before it returns. The journal
holds no key and no data of the user but names, hashes and ids.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from msgspec import Struct

from ftkit.errors import FileError, FtkitError, os_error_message

SCHEMA = """
CREATE TABLE IF NOT EXISTS uploads (
    account TEXT NOT NULL, sha256 TEXT NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL, path TEXT NOT NULL,
    started REAL NOT NULL, upload TEXT NOT NULL DEFAULT '', parts TEXT NOT NULL DEFAULT '[]', file TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (account, sha256)
);
CREATE TABLE IF NOT EXISTS submissions (
    id TEXT PRIMARY KEY, account TEXT NOT NULL, key TEXT NOT NULL, request TEXT NOT NULL, path TEXT NOT NULL,
    planned REAL NOT NULL, sent REAL, job TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS moves (
    old TEXT NOT NULL, account TEXT NOT NULL, job TEXT NOT NULL, moved REAL NOT NULL, PRIMARY KEY (old, account)
);
CREATE INDEX IF NOT EXISTS submissions_by_key ON submissions (account, key);
CREATE INDEX IF NOT EXISTS submissions_by_job ON submissions (account, job);
"""

WAIT = 30
"""Seconds to wait for another ftkit that is writing."""

AFTER = "once it can be written, the same command goes on from here"


class Upload(Struct, frozen=True):
    """A file that was or is being uploaded; `file` is its id at the service once it is there."""

    sha256: str
    name: str
    size: int
    path: str
    started: float
    upload: str
    parts: tuple[str, ...]
    file: str


class Submission(Struct, frozen=True):
    """A job that is to be there once. `sent` is when its creation was last asked for, `job` its id once that is known."""

    id: str
    account: str
    key: str
    request: dict[str, Any]
    path: str
    planned: float
    sent: float | None
    job: str


def state_folder(environment: Mapping[str, str]) -> Path:
    """Where the journal is: `FTKIT_STATE_DIR`, or `ftkit` in the user's state directory."""
    given = environment.get("FTKIT_STATE_DIR")
    if given:
        return Path(given)
    import platformdirs

    return (
        Path(environment["XDG_STATE_HOME"]) / "ftkit"
        if environment.get("XDG_STATE_HOME")
        else Path(platformdirs.user_state_dir("ftkit", appauthor=False))
    )


class Journal:
    """The journal in a folder. Raises `FileError` where it cannot be written, and sets a damaged one aside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "journal.db"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise FileError(
                f"cannot make {folder} for the journal: {os_error_message(error)}"
            ) from error
        # SQLite does not wait, but fails, where two make the same database at once.
        with self.alone("journal"), self._database() as database:
            if database.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("the check failed")
            database.executescript(SCHEMA)

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(
                sqlite3.connect(self.path, timeout=WAIT, isolation_level=None)
            ) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")
                database.row_factory = sqlite3.Row
                yield database
        except sqlite3.OperationalError as error:
            raise FileError(f"cannot write the journal {self.path}: {error}; {AFTER}") from error
        except sqlite3.DatabaseError as error:
            raise self._set_aside(error) from error

    def _set_aside(self, error: sqlite3.DatabaseError) -> FtkitError:
        aside = self.path.with_name(f"journal-damaged-{time.strftime('%Y%m%d-%H%M%S')}.db")
        for ending in ("", "-wal", "-shm"):
            part = Path(f"{self.path}{ending}")
            if part.exists():
                os.replace(part, f"{aside}{ending}")
        return FileError(
            f"the journal was damaged ({error}) and is now {aside}; run again: jobs are looked up at the service"
        )

    @contextmanager
    def alone(self, key: str, say: Callable[[str], None] = lambda text: None) -> Iterator[None]:
        """Keep every other ftkit from submitting the same until the block ends; the system lets go when a process dies.

        `say` is told if another one is at it, and has to be waited for.
        """
        lock = FileLock(self.folder / f"{key[:32]}.lock")
        try:
            try:
                lock.acquire(blocking=False)
            except Timeout:
                say("another ftkit is sending the same; waiting until it is done")
                lock.acquire()
        except OSError as error:
            why = os_error_message(error)
            raise FileError(
                f"cannot write the journal's lock {lock.lock_file}: {why}; {AFTER}"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def upload(self, account: str, sha256: str) -> Upload | None:
        """What is known of the upload of that content."""
        with self._database() as database:
            row = database.execute(
                "SELECT * FROM uploads WHERE account = ? AND sha256 = ?", (account, sha256)
            ).fetchone()
        if row is None:
            return None
        return Upload(
            row["sha256"],
            row["name"],
            row["size"],
            row["path"],
            row["started"],
            row["upload"],
            tuple(json.loads(row["parts"])),
            row["file"],
        )

    def begin_upload(self, account: str, sha256: str, name: str, size: int, path: str) -> None:
        """Write down that the content is about to be uploaded."""
        with self._database() as database:
            database.execute(
                "INSERT OR REPLACE INTO uploads (account, sha256, name, size, path, started) VALUES (?, ?, ?, ?, ?, ?)",
                (account, sha256, name, size, path, time.time()),
            )

    def note_parts(self, account: str, sha256: str, upload: str, parts: tuple[str, ...]) -> None:
        """Write down the parts that an upload has so far."""
        with self._database() as database:
            database.execute(
                "UPDATE uploads SET upload = ?, parts = ? WHERE account = ? AND sha256 = ?",
                (upload, json.dumps(parts), account, sha256),
            )

    def end_upload(self, account: str, sha256: str, file: str) -> None:
        """Write down which file the content is at the service; an empty id says that it is there no more."""
        with self._database() as database:
            database.execute(
                "UPDATE uploads SET file = ?, upload = '', parts = '[]' WHERE account = ? AND sha256 = ?",
                (file, account, sha256),
            )

    def submissions(self, account: str, key: str) -> list[Submission]:
        """The submissions of the same thing, the last first."""
        return self._submissions(
            "SELECT * FROM submissions WHERE account = ? AND key = ? ORDER BY planned DESC",
            (account, key),
        )

    def submission_of(self, account: str, job: str) -> Submission | None:
        """The submission that the job came from, if it was made here."""
        query = "SELECT * FROM submissions WHERE account = ? AND job = ? ORDER BY planned DESC"
        return next(iter(self._submissions(query, (account, job))), None)

    def last_job(self, account: str) -> str:
        """The id of the job that was submitted last, or an empty text."""
        query = "SELECT * FROM submissions WHERE account = ? AND job != '' ORDER BY planned DESC LIMIT 1"
        return next((each.job for each in self._submissions(query, (account,))), "")

    def _submissions(self, query: str, values: tuple[str, ...]) -> list[Submission]:
        with self._database() as database:
            rows = [dict(row) for row in database.execute(query, values)]
        return [Submission(**{**row, "request": json.loads(row["request"])}) for row in rows]

    def plan(self, id: str, account: str, key: str, request: Mapping[str, Any], path: str) -> None:
        """Write down what is to be submitted."""
        with self._database() as database:
            database.execute(
                "INSERT OR IGNORE INTO submissions (id, account, key, request, path, planned) VALUES (?, ?, ?, ?, ?, ?)",
                (id, account, key, json.dumps(request), path, time.time()),
            )

    def sending(self, id: str, request: Mapping[str, Any]) -> None:
        """Write down that the job's creation is about to be asked for."""
        with self._database() as database:
            database.execute(
                "UPDATE submissions SET sent = ?, request = ? WHERE id = ?",
                (time.time(), json.dumps(request), id),
            )

    def moved(self, old: str, account: str, job: str) -> None:
        """Write down which job of the account an old one, named `PROVIDER/JOB`, has become."""
        with self._database() as database:
            values = (old, account, job, time.time())
            database.execute(
                "INSERT OR REPLACE INTO moves (old, account, job, moved) VALUES (?, ?, ?, ?)",
                values,
            )

    def moved_to(self, old: str, account: str) -> str:
        """The job of the account that an old one has become, or an empty text."""
        with self._database() as database:
            row = database.execute(
                "SELECT job FROM moves WHERE old = ? AND account = ?", (old, account)
            ).fetchone()
        return row["job"] if row else ""

    def refused(self, id: str) -> None:
        """Write down that the service refused, so that there is no job."""
        with self._database() as database:
            database.execute("UPDATE submissions SET sent = NULL WHERE id = ?", (id,))

    def created(self, id: str, job: str) -> None:
        """Write down which job the submission became."""
        with self._database() as database:
            database.execute("UPDATE submissions SET job = ? WHERE id = ?", (job, id))
