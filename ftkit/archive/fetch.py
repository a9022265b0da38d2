"""What is fetched from the service: each method makes one step of the archive. Nothing here changes anything at the service."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from ftkit.archive import layout
from ftkit.archive.manifest import STAYS, Book, Entry, Missing, Reason, Step
from ftkit.archive.store import Received, Store
from ftkit.client.client import Client
from ftkit.client.errors import is_transient
from ftkit.client.resources import Checkpoint, Event, Job, RemoteFile
from ftkit.client.retry import Retry
from ftkit.errors import FtkitError, ProviderError, UsageError
from ftkit.jobs.metrics import decode_results

DECODED = 64 << 20
"""Bytes of a result file up to which it is looked at whether it is in base64; larger ones stay as they came."""

LISTS = ("events", "checkpoints", "permissions", "models")
"""What is asked for as a list, so that an answer of `404` speaks of the list, not of something in it."""

RESULTS = "fine-tune-results"
"""The purpose of result files."""


class Collector:
    """Fetches what the archive lacks; safe to use from several threads, each with steps of its own."""

    def __init__(self, client: Client, store: Store, book: Book, retry: Retry) -> None:
        self.client = client.with_retry(retry)
        self.store, self.book, self.retry = store, book, retry
        self.permissions = Permissions()

    def job(self, job: Job) -> Step:
        """All that belongs to a job but its training and validation files."""
        made = _Making(self, job)
        raw = job.raw
        old = made.old(layout.JOB)
        if old is not None and _is_worse(raw, json.loads(old)):
            made.keep(layout.JOB)
        else:
            made.put(layout.JOB, to_json(raw))
        made.list(
            layout.EVENTS, "events", lambda: (event.raw for event in self.client.events(job.id))
        )
        checkpoints = made.list(
            layout.CHECKPOINTS,
            "checkpoints",
            lambda: (checkpoint.raw for checkpoint in self.client.checkpoints(job.id)),
        )
        made.permissions(checkpoints)
        for file in job.result_files:
            made.result(file)
        for name in (layout.ANSWERS, layout.ANSWERS_CHAT):
            made.keep(name)
        return Step(
            f"job {job.id}",
            job.id,
            layout.folder_of(job.id),
            made.contents,
            made.files,
            tuple(made.missing),
        )

    def file(self, id: str, known: RemoteFile | None) -> Step:
        """The content of a file; `known` is what the service has listed of it."""
        owner = f"file {id}"
        try:
            file = known or self.retry(lambda: self.client.file(id))
        except ProviderError as problem:
            return Step(owner, missing=(self._lost(id, problem),))
        try:
            received, short = self._whole(file)
        except ProviderError as problem:
            return Step(owner, missing=(self._lost(id, problem),), raw=file.raw)
        is_result = file.purpose == RESULTS
        received = self._decode(received) if is_result else received
        path = layout.content_path(received.entry.sha256, is_result)
        before = self.book.manifest.contents.get(id, path)
        there = self.book.manifest.files.get(before)
        if (
            short and there is not None and there.size > received.entry.size
        ):  # an earlier run had more of it
            received.path.unlink()
            path, entry = before, there
        else:
            entry = self.store.adopt(received, path, self.book.manifest.files.get(path))
        told = f"the service says {file.size:,} bytes, and sent {entry.size:,}"
        missing = (Missing("file", id, "incomplete", told),) if short else ()
        return Step(owner, contents={id: path}, files={path: entry}, missing=missing, raw=file.raw)

    def _lost(self, id: str, problem: ProviderError) -> Missing:
        """Why a file could not be had; where an earlier run had a part of it, also that."""
        missing = self._missing("file", id, problem)
        before = [one for one in self.book.missing(f"file {id}") if one.reason == "incomplete"]
        if not before or id not in self.book.manifest.contents:
            return missing
        if missing.reason not in STAYS:
            return before[0]
        return msgspec.structs.replace(
            missing, said=f"{missing.said}; before that {before[0].said}"
        )

    def results(self, id: str) -> Received:
        """A result file, decoded."""
        return self._decode(self._receive(id))

    def _whole(self, file: RemoteFile) -> tuple[Received, bool]:
        """The content of a file, and whether it is shorter than announced, twice."""
        first = self._receive(file.id)
        if first.entry.size >= file.size or file.purpose == RESULTS:
            return first, False
        second = self._receive(file.id)
        better, other = (
            (second, first) if second.entry.size >= first.entry.size else (first, second)
        )
        other.path.unlink()
        return better, better.entry.size < file.size

    def _receive(self, id: str) -> Received:
        received: Received = self.retry(lambda: self.store.receive(self.client.iter_content(id)))
        return received

    def _decode(self, received: Received) -> Received:
        if received.entry.size > DECODED:
            return received
        content = received.path.read_bytes()
        plain = decode_results(content)
        if plain is content:
            return received
        received.path.unlink()
        return self.store.receive([plain])

    def _missing(self, what: str, id: str, problem: FtkitError, job: str = "") -> Missing:
        if isinstance(problem, ProviderError) and problem.status == 401 and what != "permissions":
            raise problem  # the key is wrong by now, and nothing else could be had
        return Missing(
            what, id, reason_of(problem, what), getattr(problem, "said", "") or str(problem), job
        )


class Permissions:
    """Whether the key may see permissions. A key that may not is told so once, and not asked for the others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._allowed = False
        self.refused: ProviderError | None = None

    def allow(self) -> None:
        """Note that the service has answered."""
        with self._lock:
            self._allowed, self.refused = True, None

    def refuse(self, problem: ProviderError) -> None:
        """Note that the service has refused."""
        with self._lock:
            if not self._allowed and problem.status in (401, 403):
                self.refused = problem


class _Making:
    """The step of a job while it is made."""

    def __init__(self, collector: Collector, job: Job) -> None:
        self.collector, self.id, self.folder = collector, job.id, layout.folder_of(job.id)
        self.contents: dict[str, str] = {}
        self.files: dict[str, Entry] = {}
        self.missing: list[Missing] = []

    def old(self, name: str) -> bytes | None:
        """What is in a file of the job's folder since an earlier run; None where there is none."""
        path = f"{self.folder}/{name}"
        return (
            self.collector.store.read(path) if path in self.collector.book.manifest.files else None
        )

    def keep(self, name: str) -> None:
        """Leave a file as it is."""
        path = f"{self.folder}/{name}"
        known = self.collector.book.manifest.files.get(path)
        if known:
            self.files[path] = known

    def put(self, name: str, data: bytes) -> None:
        """Write a file."""
        path = f"{self.folder}/{name}"
        self.files[path] = self.collector.store.write(
            path, data, self.collector.book.manifest.files.get(path)
        )

    def list(
        self, name: str, what: str, fetch: Callable[[], Iterable[dict[str, Any]]]
    ) -> list[dict[str, Any]]:
        """Write a list, oldest first. What an earlier run has seen and the service shows no more stays in it."""
        old = self.old(name)
        known = _items(old, name) if old else []
        try:
            found = list(fetch())
        except (ProviderError, UsageError) as problem:
            self._lacks(what, self.id, problem)
            self.keep(name)
            return known
        merged = _merged(known, found)
        self.put(name, to_lines(merged) if name.endswith(".jsonl") else to_json(merged))
        return merged

    def permissions(self, checkpoints: Iterable[dict[str, Any]]) -> None:
        """Write the permissions of the checkpoints."""
        old = self.old(layout.PERMISSIONS)
        found: dict[str, Any] = json.loads(old) if old else {}
        seen, lacking = self.collector.permissions, None
        for checkpoint in map(Checkpoint.read, checkpoints):
            try:
                if seen.refused:
                    raise seen.refused
                found[checkpoint.id] = list(self.collector.client.permissions(checkpoint.id))
                seen.allow()
            except ProviderError as problem:
                seen.refuse(problem)
                if checkpoint.id not in found:
                    self._lacks("permissions", checkpoint.id, problem)
            except UsageError as problem:
                lacking = problem
        if lacking:
            self._lacks("permissions", self.id, lacking)
        if found:
            self.put(layout.PERMISSIONS, to_json(found))

    def result(self, file: str) -> None:
        """Write a result file, unless it is there."""
        path = layout.results_path(self.id, file)
        known = self.collector.book.manifest.files.get(path)
        if known is None:
            try:
                known = self.collector.store.adopt(self.collector.results(file), path)
            except ProviderError as problem:
                self._lacks("result file", file, problem)
                return
        self.files[path] = known
        self.contents[file] = path

    def _lacks(self, what: str, id: str, problem: FtkitError) -> None:
        self.missing.append(self.collector._missing(what, id, problem, self.id))


def reason_of(problem: FtkitError, what: str = "file") -> Reason:
    """Why something could not be had; of lists that the service does not have, that it does not offer them."""
    if not isinstance(problem, ProviderError):
        return "not offered"
    if problem.status == 410 or (
        problem.status in (400, 404) and "expired" in problem.said.lower()
    ):
        return "expired"
    if problem.status in (404, 405, 501):
        return "deleted" if problem.status == 404 and what not in LISTS else "not offered"
    if problem.status in (401, 403):
        return "forbidden"
    return "failed" if is_transient(problem) else "refused"


def to_json(value: Any) -> bytes:
    """A value as JSON that people can read."""
    return _utf8(value, indent=2) + b"\n"


def to_lines(values: Iterable[Any]) -> bytes:
    """Values as JSON Lines."""
    return b"".join(_utf8(value) + b"\n" for value in values)


def _utf8(value: Any, **how: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, **how).encode()
    except UnicodeEncodeError:  # a lone surrogate, which has no bytes but as an escape
        return json.dumps(value, **how).encode()


def _items(data: bytes, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        [json.loads(line) for line in data.splitlines()]
        if name.endswith(".jsonl")
        else json.loads(data)
    )
    return found


def _merged(
    known: list[dict[str, Any]], newest_first: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What was known and what was found, each once, oldest first."""
    found = {_identity(item): item for item in reversed(newest_first)}
    gone = [item for item in known if _identity(item) not in found]
    return sorted([*gone, *found.values()], key=lambda item: Event.read(item).created_at)


def _identity(item: dict[str, Any]) -> str:
    return str(item.get("id") or "") or json.dumps(item, sort_keys=True)


def _is_worse(new: dict[str, Any], old: dict[str, Any]) -> bool:
    """Whether the service tells less of a job than it did: a field has lost its value."""
    return any(
        value not in EMPTY and new.get(name) in EMPTY
        for name, value in old.items()
        if name not in PASSING
    )


EMPTY: tuple[Any, ...] = (None, "", [], {})
PASSING = ("estimated_finish", "error")
"""Fields of a job that may lose their value while it goes on."""
