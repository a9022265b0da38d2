"""Jobs and completions that run out of memory, and the memory that completions free for jobs."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import openai
import pytest

from ftkit.server.out_of_memory import is_out_of_memory
from support.local_server import LocalServer, event_messages, wait_for_job
from support.models import SMOKE
from support.processes import wait_for_end, wait_for_worker, worker_processes
from support.training import (
    CITY_DATA,
    ask_model,
    city_example,
    encode_jsonl,
    method_with,
    question,
    start_job,
)

pytestmark = [
    pytest.mark.training,
    pytest.mark.skipif(sys.platform != "linux", reason="limits of other processes are Linux's"),
]

MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")
"""Control groups of the memory, version 1."""

LONG_DATA = encode_jsonl([city_example(f"{n} " * 300, f"{n} " * 200) for n in range(10, 26)])
"""Examples of about 1,500 tokens, whose batches need hundreds of megabytes."""


def address_space(pid: int) -> int:
    """Return the size of the address space of a process in bytes."""
    (size,) = (
        line.split()[1]
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmSize:")
    )
    return int(size) * 1024


def limit_address_space(pid: int, room: int) -> None:
    """Let a process allocate `room` more bytes."""
    set_limit(pid, address_space(pid) + room)


def set_limit(pid: int, size: int) -> None:
    _, most = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (size, most))


def wait_for_event(client: openai.OpenAI, job: str, text: str) -> None:
    deadline = time.monotonic() + 120
    while not any(text in message for message in event_messages(client, job)):
        assert time.monotonic() < deadline, event_messages(client, job)
        time.sleep(0.02)


def wait_until_open(pid: int, path: Path) -> None:
    """Wait until a process has opened a file."""
    deadline = time.monotonic() + 60
    while not is_open(pid, path):
        assert time.monotonic() < deadline, path
        time.sleep(0.01)


def is_open(pid: int, path: Path) -> bool:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if os.readlink(link) == str(path):
                return True
    return False


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with LocalServer(tmp_path_factory.mktemp("memory") / "data", forked=False) as server:
        yield server


@pytest.fixture
def server(shared_server: LocalServer) -> Iterator[LocalServer]:
    """The shared server. Jobs that a test leaves are cancelled."""
    yield shared_server
    jobs = shared_server.client().fine_tuning.jobs
    for job in jobs.list():
        if job.status not in ("succeeded", "failed", "cancelled"):
            jobs.cancel(job.id)


def test_a_training_that_needs_too_much_memory_fails_and_names_what_would_help(
    server: LocalServer,
) -> None:
    client = server.client()
    job = start_job(client, LONG_DATA, method=method_with(n_epochs=1, batch_size=8)).id
    pid = wait_for_worker(server.folder, "train", job)
    wait_for_event(client, job, "Fine-tuning job started")
    limit_address_space(pid, 150 << 20)
    failed = wait_for_job(client, job, "failed")
    assert failed.error.code == "out_of_memory"
    assert failed.error.message == (
        "The training needs more memory than is free; set in the recipe of ftkit/smoke:"
        " micro_batch = 1 (now 8), gradient_checkpointing = true, lower tokens (now 2048)"
    )
    log = (server.folder / "jobs" / job / "process.log").read_text()
    assert "DefaultCPUAllocator: can't allocate memory" in log


def test_a_validation_that_needs_too_much_memory_fails_the_job(server: LocalServer) -> None:
    client = server.client()
    job = start_job(client, CITY_DATA * 40_000).id
    pid = wait_for_worker(server.folder, "check", job)
    wait_until_open(pid, server.folder / "jobs" / job / "training.jsonl")
    limit_address_space(pid, 0)
    failed = wait_for_job(client, job, "failed")
    assert (failed.error.code, failed.error.param) == ("out_of_memory", "training_file")
    assert failed.error.message.endswith("than is free; split them")


def test_a_training_that_is_short_of_memory_after_a_saved_state_is_restarted(
    server: LocalServer,
) -> None:
    client = server.client()
    data = CITY_DATA + LONG_DATA  # 14 steps an epoch
    job = start_job(client, data, method=method_with(n_epochs=2, batch_size=2)).id
    wait_for_event(client, job, "Step 10/")
    (pid,) = worker_processes(server.folder, "train", job)
    smallest = address_space(pid)
    while not any("Step 14/" in text for text in event_messages(client, job)):
        smallest = min(smallest, address_space(pid))
    set_limit(pid, smallest + (50 << 20))  # a batch of long examples needs more
    wait_for_event(client, job, "is restarted")
    (restart,) = (text for text in event_messages(client, job) if "is restarted" in text)
    assert "DefaultCPUAllocator: can't allocate memory" in restart
    wait_for_job(client, job, "succeeded")


@pytest.mark.parametrize("stream", [False, True])
def test_a_completion_that_needs_too_much_memory_is_refused_and_the_next_one_works(
    stream: bool, server: LocalServer
) -> None:
    client = server.client()
    ask_model(client, SMOKE, "x" * 600, max_tokens=1)
    (pid,) = worker_processes(server.folder, "generate")
    _, most = resource.prlimit(pid, resource.RLIMIT_AS)
    limit_address_space(pid, 1 << 20)
    with pytest.raises(openai.InternalServerError, match="needs more memory than is free") as error:
        client.chat.completions.create(
            model=SMOKE, messages=question("x" * 2000), max_tokens=2, n=64, stream=stream
        )
    assert (error.value.status_code, error.value.code) == (503, "out_of_memory")
    assert isinstance(ask_model(client, SMOKE, "x", max_tokens=1), str)
    resource.prlimit(pid, resource.RLIMIT_AS, (most, most))
    assert worker_processes(server.folder, "generate") == [pid]


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A control group that limits memory."""
    group = MEMORY_GROUPS / f"ftkit-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("cannot create a control group")
    yield group
    for pid in (group / "cgroup.procs").read_text().split():
        (MEMORY_GROUPS / "cgroup.procs").write_text(pid)
    group.rmdir()


def test_a_training_that_the_kernel_kills_for_its_memory_fails_after_three_attempts(
    memory_group: Path, tmp_path: Path
) -> None:
    with LocalServer(tmp_path / "data", forked=False) as server:
        client = server.client()
        (memory_group / "cgroup.procs").write_text(str(server.pid))
        job = start_job(client, LONG_DATA, method=method_with(n_epochs=1)).id
        wait_for_job(client, job, "queued")
        used = int((memory_group / "memory.usage_in_bytes").read_text())
        (memory_group / "memory.limit_in_bytes").write_text(str(used + (100 << 20)))
        failed = wait_for_job(client, job, "failed")
        assert failed.error.code == "out_of_memory"
        assert failed.error.message == (
            "The training process ended 3 times (killed because the memory was full); set in the"
            " recipe of ftkit/smoke: micro_batch = 1 (now 8), gradient_checkpointing = true, lower tokens (now 2048)"
        )
        restarts = [text for text in event_messages(client, job) if "is restarted" in text]
        assert len(restarts) == 2
        server.stop()


def test_the_memory_of_completions_is_free_while_a_job_trains(server: LocalServer) -> None:
    client = server.client()
    ask_model(client, SMOKE, "x", max_tokens=1)
    job = start_job(client, LONG_DATA, method=method_with(n_epochs=50)).id
    wait_for_worker(server.folder, "train", job)
    wait_for_end(server.folder, "generate", 1)
    wait_for_event(client, job, "Step 1/")
    assert not worker_processes(server.folder, "generate")
    assert isinstance(ask_model(client, SMOKE, "x", max_tokens=1), str)
    assert len(worker_processes(server.folder, "generate")) == 1
    assert client.fine_tuning.jobs.cancel(job).status == "cancelled"
    wait_for_end(server.folder, "train", 5)


def test_a_pending_completion_is_finished_before_its_memory_is_freed(server: LocalServer) -> None:
    client = server.client()
    job = start_job(client, LONG_DATA, method=method_with(n_epochs=50)).id
    wait_for_worker(server.folder, "check", job)
    client.fine_tuning.jobs.pause(job)
    wait_for_end(server.folder, "check", 60, job)
    chunks = iter(
        client.chat.completions.create(
            model=SMOKE, messages=question("x"), max_tokens=500, temperature=0, stream=True
        )
    )
    next(chunks)
    generate = worker_processes(server.folder, "generate")
    assert client.fine_tuning.jobs.resume(job).status == "queued"
    wait_for_worker(server.folder, "train", job)
    for _ in range(20):
        next(chunks)
    assert worker_processes(server.folder, "generate") == generate
    assert list(chunks)[-1].choices[0].finish_reason
    wait_for_end(server.folder, "generate", 2)
    client.fine_tuning.jobs.cancel(job)


def test_the_exception_of_pytorch_means_too_little_memory() -> None:
    import torch

    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."))
