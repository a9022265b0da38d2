"""File and folder names in an archive.

Names are derived from ids and hashes, never from names that users chose. They are safe on every
file system: bounded in length, made of letters, digits, `.`, `_` and `-`, and distinct even without
regard to case.
"""

from __future__ import annotations

import hashlib
import re

from ftkit._text import is_encodable

MANIFEST, PROGRESS, PARTIAL, LOCK = "manifest.json", ".progress.jsonl", ".partial", ".lock"
INDEX, README, MODELS, FILES = "index.html", "README.md", "models.json", "files.json"
"""Names in the folder of an archive. Each job's folder has an `INDEX` and a `README` as well."""

JOB, EVENTS, CHECKPOINTS, PERMISSIONS = (
    "job.json",
    "events.jsonl",
    "checkpoints.json",
    "permissions.json",
)
ANSWERS, ANSWERS_CHAT = "answers.jsonl", "answers-chat.jsonl"
"""Names in the folder of a job."""

INTERNAL = {MANIFEST, PROGRESS, PARTIAL, LOCK}
"""Names in an archive's folder that the manifest does not list."""

PLAIN_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")
"""Ids that are used as names without a change."""

HASHED_NAME = re.compile(r".*-[0-9a-f]{16}", re.DOTALL)
"""Names made for all other ids. Plain ids that look like one are hashed, too."""

RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)),
}
"""Device names that Windows does not allow as file names."""

SAFE_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9_-])?"
SAFE_PATH = re.compile(rf"(?:{SAFE_NAME}/){{0,2}}{SAFE_NAME}")
"""Relative paths that may occur in a manifest."""

MAX_ID_LENGTH = 1000
"""Maximum number of characters of an id that is requested; URLs with longer ones are refused."""


def is_safe(path: str) -> bool:
    """Return True if a manifest may name the path: it leads to a file inside the archive."""
    stems = {name.partition(".")[0].lower() for name in path.split("/")}
    return bool(SAFE_PATH.fullmatch(path)) and ".." not in path and not stems & RESERVED


def is_usable_id(id: str) -> bool:
    """Return False if an id cannot be part of a request, nor a key in the manifest."""
    return is_encodable(id) and len(id.encode()) <= MAX_ID_LENGTH


def key_of(id: str) -> str:
    """Return the id under which the manifest lists a resource of the provider.

    That is the id itself, or a name made from it if it cannot be a key.
    """
    return id if is_usable_id(id) else name_of(id)


def name_of(id: str) -> str:
    """Return the file name for an id: a plain id itself, else its safe characters and a hash."""
    if PLAIN_ID.fullmatch(id) and not HASHED_NAME.fullmatch(id) and id not in RESERVED:
        return id
    safe = re.sub(r"[^A-Za-z0-9]+", "-", id).strip("-")[:48].rstrip("-") or "id"
    return f"{safe}-{hashlib.sha256(id.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def job_folder(job_id: str) -> str:
    """Return the path of a job's folder."""
    return f"jobs/{name_of(job_id)}"


def results_path(job_id: str, file_id: str) -> str:
    """Return the path of a job's result file."""
    return f"{job_folder(job_id)}/results-{name_of(file_id)}.csv"


def content_path(sha256: str, is_result: bool = False) -> str:
    """Return the path of a file with that content."""
    return f"files/{sha256}.{'csv' if is_result else 'jsonl'}"
