"""Processes that train a job together: fillers, rendezvous and ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.training


@pytest.mark.parametrize(
    ("name", "gpus", "processes", "batch", "ranks"),
    [
        ("cuda", 2, "auto", 8, 2),
        ("cuda", 2, 8, 8, 2),
        ("cuda", 3, "auto", 8, 2),
        ("cuda", 8, 4, 8, 4),
        ("mps", 0, 4, 8, 1),
        ("cpu", 0, 4, 8, 4),
        ("cpu", 0, "auto", 8, 1),
        ("cpu", 0, 64, 6, 6),
    ],
)
def test_there_are_no_more_processes_than_gpus(
    name: str,
    gpus: int,
    processes: int | str,
    batch: int,
    ranks: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from msgspec.structs import replace

    from ftkit.server.recipes import builtin_recipes
    from ftkit.server.training import ranks as module

    monkeypatch.setattr(module, "device", lambda: name)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    recipe = replace(builtin_recipes().find("a/b"), processes=processes)
    assert module.count_ranks(recipe, "supervised", batch) == ranks
    assert module.count_ranks(recipe, "dpo", batch) == 1


def test_few_sequences_are_filled_up_to_a_batch_of_many_processes() -> None:
    from datasets import Dataset

    from ftkit.server.training.ranks import fill

    filled = fill(Dataset.from_dict({"input_ids": [[1, 2]], "labels": [[1, 2]]}), 4)
    assert filled["labels"] == [[1, 2], [-100], [-100], [-100]]


def test_processes_meet_in_a_folder_of_any_name(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from ftkit.server.training.ranks import Rank, process_group
with process_group(Rank(int(sys.argv[1]), 2, Path(sys.argv[2]))):
    print("joined")
"""
    folder = tmp_path / "a b#é%20?"
    folder.mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(number), str(folder / "ranks-1")],
            stdout=subprocess.PIPE,
        )
        for number in range(2)
    ]
    try:
        assert [process.communicate(timeout=120)[0] for process in processes] == [b"joined\n"] * 2
    finally:
        for process in processes:
            process.kill()


def test_the_rendezvous_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    from ftkit.server.training.ranks import launch_ranks

    for number in (os.getpid(), 1):
        (tmp_path / f"ranks-{number}").write_text("addresses that nobody listens on")
    with launch_ranks(tmp_path, "job", tmp_path, 1):
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("code", "expected"), [(0, "training ends"), (3, ""), (12, "")])
def test_only_a_process_that_fails_ends_the_others(code: int, expected: str) -> None:
    script = f"""
import subprocess, sys, threading
from ftkit.server.training.ranks import _watch
_watch(subprocess.Popen([sys.executable, "-c", "exit({code})"]), threading.Event())
print("training ends", end="")
"""
    result = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=False)
    assert (result.stdout.decode(), result.returncode) == (expected, {0: 0, 3: 1, 12: 12}[code])
