"""From a file to a job in one call: what is checked, in which order, and what is sent."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

import ftkit
from ftkit.catalog import load_catalog
from ftkit.client.client import Client
from ftkit.dataset import reader
from ftkit.dataset.reader import SinglePass
from ftkit.errors import FileError, FtkitError, ProviderError, UsageError
from ftkit.jobs.journal import Journal
from ftkit.jobs.spec import METADATA_KEY, JobSpec
from ftkit.jobs.submit import idempotency_key
from ftkit.jobs.workflow import (
    ACCOUNT_CLOSED,
    Callbacks,
    JobPlan,
    StartOptions,
    plan_job,
    start_job,
)
from ftkit.summary import Report
from support.examples import chat_lines
from support.fake_provider import FakeProvider, error_body
from support.fixture_types import Write
from support.paths import ROOT

MINI = "gpt-4o-mini-2024-07-18"
PREFERENCE = str(ROOT / "samples" / "preference.jsonl")


@pytest.fixture
def client(provider_url: str) -> Iterator[Client]:
    facts = load_catalog().providers["openai"]
    assert facts.api
    with openai.OpenAI(api_key="sk-test", base_url=provider_url, max_retries=0, timeout=5) as sdk:
        yield Client("openai", facts, facts.api, sdk)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state")


@pytest.fixture
def spec(clean_file: str) -> JobSpec:
    return JobSpec(MINI, clean_file, method="auto")


def agree(plan: JobPlan) -> bool:
    return True


class Recorder:
    """Callbacks that note what they are told, in order."""

    def __init__(self, fake_provider: FakeProvider, discard: bool = False) -> None:
        self.events: list[Any] = []
        self.requests_at_consent: list[Any] = []
        self._fake = fake_provider
        self.callbacks = Callbacks(
            report=self.report,
            say=lambda text: self.events.append(text),
            uploaded=lambda name, size: self.events.append(("uploaded", size)),
            discard=lambda error: discard,
        )

    def report(self, report: Report) -> None:
        self.events.append(("report", report.ok))

    def confirm(self, plan: JobPlan) -> bool:
        self.requests_at_consent = list(self._fake.requests)
        self.events.append(("confirm", plan.spec.method))
        return True


def test_one_call_takes_a_file_to_a_job(
    fake_provider: FakeProvider, client: Client, spec: JobSpec, journal: Journal
) -> None:
    recorder = Recorder(fake_provider)
    outcome = start_job(
        client, spec, journal, confirm=recorder.confirm, callbacks=recorder.callbacks
    )
    assert outcome.submitted
    assert fake_provider.created == [outcome.submitted.job.id]
    body = fake_provider.jobs[outcome.submitted.job.id]
    assert body["method"] == {"type": "supervised"}
    assert body["metadata"] == {METADATA_KEY: outcome.submitted.submission}
    (content,) = fake_provider.contents.values()
    assert content == Path(spec.training).read_bytes()
    kinds = [event[0] if isinstance(event, tuple) else "say" for event in recorder.events]
    assert kinds[:2] == ["report", "confirm"]
    assert ("uploaded", len(content)) in recorder.events
    assert recorder.requests_at_consent == [("GET", f"/v1/models/{MINI}", {})]
    assert outcome.plan.quote
    assert outcome.plan.quote.models[0].cost


def test_the_same_call_again_finds_the_job(
    fake_provider: FakeProvider, client: Client, spec: JobSpec, journal: Journal
) -> None:
    first, second = (start_job(client, spec, journal, confirm=agree) for _ in range(2))
    assert first.submitted
    assert second.submitted
    assert second.submitted.adopted
    assert first.submitted.job.id == second.submitted.job.id
    again = StartOptions(again=True)
    third = start_job(client, spec, journal, confirm=agree, options=again)
    assert third.submitted
    assert fake_provider.created == [first.submitted.job.id, third.submitted.job.id]


def test_a_plan_can_be_made_first_and_is_not_made_again(
    fake_provider: FakeProvider,
    client: Client,
    spec: JobSpec,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = plan_job(spec, client.name)
    assert not fake_provider.requests
    assert plan.requests()[-1]["body"]["method"] == {"type": "supervised"}
    monkeypatch.setattr("ftkit.jobs.workflow.inspect", None)
    outcome = start_job(client, plan, journal, confirm=agree)
    assert outcome.submitted
    assert outcome.plan == plan


def test_without_consent_nothing_is_sent(
    fake_provider: FakeProvider, client: Client, spec: JobSpec, journal: Journal
) -> None:
    outcome = start_job(client, spec, journal, confirm=lambda plan: False)
    assert outcome.submitted is None
    assert outcome.plan.is_valid
    assert {method for method, *_ in fake_provider.requests} == {"GET"}


def test_errors_stop_it_before_consent_unless_forced(
    fake_provider: FakeProvider, client: Client, write: Write, journal: Journal
) -> None:
    spec = JobSpec(MINI, str(write(chat_lines(12, {3: b"oops"}))))
    recorder = Recorder(fake_provider)
    stopped = start_job(
        client, spec, journal, confirm=recorder.confirm, callbacks=recorder.callbacks
    )
    assert (stopped.submitted, stopped.plan.is_valid) == (None, False)
    assert recorder.events == [("report", False)]
    assert not fake_provider.requests
    forced = start_job(
        client,
        spec,
        journal,
        confirm=agree,
        options=StartOptions(force=True),
        callbacks=recorder.callbacks,
    )
    assert forced.submitted
    assert "the file has errors, and is submitted anyway" in recorder.events


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        ({"method": "dpo"}, {}, "which need `method` supervised, not dpo; use `force`"),
        ({}, {"max_cost": 0.0001}, r"estimated to cost \$0.0\d+, more than"),
        ({"model": "my-own-model"}, {"max_cost": 1.0}, "`max_cost` cannot be checked: the cost of"),
        ({}, {"max_cost": float("nan")}, "`max_cost` must be a number"),
        ({"epochs": 99}, {}, "`epochs` must be 1 to 50 at OpenAI, not 99"),
        ({"training": "nowhere.jsonl"}, {}, "cannot open nowhere.jsonl"),
    ],
)
def test_what_stands_in_the_way_is_said_before_consent(
    fields: dict[str, Any],
    options: dict[str, Any],
    message: str,
    fake_provider: FakeProvider,
    client: Client,
    spec: JobSpec,
    journal: Journal,
) -> None:
    def unasked(plan: JobPlan) -> bool:
        raise AssertionError("asked for consent")

    spec = msgspec.structs.replace(spec, **fields)
    with pytest.raises(FtkitError, match=message):
        start_job(client, spec, journal, confirm=unasked, options=StartOptions(**options))
    assert not fake_provider.requests


def test_an_impossible_estimate_is_a_note(
    fake_provider: FakeProvider, client: Client, spec: JobSpec, journal: Journal
) -> None:
    recorder = Recorder(fake_provider)
    own = msgspec.structs.replace(spec, model="my-own-model")
    outcome = start_job(
        client, own, journal, confirm=recorder.confirm, callbacks=recorder.callbacks
    )
    assert outcome.submitted
    assert outcome.plan.quote is None
    assert any(str(event).startswith("no estimate: unknown model") for event in recorder.events)


@pytest.mark.parametrize(("method", "sent"), [("auto", "dpo"), ("supervised", "supervised")])
def test_the_method_is_that_of_the_format_unless_forced(method: str, sent: str) -> None:
    spec = JobSpec("gpt-4.1-2025-04-14", PREFERENCE, method=method)
    plan = plan_job(spec, options=StartOptions(force=method != "auto"))
    assert plan.spec.method == sent


def test_a_model_that_can_no_longer_be_trained_comes_with_a_warning(
    fake_provider: FakeProvider, client: Client, spec: JobSpec, journal: Journal
) -> None:
    plans: list[JobPlan] = []
    old = msgspec.structs.replace(spec, model="gpt-3.5-turbo")
    start_job(client, old, journal, confirm=lambda plan: bool(plans.append(plan)))
    assert plans[0].warning.startswith("gpt-3.5-turbo can no longer be trained at OpenAI, since")
    assert MINI in plans[0].alternatives
    fake_provider.models[MINI] = {
        "id": MINI,
        "object": "model",
        "created": 1,
        "owned_by": "openai",
        "shutdown_date": "2026-01-01",
    }
    start_job(client, spec, journal, confirm=lambda plan: bool(plans.append(plan)))
    assert "which shut it down on 2026-01-01" in plans[1].warning
    assert not fake_provider.created


@pytest.mark.parametrize("discard", [True, False])
def test_files_for_a_closed_account_are_deleted_on_request(
    discard: bool, fake_provider: FakeProvider, client: Client, spec: JobSpec, journal: Journal
) -> None:
    fake_provider.refuse["POST /fine_tuning/jobs"] = (
        403,
        error_body("Winding down", ACCOUNT_CLOSED),
    )
    recorder = Recorder(fake_provider, discard)
    with pytest.raises(ProviderError) as raised:
        start_job(client, spec, journal, confirm=agree, callbacks=recorder.callbacks)
    assert raised.value.code == ACCOUNT_CLOSED
    assert raised.value.uploaded == tuple(fake_provider.files)
    assert len(fake_provider.files) == (0 if discard else 1)


def test_a_file_that_changes_after_its_inspection_is_refused(
    fake_provider: FakeProvider, client: Client, spec: JobSpec, journal: Journal
) -> None:
    def change(plan: JobPlan) -> bool:
        with Path(spec.training).open("ab") as file:
            file.write(b"{}\n")
        return True

    with pytest.raises(FileError, match="has changed since it was validated"):
        start_job(client, spec, journal, confirm=change)
    assert not fake_provider.files
    assert not fake_provider.created


def test_a_file_that_changes_while_it_is_read_is_refused(
    fake_provider: FakeProvider,
    client: Client,
    write: Write,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write(chat_lines(60))
    reads = 0

    class ChangingFile(io.FileIO):
        def readinto(self, buffer: Any) -> int:
            nonlocal reads
            reads += 1
            if reads == 2:
                path.write_bytes(path.read_bytes().replace(b"What", b"When"))
            return super().readinto(buffer) or 0

    monkeypatch.setattr("ftkit.jobs.inspection.SinglePass", lambda path: SinglePass(path, 2000))
    monkeypatch.setattr(
        reader,
        "open",
        lambda path, mode: io.BufferedReader(ChangingFile(path), 2000),
        raising=False,
    )
    with pytest.raises(FileError, match="has changed since it was validated"):
        start_job(client, JobSpec(MINI, str(path)), journal, confirm=agree)
    assert reads > 2
    assert not fake_provider.files
    assert not fake_provider.created


def test_the_low_level_submit_wants_a_method(
    client: Client, spec: JobSpec, journal: Journal
) -> None:
    with pytest.raises(UsageError, match="`method` must be supervised, dpo or reinforcement"):
        ftkit.submit(spec, client, journal)


def test_identical_submissions_keep_the_keys_of_earlier_versions() -> None:
    plain = JobSpec(MINI, "a.jsonl")
    full = JobSpec(
        MINI,
        "a.jsonl",
        "b.jsonl",
        "dpo",
        "mine",
        2,
        4,
        0.5,
        0.2,
        7,
        {"team": "x"},
        "runs",
    )
    account = "openai https://api.openai.com/v1"
    assert idempotency_key(plain, account, "0" * 64, None) == KEYS[0]
    assert idempotency_key(full, account, "0" * 64, "1" * 64, "azure/ftjob-1") == KEYS[1]


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 0},
        {"seed": 1},
        {"epochs": 1},
        {"batch_size": 1},
        {"lr_multiplier": 1.0},
        {"beta": 0.1},
        {"suffix": "a"},
        {"metadata": {"a": ""}},
        {"wandb_project": "a"},
        {"training_type": "a"},
        {"grader": {"type": "x"}},
    ],
)
def test_a_submission_with_a_value_has_another_key_than_one_without(other: dict[str, Any]) -> None:
    keys = {
        idempotency_key(JobSpec(MINI, "a.jsonl", **fields), "openai", "0" * 64, None)
        for fields in ({}, other)
    }
    assert len(keys) == 2


def test_a_seed_of_0_is_submitted_as_a_job_of_its_own(
    client: Client, clean_file: str, journal: Journal, fake_provider: FakeProvider
) -> None:
    first = JobSpec(MINI, clean_file)
    second = msgspec.structs.replace(first, seed=0)
    jobs = [ftkit.submit(spec, client, journal).job.id for spec in (first, second, second, first)]
    assert jobs[0] == jobs[3] != jobs[1] == jobs[2]
    assert fake_provider.jobs[jobs[1]]["seed"] == 0


KEYS = (
    "2305029984a43a1c2fe85562d5fc1e95ff8844bd4a27346356c7ac941c000f5d",
    "d3e9fc777d6c25bbd11cb1d444ce6ffd2f16e0ef96cf901ce38da734a4061875",
)
"""Keys of version 0.1, which stand in the journals of its users."""
