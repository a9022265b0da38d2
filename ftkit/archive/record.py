"""Recording of fine-tuned models' answers, for comparing successors and as training data."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ftkit._text import printable
from ftkit.archive.access import open_regular, resolve_file
from ftkit.archive.answers import remove_partial_answers, write_training_data
from ftkit.archive.layout import ANSWERS, key_of
from ftkit.archive.manifest import ManifestUpdate
from ftkit.archive.missing import INVALID_ID, Missing, missing_because
from ftkit.archive.read import ArchivedJob, open_archive
from ftkit.archive.store import CONCURRENCY, ArchiveStore
from ftkit.archive.sync import Selection
from ftkit.archive.write import ArchiveWriter
from ftkit.catalog import Catalog
from ftkit.client.client import Client
from ftkit.client.retry import MAX_CONSECUTIVE_FAILURES
from ftkit.compare.ask import AnswerCollector
from ftkit.compare.cost import RequestCost, request_cost
from ftkit.compare.recordings import (
    PART_SUFFIX,
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
"""Request parameters, for reproducible answers."""


class RecordingPlan(Struct, frozen=True):
    """Requests that record answers.

    Attributes:
        jobs: Jobs with the prompts for their models.
        bills: Expected cost of the requests to each model.
        skipped: Ids of jobs without prompts: their data is missing or holds none.
    """

    jobs: tuple[tuple[ArchivedJob, AnswerCollector], ...]
    bills: tuple[RequestCost, ...]
    skipped: tuple[str, ...]

    @property
    def requests(self) -> int:
        """Number of requests."""
        return sum(bill.requests for bill in self.bills)


def plan_recording(
    client: Client,
    folder: Path,
    catalog: Catalog,
    *,
    selection: Selection,
    prompts: str | None = None,
    sample: int | None = None,
) -> RecordingPlan:
    """Plan the requests to all fine-tuned models; prompts that have been answered are left out.

    Args:
        client: Client of the account.
        folder: Folder of the archive.
        catalog: Prices.
        selection: Jobs whose models to ask.
        prompts: File with prompts for all models.
        sample: Without `prompts`, number of prompts from each job's validation file, or from its
            training file if it has none.

    Raises:
        FileError: The file with prompts cannot be read.
    """
    archive = open_archive(folder, lenient=True)
    common_prompts = read_prompts(prompts) if prompts else []
    jobs, bills, skipped = [], [], []
    for archived in archive.jobs():
        model = archived.job.fine_tuned_model
        if not model or not selection.includes(archived.job):
            continue
        job_prompts = common_prompts or _sample_prompts(archived, sample or 0)
        if not job_prompts:
            skipped.append(archived.id)
            continue
        path = _answers_path(archived)
        keeper = RecordingFile(str(path), keep_part=True)
        asking = AnswerCollector(client, model, job_prompts, _parameters(path), keeper)
        if asking.missing:
            jobs.append((archived, asking))
            bills.append(request_cost(asking.missing, model, client.name, catalog))
    return RecordingPlan(tuple(jobs), tuple(bills), tuple(skipped))


def _answers_path(archived: ArchivedJob) -> Path:
    """Return the path of a job's recorded answers.

    Raises:
        FileError: A link is in the place of one of the files that the answers are written to.
    """
    folder, path = archived.archive.folder, f"{archived.path}/{ANSWERS}"
    resolve_file(folder, path + PART_SUFFIX)
    return resolve_file(folder, path)


def _parameters(path: Path) -> dict[str, Any]:
    """Return the parameters of earlier answers, since some models do not support a temperature."""
    answers = read_recordings(str(path)) if path.exists() else []
    if answers and all("temperature" not in answer.parameters for answer in answers):
        return {}
    return PARAMETERS


def _sample_prompts(archived: ArchivedJob, count: int) -> list[Prompt]:
    """Return `count` prompts of the job's own data.

    Lines are chosen by their hashes, so the sample is the same in every run and in any line order.
    """
    path = archived.validation or archived.training
    if path is None or not count or not path.is_file():
        return []
    with open_regular(path) as file:
        lines = (
            (hashlib.sha256(line).digest(), number, line)
            for number, line in enumerate(file, 1)
            if line.strip()
        )
        sample = heapq.nsmallest(count, lines)
    in_file_order = sorted((number, line) for _, number, line in sample)
    prompts = (_prompt(line, number) for number, line in in_file_order)
    return [prompt for prompt in prompts if prompt]


def _prompt(line: bytes, number: int) -> Prompt | None:
    """Return the prompt of a line of data, or None if it has none."""
    try:
        raw = msgspec.json.decode(line, type=dict[str, Any])
        if isinstance(raw.get("input"), dict):  # a preference example
            preferred = raw.get("preferred_output") or []
            raw = {**raw["input"], "messages": [*raw["input"].get("messages", ()), *preferred[:1]]}
        return parse_prompt(raw, number, f"line {number}")
    except (msgspec.DecodeError, ValueError, RecursionError, FileError, TypeError, LookupError):
        return None


def record(
    client: Client,
    folder: Path,
    plan: RecordingPlan,
    catalog: Catalog,
    on_answer: Callable[[], object] = lambda: None,
) -> list[Missing]:
    """Send the planned requests, and save each answer as soon as it arrives.

    Args:
        client: Client of the account.
        folder: Folder of the archive.
        plan: The requests.
        catalog: Prices and shutdown dates for the pages of the archive.
        on_answer: Called after each request.

    Returns:
        What could not be recorded.

    Raises:
        ProviderError: The provider rejects the API key, or the account's quota is used up. Answers
            up to then are in the archive.
        UnreachableError: The provider failed too many requests in a row; likewise.
    """
    store = ArchiveStore(folder)
    with store.locked():
        writer = ArchiveWriter(store)
        all_missing: list[Missing] = []
        try:
            for archived, asking in plan.jobs:
                missing = _record_job(archived, asking, on_answer)
                entries = write_training_data(store, archived.path)
                writer.apply(
                    ManifestUpdate(f"answers {archived.id}", files=entries, missing=missing)
                )
                remove_partial_answers(store, archived.path)
                all_missing += missing
                _check_reachable(all_missing)
        finally:
            writer.builder.changed = True
            writer.finish(catalog)
        return all_missing


def _check_reachable(missing: list[Missing]) -> None:
    """Raise `UnreachableError` if the last requests all failed."""
    if len(missing) >= MAX_CONSECUTIVE_FAILURES and all(
        item.reason == "failed" for item in missing[-MAX_CONSECUTIVE_FAILURES:]
    ):
        raise UnreachableError(
            f"{missing[-1].message}; run the same command again later: recorded answers are kept"
        )


def _record_job(
    archived: ArchivedJob, asking: AnswerCollector, on_answer: Callable[[], object]
) -> tuple[Missing, ...]:
    """Ask one model, and return what it did not answer."""
    model = key_of(asking.model)
    if model != asking.model:
        return (Missing("answers", model, "invalid", INVALID_ID, archived.id),)
    try:
        refused = _ask(asking, on_answer)
    except ProviderError as error:
        if error.status in (401, 402, 429):
            raise
        return (missing_because(error, "answers", model, archived.id),)
    if not refused:
        return ()
    lines = ", ".join(str(number) for number, _ in refused[:10])
    message = printable(f"{len(refused)} prompts (lines {lines}): {refused[0][1]}")
    return (Missing("answers", model, "refused", message, archived.id),)


def _ask(asking: AnswerCollector, on_answer: Callable[[], object]) -> list[tuple[int, str]]:
    """Ask one model, and again without a temperature if it does not support one.

    Returns:
        The line numbers of the refused prompts, with the provider's messages.
    """
    try:
        return asking.collect(CONCURRENCY, on_answer).refused
    except (UnknownOutcomeError, NotFoundError):
        raise
    except ProviderError as error:
        rejects_temperature = (
            error.status == 400 and "temperature" in error.provider_message.lower()
        )
        if not rejects_temperature or not asking.parameters:
            raise
        plain = AnswerCollector(asking.client, asking.model, asking.prompts, {}, asking.file)
        return plain.collect(CONCURRENCY, on_answer).refused
