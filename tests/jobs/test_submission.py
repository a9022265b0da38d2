"""Submissions: one job for one job spec."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import openai
import pytest

from ftkit.catalog import load_catalog
from ftkit.client.client import Client
from ftkit.errors import FileError, InvalidResponseError, ProviderError, UnknownOutcomeError
from ftkit.jobs.journal import Journal
from ftkit.jobs.spec import METADATA_KEY, JobSpec
from ftkit.jobs.submit import submit
from support.connections import connect_to, openai_client
from support.fake_provider import FakeProvider, error_body
from support.jobs import UpdatingDict


def test_a_submission_uploads_the_file_and_creates_the_job(
    fake_provider: FakeProvider, provider_url: str, order: JobSpec, journal: Journal
) -> None:
    done = submit(order, connect_to(provider_url), journal)
    assert fake_provider.created == [done.job.id]
    assert not done.adopted
    (file,) = fake_provider.files.values()
    assert fake_provider.contents[file["id"]] == Path(order.training).read_bytes()
    assert fake_provider.jobs[done.job.id]["training_file"] == file["id"]
    assert fake_provider.jobs[done.job.id]["metadata"] == {METADATA_KEY: done.submission}


def test_the_same_again_is_the_same_job_and_another_only_on_purpose(
    fake_provider: FakeProvider, provider_url: str, order: JobSpec, journal: Journal
) -> None:
    first = submit(order, connect_to(provider_url), journal)
    again = submit(order, connect_to(provider_url), journal)
    assert (again.job.id, again.adopted) == (first.job.id, True)
    other = submit(order, connect_to(provider_url), journal, again=True)
    assert fake_provider.created == [first.job.id, other.job.id]
    assert len(fake_provider.files) == 1
    assert submit(
        msgspec.structs.replace(order, epochs=2), connect_to(provider_url), journal
    ).job.id not in (
        first.job.id,
        other.job.id,
    )


def test_a_lost_journal_does_not_make_a_second_job(
    fake_provider: FakeProvider, provider_url: str, order: JobSpec, tmp_path: Path
) -> None:
    first = submit(order, connect_to(provider_url), Journal(tmp_path / "one"))
    second = submit(order, connect_to(provider_url), Journal(tmp_path / "two"))
    assert (second.job.id, second.adopted) == (first.job.id, True)
    third = submit(order, connect_to(provider_url), Journal(tmp_path / "three"), again=True)
    assert fake_provider.created == [first.job.id, third.job.id]


def test_no_second_job_is_made_if_no_request_can_name_the_first(
    fake_provider: FakeProvider, provider_url: str, order: JobSpec, tmp_path: Path
) -> None:
    first = submit(order, connect_to(provider_url), Journal(tmp_path / "one"))
    fake_provider.jobs[first.job.id]["id"] = "ftjob-\ud83d"
    with pytest.raises(InvalidResponseError, match="which no request can name"):
        submit(order, connect_to(provider_url), Journal(tmp_path / "two"))
    assert fake_provider.created == [first.job.id]


@pytest.mark.parametrize("fault", ["drop after", "500 after", "truncate"])
def test_a_job_whose_creation_was_not_answered_is_found(
    fault: str, fake_provider: FakeProvider, provider_url: str, order: JobSpec, journal: Journal
) -> None:
    fake_provider.faults = lambda method, path: (
        fault if method == "POST" and path.endswith("/jobs") else ""
    )
    done = submit(order, connect_to(provider_url), journal, sleep=lambda seconds: None)
    assert fake_provider.created == [done.job.id]
    assert submit(order, connect_to(provider_url), journal).job.id == done.job.id
    assert fake_provider.created == [done.job.id]


def test_two_at_once_make_one_job(
    fake_provider: FakeProvider, provider_url: str, order: JobSpec, tmp_path: Path
) -> None:
    fake_provider.faults = lambda method, path: "delay"
    ids: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: ids.append(
                submit(order, connect_to(provider_url), Journal(tmp_path / "state")).job.id
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 4
    assert set(ids) == set(fake_provider.created)
    assert len(fake_provider.created) == len(fake_provider.files) == 1


def test_a_file_that_changes_after_its_check_is_refused_and_taken_back(
    fake_provider: FakeProvider, provider_url: str, order: JobSpec, journal: Journal
) -> None:
    with pytest.raises(FileError, match="has changed since it was validated"):
        submit(order, connect_to(provider_url), journal, hashes=("0" * 64, None))
    assert not fake_provider.files
    assert not fake_provider.created


def test_a_refusal_says_what_the_service_said_and_leaves_no_doubt(
    fake_provider: FakeProvider, provider_url: str, order: JobSpec, journal: Journal
) -> None:
    fake_provider.refuse["POST /fine_tuning/jobs"] = (
        403,
        error_body("Fine-tuning is winding down", "training_not_available"),
    )
    with pytest.raises(ProviderError, match="winding down") as raised:
        submit(order, connect_to(provider_url), journal)
    assert not isinstance(raised.value, UnknownOutcomeError)
    assert raised.value.code == "training_not_available"
    fake_provider.refuse.clear()
    assert not submit(order, connect_to(provider_url), journal).adopted


def test_a_file_that_the_service_cannot_use_stops_the_submission(
    fake_provider: FakeProvider,
    provider_url: str,
    order: JobSpec,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = fake_provider.add_file
    broken = {"status": "error", "status_details": "line 3 is no JSON"}
    monkeypatch.setattr(fake_provider, "add_file", lambda *arguments: real(*arguments) | broken)
    monkeypatch.setattr(fake_provider, "files", UpdatingDict(fake_provider.files, broken))
    with pytest.raises(ProviderError, match="line 3 is no JSON"):
        submit(order, connect_to(provider_url), journal)


def test_a_service_without_metadata_is_asked_by_file(
    fake_provider: FakeProvider, provider_url: str, order: JobSpec, journal: Journal
) -> None:
    facts = load_catalog().providers["llmariner"]
    assert facts.api
    service = Client(
        "llmariner",
        facts,
        facts.api,
        openai.OpenAI(api_key="sk-test", base_url=provider_url, max_retries=0),
    )
    fake_provider.faults = lambda method, path: (
        "drop after" if method == "POST" and path.endswith("/jobs") else ""
    )
    named = msgspec.structs.replace(order, suffix="a", epochs=1)
    assert (
        submit(named, service, journal, sleep=lambda seconds: None).job.id
        == fake_provider.created[0]
    )
    assert len(fake_provider.created) == 1


def test_two_accounts_at_one_address_do_not_take_each_other_s_note(
    fake_provider: FakeProvider, provider_url: str, order: JobSpec, journal: Journal
) -> None:
    mine = submit(order, connect_to(provider_url), journal).job.id
    held = fake_provider.jobs.pop(mine)
    other = submit(order, connect_to(provider_url), journal).job.id
    del fake_provider.jobs[other]
    fake_provider.jobs[mine] = held
    assert submit(order, connect_to(provider_url), journal).job.id == mine
    assert fake_provider.created == [mine, other]


def test_without_metadata_the_job_of_another_order_is_not_taken(
    fake_provider: FakeProvider, provider_url: str, order: JobSpec, journal: Journal
) -> None:
    facts = load_catalog().providers["llmariner"]
    assert facts.api
    service = Client("llmariner", facts, facts.api, openai_client(provider_url))
    first = submit(msgspec.structs.replace(order, suffix="a", epochs=1), service, journal).job.id
    fake_provider.faults = lambda method, path: (
        "drop before" if method == "POST" and path.endswith("/jobs") else ""
    )
    second = msgspec.structs.replace(order, suffix="b", epochs=5)
    with pytest.raises(UnknownOutcomeError):
        submit(second, service, journal, sleep=lambda seconds: None)
    fake_provider.faults = lambda method, path: ""
    assert submit(second, service, journal, sleep=lambda seconds: None).job.id != first


def test_a_list_that_is_an_error_is_not_taken_for_the_absence_of_a_job(
    fake_provider: FakeProvider, provider_url: str, order: JobSpec, journal: Journal
) -> None:
    fake_provider.faults = lambda method, path: (
        "drop after" if method == "POST" and path.endswith("/jobs") else ""
    )
    fake_provider.refuse["GET /fine_tuning/jobs"] = (200, error_body("upstream timeout"))
    for _ in range(2):
        with pytest.raises(UnknownOutcomeError):
            submit(order, connect_to(provider_url), journal, sleep=lambda seconds: None)
    fake_provider.refuse.clear()
    assert (
        submit(order, connect_to(provider_url), journal, sleep=lambda seconds: None).job.id
        == fake_provider.created[0]
    )
    assert len(fake_provider.created) == 1
