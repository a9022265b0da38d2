"""The journal of submissions."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import threading
from pathlib import Path

import pytest

from ftkit.errors import FileError
from ftkit.jobs.journal import Journal
from ftkit.jobs.spec import JobSpec
from ftkit.jobs.submit import submit
from support.connections import connect_to
from support.fake_provider import FakeProvider


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
    with pytest.raises(FileError, match="cannot create"):
        Journal(tmp_path / "state")


def test_the_journal_holds_no_key(
    fake_provider: FakeProvider, provider_url: str, order: JobSpec, journal: Journal
) -> None:
    submit(order, connect_to(provider_url), journal)
    held = b"".join(path.read_bytes() for path in journal.folder.iterdir())
    assert b"sk-test" not in held


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
                for future in [pool.submit(open_at, folder, begin) for _ in range(4)]:
                    future.result(30)


def test_who_has_to_wait_for_another_is_told(journal: Journal) -> None:
    messages: list[str] = []
    waits = threading.Event()

    def say(text: str) -> None:
        messages.append(text)
        waits.set()

    def second() -> None:
        with Journal(journal.folder).lock("key", say):
            messages.append("its turn")

    other = threading.Thread(target=second)
    with journal.lock("key", messages.append):
        other.start()
        assert waits.wait(10)
        assert messages == ["another ftkit process is submitting this; waiting for it to finish"]
    other.join()
    assert messages[1:] == ["its turn"]
