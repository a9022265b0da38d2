"""Submissions through faults and kills: never two jobs."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ftkit.client.client import Client
from ftkit.errors import FileError, FtkitError, ProviderError, UnknownOutcomeError
from ftkit.jobs.journal import Journal
from ftkit.jobs.spec import JobSpec
from ftkit.jobs.submit import submit
from support.connections import connect_to, openai_client
from support.examples import chat_lines
from support.fake_provider import FakeProvider, random_faults, serving
from support.fixture_types import Write
from support.models import MINI
from support.paths import ROOT


def until_done(order: JobSpec, url: str, folder: Path, tries: int = 60) -> str:
    """Submit as a user would: again and again until it works."""
    for _ in range(tries):
        try:
            return submit(
                order, connect_to(url), Journal(folder), sleep=lambda seconds: None
            ).job.id
        except (ProviderError, FileError):
            continue
    raise AssertionError("it never worked")


class Killed(BaseException):
    """The process ends here, as if by kill -9."""


def killing(seed: int, service: Client, journal: Journal) -> None:
    """Make the process die before or after one of the steps that it takes, chosen by the seed."""
    steps = [(service, name) for name in ("upload", "create", "jobs", "files", "file")]
    steps += [
        (journal, name)
        for name in ("plan", "mark_sent", "mark_created", "begin_upload", "finish_upload")
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


BLOCKS = 10

SHORT = 200
"""Number of schedules in a short run, as in CI."""


@pytest.mark.hostile
@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_schedule_of_faults_and_kills_makes_two_jobs(
    block: int, write: Write, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    order = JobSpec(MINI, str(write(chat_lines(12))))
    for seed in range(block, request.config.option.hostile or SHORT, BLOCKS):
        fake_provider, folder = FakeProvider(), tmp_path / f"state{seed}"
        with serving(fake_provider) as address:
            fake_provider.faults = random_faults(seed)
            for step in range(random.Random(seed).randint(0, 3)):
                service, journal = connect_to(address), Journal(folder)
                killing(seed * 10 + step, service, journal)
                with contextlib.suppress(Killed, FtkitError):
                    submit(order, service, journal, sleep=lambda seconds: None)
            id = until_done(order, address, folder)
            fake_provider.faults = lambda method, path: ""
            assert submit(order, connect_to(address), Journal(folder)).job.id == id
        assert fake_provider.created == [id], f"seed {seed}"
        assert len({file["filename"] for file in fake_provider.files.values()}) == 1
        with sqlite3.connect(folder / "journal.db") as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_kill_9_at_any_moment_leaves_one_job(
    fake_provider: FakeProvider, provider_url: str, order: JobSpec, tmp_path: Path
) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[4]); from pathlib import Path;"
        "from ftkit.jobs.journal import Journal; from ftkit.jobs.spec import JobSpec; from ftkit.jobs.submit import submit;"
        "from support.connections import connect_to; from support.models import MINI;"
        "print(submit(JobSpec(MINI, sys.argv[2]), connect_to(sys.argv[1]), Journal(Path(sys.argv[3]))).job.id)"
    )
    fake_provider.faults = lambda method, path: "delay"
    command = [
        sys.executable,
        "-c",
        code,
        provider_url,
        order.training,
        str(tmp_path / "state"),
        str(ROOT / "tests"),
    ]
    for _ in range(4):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        before = len(fake_provider.requests)
        position = random.Random(_).randint(1, 4)
        while process.poll() is None and len(fake_provider.requests) < before + position:
            time.sleep(0.0005)
        process.kill()
        process.communicate()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
    assert fake_provider.created == [done.stdout.strip()]
    assert json.dumps(fake_provider.jobs)


def test_a_creation_that_may_still_be_under_way_is_not_sent_again(
    fake_provider: FakeProvider, provider_url: str, order: JobSpec, journal: Journal
) -> None:
    held: list[dict[str, Any]] = []
    real, slept = fake_provider.add_job, 0.0

    def later(body: dict[str, Any]) -> dict[str, Any]:
        held.append(body)
        return {"id": "ftjob-never-sent"}

    def sleep(seconds: float) -> None:
        nonlocal slept
        slept += seconds
        if slept > 60 and held:
            real(held.pop())

    fake_provider.add_job = later  # type: ignore[method-assign]
    fake_provider.faults = lambda method, path: (
        "drop after" if method == "POST" and path.endswith("/jobs") else ""
    )
    with pytest.raises(UnknownOutcomeError, match="run the same command again"):
        submit(order, connect_to(provider_url), journal, sleep=sleep)
    assert (
        submit(order, connect_to(provider_url), journal, sleep=sleep).job.id
        == fake_provider.created[0]
    )
    assert len(fake_provider.created) == 1


def test_a_creation_that_was_never_sent_is_not_waited_for(
    fake_provider: FakeProvider, provider_url: str, order: JobSpec, journal: Journal
) -> None:
    service, slept = connect_to(provider_url), list[float]()
    closed = Client("openai", service.provider, service.api, openai_client("http://127.0.0.1:9/v1"))
    service.create = closed.create  # type: ignore[method-assign]
    with pytest.raises(UnknownOutcomeError, match="no connection"):
        submit(order, service, journal, sleep=slept.append)
    submit(order, connect_to(provider_url), journal, sleep=slept.append)
    assert len(fake_provider.created) == 1
    assert sum(slept) == 0
