"""One submission is one job, paid once, whatever goes wrong."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from conftest import Write, lines
from service import Service as Fake
from service import error, running, seeded

from ftkit.catalog import find_provider, load_catalog
from ftkit.client.client import Client
from ftkit.client.connect import account_of, connect
from ftkit.errors import FileError, FtkitError, ProviderError, UnknownOutcomeError, UsageError
from ftkit.jobs.journal import Journal
from ftkit.jobs.spec import METADATA_KEY, JobSpec, check, request
from ftkit.jobs.submit import submit
from ftkit.jobs.uploads import digest, planned

MINI = "gpt-4o-mini-2024-07-18"


@lru_cache(1)
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(api_key="sk-test", base_url=url, max_retries=0, timeout=5)


def reach(url: str) -> Client:
    facts = load_catalog().providers["openai"]
    assert facts.api
    return Client("openai", facts, facts.api, client(url))


@pytest.fixture
def order(write: Write) -> JobSpec:
    return JobSpec(MINI, str(write(lines(12))))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state")


def test_a_submission_uploads_the_file_and_creates_the_job(
    fake: Fake, url: str, order: JobSpec, journal: Journal
) -> None:
    done = submit(order, reach(url), journal)
    assert fake.created == [done.job.id]
    assert not done.adopted
    (file,) = fake.files.values()
    assert fake.contents[file["id"]] == Path(order.training).read_bytes()
    assert fake.jobs[done.job.id]["training_file"] == file["id"]
    assert fake.jobs[done.job.id]["metadata"] == {METADATA_KEY: done.submission}


def test_the_same_again_is_the_same_job_and_another_only_on_purpose(
    fake: Fake, url: str, order: JobSpec, journal: Journal
) -> None:
    first = submit(order, reach(url), journal)
    again = submit(order, reach(url), journal)
    assert (again.job.id, again.adopted) == (first.job.id, True)
    other = submit(order, reach(url), journal, again=True)
    assert fake.created == [first.job.id, other.job.id]
    assert len(fake.files) == 1
    assert submit(msgspec.structs.replace(order, epochs=2), reach(url), journal).job.id not in (
        first.job.id,
        other.job.id,
    )


def test_a_lost_journal_does_not_make_a_second_job(
    fake: Fake, url: str, order: JobSpec, tmp_path: Path
) -> None:
    first = submit(order, reach(url), Journal(tmp_path / "one"))
    second = submit(order, reach(url), Journal(tmp_path / "two"))
    assert (second.job.id, second.adopted) == (first.job.id, True)
    third = submit(order, reach(url), Journal(tmp_path / "three"), again=True)
    assert fake.created == [first.job.id, third.job.id]


@pytest.mark.parametrize("fault", ["drop after", "500 after", "truncate"])
def test_a_job_whose_creation_was_not_answered_is_found(
    fault: str, fake: Fake, url: str, order: JobSpec, journal: Journal
) -> None:
    fake.faults = lambda method, path: fault if method == "POST" and path.endswith("/jobs") else ""
    done = submit(order, reach(url), journal, sleep=lambda seconds: None)
    assert fake.created == [done.job.id]
    assert submit(order, reach(url), journal).job.id == done.job.id
    assert fake.created == [done.job.id]


@pytest.mark.parametrize("fault", ["drop after", "500 after", "truncate"])
def test_a_file_whose_upload_was_not_answered_is_found(
    fault: str, fake: Fake, url: str, order: JobSpec, journal: Journal
) -> None:
    fake.faults = lambda method, path: fault if method == "POST" and path.endswith("/files") else ""
    submit(order, reach(url), journal)
    assert len(fake.files) == 1


def test_a_file_that_was_deleted_at_the_service_is_uploaded_again(
    fake: Fake, url: str, order: JobSpec, journal: Journal
) -> None:
    submit(order, reach(url), journal)
    fake.files.clear()
    submit(order, reach(url), journal, again=True)
    assert len(fake.files) == 1


def until_done(order: JobSpec, url: str, folder: Path, tries: int = 60) -> str:
    """Submit as a user would: again and again until it works."""
    for _ in range(tries):
        try:
            return submit(order, reach(url), Journal(folder), sleep=lambda seconds: None).job.id
        except (ProviderError, FileError):
            continue
    raise AssertionError("it never worked")


class Killed(BaseException):
    """The process ends here, as if by kill -9."""


def killing(seed: int, service: Client, journal: Journal) -> None:
    """Make the process die before or after one of the steps that it takes, chosen by the seed."""
    steps = [(service, name) for name in ("upload", "create", "jobs", "files", "file")]
    steps += [
        (journal, name) for name in ("plan", "sending", "created", "begin_upload", "end_upload")
    ]
    chance = random.Random(seed)
    holder, name = chance.choice(steps)
    real, after = getattr(holder, name), chance.random() < 0.5

    def dying(*arguments: Any, **named: Any) -> Any:
        if after:
            done = real(*arguments, **named)
            list(done) if name in ("jobs", "files") else None
        raise Killed

    setattr(holder, name, dying)


SCHEDULES = 1000


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_no_schedule_of_faults_and_kills_makes_two_jobs(
    block: int, write: Write, tmp_path: Path
) -> None:
    order = JobSpec(MINI, str(write(lines(12))))
    for seed in range(block * SCHEDULES // 10, (block + 1) * SCHEDULES // 10):
        fake, folder = Fake(), tmp_path / f"state{seed}"
        with running(fake) as address:
            fake.faults = seeded(seed)
            for step in range(random.Random(seed).randint(0, 3)):
                service, journal = reach(address), Journal(folder)
                killing(seed * 10 + step, service, journal)
                with contextlib.suppress(Killed, FtkitError):
                    submit(order, service, journal, sleep=lambda seconds: None)
            id = until_done(order, address, folder)
            fake.faults = lambda method, path: ""
            assert submit(order, reach(address), Journal(folder)).job.id == id
        assert fake.created == [id], f"seed {seed}"
        assert len({file["filename"] for file in fake.files.values()}) == 1
        with sqlite3.connect(folder / "journal.db") as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_two_at_once_make_one_job(fake: Fake, url: str, order: JobSpec, tmp_path: Path) -> None:
    fake.faults = lambda method, path: "delay"
    found: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(
                submit(order, reach(url), Journal(tmp_path / "state")).job.id
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
    fake: Fake, url: str, order: JobSpec, journal: Journal
) -> None:
    with pytest.raises(FileError, match="has changed since it was checked"):
        submit(order, reach(url), journal, hashes=("0" * 64, None))
    assert not fake.files
    assert not fake.created


def test_a_refusal_says_what_the_service_said_and_leaves_no_doubt(
    fake: Fake, url: str, order: JobSpec, journal: Journal
) -> None:
    fake.refuse["POST /fine_tuning/jobs"] = (
        403,
        error("Fine-tuning is winding down", "training_not_available"),
    )
    with pytest.raises(ProviderError, match="winding down") as raised:
        submit(order, reach(url), journal)
    assert not isinstance(raised.value, UnknownOutcomeError)
    assert raised.value.code == "training_not_available"
    fake.refuse.clear()
    assert not submit(order, reach(url), journal).adopted


def test_a_file_that_the_service_cannot_use_stops_the_submission(
    fake: Fake, url: str, order: JobSpec, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fake.add_file
    broken = {"status": "error", "status_details": "line 3 is no JSON"}
    monkeypatch.setattr(fake, "add_file", lambda *given: real(*given) | broken)
    monkeypatch.setattr(fake, "files", Updating(fake.files, broken))
    with pytest.raises(ProviderError, match="line 3 is no JSON"):
        submit(order, reach(url), journal)


class Updating(dict[str, Any]):
    def __init__(self, real: dict[str, Any], more: dict[str, Any]) -> None:
        super().__init__(real)
        self.more = more

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value | self.more)


@pytest.mark.parametrize("status", ["", "processed", None])
def test_a_service_without_a_file_status_is_not_waited_for(
    status: Any, fake: Fake, url: str, order: JobSpec, journal: Journal
) -> None:
    fake.files = Updating({}, {"status": status})
    slept: list[float] = []
    submit(order, reach(url), journal, sleep=slept.append)
    assert sum(slept) == 0


def test_a_large_file_goes_in_parts_and_goes_on_where_it_stopped(
    fake: Fake, url: str, write: Write, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftkit.jobs.uploads.PART", 300)
    order = JobSpec(MINI, str(write(lines(12))))
    service = reach(url)
    small = msgspec.structs.replace(service.provider.file_bytes, value=1000)
    service.provider = msgspec.structs.replace(service.provider, file_bytes=small)
    sent: list[int] = []

    def fault(method: str, path: str) -> str:
        sent.append(path.endswith("/parts"))
        return "drop before" if path.endswith("/parts") and sum(sent) == 3 else ""

    fake.faults = fault
    with pytest.raises(UnknownOutcomeError):
        submit(order, service, journal)
    submit(order, service, journal)
    assert len(fake.uploads) == 1
    (file,) = fake.files.values()
    assert fake.contents[file["id"]] == Path(order.training).read_bytes()
    assert len(fake.parts) == -(-len(Path(order.training).read_bytes()) // 300)


FULL = JobSpec(
    MINI,
    "a.jsonl",
    "b.jsonl",
    "dpo",
    "mine",
    epochs=2,
    batch_size=4,
    lr_multiplier=0.5,
    beta=0.2,
    seed=7,
    metadata={"team": "x"},
    wandb_project="runs",
)


def api(name: str) -> Any:
    return load_catalog().providers[name].api


def test_the_request_speaks_the_dialect_of_the_service() -> None:
    inner = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 0.5, "beta": 0.2}
    told = request(FULL, api("openai"), "file-1", "file-2", "m-1")
    assert told == {
        "model": MINI,
        "training_file": "file-1",
        "validation_file": "file-2",
        "suffix": "mine",
        "seed": 7,
        "method": {"type": "dpo", "dpo": {"hyperparameters": inner}},
        "metadata": {"team": "x", METADATA_KEY: "m-1"},
        "integrations": [{"type": "wandb", "wandb": {"project": "runs"}}],
    }
    assert request(FULL, api("nebius"), "f", None)["hyperparameters"] == inner
    assert "method" not in request(FULL, api("nebius"), "f", None)
    assert request(FULL, api("azure"), "f", None)["trainingType"] == "GlobalStandard"
    developer = msgspec.structs.replace(FULL, training_type="Developer")
    assert request(developer, api("azure"), "f", None)["trainingType"] == "Developer"
    assert request(FULL, api("llmariner"), "f", None, "m-1")["method"] == {
        "type": "dpo",
        "hyperparameters": inner,
    }
    assert METADATA_KEY not in request(FULL, api("llmariner"), "f", None, "m-1").get("metadata", {})
    assert request(JobSpec(MINI, "a"), api("openai"), "f", None) == {
        "model": MINI,
        "training_file": "f",
        "method": {"type": "supervised"},
    }


REFUSED = [
    ("openai", {"suffix": "x" * 65}, "takes 1 to 64"),
    ("openai", {"suffix": ""}, "takes 1 to 64"),
    ("azure", {"suffix": "x" * 19}, "takes 1 to 18"),
    ("azure", {"suffix": "a.b"}, "only the characters"),
    ("azure", {"training_type": "global"}, "one of GlobalStandard, Standard, Developer"),
    ("openai", {"training_type": "Standard"}, "leave it out"),
    ("llmariner", {"epochs": 1}, "needs a `suffix`"),
    ("llmariner", {"suffix": "a"}, "set `epochs`"),
    ("openai", {"epochs": 51}, "1 to 50"),
    ("openai", {"batch_size": 257}, "1 to 256"),
    ("openai", {"seed": 2**31}, "0 to 2,147,483,647"),
    ("openai", {"lr_multiplier": 0.0}, "more than 0"),
    ("nebius", {"lr_multiplier": 1.8}, "the learning rate itself"),
    ("openai", {"beta": 0.1}, "for `method` dpo"),
    ("openai", {"beta": 3.0, "method": "dpo"}, "at most 2"),
    ("openai", {"method": "reinforcement"}, "needs a `grader`"),
    ("openai", {"metadata": {str(n): "" for n in range(16)}}, "ftkit needs one"),
    ("openai", {"metadata": {"k" * 65: ""}}, "1 to 64 characters"),
    ("llmariner", {"metadata": {"a": "b"}, "suffix": "a", "epochs": 1}, "has no metadata"),
]


@pytest.mark.parametrize(("provider", "given", "said"), REFUSED)
def test_what_a_service_would_refuse_is_refused_before(
    provider: str, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        check(JobSpec(MINI, "a.jsonl", **given), api(provider), provider)


def test_a_service_without_metadata_is_asked_by_file(
    fake: Fake, url: str, order: JobSpec, journal: Journal
) -> None:
    facts = load_catalog().providers["llmariner"]
    assert facts.api
    service = Client(
        "llmariner", facts, facts.api, openai.OpenAI(api_key="sk-test", base_url=url, max_retries=0)
    )
    fake.faults = lambda method, path: (
        "drop after" if method == "POST" and path.endswith("/jobs") else ""
    )
    given = msgspec.structs.replace(order, suffix="a", epochs=1)
    assert submit(given, service, journal, sleep=lambda seconds: None).job.id == fake.created[0]
    assert len(fake.created) == 1


def test_a_damaged_journal_is_set_aside_and_named(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "journal.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(FileError, match="was damaged") as raised:
        Journal(tmp_path / "state")
    (aside,) = (tmp_path / "state").glob("journal-damaged-*.db")
    assert str(aside) in str(raised.value)
    assert aside.read_bytes().startswith(b"this is no database")
    Journal(tmp_path / "state")


def test_a_journal_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(FileError, match="cannot make"):
        Journal(tmp_path / "state")


def test_the_journal_holds_no_key(fake: Fake, url: str, order: JobSpec, journal: Journal) -> None:
    submit(order, reach(url), journal)
    held = b"".join(path.read_bytes() for path in journal.folder.iterdir())
    assert b"sk-test" not in held


KEYS = {"OPENAI_API_KEY": "sk-env"}


def test_the_key_comes_from_the_environment_or_from_a_file_of_ones_own(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    with pytest.raises(UsageError, match="no key for openai: set OPENAI_API_KEY"):
        connect("openai", environment=home)
    path = tmp_path / ".config" / "ftkit" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text('[keys]\nopenai = "sk-file"\n')
    path.chmod(0o644)
    with pytest.raises(UsageError, match="can be read by others"):
        connect("openai", environment=home)
    path.chmod(0o600)
    assert connect("openai", environment=home)._client.api_key == "sk-file"
    assert connect("openai", environment=home | KEYS)._client.api_key == "sk-env"


def test_the_address_of_a_provider_may_stand_beside_its_key(tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    path = tmp_path / "ftkit" / "config.toml"
    path.parent.mkdir()
    path.touch(0o600)
    path.write_text(
        '[keys]\nazure = "k"\nopenai = "o"\n[base-url]\nazure = "https://mine.test/v1"\nnebius = 5\n'
    )
    assert connect("azure", environment=home).account == "azure https://mine.test/v1"
    assert (
        connect("azure", "https://other.test/v1", environment=home).account
        == "azure https://other.test/v1"
    )
    assert connect("openai", environment=home).account == "openai https://api.openai.com/v1"
    with pytest.raises(UsageError, match=r"the address of nebius under \[base-url\] is no text"):
        connect("nebius", environment=home | {"NEBIUS_API_KEY": "n"})


@pytest.mark.parametrize("provider", ["openai", "nebius"])
def test_a_service_has_one_name_with_and_without_a_key(provider: str) -> None:
    keys = {"OPENAI_API_KEY": "k", "NEBIUS_API_KEY": "k"}
    assert account_of(provider) == connect(provider, environment=keys).account


@pytest.mark.parametrize(
    ("provider", "base_url", "said"),
    [
        ("mistral", "", "is not supported: it has a protocol of its own"),
        (
            "azure",
            "",
            r"give it with --base-url \(in Python base_url=\), or under \[base-url\] in .*, e\.g\. https://RESOURCE",
        ),
        ("openai", "api.openai.com", "is no address"),
        ("openai", "http://[::1/v1", "is no address"),
        ("opnai", "", "did you mean 'openai'"),
    ],
)
def test_a_service_that_cannot_be_reached_so_says_why(
    provider: str, base_url: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        connect(provider, base_url, environment=KEYS)


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("http://localhost:8000/v1", "none"),
        ("http://127.0.0.2:8000/v1", "none"),
        ("http://[::1]:8000/v1", "none"),
        ("https://api.openai.com/v1/", None),
        ("http://localhost.example/v1", None),
        ("http://127.0.0.1.example/v1", None),
    ],
)
def test_no_key_is_needed_for_a_service_of_another_on_this_machine_alone(
    address: str, key: str | None, tmp_path: Path
) -> None:
    if key:
        assert (
            connect("openai", address, environment={"HOME": str(tmp_path)})._client.api_key == key
        )
    else:
        with pytest.raises(UsageError, match="no key for"):
            connect("openai", address, environment={"HOME": str(tmp_path)})
    assert connect("openai", address, environment=KEYS)._client.api_key == "sk-env"


def test_what_the_local_service_lacks_is_said_before_anything_is_sent() -> None:
    local = find_provider("local")
    assert local.api
    with pytest.raises(
        UsageError, match="this machine has no integrations; leave `wandb_project` out"
    ):
        check(JobSpec("ftkit/smoke", "a.jsonl", wandb_project="mine"), local.api, local.title)


def test_where_no_service_runs_on_this_machine_none_is_started_from_python(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"start one with `ftkit serve`, or give the address of one as base_url="
    ):
        connect("local", environment={"FTKIT_DATA_DIR": str(tmp_path)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            (401, error("Incorrect API key provided: sk-test")),
            "does not take the key; see what OPENAI_API_KEY holds",
        ),
        ((429, error("Rate limit reached", "rate_limit_exceeded")), "asked too often"),
        (
            (403, error("Your organization cannot", "training_not_available")),
            "said 403: Your organization cannot",
        ),
        ((404, error("No such job")), "does not have it"),
        ((200, b"<html>"), "cannot be read"),
    ],
)
def test_what_the_service_says_is_one_line_without_the_key(
    answer: Any, said: str, fake: Fake, url: str
) -> None:
    fake.refuse["GET /fine_tuning/jobs/ftjob-1"] = answer
    with pytest.raises(ProviderError, match=said) as raised:
        reach(url).job("ftjob-1")
    assert "\n" not in str(raised.value)
    assert "sk-test" not in str(raised.value)


def test_no_connection_is_one_line() -> None:
    with pytest.raises(UnknownOutcomeError, match=r"no connection to http://127\.0\.0\.1:9/v1"):
        reach("http://127.0.0.1:9/v1").job("ftjob-1")


def test_kill_9_at_any_moment_leaves_one_job(
    fake: Fake, url: str, order: JobSpec, tmp_path: Path
) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[4]); from test_submit import *;"
        "print(submit(JobSpec(MINI, sys.argv[2]), reach(sys.argv[1]), Journal(Path(sys.argv[3]))).job.id)"
    )
    fake.faults = lambda method, path: "delay"
    command = [
        sys.executable,
        "-c",
        code,
        url,
        order.training,
        str(tmp_path / "state"),
        str(Path(__file__).parent),
    ]
    for _ in range(4):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        before = len(fake.requests)
        wanted = random.Random(_).randint(1, 4)
        while process.poll() is None and len(fake.requests) < before + wanted:
            pass
        process.kill()
        process.communicate()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
    assert fake.created == [done.stdout.strip()]
    assert json.dumps(fake.jobs)


def test_a_creation_that_may_still_be_under_way_is_not_sent_again(
    fake: Fake, url: str, order: JobSpec, journal: Journal
) -> None:
    held: list[dict[str, Any]] = []
    real, slept = fake.add_job, 0.0

    def later(body: dict[str, Any]) -> dict[str, Any]:
        held.append(body)
        return {"id": "ftjob-never-sent"}

    def sleep(seconds: float) -> None:
        nonlocal slept
        slept += seconds
        if slept > 60 and held:
            real(held.pop())

    fake.add_job = later  # type: ignore[method-assign]
    fake.faults = lambda method, path: (
        "drop after" if method == "POST" and path.endswith("/jobs") else ""
    )
    with pytest.raises(UnknownOutcomeError, match="run the same command again"):
        submit(order, reach(url), journal, sleep=sleep)
    assert submit(order, reach(url), journal, sleep=sleep).job.id == fake.created[0]
    assert len(fake.created) == 1


def test_a_creation_that_was_never_sent_is_not_waited_for(
    fake: Fake, url: str, order: JobSpec, journal: Journal
) -> None:
    service, slept = reach(url), list[float]()
    closed = Client("openai", service.provider, service.api, client("http://127.0.0.1:9/v1"))
    service.create = closed.create  # type: ignore[method-assign]
    with pytest.raises(UnknownOutcomeError, match="no connection"):
        submit(order, service, journal, sleep=slept.append)
    submit(order, reach(url), journal, sleep=slept.append)
    assert len(fake.created) == 1
    assert sum(slept) == 0


def test_two_accounts_at_one_address_do_not_take_each_other_s_note(
    fake: Fake, url: str, order: JobSpec, journal: Journal
) -> None:
    mine = submit(order, reach(url), journal).job.id
    held = fake.jobs.pop(mine)
    other = submit(order, reach(url), journal).job.id
    del fake.jobs[other]
    fake.jobs[mine] = held
    assert submit(order, reach(url), journal).job.id == mine
    assert fake.created == [mine, other]


def test_without_metadata_the_job_of_another_order_is_not_taken(
    fake: Fake, url: str, order: JobSpec, journal: Journal
) -> None:
    facts = load_catalog().providers["llmariner"]
    assert facts.api
    service = Client("llmariner", facts, facts.api, client(url))
    first = submit(msgspec.structs.replace(order, suffix="a", epochs=1), service, journal).job.id
    fake.faults = lambda method, path: (
        "drop before" if method == "POST" and path.endswith("/jobs") else ""
    )
    second = msgspec.structs.replace(order, suffix="b", epochs=5)
    with pytest.raises(UnknownOutcomeError):
        submit(second, service, journal, sleep=lambda seconds: None)
    fake.faults = lambda method, path: ""
    assert submit(second, service, journal, sleep=lambda seconds: None).job.id != first


@pytest.mark.parametrize("key", ["sk-te\nst", "sk-te st", "sk-tést"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(UsageError, match="the key in OPENAI_API_KEY") as raised:
        connect("openai", environment={"OPENAI_API_KEY": key})
    assert "sk-" not in str(raised.value)


@pytest.mark.parametrize(
    "address", ["http://user:hunter2@127.0.0.1/v1", "https://", "http://127.0.0.1/v1\n"]
)
def test_an_address_with_a_password_or_none_at_all_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="--base-url") as raised:
        connect("openai", address, environment=KEYS)
    assert "hunter2" not in str(raised.value)


def test_what_a_service_repeats_of_the_key_is_not_shown(fake: Fake, url: str) -> None:
    fake.refuse["GET /fine_tuning/jobs/ftjob-1"] = (
        400,
        error("bad header: Bearer sk-test \x1b[31m"),
    )
    with pytest.raises(ProviderError, match=r"Bearer \(the key\) \\x1b") as raised:
        reach(url).job("ftjob-1")
    assert "sk-test" not in str(raised.value)


def test_a_list_that_is_an_error_is_not_taken_for_the_absence_of_a_job(
    fake: Fake, url: str, order: JobSpec, journal: Journal
) -> None:
    fake.faults = lambda method, path: (
        "drop after" if method == "POST" and path.endswith("/jobs") else ""
    )
    fake.refuse["GET /fine_tuning/jobs"] = (200, error("upstream timeout"))
    for _ in range(2):
        with pytest.raises(UnknownOutcomeError):
            submit(order, reach(url), journal, sleep=lambda seconds: None)
    fake.refuse.clear()
    assert submit(order, reach(url), journal, sleep=lambda seconds: None).job.id == fake.created[0]
    assert len(fake.created) == 1


def test_a_file_that_changes_while_the_answer_is_lost_is_refused(
    fake: Fake, url: str, order: JobSpec, journal: Journal
) -> None:
    checked = digest(order.training)
    Path(order.training).write_bytes(
        Path(order.training).read_bytes().replace(b"follows", b"FOLLOWS")
    )
    fake.faults = lambda method, path: (
        "drop after" if method == "POST" and path.endswith("/files") else ""
    )
    with pytest.raises(FileError, match="has changed since it was checked"):
        submit(order, reach(url), journal, hashes=(checked, None), sleep=lambda seconds: None)
    assert not fake.files
    assert not fake.created


def in_parts(url: str) -> Client:
    service = reach(url)
    small = msgspec.structs.replace(service.provider.file_bytes, value=1000)
    service.provider = msgspec.structs.replace(service.provider, file_bytes=small)
    return service


def open_at(folder: Path, begin: threading.Barrier) -> None:
    begin.wait(20)
    Journal(folder)


def test_many_may_open_a_new_journal_at_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Manager() as manager:
        for number in range(10):
            begin, folder = manager.Barrier(4), tmp_path / str(number)
            with concurrent.futures.ProcessPoolExecutor(
                4, multiprocessing.get_context("fork")
            ) as pool:
                for each in [pool.submit(open_at, folder, begin) for _ in range(4)]:
                    each.result(30)


def test_who_has_to_wait_for_another_is_told(journal: Journal) -> None:
    told: list[str] = []
    waits = threading.Event()

    def say(text: str) -> None:
        told.append(text)
        waits.set()

    def second() -> None:
        with Journal(journal.folder).alone("key", say):
            told.append("its turn")

    other = threading.Thread(target=second)
    with journal.alone("key", told.append):
        other.start()
        assert waits.wait(10)
        assert told == ["another ftkit is sending the same; waiting until it is done"]
    other.join()
    assert told[1:] == ["its turn"]


@pytest.mark.parametrize(
    ("provider", "size", "path"),
    [
        ("openai", 512_000_000, "/files"),
        ("openai", 512_000_001, "/uploads"),
        ("azure", 150_000_000, "/files"),
        ("azure", 150_000_001, "/uploads"),
        ("nebius", 600_000_000, "/files"),
    ],
)
def test_files_go_in_parts_where_the_service_needs_them_to(
    provider: str, size: int, path: str, tmp_path: Path
) -> None:
    file = tmp_path / "large.jsonl"
    file.touch()
    os.truncate(file, size)
    assert planned(str(file), "0" * 64, load_catalog().providers[provider])[0]["path"] == path


@pytest.mark.parametrize("reached", [reach, in_parts])
def test_what_a_dry_run_plans_is_what_is_sent(
    reached: Callable[[str], Client],
    fake: Fake,
    url: str,
    order: JobSpec,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ftkit.jobs.uploads.PART", 300)
    service = reached(url)
    told = planned(order.training, digest(order.training), service.provider)
    submit(order, service, journal)
    sent = [
        (path.removeprefix("/v1"), body) for method, path, body in fake.requests if method == "POST"
    ][:-1]
    upload = next(iter(fake.uploads), "")
    assert [each["path"].replace("<id of the upload>", upload) for each in told] == [
        path for path, _ in sent
    ]
    assert [each["body"] for each in told if "bytes" in each.get("body", {})] == [
        body for path, body in sent if path == "/uploads"
    ]
    (file,) = fake.files.values()
    assert told[0].get("form", told[0].get("body"))["filename"] == file["filename"]
    ranges = [each["bytes"] for each in told if "bytes" in each]
    size = os.path.getsize(order.training)
    assert not ranges or (ranges[0][0], ranges[-1][1], len(ranges)) == (0, size, len(fake.parts))


def test_a_file_that_changes_between_its_parts_is_refused(
    fake: Fake, url: str, write: Write, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftkit.jobs.uploads.PART", 200_000)
    path = write(lines(5000))

    def change(method: str, where: str) -> str:
        if where.endswith("/parts") and not fake.parts:
            with path.open("r+b") as file:
                file.seek(-30, os.SEEK_END)
                file.write(b"X")
        return ""

    fake.faults = change
    with pytest.raises(FileError, match="has changed since it was checked"):
        submit(JobSpec(MINI, str(path)), in_parts(url), journal)
    assert not fake.created


def test_an_upload_that_the_service_has_forgotten_is_begun_anew(
    fake: Fake, url: str, order: JobSpec, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftkit.jobs.uploads.PART", 300)
    fake.faults = lambda method, path: (
        "drop before" if path.endswith("/parts") and len(fake.parts) == 2 else ""
    )
    with pytest.raises(UnknownOutcomeError):
        submit(order, in_parts(url), journal)
    fake.uploads.clear()
    fake.faults = lambda method, path: ""
    with pytest.raises(ProviderError, match="does not have it"):
        submit(order, in_parts(url), journal)
    assert submit(order, in_parts(url), journal).job.id == fake.created[0]
