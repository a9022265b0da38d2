"""Journal of uploads, submissions and migrations, in SQLite.

An intent is recorded before each request and the result after it, durably, so that a run that
crashes at any moment can be continued without paying or uploading twice. The journal holds names,
hashes and ids, but no keys and no data. `ResourceIndex` looks ids up in it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from msgspec import Struct

from ftkit._local import state_folder
from ftkit.errors import FileError, os_error_message

SCHEMA = """
CREATE TABLE IF NOT EXISTS uploads (
    account TEXT NOT NULL,
    sha256  TEXT NOT NULL,
    name    TEXT NOT NULL,
    size    INTEGER NOT NULL,
    path    TEXT NOT NULL,
    started REAL NOT NULL,
    upload  TEXT NOT NULL DEFAULT '',
    parts   TEXT NOT NULL DEFAULT '[]',
    file    TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (account, sha256)
);
CREATE TABLE IF NOT EXISTS submissions (
    id      TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    key     TEXT NOT NULL,
    request TEXT NOT NULL,
    path    TEXT NOT NULL,
    planned REAL NOT NULL,
    sent    REAL,
    job     TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS moves (
    old     TEXT NOT NULL,
    account TEXT NOT NULL,
    job     TEXT NOT NULL,
    moved   REAL NOT NULL,
    PRIMARY KEY (old, account)
);
CREATE TABLE IF NOT EXISTS seen (
    kind    TEXT NOT NULL,
    id      TEXT NOT NULL,
    account TEXT NOT NULL,
    time    REAL NOT NULL,
    PRIMARY KEY (kind, id, account)
);
CREATE TABLE IF NOT EXISTS keys (
    account TEXT PRIMARY KEY,
    salt    BLOB NOT NULL,
    digest  BLOB NOT NULL
);
CREATE VIEW IF NOT EXISTS created AS
    SELECT 'job' AS kind, job AS id, account, planned AS time FROM submissions WHERE job != ''
    UNION ALL SELECT 'file', file, account, started FROM uploads WHERE file != '';
CREATE VIEW IF NOT EXISTS known AS
    SELECT kind, id, account, time, 1 AS is_created FROM created
    UNION ALL SELECT kind, id, account, time, 0 FROM seen;
CREATE INDEX IF NOT EXISTS submissions_by_key ON submissions (account, key);
CREATE INDEX IF NOT EXISTS submissions_by_job ON submissions (account, job);
"""

SELECT_UPLOAD = """
SELECT sha256, name, size, path, started AS started_at, upload AS upload_id, parts AS part_ids,
       file AS file_id
FROM uploads
WHERE account = ? AND sha256 = ?
"""

SELECT_SUBMISSIONS = """
SELECT id, account, key AS idempotency_key, request, path, planned AS planned_at, sent AS sent_at,
       job AS job_id
FROM submissions
"""

SELECT_IDS = {
    "job": "SELECT job FROM submissions WHERE job != '' ORDER BY planned DESC",
    "file": "SELECT file FROM uploads WHERE file != '' ORDER BY started DESC",
}

DATABASE = "journal.db"
"""Name of the database in the journal's folder."""

LOCK_TIMEOUT = 30
"""Seconds to wait for another process that is writing to the database."""

RESUME_HINT = "once it can be written, run the same command again to continue"


class Upload(Struct, frozen=True):
    """File that has been uploaded, or whose upload has begun.

    Attributes:
        sha256: SHA-256 of the content.
        name: Name of the file at the provider.
        size: Bytes.
        path: Local path.
        started_at: Unix time at which the upload began.
        upload_id: Id of a multipart upload in progress, or "".
        part_ids: Ids of the parts that are complete.
        file_id: Id of the file at the provider, or "" if the upload is not complete.
    """

    sha256: str
    name: str
    size: int
    path: str
    started_at: float
    upload_id: str
    part_ids: tuple[str, ...]
    file_id: str


class Submission(Struct, frozen=True):
    """Job that is to be created exactly once.

    Attributes:
        id: Id of the submission, part of the job's metadata.
        account: `Client.account` that it is submitted to.
        idempotency_key: Hash that identical submissions have in common.
        request: Body of the request that creates the job.
        path: Absolute path of the training file.
        planned_at: Unix time at which the submission was recorded.
        sent_at: Unix time of the last request, or None if none was sent or it was refused.
        job_id: Id of the job, or "" while it is unknown.
    """

    id: str
    account: str
    idempotency_key: str
    request: dict[str, Any]
    path: str
    planned_at: float
    sent_at: float | None
    job_id: str


def journal_path(environment: Mapping[str, str]) -> Path:
    """Return the path of the journal's database, which need not exist."""
    return state_folder(environment) / DATABASE


def journaled_ids(folder: Path, kind: Literal["job", "file"]) -> list[str]:
    """Return the ids of the jobs or files of all accounts in a journal, newest first.

    Unlike `Journal`, this neither creates nor repairs anything: a journal that cannot be read has
    no ids.
    """
    address = f"{(folder / DATABASE).absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            return list(dict.fromkeys(id for (id,) in database.execute(SELECT_IDS[kind])))
    except sqlite3.Error:
        return []


class Journal:
    """Journal in a folder, safe to use from several threads and processes.

    Every method raises `FileError` if the journal cannot be written. A damaged database is renamed
    before that, so that the next run starts with a new one.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Open the journal in a folder; by default that of the user, which the command line uses.

        Raises `FileError` if it cannot be created.
        """
        self.folder = folder = state_folder(os.environ) if folder is None else folder
        self.path = folder / DATABASE
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise FileError(
                f"cannot create {folder} for the journal: {os_error_message(error)}"
            ) from error
        # SQLite fails instead of waiting if two processes create the same database at once.
        with self.lock("journal"), self.database() as database:
            if database.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("the integrity check failed")
            database.executescript(SCHEMA)

    @contextmanager
    def lock(
        self, name: str, on_wait: Callable[[str], None] = lambda message: None
    ) -> Iterator[None]:
        """Hold an exclusive lock, which the system releases if the process dies.

        Args:
            name: Name of the lock, such as an idempotency key. The first 32 characters count.
            on_wait: Called with a message if another process holds the lock.
        """
        lock = FileLock(self.folder / f"{name[:32]}.lock")
        try:
            try:
                lock.acquire(blocking=False)
            except Timeout:
                on_wait("another ftkit process is submitting this; waiting for it to finish")
                lock.acquire()
        except OSError as error:
            reason = os_error_message(error)
            raise FileError(
                f"cannot write the journal's lock {lock.lock_file}: {reason}; {RESUME_HINT}"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def find_upload(self, account: str, sha256: str) -> Upload | None:
        """Return the upload of a file by its hash, or None."""
        with self.database() as database:
            row = database.execute(SELECT_UPLOAD, (account, sha256)).fetchone()
        if row is None:
            return None
        part_ids = tuple(json.loads(row["part_ids"]))
        return Upload(**{**row, "path": os.fsdecode(row["path"]), "part_ids": part_ids})

    def begin_upload(self, account: str, sha256: str, name: str, size: int, path: str) -> None:
        """Record that the upload of a file is about to begin."""
        self._execute(
            "INSERT OR REPLACE INTO uploads (account, sha256, name, size, path, started)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (account, sha256, name, size, _sqlite_path(path), time.time()),
        )

    def save_parts(
        self, account: str, sha256: str, upload_id: str, part_ids: tuple[str, ...]
    ) -> None:
        """Record the parts of a multipart upload that are complete."""
        self._execute(
            "UPDATE uploads SET upload = ?, parts = ? WHERE account = ? AND sha256 = ?",
            (upload_id, json.dumps(part_ids), account, sha256),
        )

    def finish_upload(self, account: str, sha256: str, file_id: str) -> None:
        """Record the id of the uploaded file at the provider."""
        self._execute(
            "UPDATE uploads SET file = ?, upload = '', parts = '[]'"
            " WHERE account = ? AND sha256 = ?",
            (file_id, account, sha256),
        )

    def submissions(self, account: str, idempotency_key: str) -> list[Submission]:
        """Return the submissions with this idempotency key, newest first."""
        return self._select_submissions(
            "WHERE account = ? AND key = ? ORDER BY planned DESC", (account, idempotency_key)
        )

    def submission_of_job(self, account: str, job_id: str) -> Submission | None:
        """Return the submission that created a job, or None if it is not in this journal."""
        submissions = self._select_submissions(
            "WHERE account = ? AND job = ? ORDER BY planned DESC LIMIT 1", (account, job_id)
        )
        return next(iter(submissions), None)

    def plan(
        self, id: str, account: str, idempotency_key: str, request: Mapping[str, Any], path: str
    ) -> None:
        """Record a submission, unless its id is recorded already."""
        self._execute(
            "INSERT OR IGNORE INTO submissions (id, account, key, request, path, planned)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                id,
                account,
                idempotency_key,
                json.dumps(request),
                _sqlite_path(path),
                time.time(),
            ),
        )

    def mark_sent(self, id: str, request: Mapping[str, Any]) -> None:
        """Record that the request that creates a submission's job is about to be sent."""
        self._execute(
            "UPDATE submissions SET sent = ?, request = ? WHERE id = ?",
            (time.time(), json.dumps(request), id),
        )

    def mark_refused(self, id: str) -> None:
        """Record that the provider refused a submission, so that there is no job."""
        self._execute("UPDATE submissions SET sent = NULL WHERE id = ?", (id,))

    def mark_created(self, id: str, job_id: str) -> None:
        """Record the job of a submission."""
        self._execute("UPDATE submissions SET job = ? WHERE id = ?", (job_id, id))

    def record_move(self, old_job: str, account: str, job_id: str) -> None:
        """Record the job that an old one, named `PROVIDER/JOB`, was migrated to."""
        self._execute(
            "INSERT OR REPLACE INTO moves (old, account, job, moved) VALUES (?, ?, ?, ?)",
            (old_job, account, job_id, time.time()),
        )

    def find_move(self, old_job: str, account: str) -> str:
        """Return the id of the account's job that an old one was migrated to, or ""."""
        with self.database() as database:
            row = database.execute(
                "SELECT job FROM moves WHERE old = ? AND account = ?", (old_job, account)
            ).fetchone()
        return row["job"] if row else ""

    def _select_submissions(self, condition: str, values: tuple[str, ...]) -> list[Submission]:
        with self.database() as database:
            rows = database.execute(f"{SELECT_SUBMISSIONS} {condition}", values).fetchall()
        return [
            Submission(
                **{
                    **row,
                    "request": json.loads(row["request"]),
                    "path": os.fsdecode(row["path"]),
                }
            )
            for row in rows
        ]

    def _execute(self, statement: str, values: tuple[Any, ...]) -> None:
        with self.database() as database:
            database.execute(statement, values)

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """Open the database, in which each statement is a transaction of its own."""
        try:
            with closing(
                sqlite3.connect(self.path, timeout=LOCK_TIMEOUT, isolation_level=None)
            ) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")
                database.row_factory = sqlite3.Row
                yield database
        except sqlite3.OperationalError as error:
            raise FileError(
                f"cannot write the journal {self.path}: {error}; {RESUME_HINT}"
            ) from error
        except sqlite3.DatabaseError as error:
            raise self._rename_damaged(error) from error

    def _rename_damaged(self, error: sqlite3.DatabaseError) -> FileError:
        """Rename the damaged database and return the error to raise."""
        damaged = self.path.with_name(f"journal-damaged-{time.strftime('%Y%m%d-%H%M%S')}.db")
        for ending in ("", "-wal", "-shm"):
            part = Path(f"{self.path}{ending}")
            if part.exists():
                os.replace(part, f"{damaged}{ending}")
        return FileError(
            f"the journal was damaged ({error}) and has been renamed to {damaged}; "
            "run the command again: it looks jobs up at the provider"
        )


def _sqlite_path(path: str) -> str | bytes:
    """Return a path as SQLite can store it: as bytes if its name is not UTF-8."""
    encoded = os.fsencode(path)
    try:
        return encoded.decode()
    except UnicodeDecodeError:
        return encoded
