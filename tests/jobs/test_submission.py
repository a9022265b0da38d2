"""Submissions: one job for one job spec."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import openai
import pytest

from ftkit.errors import FileProblem
from ftkit.facts import load_catalog
from ftkit.journal import Journal
from ftkit.order import MARK, Order
from ftkit.providers import LostAnswer, Service, ServiceProblem
from ftkit.submission import submit
from support.connections import connect_to, openai_client
from support.fake_provider import Service as Fake
from support.fake_provider import error
from support.jobs import Updating


def test_a_submission_uploads_the_file_and_creates_the_job(
    fake: Fake, url: str, order: Order, journal: Journal
) -> None:
    done = submit(order, connect_to(url), journal)
    assert fake.created == [done.job.id]
    assert not done.adopted
    (file,) = fake.files.values()
    assert fake.contents[file["id"]] == Path(order.training).read_bytes()
    assert fake.jobs[done.job.id]["training_file"] == file["id"]
    assert fake.jobs[done.job.id]["metadata"] == {MARK: done.submission}


def test_the_same_again_is_the_same_job_and_another_only_on_purpose(
    fake: Fake, url: str, order: Order, journal: Journal
) -> None:
    first = submit(order, connect_to(url), journal)
    again = submit(order, connect_to(url), journal)
    assert (again.job.id, again.adopted) == (first.job.id, True)
    other = submit(order, connect_to(url), journal, again=True)
    assert fake.created == [first.job.id, other.job.id]
    assert len(fake.files) == 1
    assert submit(
        msgspec.structs.replace(order, epochs=2), connect_to(url), journal
    ).job.id not in (
        first.job.id,
        other.job.id,
    )


def test_a_lost_journal_does_not_make_a_second_job(
    fake: Fake, url: str, order: Order, tmp_path: Path
) -> None:
    first = submit(order, connect_to(url), Journal(tmp_path / "one"))
    second = submit(order, connect_to(url), Journal(tmp_path / "two"))
    assert (second.job.id, second.adopted) == (first.job.id, True)
    third = submit(order, connect_to(url), Journal(tmp_path / "three"), again=True)
    assert fake.created == [first.job.id, third.job.id]


@pytest.mark.parametrize("fault", ["drop after", "500 after", "truncate"])
def test_a_job_whose_creation_was_not_answered_is_found(
    fault: str, fake: Fake, url: str, order: Order, journal: Journal
) -> None:
    fake.faults = lambda method, path: fault if method == "POST" and path.endswith("/jobs") else ""
    done = submit(order, connect_to(url), journal, sleep=lambda seconds: None)
    assert fake.created == [done.job.id]
    assert submit(order, connect_to(url), journal).job.id == done.job.id
    assert fake.created == [done.job.id]


def test_two_at_once_make_one_job(fake: Fake, url: str, order: Order, tmp_path: Path) -> None:
    fake.faults = lambda method, path: "delay"
    found: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(
                submit(order, connect_to(url), Journal(tmp_path / "state")).job.id
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert set(found) == set(fake.created)
    assert len(fake.created) == len(fake.files) == 1


def test_a_file_that_changes_after_its_check_is_refused_and_taken_back(
    fake: Fake, url: str, order: Order, journal: Journal
) -> None:
    with pytest.raises(FileProblem, match="has changed since it was checked"):
        submit(order, connect_to(url), journal, hashes=("0" * 64, None))
    assert not fake.files
    assert not fake.created


def test_a_refusal_says_what_the_service_said_and_leaves_no_doubt(
    fake: Fake, url: str, order: Order, journal: Journal
) -> None:
    fake.refuse["POST /fine_tuning/jobs"] = (
        403,
        error("Fine-tuning is winding down", "training_not_available"),
    )
    with pytest.raises(ServiceProblem, match="winding down") as raised:
        submit(order, connect_to(url), journal)
    assert not isinstance(raised.value, LostAnswer)
    assert raised.value.code == "training_not_available"
    fake.refuse.clear()
    assert not submit(order, connect_to(url), journal).adopted


def test_a_file_that_the_service_cannot_use_stops_the_submission(
    fake: Fake, url: str, order: Order, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fake.add_file
    broken = {"status": "error", "status_details": "line 3 is no JSON"}
    monkeypatch.setattr(fake, "add_file", lambda *given: real(*given) | broken)
    monkeypatch.setattr(fake, "files", Updating(fake.files, broken))
    with pytest.raises(ServiceProblem, match="line 3 is no JSON"):
        submit(order, connect_to(url), journal)


def test_a_service_without_metadata_is_asked_by_file(
    fake: Fake, url: str, order: Order, journal: Journal
) -> None:
    facts = load_catalog().providers["llmariner"]
    assert facts.api
    service = Service(
        "llmariner", facts, facts.api, openai.OpenAI(api_key="sk-test", base_url=url, max_retries=0)
    )
    fake.faults = lambda method, path: (
        "drop after" if method == "POST" and path.endswith("/jobs") else ""
    )
    given = msgspec.structs.replace(order, suffix="a", epochs=1)
    assert submit(given, service, journal, sleep=lambda seconds: None).job.id == fake.created[0]
    assert len(fake.created) == 1


def test_two_accounts_at_one_address_do_not_take_each_other_s_note(
    fake: Fake, url: str, order: Order, journal: Journal
) -> None:
    mine = submit(order, connect_to(url), journal).job.id
    held = fake.jobs.pop(mine)
    other = submit(order, connect_to(url), journal).job.id
    del fake.jobs[other]
    fake.jobs[mine] = held
    assert submit(order, connect_to(url), journal).job.id == mine
    assert fake.created == [mine, other]


def test_without_metadata_the_job_of_another_order_is_not_taken(
    fake: Fake, url: str, order: Order, journal: Journal
) -> None:
    facts = load_catalog().providers["llmariner"]
    assert facts.api
    service = Service("llmariner", facts, facts.api, openai_client(url))
    first = submit(msgspec.structs.replace(order, suffix="a", epochs=1), service, journal).job.id
    fake.faults = lambda method, path: (
        "drop before" if method == "POST" and path.endswith("/jobs") else ""
    )
    second = msgspec.structs.replace(order, suffix="b", epochs=5)
    with pytest.raises(LostAnswer):
        submit(second, service, journal, sleep=lambda seconds: None)
    fake.faults = lambda method, path: ""
    assert submit(second, service, journal, sleep=lambda seconds: None).job.id != first


def test_a_list_that_is_an_error_is_not_taken_for_the_absence_of_a_job(
    fake: Fake, url: str, order: Order, journal: Journal
) -> None:
    fake.faults = lambda method, path: (
        "drop after" if method == "POST" and path.endswith("/jobs") else ""
    )
    fake.refuse["GET /fine_tuning/jobs"] = (200, error("upstream timeout"))
    for _ in range(2):
        with pytest.raises(LostAnswer):
            submit(order, connect_to(url), journal, sleep=lambda seconds: None)
    fake.refuse.clear()
    assert (
        submit(order, connect_to(url), journal, sleep=lambda seconds: None).job.id
        == fake.created[0]
    )
    assert len(fake.created) == 1
