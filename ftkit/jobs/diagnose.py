"""Diagnosis of a failed or stuck job: the provider's message, the rule, the lines, the remedy."""

from __future__ import annotations

import datetime
import os

from msgspec import Struct

from ftkit._text import validate_command
from ftkit.client.client import Client
from ftkit.client.resources import Job
from ftkit.errors import UsageError
from ftkit.jobs.journal import Journal
from ftkit.jobs.uploads import hash_file
from ftkit.summary import Finding
from ftkit.validation.provider_messages import Meaning, interpret
from ftkit.validation.validate import validate

STUCK_SECONDS = 1800
"""Seconds after which a job that still validates its files counts as stuck. Most take minutes."""

MAX_FINDINGS = 20
"""Maximum number of findings in a diagnosis."""


class Diagnosis(Struct, frozen=True):
    """Explanation of the state of a job.

    Attributes:
        job: The job.
        message: Message of the provider, or a summary of the state.
        rules: Names of the rules that the message is about.
        path: Local file that the job was submitted from, or "" if it is unknown.
        findings: Findings in that file that fit the message, at most `MAX_FINDINGS`.
        advice: Next step.
        is_problem: True if the job failed or is stuck.
    """

    job: Job
    message: str
    rules: tuple[str, ...] = ()
    path: str = ""
    findings: tuple[Finding, ...] = ()
    advice: str = ""
    is_problem: bool = True


def diagnose(
    job: Job, client: Client, journal: Journal, now: datetime.datetime | None = None
) -> Diagnosis:
    """Return the diagnosis of a job.

    Args:
        job: The job.
        client: Connection to its provider.
        journal: Journal that may know the local file of the job.
        now: Current time; by default the system's.

    Raises:
        FileError: The local file cannot be read.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    age = (now - job.created_at).total_seconds() if job.created_at else 0
    if job.status == "validating_files" and age > STUCK_SECONDS:
        return Diagnosis(
            job,
            f"validating files for {int(age / 60)} minutes",
            advice="most jobs take a few minutes for this; cancel the job "
            f"(`ftkit jobs cancel {job.id}`) and submit it again (`ftkit submit --again`)",
        )
    if job.status == "succeeded" and not (job.error or job.error_code):
        return Diagnosis(
            job, "the job succeeded", advice="there is nothing to fix", is_problem=False
        )
    if job.status != "failed" and not (job.error or job.error_code):
        return Diagnosis(
            job,
            f"the job is {job.status}",
            advice="the provider reports no error",
            is_problem=False,
        )
    meaning = interpret(f"{job.error} ({job.error_code})")
    rules = tuple(rule.name for rule in meaning.rules)
    path, has_changed = _local_file(job, client, journal)
    findings = _findings(path, rules, job.model, client.name) if path and not has_changed else ()
    return Diagnosis(
        job,
        job.error or job.error_code or "the provider gives no reason",
        rules,
        path,
        findings,
        _advice(job, meaning, path, has_changed, bool(findings)),
    )


def _local_file(job: Job, client: Client, journal: Journal) -> tuple[str, bool]:
    """Return the training file of a job, or "", and whether it has changed since the upload."""
    submission = journal.submission_of_job(client.account, job.id)
    if submission is None or not os.path.isfile(submission.path):
        return "", False
    upload = journal.find_upload(client.account, hash_file(submission.path))
    return submission.path, upload is None


def _findings(path: str, rules: tuple[str, ...], model: str, provider: str) -> tuple[Finding, ...]:
    """Return the findings of these rules in a file, or all errors if there are no rules."""
    try:
        report = validate(path, model=model, provider=provider)
    except UsageError:  # the model is not in the catalog
        report = validate(path, provider=provider)
    findings = (
        finding
        for finding in report.files[0].findings
        if (finding.rule in rules if rules else finding.severity == "error")
    )
    return tuple(findings)[:MAX_FINDINGS]


def _advice(job: Job, meaning: Meaning, path: str, has_changed: bool, has_findings: bool) -> str:
    if has_findings:
        return f"fix these lines of {path} and submit it again"
    if has_changed:
        command = validate_command(path)
        return f"{path} has changed since; run {command} to see if the error is still there"
    if meaning.rules:
        return (
            f"`ftkit rule {meaning.rules[0].name}` explains the rule; "
            f"{validate_command(path or 'FILE')} shows all findings"
        )
    if meaning.known_messages:
        known_message = meaning.known_messages[0]
        return f"{known_message.means} {known_message.do}"
    return (
        f"ftkit does not know this message; `ftkit jobs events {job.id}` shows what happened "
        "before it, and the same job is likely to fail again"
    )
