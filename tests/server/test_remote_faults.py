"""Property: through random faults, each remote job ends exactly once, with each step reported once."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ftkit.server.objects import FINAL
from support.detached_runner import worker_ids
from support.local_server import popen_forked
from support.remote_jobs import RemoteJobs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="needs a shell and signals"),
]

SEEDS, SIDE_BY_SIDE = 50, 5
"""Number of schedules, and of those that run at the same time, since each one mostly waits."""

FAULTS = 4
"""Number of faults of a schedule."""


def kill_worker(jobs: RemoteJobs, _: random.Random) -> None:
    jobs.kill_worker()


def kill_service(jobs: RemoteJobs, rng: random.Random) -> None:
    jobs.restart_service(pause=rng.choice([0, 0.2, 1.5]))


def lose_node(jobs: RemoteJobs, _: random.Random) -> None:
    jobs.lose_node()


def freeze_worker_of_lost_node(jobs: RemoteJobs, rng: random.Random) -> None:
    """A process stands still, is replaced, and goes on."""
    pids = worker_ids(jobs.runner, jobs.name(jobs.job().attempt))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    jobs.lose_node()
    time.sleep(rng.uniform(0, 1))
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def lose_answers(jobs: RemoteJobs, rng: random.Random) -> None:
    jobs.proxy.lose = rng.randint(1, 6)


def delay_answers(jobs: RemoteJobs, rng: random.Random) -> None:
    jobs.proxy.delay = rng.choice([0, 0.05, 0.3])


def cut_network(jobs: RemoteJobs, rng: random.Random) -> None:
    jobs.proxy.is_cut.set()
    time.sleep(rng.choice([0.1, 0.6, 2]))
    jobs.proxy.is_cut.clear()


ACTIONS: tuple[Callable[[RemoteJobs, random.Random], None], ...] = (
    kill_worker,
    kill_service,
    lose_node,
    freeze_worker_of_lost_node,
    lose_answers,
    delay_answers,
    cut_network,
)


@pytest.mark.parametrize("first", range(0, SEEDS, SIDE_BY_SIDE))
def test_a_job_ends_once_through_random_faults(first: int, tmp_path: Path) -> None:
    popen_forked()  # starts the process that forks, once for all threads
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        schedules = {
            seed: pool.submit(follow_schedule, seed, tmp_path / f"{seed}")
            for seed in range(first, first + SIDE_BY_SIDE)
        }
    failures = {seed: schedule.exception() for seed, schedule in schedules.items()}
    for seed, failure in failures.items():
        if failure:
            failure.add_note(f"seed {seed}")
            raise failure


def follow_schedule(seed: int, folder: Path) -> None:
    """Run a job through the faults of a seed, and check how it ended."""
    folder.mkdir()
    rng = random.Random(seed)
    with RemoteJobs(folder, step_seconds=0.05, lost=rng.choice([0.5, 2, 30])) as jobs:
        for _ in range(FAULTS):
            time.sleep(rng.uniform(0, 0.8))
            if jobs.job().status in FINAL:
                break
            rng.choice(ACTIONS)(jobs, rng)
        jobs.proxy.delay, jobs.proxy.lose = 0, 0
        jobs.wait_for("succeeded", seconds=120)
        time.sleep(0.3)  # for processes that were replaced, and still report
        jobs.check_ended_once()
