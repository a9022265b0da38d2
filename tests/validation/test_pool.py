"""Process pools whose workers are killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from multiprocessing import get_context
from types import ModuleType

import pytest

from ftkit.dataset.reader import Shard
from ftkit.errors import FtkitError
from ftkit.summary import Summary
from ftkit.validation.pool import process_pool
from ftkit.validation.validate import validate
from support.examples import chat_lines
from support.fixture_types import Write


def killed(part: Shard, advance: Callable[[int], None] | None = None) -> Summary:
    """End the process as the system does when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)
    return Summary()


def test_a_killed_worker_is_named_and_other_processes_of_the_program_go_on() -> None:
    other = get_context("fork").Process(target=signal.pause)
    other.start()
    with (
        pytest.raises(FtkitError, match="a worker process was killed, maybe for lack of memory"),
        process_pool(2) as map_,
    ):
        list(map_(killed, [Shard("data.jsonl", 0, 1)] * 3))
    assert other.is_alive()
    other.kill()
    other.join()


def test_workers_are_started_anew_where_a_fork_would_hang(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(chat_lines(200))
    expected = validate(path)
    monkeypatch.setitem(sys.modules, "obstore", ModuleType("obstore"))
    monkeypatch.setattr("ftkit.validation.engines.PART_BYTES", 1000)
    monkeypatch.setattr("os.fork", None)
    main = sys.modules["__main__"]
    assert validate(path, workers=2) == expected
    assert sys.modules["__main__"] is main
