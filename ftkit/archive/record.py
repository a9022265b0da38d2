"""How the tuned models of an archive answer, recorded while they still do: for comparing successors, and as training data."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ftkit.archive.answer_files import entries, forget_part
from ftkit.archive.fetch import reason_of
from ftkit.archive.layout import ANSWERS, inside
from ftkit.archive.manifest import Book, Missing, Step, read_manifest, read_progress
from ftkit.archive.read import ArchivedJob, open_archive
from ftkit.archive.store import AT_ONCE, Store
from ftkit.archive.sync import Wanted, conclude
from ftkit.catalog import Catalog
from ftkit.client.client import Client
from ftkit.client.retry import GIVE_UP
from ftkit.compare.ask import AnswerCollector
from ftkit.compare.cost import RequestCost, request_cost
from ftkit.compare.recordings import (
    Prompt,
    RecordingFile,
    parse_prompt,
    read_prompts,
    read_recordings,
)
from ftkit.errors import (
    FileError,
    NotFoundError,
    ProviderError,
    UnknownOutcomeError,
    UnreachableError,
)

PARAMETERS: dict[str, Any] = {"temperature": 0}
"""What is sent with each prompt, so that answers can be had again."""


class Planned(Struct, frozen=True):
    """What there is to ask the models of an archive. `skipped` are the jobs whose data holds no prompts."""

    asking: tuple[tuple[ArchivedJob, AnswerCollector], ...]
    bills: tuple[RequestCost, ...]
    skipped: tuple[str, ...]

    @property
    def requests(self) -> int:
        """Requests to send."""
        return sum(each.requests for each in self.bills)


def plan(
    client: Client,
    folder: Path,
    catalog: Catalog,
    *,
    wanted: Wanted,
    prompts: str | None = None,
    sample: int | None = None,
) -> Planned:
    """What to ask: each tuned model the prompts of a file, or so many of its own validation file, else its training file.

    What has been answered before is not asked again. Raises `FileError` where the file of prompts cannot be read.
    """
    archive = open_archive(folder, lenient=True)
    given = read_prompts(prompts) if prompts else []
    asking, bills, skipped = [], [], []
    for each in archive.jobs():
        if not each.job.fine_tuned_model or not wanted.takes(each.job):
            continue
        asked = given or _drawn(each, sample or 0)
        if not asked:
            skipped.append(each.id)
            continue
        path = inside(archive.folder, f"{each.path}/{ANSWERS}")
        one = AnswerCollector(
            client,
            each.job.fine_tuned_model,
            asked,
            _parameters(path),
            RecordingFile(str(path), keep_part=True),
        )
        if one.missing:
            asking.append((each, one))
            bills.append(request_cost(one.missing, one.model, client.name, catalog))
    return Planned(tuple(asking), tuple(bills), tuple(skipped))


def _parameters(path: Path) -> dict[str, Any]:
    """What is sent with a prompt: as with those that are answered already, since some models take no temperature."""
    known = read_recordings(str(path)) if path.exists() else []
    plain = known and all("temperature" not in one.parameters for one in known)
    return {} if plain else PARAMETERS


def _drawn(each: ArchivedJob, count: int) -> list[Prompt]:
    """So many prompts of the job's own data: the same ones each time, wherever they stand in it."""
    path = each.validation or each.training
    if path is None or not count or not path.is_file():
        return []
    with open(path, "rb") as file:
        lines = (
            (hashlib.sha256(line).digest(), number, line)
            for number, line in enumerate(file, 1)
            if line.strip()
        )
        chosen = heapq.nsmallest(count, lines)
    found = []
    for _, number, line in sorted(chosen, key=lambda one: one[1]):
        prompt = _prompt(line, number)
        if prompt:
            found.append(prompt)
    return found


def _prompt(line: bytes, number: int) -> Prompt | None:
    """The prompt of a line of data; None where it holds none."""
    try:
        raw = msgspec.json.decode(line, type=dict[str, Any])
        if isinstance(
            raw.get("input"), dict
        ):  # a preference example: the reference is the answer to prefer
            preferred = raw.get("preferred_output") or []
            raw = {**raw["input"], "messages": [*raw["input"].get("messages", ()), *preferred[:1]]}
        return parse_prompt(raw, number, f"line {number}")
    except (msgspec.DecodeError, UnicodeDecodeError, FileError, TypeError):
        return None


def record(
    client: Client,
    folder: Path,
    planned: Planned,
    catalog: Catalog,
    told: Callable[[], object] = lambda: None,
) -> list[Missing]:
    """Ask what was planned, keep each answer as soon as it is there, and return what could not be had.

    Raises `ProviderError` where the service refuses the key or the account's money is used up, `UnreachableError` where it does not
    answer any more; what was answered until then is kept and in the manifest.
    """
    store = Store(folder)
    with store.alone():
        book = Book(read_manifest(folder))
        for step in read_progress(folder):
            book.take(step)
        lost: list[Missing] = []
        try:
            for each, asking in planned.asking:
                missing = _ask(each, asking, told)
                step = Step(f"answers {each.id}", files=entries(store, each.path), missing=missing)
                store.note(step)
                book.take(step)
                forget_part(store, each.path)
                lost += missing
                if len(lost) >= GIVE_UP and all(one.reason == "failed" for one in lost[-GIVE_UP:]):
                    raise UnreachableError(
                        f"{lost[-1].said}; run the same again later: what was answered is kept"
                    )
        finally:
            book.changed = True
            conclude(store, book, catalog)
        return lost


def _ask(
    each: ArchivedJob, asking: AnswerCollector, told: Callable[[], object]
) -> tuple[Missing, ...]:
    """Ask one model, and return what it did not answer."""
    try:
        asked = _without_temperature(asking, told)
    except ProviderError as problem:
        if problem.status in (401, 402, 429):
            raise
        return (
            Missing(
                "answers", asking.model, reason_of(problem), problem.said or str(problem), each.id
            ),
        )
    if not asked:
        return ()
    lines = ", ".join(str(number) for number, _ in asked[:10])
    return (
        Missing(
            "answers",
            asking.model,
            "refused",
            f"{len(asked)} prompts (lines {lines}): {asked[0][1]}",
            each.id,
        ),
    )


def _without_temperature(
    asking: AnswerCollector, told: Callable[[], object]
) -> list[tuple[int, str]]:
    """Ask, and once more without a temperature where the model takes none; returns the prompts that were refused."""
    try:
        return asking.collect(AT_ONCE, told).refused
    except (UnknownOutcomeError, NotFoundError):
        raise
    except ProviderError as problem:
        if (
            problem.status != 400
            or "temperature" not in problem.said.lower()
            or not asking.parameters
        ):
            raise
        plain = AnswerCollector(asking.client, asking.model, asking.prompts, {}, asking.file)
        return plain.collect(AT_ONCE, told).refused
