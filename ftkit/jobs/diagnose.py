"""Why a job failed: the service's message, the rule behind it, the lines of the local file, and what to do."""

from __future__ import annotations

import os
import time

from msgspec import Struct

from ftkit.client.client import Client
from ftkit.client.resources import Job
from ftkit.errors import UsageError
from ftkit.jobs.journal import Journal
from ftkit.jobs.uploads import digest
from ftkit.summary import Finding
from ftkit.validation.service_messages import Meaning, meaning
from ftkit.validation.validate import validate

STUCK = 1800
"""Seconds after which a job that is still validating its files is said to be stuck. Most take a few minutes."""


class Diagnosis(Struct, frozen=True):
    """What is known of a job's trouble. `findings` are those of the local file that fit the message, at most 20."""

    job: Job
    says: str
    rules: tuple[str, ...]
    path: str
    findings: tuple[Finding, ...]
    advice: str
    wrong: bool = True


def diagnose(job: Job, client: Client, journal: Journal, now: float | None = None) -> Diagnosis:
    """Find out what is wrong with a job."""
    if (
        job.status == "validating_files"
        and job.created_at
        and (now or time.time()) - job.created_at > STUCK
    ):
        minutes = int(((now or time.time()) - job.created_at) / 60)
        return Diagnosis(
            job,
            f"validating files for {minutes} minutes",
            (),
            "",
            (),
            (
                f"most jobs take a few minutes for this; cancel it (`ftkit jobs cancel {job.id}`) and submit it with --again"
            ),
        )
    if not job.error and not job.error_code and job.status != "failed":
        if job.status == "succeeded":
            return Diagnosis(job, "it has succeeded", (), "", (), "there is nothing to mend", False)
        return Diagnosis(
            job, f"it is {job.status}", (), "", (), "nothing is wrong that the service tells", False
        )
    meant = meaning(f"{job.error} ({job.error_code})")
    rules = tuple(rule.name for rule in meant.rules)
    path, changed = _local(job, client, journal)
    found = _findings(path, rules, job.model, client.name) if path and not changed else ()
    says = job.error or job.error_code or "it does not say why"
    return Diagnosis(job, says, rules, path, found, _advice(job, meant, path, changed, found))


def _local(job: Job, client: Client, journal: Journal) -> tuple[str, bool]:
    """The local file that the job was submitted from, if it is known and there, and whether it has changed."""
    known = journal.submission_of(client.account, job.id)
    if known is None or not os.path.isfile(known.path):
        return "", False
    upload = journal.upload(client.account, digest(known.path))
    return known.path, upload is None


def _findings(path: str, rules: tuple[str, ...], model: str, provider: str) -> tuple[Finding, ...]:
    try:
        report = validate(path, model=model, provider=provider)
    except UsageError:
        report = validate(path, provider=provider)
    errors = [finding for finding in report.files[0].findings if finding.rule in rules or not rules]
    return tuple(finding for finding in errors if rules or finding.severity == "error")[:20]


def _advice(job: Job, meant: Meaning, path: str, changed: bool, found: tuple[Finding, ...]) -> str:
    if found:
        return f"mend these lines of {path} and submit it again, which checks it first"
    if changed:
        return f"{path} has changed since; `ftkit validate` says whether the fault is still in it"
    if meant.rules:
        return f"`ftkit rule {meant.rules[0].name}` explains the rule; run `ftkit validate` on the training file"
    if meant.known_messages:
        return f"{meant.known_messages[0].means} {meant.known_messages[0].do}"
    before = f"`ftkit jobs events {job.id}` tells what went before it"
    return f"ftkit does not know this message; {before}, and the same job is likely to fail again"
