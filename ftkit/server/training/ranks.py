"""Processes that train a job together, one for each GPU, and share each batch evenly.

The worker process of the job is the process of rank 0. It starts the others, which end with it, and
alone reports and saves. Together they pass as many examples through the model in a step as one
process would.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
from accelerate.data_loader import SeedableRandomSampler
from datasets import Dataset, concatenate_datasets
from msgspec import Struct
from torch import distributed

from ftkit._local import RUN_MODULE
from ftkit.server.exits import MEMORY_EXIT_CODE
from ftkit.server.recipes import Recipe
from ftkit.server.training.device import device
from ftkit.server.training.encoding import IGNORED_LABEL

LOOPBACK = "lo" if sys.platform == "linux" else "lo0"
"""Network interface that the processes communicate on."""

TIMEOUT = timedelta(minutes=30)
"""Maximum time that a process waits for the others, for example while they load the model."""

logger = logging.getLogger(__name__)


class Rank(Struct, frozen=True):
    """Rank of a process, and the number of processes.

    Attributes:
        rendezvous: File through which the processes find each other.
    """

    number: int
    count: int
    rendezvous: Path


def count_ranks(recipe: Recipe, method: str, batch_size: int) -> int:
    """Return the number of processes to train with.

    It divides the batch size. Preference jobs have one process: their loss is an average over the
    examples, which a filler would change.
    """
    if method == "dpo":
        return 1
    devices = torch.cuda.device_count() if device() == "cuda" else 1
    available = devices if recipe.processes == "auto" else recipe.processes
    if device() != "cpu":  # several processes cannot communicate on one GPU
        available = min(available, devices)
    largest = min(available, batch_size)
    return next(count for count in range(largest, 0, -1) if batch_size % count == 0)


@contextlib.contextmanager
def launch_ranks(
    root: Path, job: str, job_folder: Path, count: int, task: str = "rank"
) -> Iterator[None]:
    """Start the other processes of a job, and form a process group with them as rank 0.

    If one of them ends too early, this process ends, too: it would wait for the other forever.

    Args:
        root: Data folder of the service.
        job: Id of the job.
        job_folder: Folder of the job.
        count: Number of all processes.
        task: Task of the other processes, see `worker.py`.
    """
    for stale in job_folder.glob("ranks-*"):  # of a killed process, maybe of the same number
        stale.unlink()
    rendezvous = job_folder / f"ranks-{os.getpid()}"
    command = [*RUN_MODULE, "ftkit.server.worker", task, str(root), job]
    processes = [
        # Their standard input is a pipe: they end when it is closed, with this process.
        subprocess.Popen(
            [*command, str(number), str(count), str(rendezvous)], stdin=subprocess.PIPE
        )
        for number in range(1, count)
    ]
    finished = threading.Event()
    for process in processes:
        threading.Thread(target=_watch, args=(process, finished), daemon=True).start()
    try:
        with process_group(Rank(0, count, rendezvous)):
            yield
    finally:
        finished.set()
        for process in processes:
            process.kill()
            process.wait()
        rendezvous.unlink(missing_ok=True)


def _watch(process: subprocess.Popen[bytes], finished: threading.Event) -> None:
    code = process.wait()
    if code and not finished.is_set():  # without an error, it has passed the last barrier
        logger.error("another process of the job ended (exit code %d)", code)
        os._exit(MEMORY_EXIT_CODE if code == MEMORY_EXIT_CODE else 1)


@contextlib.contextmanager
def process_group(rank: Rank) -> Iterator[None]:
    """Form a process group with the other processes of a job. A single process needs none."""
    if rank.count == 1:
        yield
        return
    os.environ |= {
        "RANK": str(rank.number),
        "LOCAL_RANK": str(rank.number),
        "WORLD_SIZE": str(rank.count),
        "LOCAL_WORLD_SIZE": str(rank.count),
        "GLOO_SOCKET_IFNAME": LOOPBACK,
        "NCCL_SOCKET_IFNAME": LOOPBACK,
    }
    if device() == "cuda":
        torch.cuda.set_device(rank.number)
    # Not as a URL, whose escapes PyTorch takes for parts of the path.
    store = distributed.FileStore(str(rank.rendezvous), rank.count)
    store.set_timeout(TIMEOUT)
    distributed.init_process_group(
        "nccl" if device() == "cuda" else "gloo",
        store=store,
        rank=rank.number,
        world_size=rank.count,
        timeout=TIMEOUT,
    )
    try:
        yield
        distributed.barrier()
    finally:
        distributed.destroy_process_group()


def broadcast(flag: bool) -> bool:
    """Return the flag of rank 0, in every process."""
    if not distributed.is_initialized():
        return flag
    value = torch.tensor(int(flag), device=device())
    distributed.broadcast(value, 0)
    return bool(value.item())


def fill(dataset: Dataset, multiple: int) -> Dataset:
    """Append sequences without anything to learn until their number is a multiple.

    Otherwise, accelerate would repeat examples to give all processes equally many batches.
    """
    missing = -len(dataset) % multiple
    if not missing:
        return dataset
    fillers = dataset.select([0] * missing).map(_without_labels, load_from_cache_file=False)
    return concatenate_datasets([dataset, fillers])


def _without_labels(sequence: dict[str, list[int]]) -> dict[str, list[int]]:
    return {"input_ids": sequence["input_ids"][:1], "labels": [IGNORED_LABEL]}


class FilledSampler(torch.utils.data.Sampler):  # type: ignore[misc]
    """Order of a dataset with fillers: shuffled anew for each epoch, with the fillers at the end.

    Args:
        examples: Number of examples.
        size: Number of examples and fillers.
    """

    def __init__(self, examples: int, size: int) -> None:
        # The order is the one that accelerate chooses for a single process.
        seed = torch.random.default_generator.initial_seed()
        self._shuffled = SeedableRandomSampler(range(examples), data_seed=seed)
        self._fillers = range(examples, size)

    def __len__(self) -> int:
        return len(self._shuffled) + len(self._fillers)

    def __iter__(self) -> Iterator[int]:
        yield from self._shuffled
        yield from self._fillers

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, on which the order depends."""
        self._shuffled.set_epoch(epoch)
