"""Checks of files: limits of time, memory and number, results that are kept, and tenants."""

from __future__ import annotations

import asyncio
import gzip
import os
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest

from ftkit.dashboard import checks as checks_module
from ftkit.dashboard.check_results import RESULT, Check
from ftkit.dashboard.checks import CheckFailure, CheckProgress, Checks, State
from ftkit.server.database import Database
from ftkit.server.folder import Folder
from ftkit.server.objects import FileObject
from support.dashboard import POLLED, settled, upload
from support.local_server import LocalServer
from support.training import CITY_DATA, city_example, encode_jsonl


class Place:
    """A data folder with files of a tenant, and its checks."""

    def __init__(self, root: Path) -> None:
        self.folder = Folder(root)
        self.database = Database(self.folder.database)
        self.checks = Checks(self.folder, self.database)

    def check(self, content: bytes, tenant: str = "t", **arguments: Any) -> Check:
        """Store a content, and return a check of it."""
        with self.database.transaction():
            sha256 = self.folder.keep_bytes(content).sha256
            file = FileObject(
                tenant=tenant, bytes=1, filename="a.jsonl", purpose="fine-tune", sha256=sha256
            )
            self.database.add(file)
        arguments = {"name": "a.jsonl", "models": ["ftkit/smoke"], **arguments}
        return Check("validate", tenant, sha256, arguments)

    async def settle(self, check: Check) -> State:
        """Wait for the result of a check."""
        while isinstance(state := await self.checks.state(check), CheckProgress):
            await asyncio.sleep(0.05)
        return state


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "data")


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


LONG = encode_jsonl([city_example(f"e{n}", "f" * 100) for n in range(50_000)])


def test_a_check_that_takes_too_long_is_ended(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(checks_module.SECONDS, "validate", 0.0)
    state = run(place.settle(place.check(LONG)))
    assert isinstance(state, CheckFailure)
    assert "took longer than 0 minutes" in state.message
    assert not list(place.folder.parts.iterdir())


def test_a_check_that_no_page_asks_for_is_ended_and_starts_again_with_the_next_page(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks_module, "ABANDONED_SECONDS", 0.2)

    async def leave() -> None:
        check = place.check(LONG)
        await place.checks.state(check)
        deadline = time.monotonic() + 60
        while place.checks._runners:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert not place.checks.path(check, RESULT).exists()
        assert not list(place.folder.parts.iterdir())
        assert isinstance(await place.checks.state(check), CheckProgress)

    run(leave())


def test_only_a_few_processes_run_at_a_time(place: Place) -> None:
    async def start() -> None:
        found = [place.check(LONG, number=number) for number in range(6)]
        for check in found:
            await place.checks.state(check)
        await asyncio.sleep(0)
        states = [await place.checks.state(check) for check in found]
        running = [
            state for state in states if isinstance(state, CheckProgress) and state.is_running
        ]
        assert len(running) == checks_module.MAX_RUNNING

    run(start())


def test_a_check_waits_only_for_checks_that_run(place: Place) -> None:
    async def start() -> None:
        numbers = range(checks_module.MAX_RUNNING + 1)
        found = [place.check(CITY_DATA, number=number) for number in numbers]
        states = [await place.checks.state(check) for check in found]
        assert [state.is_running for state in states if isinstance(state, CheckProgress)] == [
            *[True] * checks_module.MAX_RUNNING,
            False,
        ]
        for check in found:
            assert isinstance(await place.settle(check), bytes)

    run(start())


def test_a_tenant_cannot_fill_the_queue(place: Place) -> None:
    async def start() -> None:
        for number in range(checks_module.MAX_PENDING_OF_TENANT + 5):
            await place.checks.state(place.check(LONG, number=number))
        assert len(place.checks._entries) == checks_module.MAX_PENDING_OF_TENANT

    run(start())


def test_a_tenant_with_many_checks_leaves_a_process_for_the_others(place: Place) -> None:
    place.checks = Checks(place.folder, place.database, running_of_tenant=1)

    async def start() -> None:
        for number in range(3):
            await place.checks.state(place.check(LONG, number=number))
        await asyncio.sleep(0)
        result = await asyncio.wait_for(place.settle(place.check(CITY_DATA, "other")), 60)
        assert isinstance(result, bytes)
        running = [entry for entry in place.checks._entries.values() if entry.progress.is_running]
        assert len(running) == 1

    run(start())


def test_a_tenant_learns_nothing_from_the_checks_of_another(place: Place) -> None:
    async def check_twice() -> None:
        await place.settle(place.check(CITY_DATA, "one"))
        state = await place.checks.state(place.check(CITY_DATA, "two"))
        assert isinstance(state, CheckProgress)

    run(check_twice())


def test_a_failure_is_remembered_until_it_is_forgotten(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail_and_repeat() -> None:
        check = place.check(CITY_DATA)
        monkeypatch.setattr(checks_module, "MODULE", "ftkit.no_such_module")
        failure = await place.settle(check)
        assert isinstance(failure, CheckFailure)
        monkeypatch.undo()
        assert await place.checks.state(check) is failure
        place.checks.forget(check)
        assert isinstance(await place.settle(check), bytes)

    run(fail_and_repeat())


def test_the_oldest_results_are_removed_first(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks_module, "CACHE_FILES", 4)

    async def fill() -> None:
        found = [place.check(CITY_DATA, number=number) for number in range(3)]
        for age, check in zip((200, 100, 0), found, strict=True):
            await place.settle(check)
            path = place.checks.path(check, RESULT)
            for file in path.parent.glob(f"{check.name}*"):
                os.utime(file, (time.time() - age,) * 2)
        kept = [place.checks.path(check, RESULT).exists() for check in found]
        assert kept == [False, True, True]

    run(fill())


def test_a_compressed_file_is_not_unpacked_without_bound(
    server: LocalServer, browser_client: httpx.Client
) -> None:
    bomb = gzip.compress(b"q,a\n" + b"x" * (300 << 20), 1)
    id = upload(browser_client, bomb, "bomb.csv", "user_data")
    page = settled(browser_client, f"/files/{id}/convert/result")
    assert 'class="verdict error"' in page
    assert "/data?" not in page
    assert "The check failed" not in page
    assert not list((server.folder / "parts").iterdir())


def test_another_tenant_sees_no_file_and_no_result(tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data", keys=("one", "two")) as server:
        base = server.url.removesuffix("/v1")
        clients = [
            httpx.Client(base_url=base, headers={"authorization": f"Bearer {key}"}, timeout=60)
            for key in ("one", "two")
        ]
        with clients[0] as first, clients[1] as second:
            id = upload(first, CITY_DATA, "secret-name.jsonl")
            settled(first, f"/files/{id}/check")
            for path in ("", "/check", "/report", "/fix", "/convert/data"):
                assert second.get(f"/files/{id}{path}").status_code == 404
            plan = second.get(f"/new/preview?file={id}&model=ftkit/smoke").text
            assert f"No such File object: {id}" in plan
            own = upload(second, CITY_DATA, "mine.jsonl")
            assert POLLED in second.get(f"/files/{own}/check").text
            settled(second, f"/files/{own}/check")
            assert "secret-name" not in second.get(f"/files/{own}/report").text
