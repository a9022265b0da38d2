"""The manifest: every file of an archive with its hash, and what could not be had and why; and the steps that lead to it.

While an archive is made, each step is a line in `.progress.jsonl`. The next run adds them to the manifest, so nothing that was
fetched is fetched again, whenever the run before ended.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ftkit.archive.layout import MANIFEST, PROGRESS
from ftkit.errors import FileError, os_error_message

FORMAT = 1
"""The version of what the manifest's keys mean."""

Reason = Literal[
    "deleted", "expired", "forbidden", "refused", "not offered", "failed", "incomplete", "left out"
]
"""Why something could not be had.

`deleted`, `expired` and `not offered` (the service has no such thing) stay so.
`forbidden` (the key may not), `refused`, `failed` (errors and broken connections, again and again), `incomplete` (what came is
shorter than announced, and kept) and `left out` (on purpose) are tried again by the next run.
"""

STAYS = ("deleted", "expired", "not offered")


class Entry(Struct, frozen=True):
    """A file of the archive: its SHA-256 in hexadecimal digits, and its size in bytes."""

    sha256: str
    size: int


class Missing(Struct, frozen=True, omit_defaults=True):
    """Something that could not be had: what it is, its id at the service, the job that it belongs to, and why.

    `what` is `file`, `result file`, `events`, `checkpoints`, `permissions`, `models` or `answers`; `said` are the service's words.
    """

    what: str
    id: str
    reason: Reason
    said: str = ""
    job: str = ""

    @property
    def owner(self) -> str:
        """The step that this belongs to."""
        if self.what == "answers":
            return f"answers {self.job}"
        return f"job {self.job}" if self.job else f"{self.what} {self.id}"


def counted(missing: Iterable[Missing]) -> str:
    """How much could not be had, and why: `3 file (deleted), 12 permissions (forbidden)`; empty where there is nothing."""
    counts = Counter((one.what, one.reason) for one in missing)
    return ", ".join(
        f"{number:,} {what} ({reason})" for (what, reason), number in sorted(counts.items())
    )


class Manifest(Struct, kw_only=True):
    """What is in an archive.

    `account` is the service and its address, `organizations` are what it calls the account. `date` is when the last run began
    (UTC), `finished` whether it came to its end. `jobs` are the folders of jobs and `contents` the paths of what was in
    files at the service, by id; `files` are all files by path.
    """

    format: int = FORMAT
    tool: str = ""
    account: str = ""
    organizations: list[str] = []
    date: str = ""
    finished: bool = False
    jobs: dict[str, str] = {}
    contents: dict[str, str] = {}
    missing: list[Missing] = []
    files: dict[str, Entry] = {}


class Step(Struct, frozen=True, omit_defaults=True):
    """What a step has brought: of a job, of a file at the service, of the answers of a job's model, or of the models.

    `owner` names it. `raw` is what the service knows of a file.
    """

    owner: str
    job: str = ""
    folder: str = ""
    contents: dict[str, str] = {}
    files: dict[str, Entry] = {}
    missing: tuple[Missing, ...] = ()
    raw: dict[str, Any] | None = None


class Book:
    """The manifest while it is worked on."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.raws: dict[str, dict[str, Any]] = {}
        self.changed = False
        self._missing: dict[str, tuple[Missing, ...]] = {}
        for one in manifest.missing:
            self._missing[one.owner] = (*self._missing.get(one.owner, ()), one)

    def take(self, step: Step) -> None:
        """Take a step in. It replaces what is known to be missing of the same owner."""
        known = self.manifest
        self.changed |= any(known.files.get(path) != entry for path, entry in step.files.items())
        self.changed |= self._missing.get(step.owner, ()) != step.missing
        known.files.update(step.files)
        known.contents.update(step.contents)
        if step.job:
            known.jobs[step.job] = step.folder
        if step.missing:
            self._missing[step.owner] = step.missing
        else:
            self._missing.pop(step.owner, None)
        if step.raw is not None:
            self.raws[str(step.raw.get("id") or "")] = step.raw

    def drop(self, path: str) -> tuple[Entry, list[str]]:
        """Forget a file that is not what it was; returns its entry, and the ids of the files at the service that it was."""
        self.changed = True
        ids = [id for id, held in self.manifest.contents.items() if held == path]
        for id in ids:
            del self.manifest.contents[id]
        return self.manifest.files.pop(path), ids

    def missing(self, owner: str) -> tuple[Missing, ...]:
        """What could not be had of this owner."""
        return self._missing.get(owner, ())

    def all_missing(self) -> list[Missing]:
        """All that could not be had."""
        return sorted(
            (one for each in self._missing.values() for one in each),
            key=lambda one: (one.what, one.job, one.id),
        )

    def whole(self) -> Manifest:
        """The manifest as it stands, in an order that does not depend on that of the steps."""
        known = self.manifest
        ordered = {
            name: dict(sorted(getattr(known, name).items()))
            for name in ("jobs", "contents", "files")
        }
        return msgspec.structs.replace(known, missing=self.all_missing(), **ordered)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an archive; raises `FileError` where there is none, or it cannot be read."""
    path = folder / MANIFEST
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise FileError(f"{folder} is no archive: it has no {MANIFEST}") from error
    except OSError as error:
        raise FileError(f"cannot read {path}: {os_error_message(error)}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FileError(
            f"{path} is damaged ({error}); take it from a copy, or archive into a new folder"
        ) from error
    if found.format > FORMAT:
        raise FileError(
            f"{path} was written by a newer ftkit ({found.tool}); this one reads format {FORMAT}"
        )
    return found


def encode(manifest: Manifest) -> bytes:
    """The manifest as its file."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def read_progress(folder: Path) -> list[Step]:
    """The steps of a run that did not come to its end. A last line that was not finished is cut off."""
    path = folder / PROGRESS
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        os.truncate(path, len(whole))
    return list(_steps(whole.splitlines()))


def _steps(lines: Iterable[bytes]) -> Iterable[Step]:
    decoder = msgspec.json.Decoder(Step)
    for line in lines:
        try:
            yield decoder.decode(line)
        except (
            msgspec.DecodeError
        ):  # after a crash of the machine, what was written last may be anything
            return


def encode_step(step: Step) -> bytes:
    """The line of a step."""
    return msgspec.json.encode(step) + b"\n"
