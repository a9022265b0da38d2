"""Scanning on a real Ray cluster of several nodes whose processes are killed."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

import ftkit
from ftkit.catalog import find_limits
from ftkit.dataset.reader import Shard, split
from ftkit.errors import FtkitError, UsageError
from ftkit.rules import ScanPlan, choose_rules
from ftkit.summary import Summary
from ftkit.validation import cluster_fingerprints
from ftkit.validation import ray_cluster as module
from ftkit.validation.ray_cluster import ray_cluster
from ftkit.validation.ray_messages import LENGTH, Channel, Connect
from ftkit.validation.scan import Engine, summarize
from support.commands import run_ftkit
from support.examples import chat_example
from support.file_storage import FileStorage
from support.object_storage import Storage
from support.ray_nodes import (
    COMPARISON,
    ENVIRONMENT,
    TASK,
    RayNodes,
    drivers,
    ray_nodes,
    wait_for_no_driver,
)

pytestmark = [
    pytest.mark.remote,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray has no wheel for this Python"),
]

DRIVER = "ftkit.validation.ray_driver"
"""Part of the command line of the driver."""

NODES = 2

VALIDATE = [sys.executable, "-m", "ftkit", "validate"]


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    """A cluster that the tests of this module share; each leaves it with `NODES` nodes."""
    with ray_nodes(NODES) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """32 MB with duplicates, conflicts and lines that are not JSON."""
    path = tmp_path_factory.mktemp("ray") / "large.jsonl"
    with path.open("wb") as file:
        number = 0
        while file.tell() < 32 << 20:
            value = chat_example(number % 20_000)
            value["messages"][0]["content"] += " and so on" * 100
            value["messages"][-1]["content"] += " again" * (number % 7 == 0)
            file.write(b"oops\n" if number % 1000 == 500 else json.dumps(value).encode() + b"\n")
            number += 1
    return str(path)


@pytest.fixture(scope="module")
def plan() -> ScanPlan:
    return ScanPlan(find_limits("openai", None, None), rules=choose_rules((), ()))


class Scanned(NamedTuple):
    """Summary of a file without its fingerprints, and what these answer."""

    summary: Summary
    copies: list[tuple[int, int]]
    conflicts: list[tuple[int, int]]
    answers: int


def scanned(shards: Sequence[Shard], plan: ScanPlan, engine: Engine) -> Scanned:
    summary = summarize(shards, plan, engine.map)
    fingerprints = engine.fingerprints(summary)
    conflicts = fingerprints.conflicts()
    assert conflicts
    result = Scanned(
        msgspec.structs.replace(summary, fingerprints=b""),
        list(fingerprints.copies()),
        list(conflicts.lines()),
        fingerprints.distinct_answers(),
    )
    fingerprints.close()
    return result


@pytest.fixture(scope="module")
def expected(large_file: str, plan: ScanPlan) -> Scanned:
    """The scan on one machine, in one process."""
    return scanned(split(large_file), plan, Engine(map))


def on_cluster(nodes: RayNodes, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_ftkit(*arguments, "--engine", f"ray={nodes.address}")


@pytest.mark.parametrize("arguments", [["validate", "-o", "json"], ["estimate"]])
def test_the_output_is_that_of_one_machine(
    arguments: list[str], nodes: RayNodes, large_file: str
) -> None:
    local = run_ftkit(*arguments, large_file)
    remote = on_cluster(nodes, *arguments, large_file)
    assert (remote.returncode, remote.stdout) == (local.returncode, local.stdout)
    assert remote.stderr == local.stderr == ""


def test_errors_of_files_are_those_of_one_machine(nodes: RayNodes) -> None:
    Path("cut.jsonl.gz").write_bytes(damaged_gzip())
    local = run_ftkit("validate", "cut.jsonl.gz")
    remote = on_cluster(nodes, "validate", "cut.jsonl.gz")
    assert "is the file complete?" in local.stderr
    assert (remote.returncode, remote.stdout, remote.stderr) == (2, "", local.stderr)


def damaged_gzip() -> bytes:
    rows = [json.dumps(chat_example(number)).encode() + b"\n" for number in range(50_000)]
    return gzip.compress(b"".join(rows), 1)[:-200_000]


def test_what_only_this_process_can_read_is_refused(
    nodes: RayNodes, large_file: str, clean_file: str
) -> None:
    engine = f"ray={nodes.address}"
    message = r"node 127.0.0.1 \(\w{8}\) .* object storage or on"
    with open(large_file, "rb") as held, pytest.raises(FtkitError, match=message):
        ftkit.validate(f"/proc/self/fd/{held.fileno()}", engine=engine)
    for source in (io.BytesIO(Path(clean_file).read_bytes()), [chat_example(1)] * 10):
        with pytest.raises(UsageError, match="is read by this machine only, so `engine` ray"):
            ftkit.validate(source, engine=engine)


def test_a_node_with_another_version_is_named(
    nodes: RayNodes, tmp_path: Path, clean_file: str
) -> None:
    package = tmp_path / "old" / "ftkit"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "_version.py").write_text('__version__ = "0.0.1"\n')
    node = nodes.add(env={"PYTHONPATH": str(package.parent)})
    try:
        result = on_cluster(nodes, "validate", clean_file)
    finally:
        nodes.remove(node)
    versions = f"ftkit {ftkit.__version__} and Python 3.{sys.version_info.minor}"
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert (
        f") has ftkit 0.0.1 and Python 3.{sys.version_info.minor}, this machine {versions}"
        in result.stderr
    )
    assert f"install ftkit {ftkit.__version__} on all nodes" in result.stderr


def test_an_address_without_a_cluster_is_one_line(clean_file: str) -> None:
    result = run_ftkit("validate", clean_file, "--engine", "ray=127.0.0.1:1")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "ftkit: no Ray cluster answers at 127.0.0.1:1: connection refused; is its head node running?\n"
    )


def test_a_message_that_is_not_valid_ends_the_driver() -> None:
    command = [sys.executable, "-m", DRIVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin
        try:
            Channel(io.BytesIO(), process.stdin).send(Connect("127.0.0.1:1"))  # Ray tries it long
            process.stdin.write(LENGTH.pack(1) + b"?")
            process.stdin.flush()
            assert process.wait(30) == 1
        finally:
            process.kill()


def test_progress_adds_up_to_the_size_of_the_file(nodes: RayNodes, large_file: str) -> None:
    steps: list[int] = []
    ftkit.validate(
        large_file, engine=f"ray={nodes.address}", progress=lambda file, size: steps.append(size)
    )
    assert (sum(steps), len(steps) > 1) == (os.path.getsize(large_file), True)


@pytest.mark.parametrize(
    ("sent", "code", "message", "title"),
    [
        (signal.SIGINT, 130, b"ftkit: interrupted", TASK),
        (signal.SIGINT, 130, b"ftkit: interrupted", COMPARISON),
        (signal.SIGTERM, 143, b"", TASK),
        (signal.SIGKILL, -signal.SIGKILL, b"", TASK),
    ],
)
def test_a_signal_ends_the_command_the_driver_and_the_tasks(
    sent: int, code: int, message: bytes, title: str, nodes: RayNodes, large_file: str
) -> None:
    links = [Path(f"copy{number}.jsonl") for number in range(20)]
    for link in links:
        link.symlink_to(large_file)
    process = subprocess.Popen(
        [*VALIDATE, *map(str, links), "--engine", f"ray={nodes.address}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    nodes.wait_for_workers(title)
    os.killpg(process.pid, sent)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors.strip()) == (code, b"", message)
    wait_for_no_driver(DRIVER)
    nodes.wait_for_no_worker(TASK)
    nodes.wait_for_no_worker(COMPARISON)


def test_summaries_are_equal_whatever_the_shards_and_windows(
    nodes: RayNodes,
    large_file: str,
    plan: ScanPlan,
    expected: Scanned,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases = random.Random(1)
    with ray_cluster(nodes.address) as engine:
        for _ in range(6):
            monkeypatch.setattr(module, "WINDOW", cases.choice([1, 2, 8]))
            monkeypatch.setattr(module, "RUNNING_PER_PROCESSOR", cases.choice([0, 1, 4]))
            monkeypatch.setattr(module, "TASKS_PER_PROCESSOR", cases.choice([1, 3, 100]))
            monkeypatch.setattr(
                cluster_fingerprints, "PARTITION_BYTES", cases.choice([1 << 17, 1 << 28])
            )
            shards = split(large_file, cases.choice([1 << 20, 3_000_017, 16 << 20, 1 << 30]))
            assert scanned(shards, plan, engine) == expected


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_summaries_are_equal_while_workers_and_nodes_are_killed(
    kills: int,
    nodes: RayNodes,
    large_file: str,
    plan: ScanPlan,
    expected: Scanned,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TASK_BYTES", 1)
    monkeypatch.setattr(cluster_fingerprints, "PARTITION_BYTES", 1 << 16)
    cases = random.Random(kills)
    with ray_cluster(nodes.address) as engine:
        scanned(split(large_file), plan, engine)
        for number in range(kills):
            kill = threading.Thread(target=kill_one, args=(nodes, cases, number % 2 == 0))
            kill.start()
            try:
                shards = split(large_file, cases.choice([1 << 20, 4 << 20]))
                assert scanned(shards, plan, engine) == expected
            finally:
                kill.join()
            while len(nodes.nodes) < NODES:
                nodes.add()


def test_fingerprints_of_a_dead_node_are_computed_again(
    nodes: RayNodes,
    large_file: str,
    plan: ScanPlan,
    expected: Scanned,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TASK_BYTES", 1)
    monkeypatch.setattr(cluster_fingerprints, "PARTITION_BYTES", 1 << 16)
    with ray_cluster(nodes.address) as engine:
        summary = summarize(split(large_file, 1 << 20), plan, engine.map)
        fingerprints = engine.fingerprints(summary)
        replace_all(nodes)
        assert list(fingerprints.copies()) == expected.copies
        replace_all(nodes)
        conflicts = fingerprints.conflicts()
        assert conflicts
        assert list(conflicts.lines()) == expected.conflicts
        replace_all(nodes)
        assert fingerprints.distinct_answers() == expected.answers


def replace_all(nodes: RayNodes) -> None:
    """Kill all nodes but the head, with all that they keep, and add as many."""
    for node in list(nodes.nodes):
        nodes.kill(node)
        nodes.remove(node)
        nodes.add()


def test_fingerprints_of_a_file_that_was_changed_are_not_computed_again(
    nodes: RayNodes, large_file: str, plan: ScanPlan, tmp_path: Path
) -> None:
    path = tmp_path / "changed.jsonl"
    path.write_bytes(Path(large_file).read_bytes())
    with ray_cluster(nodes.address) as engine:
        summary = summarize(split(str(path)), plan, engine.map)
        path.write_bytes(b"oops\n")
        replace_all(nodes)
        with pytest.raises(FtkitError, match="has another file at"):
            list(engine.fingerprints(summary).copies())


def test_the_output_is_that_of_one_machine_if_a_node_dies_while_examples_are_compared(
    nodes: RayNodes, large_file: str
) -> None:
    command = [*VALIDATE, "-o", "json", "--validation-file", large_file, large_file]
    local = run_command(command)
    victim = min(nodes.nodes)

    def kill() -> None:
        nodes.wait_for_workers(COMPARISON)
        nodes.kill(victim)

    assert run_command([*command, "--engine", f"ray={nodes.address}"], kill) == local
    nodes.remove(victim)
    nodes.add()


def kill_one(nodes: RayNodes, cases: random.Random, is_node: bool) -> None:
    """Kill a worker process or the raylet of a node, at a random moment while tasks run."""
    nodes.wait_for_workers(TASK)
    time.sleep(cases.random() / 2)
    if is_node:
        node = cases.choice(sorted(nodes.nodes))
        nodes.kill(node)
        nodes.remove(node)
    elif found := nodes.workers(TASK):
        os.kill(cases.choice(found), signal.SIGKILL)


def test_a_task_whose_process_dies_each_time_ends_the_command(
    nodes: RayNodes, large_file: str
) -> None:
    with subprocess.Popen(
        [*VALIDATE, large_file, "--engine", f"ray={nodes.address}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        while process.poll() is None:
            for worker in nodes.workers(TASK):
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
        output, errors = process.communicate()
    assert (process.returncode, output) == (2, b"")
    assert errors == (
        b"ftkit: a task's worker process died 6 times, maybe for lack of memory; give the nodes "
        b"fewer processors (ray start --num-cpus)\n"
    )


@pytest.mark.parametrize("process", ["gcs_server", "raylet"])
def test_the_death_of_the_head_ends_the_command(process: str, large_file: str) -> None:
    with ray_nodes(1) as nodes:
        command = subprocess.Popen(
            [*VALIDATE, large_file, "--engine", f"ray={nodes.address}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        worker = nodes.wait_for_workers(TASK)[0]
        os.kill(worker, signal.SIGSTOP)  # so that the tasks do not end before the head is missed
        try:
            os.kill(nodes.head[process], signal.SIGKILL)
            output, errors = command.communicate(timeout=60)
        finally:
            with suppress(ProcessLookupError):  # it has missed its node
                os.kill(worker, signal.SIGKILL)
    assert (command.returncode, output) == (2, b"")
    assert errors.decode() == (
        f"ftkit: the connection to the Ray cluster at {nodes.address} was lost; its head node, or "
        "the node on this machine, has ended (see: ray status)\n"
    )
    assert drivers(DRIVER) == []


def test_objects_are_read_by_the_nodes(storage: Storage, large_file: str) -> None:
    url = storage.put("large.jsonl", Path(large_file).read_bytes())
    local = run_ftkit("validate", url, "-o", "json")
    with ray_nodes(1) as nodes:  # with the keys of the storage in their environment
        remote = on_cluster(nodes, "validate", url, "-o", "json")
    assert (remote.returncode, remote.stdout, remote.stderr) == (1, local.stdout, "")


def test_a_node_without_keys_is_named(nodes: RayNodes, storage: Storage, clean_file: str) -> None:
    url = storage.put("clean.jsonl", Path(clean_file).read_bytes())
    result = on_cluster(nodes, "validate", url)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith("ftkit: node 127.0.0.1 (")
    assert "credentials" in result.stderr


@pytest.mark.parametrize(
    ("size", "delay"), [(64 << 20, 0.2), pytest.param(2 << 30, 5, marks=pytest.mark.slow)]
)
def test_a_file_in_object_storage_is_read_by_four_nodes_while_one_is_killed(
    size: int, delay: float, file_storage: FileStorage, tmp_path: Path
) -> None:
    path = tmp_path / "large.jsonl"
    try:
        write_file(path, size)
        url = file_storage.put("large.jsonl", path)
        with ray_nodes(4) as nodes:
            for name in ("validate", "estimate"):
                command = [sys.executable, "-m", "ftkit", name, "-o", "json"]
                local = run_command([*command, str(path)])
                victim = min(nodes.nodes)
                output = run_command(
                    [*command, url, "--engine", f"ray={nodes.address}"],
                    partial(nodes.kill_during_tasks, victim, delay),
                )
                nodes.remove(victim)
                nodes.add()
                assert output == local.replace(str(path).encode(), url.encode())
    finally:
        path.unlink()


def write_file(path: Path, size: int) -> None:
    """Write examples of which some have copies, and lines that are not JSON."""
    with path.open("wb") as file:
        number = 0
        while file.tell() < size:
            value = chat_example(number % 1_000_000)
            value["messages"][0]["content"] += " and so on" * 150
            file.write(b"oops\n" if number % 1000 == 500 else json.dumps(value).encode() + b"\n")
            number += 1


def run_command(command: list[str], meanwhile: Callable[[], None] | None = None) -> bytes:
    """Run a command that ends without an error, call a function meanwhile, and return its output."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        if meanwhile:
            meanwhile()
            assert process.poll() is None, "it ended before the kill"
        output, errors = process.communicate(timeout=1200)
    assert (process.returncode in (0, 1), errors) == (True, b"")
    return output
