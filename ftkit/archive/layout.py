"""What things are called on disk. Names are made of ids and hashes, never of what somebody called a file.

They are safe (letters, digits, `.`, `_`, `-`), bounded, and differ not only in case, so that an archive can be copied to any disk.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ftkit.errors import FileError

MANIFEST, PROGRESS, PARTIAL, LOCK = "manifest.json", ".progress.jsonl", ".partial", ".lock"
INDEX, README, MODELS, FILES = "index.html", "README.md", "models.json", "files.json"

JOB, EVENTS, CHECKPOINTS, PERMISSIONS = (
    "job.json",
    "events.jsonl",
    "checkpoints.json",
    "permissions.json",
)
ANSWERS, ANSWERS_CHAT = "answers.jsonl", "answers-chat.jsonl"

PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")
"""Ids that are their own names."""

HASHED = re.compile(r".*-[0-9a-f]{16}", re.DOTALL)
"""What the name of any other id looks like, so that no plain one may."""

RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)),
}
"""Names that Windows keeps for itself."""

SAFE_PATH = re.compile(
    r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,127}/){0,2}[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
)


def name_of(id: str) -> str:
    """The name of what has this id: the id itself where it is plain, else what is safe of it, and a hash."""
    if PLAIN.fullmatch(id) and not HASHED.fullmatch(id) and id not in RESERVED:
        return id
    safe = re.sub(r"[^A-Za-z0-9]+", "-", id).strip("-")[:48].rstrip("-") or "id"
    return f"{safe}-{hashlib.sha256(id.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def folder_of(job: str) -> str:
    """The folder of a job."""
    return f"jobs/{name_of(job)}"


def results_path(job: str, file: str) -> str:
    """The path of a result file of a job."""
    return f"{folder_of(job)}/results-{name_of(file)}.csv"


def content_path(sha256: str, is_result: bool = False) -> str:
    """The path of a file with that content."""
    return f"files/{sha256}.{'csv' if is_result else 'jsonl'}"


def inside(folder: Path, path: str) -> Path:
    """Where a path of the manifest is; raises `FileError` for one that no archive has, such as one that leads out of it."""
    if not SAFE_PATH.fullmatch(path) or ".." in path:
        raise FileError(
            f"{folder / MANIFEST} names the path {path[:100]!r}, which no archive has; do not trust this archive"
        )
    return folder / path
