"""Names of engines, and what they refuse before a cluster is asked."""

from __future__ import annotations

import itertools
import sys
import time

import pytest

import ftkit
from ftkit.dataset.reader import PART_BYTES, Shard, shards_of
from ftkit.errors import UsageError
from ftkit.validation.engines import ray_address
from ftkit.validation.ray_cluster import (
    TASK_BYTES,
    TASKS_PER_PROCESSOR,
    Cluster,
    joined,
    shards_per_task,
)
from support.commands import run_ftkit
from support.examples import chat_lines


@pytest.mark.parametrize(
    ("engine", "address"),
    [
        ("local", None),
        ("ray", "auto"),
        ("ray=auto", "auto"),
        ("ray=10.0.0.1:6379", "10.0.0.1:6379"),
        ("ray=head.example:6379", "head.example:6379"),
        ("ray=[::1]:6379", "[::1]:6379"),
    ],
)
def test_an_engine_names_the_address_of_a_cluster_or_this_machine(
    monkeypatch: pytest.MonkeyPatch, engine: str, address: str | None
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert ray_address(engine) == address


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ("dask", "must be local, ray or ray=HOST:PORT, not 'dask'"),
        ("ray=", "must be local, ray or ray=HOST:PORT"),
        ("local=2", "must be local, ray or ray=HOST:PORT"),
        (None, "must be local, ray or ray=HOST:PORT, not None"),
        (
            "ray=ray://head:10001",
            "must not be the address of a Ray Client.*run ftkit on a node of the cluster",
        ),
        ("ray=http://head:8265", "must have HOST:PORT .*not 'http://head:8265'"),
        ("ray=local", "must have HOST:PORT"),
        ("ray=..:1", "must have HOST:PORT"),
        ("ray=a..b:1", "must have HOST:PORT"),
        (f"ray={'a' * 64}:1", "must have HOST:PORT"),
        ("ray=127.0.0.1:0", "must have HOST:PORT"),
        ("ray=127.0.0.1:99999", "must have HOST:PORT"),
        ("ray=u:secret@head:1", "such as ray=10.0.0.1:6379$"),
    ],
)
def test_other_names_of_engines_are_refused(engine: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ray_address(engine)


def test_the_engine_ray_has_the_address_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert ray_address("ray") == ray_address("ray=auto") == "10.0.0.1:6379"


@pytest.mark.parametrize("address", ["local", "http://u:secret@127.0.0.1:1", "http://head:8265"])
def test_another_address_in_the_environment_is_refused_without_a_password(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UsageError, match=r"^RAY_ADDRESS must be HOST:PORT of") as caught:
        ray_address("ray")
    assert "secret" not in str(caught.value)


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, clean_file: str
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"needs the package ray: pip install '.*\[ray\]'"):
        ftkit.validate(clean_file, engine="ray")


@pytest.mark.parametrize("command", ["validate", "estimate"])
def test_standard_input_is_refused(command: str) -> None:
    result = run_ftkit(command, "-", "--engine", "ray", input=b"".join(chat_lines(10)))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(
        "ftkit: - is a stream, which only this machine can read, so --engine ray cannot"
    )
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_joined_shards_cover_the_same_bytes_in_order(size: int, count: int) -> None:
    shards = [Shard("a", start, min(start + size, 100)) for start in range(0, 100, size)]
    together = list(joined(shards, count))
    assert len(together) == -(-len(shards) // count)
    assert (together[0].start, together[-1].end) == (0, 100)
    assert all(one.end == two.start for one, two in itertools.pairwise(together))


@pytest.mark.parametrize("processors", [1, 100, 8000])
@pytest.mark.parametrize("size", [10**9, 10**11, 3 * 10**12, 10**13])
def test_a_task_is_limited_by_its_bytes_and_by_its_share(size: int, processors: int) -> None:
    shards = shards_of("a", size, PART_BYTES)
    tasks = list(joined(shards, shards_per_task(shards, processors)))
    assert max(task.end - task.start for task in tasks) <= TASK_BYTES
    assert len(tasks) >= min(len(shards), TASKS_PER_PROCESSOR * processors)
    halved = len(tasks) // 2
    assert halved < TASKS_PER_PROCESSOR * processors or size / halved > TASK_BYTES / 2


def test_a_driver_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr("ftkit.validation.ray_cluster.RUN_MODULE", sleep)
    monkeypatch.setattr("ftkit.validation.ray_cluster.END_SECONDS", 0.5)
    start = time.monotonic()
    Cluster("auto", None, None).close()
    assert time.monotonic() - start < 30
