"""Cache of the scores of a moderation model: hashes of texts and scores, but no texts."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from types import TracebackType

import msgspec

from ftkit._private import make_private_folder
from ftkit.errors import FileError, os_error_message

DATABASE = "moderation.db"
"""Name of the database in the cache folder."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS scores (
    digest     BLOB PRIMARY KEY,
    characters INTEGER NOT NULL,
    scores     TEXT NOT NULL
) WITHOUT ROWID
"""

_decode = msgspec.json.Decoder(dict[str, float]).decode


class Score(msgspec.Struct, frozen=True):
    """Result of a moderation model for a text."""

    characters: int
    """Maximum number of characters of the text that were sent."""
    categories: dict[str, float]
    """Scores from 0 to 1 of the categories that the text is flagged for."""


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return the cache's folder: `FTKIT_CACHE_DIR`, or `ftkit` in the user's cache folder."""
    if environment.get("FTKIT_CACHE_DIR"):
        return Path(environment["FTKIT_CACHE_DIR"])
    if environment.get("XDG_CACHE_HOME"):
        return Path(environment["XDG_CACHE_HOME"]) / "ftkit"
    import platformdirs

    return Path(platformdirs.user_cache_dir("ftkit", appauthor=False))


def text_digest(model: str, text: str) -> bytes:
    """Return the hash of a text for a model."""
    data = text.encode("utf-8", "surrogatepass")
    return blake2b(
        data, digest_size=16, key=blake2b(model.encode(), digest_size=16).digest()
    ).digest()


class Scores:
    """Scores by the hash of the text, which later runs use, too. Use it as a context manager."""

    def __init__(self, folder: Path | None = None) -> None:
        """Open the cache in a folder; by default that of the user.

        Raises `FileError` if it cannot be created.
        """
        folder = cache_folder(os.environ) if folder is None else folder
        self._path = folder / DATABASE
        try:
            make_private_folder(folder)
            self._database = self._open()
        except (OSError, sqlite3.Error) as error:
            raise FileError(f"cannot write {self._path}: {os_error_message(error)}") from error

    def _open(self) -> sqlite3.Connection:
        """Open the database. A damaged one is replaced, since it is only a cache."""
        try:
            return self._connect()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            self._path.unlink()
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        try:
            database.execute(_SCHEMA)
        except sqlite3.Error:
            database.close()
            raise
        return database

    def __enter__(self) -> Scores:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()

    def find(self, digest: bytes) -> Score | None:
        """Return the score of a text, or None if it is not known."""
        select = "SELECT characters, scores FROM scores WHERE digest = ?"
        row = self._database.execute(select, (digest,)).fetchone()
        return Score(row[0], _decode(row[1])) if row else None

    def save(self, scores: Iterable[tuple[bytes, Score]]) -> None:
        """Add scores.

        Raises:
            FileError: The cache cannot be written.
        """
        rows = [
            (digest, score.characters, msgspec.json.encode(score.categories).decode())
            for digest, score in scores
        ]
        try:
            self._database.execute("BEGIN")
            self._database.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", rows)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise FileError(f"cannot write {self._path}: {error}") from error
