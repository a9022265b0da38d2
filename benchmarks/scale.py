"""Measure a Ray cluster of local nodes, and the parts of a large one: python benchmarks/scale.py.

Prints tables in Markdown. The nodes share the processors of this machine, so more nodes than
processors are no faster. What a cluster of 1,000 nodes would do is computed from what one
machine does for it: it sends the tasks, adds up the summaries and has a reference to each partition
of each group of tasks. A file in an S3 on this machine is scanned by four nodes, one of which is
killed.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple
from unittest import mock

import msgspec

from compare import HERE, MIB, data_file, describe_machine, run, say
from ftkit.catalog import find_limits
from ftkit.dataset.inputs import open_source
from ftkit.dataset.reader import PART_BYTES, Shard, shards_of, split
from ftkit.rules import ScanPlan, choose_rules
from ftkit.rules.fingerprints import FINGERPRINT_BYTES
from ftkit.summary import Summary
from ftkit.validation import cluster_fingerprints
from ftkit.validation import ray_cluster as cluster_module
from ftkit.validation.cluster_fingerprints import PARTITION_BYTES, STORED
from ftkit.validation.engines import open_engine
from ftkit.validation.partition_operations import (
    CountConflicts,
    FindConflicts,
    FindCopies,
    PartitionByPrompt,
)
from ftkit.validation.ray_cluster import TASK_BYTES, joined, ray_cluster, shards_per_task
from ftkit.validation.scan import Engine, Map, scan, summarize
from ftkit.validation.validate import ScannedFile

ROOT = HERE.parent
sys.path[:0] = [str(ROOT / "tests")]

from support.file_storage import running_file_storage  # type: ignore[import-not-found]  # noqa: E402
from support.object_storage import KEYS  # type: ignore[import-not-found]  # noqa: E402
from support.ray_nodes import ENVIRONMENT, drivers, ray_nodes  # type: ignore[import-not-found]  # noqa: E402

NODES = (1, 2, 4)
EMPTY_TASKS = 1000
ADDED = 400
"""Summaries of tasks that are added up."""

KILL_SECONDS = 5
"""Seconds from the first task until a node is killed."""

LARGE_BYTES, LARGE_NODES, LARGE_PROCESSORS = 10 * 10**12, 1000, 8
PARTITIONS = 500
"""Number of partitions that the fingerprints of a task are divided into."""

REFERENCES = 5_000
"""Number of outputs that stay on the nodes while their references are measured."""

REFERENCE_SHARD = 1 << 20
"""Bytes of a shard in that measurement."""


COPIES = 100_000
"""Equal examples in the file whose findings are measured."""


class Adding(NamedTuple):
    """Bytes of the summary of a task of the large file, and CPU seconds to decode and add it."""

    size: int
    seconds: float


class Exchange(NamedTuple):
    """CPU seconds an example on the nodes, and peak bytes of a task.

    Attributes:
        partitioning: Seconds an example to partition the fingerprints.
        comparing: Seconds an example to find copies, and to count and find conflicts.
        peak: Peak of memory of a task that compares a whole partition.
    """

    partitioning: float
    comparing: float
    peak: float


class Reference(NamedTuple):
    """CPU seconds and bytes for a reference, in the command and its driver.

    Attributes:
        making: Seconds to make it.
        passing: Seconds to pass it to a task.
        size: Bytes.
    """

    making: float
    passing: float
    size: float


class Scale(NamedTuple):
    """Figures of one machine: seconds and bytes."""

    overhead: float
    rate: float
    examples: float
    adding: Adding
    exchange: Exchange
    reference: Reference
    finding: float


def plan(rules: bool = True) -> ScanPlan:
    """Return a plan with all rules, or to count the lines only."""
    return ScanPlan(
        find_limits("openai", None, None), rules=choose_rules((), ()), applies_rules=rules
    )


def best(
    repeat: int, function: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the least seconds that some calls of a function take by a clock.

    `time.process_time` counts the CPU seconds of this process, whatever else the machine does.
    """
    seconds = []
    for _ in range(repeat):
        start = clock()
        function()
        seconds.append(clock() - start)
    return min(seconds)


def measure_nodes(file: str, repeat: int) -> float:
    """Print the seconds by nodes; return the overhead of a task in seconds."""
    print("| nodes | connect, s | scan, s | an empty task, ms | CPU of it here, ms |")
    print("|---|--:|--:|--:|--:|")
    for workers in (1, 2):
        with open_engine(workers, [os.path.getsize(file)]) as engine:
            seconds = best(repeat, partial(summarize, split(file), plan(), engine.map))
        print(f"| none: {workers} local processes | | {seconds:.2f} | | |", flush=True)
    overheads = []
    for number in NODES:
        say(f"{number} nodes")
        with ray_nodes(number) as nodes:
            start = time.perf_counter()
            with ray_cluster(nodes.address) as engine:
                connected = time.perf_counter() - start
                seconds = best(repeat, partial(summarize, split(file), plan(), engine.map))
                wall, cpu = measure_tasks(engine.map, file, repeat)
        overheads.append(cpu)
        print(
            f"| {number} | {connected:.1f} | {seconds:.2f} | {1000 * wall:.2f} | {1000 * cpu:.2f} |",
            flush=True,
        )
    print()
    return min(overheads)


def measure_tasks(map_: Map, file: str, repeat: int) -> tuple[float, float]:
    """Return the seconds of a task that reads nothing, and those of CPU on this machine.

    Its shard is behind the end of the file, and too large to be joined with others.
    """
    end = os.path.getsize(file)
    starts = [end + number * TASK_BYTES for number in range(EMPTY_TASKS)]
    shards = [Shard(file, start, start + TASK_BYTES) for start in starts]
    start = cpu_seconds()
    wall = best(repeat, partial(summarize, shards, plan(), map_))
    return wall / EMPTY_TASKS, (cpu_seconds() - start) / repeat / EMPTY_TASKS


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and its driver, which is a process below it."""
    seconds = time.process_time()
    for pid in drivers("ftkit.validation.ray_driver"):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if int(fields[1]) == os.getpid():
            seconds += sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    return seconds


def measure_adding(file: str) -> tuple[Adding, float]:
    """Return what adding a task takes without its fingerprints, and bytes an example."""
    summary = scan(split(file, 1 << 40)[0], plan())
    bare = msgspec.structs.replace(summary, fingerprints=STORED.pack(0, 0, summary.examples))
    size = len(msgspec.msgpack.encode(bare))
    return Adding(size, time_adding(bare)), summary.size / summary.examples


def large_tasks() -> list[Shard]:
    """Return the tasks that the large file is scanned in."""
    shards = shards_of("large.jsonl", LARGE_BYTES, PART_BYTES)
    return list(joined(shards, shards_per_task(shards, LARGE_NODES * LARGE_PROCESSORS)))


def time_adding(summary: Summary) -> float:
    """Return the CPU seconds to decode and add one of `ADDED` summaries."""
    tasks = [msgspec.msgpack.encode(summary)] * ADDED

    def decoded(function: object, parts: object) -> Iterator[Summary]:
        return (msgspec.msgpack.decode(task, type=Summary) for task in tasks)

    return best(1, partial(summarize, [], plan(), decoded), time.process_time) / ADDED


def measure_exchange() -> Exchange:
    """Measure the operations on a whole partition.

    One example in ten has a copy, and one in ten another answer.
    """
    import numpy as np

    examples = PARTITION_BYTES // FINGERPRINT_BYTES
    random = np.random.default_rng(1)
    records = np.empty((examples, 3), "<u8")
    records[:, 0] = np.arange(1, examples + 1)
    records[:, 1:] = random.integers(0, 1 << 63, (examples, 2))
    tenth = examples // 10
    records[-tenth:, 1:] = records[:tenth, 1:]
    records[-2 * tenth : -tenth, 1] = records[tenth : 2 * tenth, 1]
    data = records.tobytes()
    del records
    start = time.process_time()
    PartitionByPrompt((1,), PARTITIONS)([data])
    partitioned_at = time.process_time()
    for operation in (FindCopies(), CountConflicts(), FindConflicts()):
        operation([data])
    compared_at = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Exchange(
        (partitioned_at - start) / examples, (compared_at - partitioned_at) / examples, peak
    )


def measure_finding(folder: Path) -> float:
    """Return the CPU seconds to report a duplicate, of which the file is full."""
    path = folder / "copies.jsonl"
    line = {
        "messages": [
            {"role": "user", "content": "Question"},
            {"role": "assistant", "content": "Answer"},
        ]
    }
    path.write_bytes((msgspec.json.encode(line) + b"\n") * COPIES)
    scanned = ScannedFile(open_source(str(path), "files"), plan(), "training", Engine(map))
    start = time.process_time()
    scanned.report()
    return (time.process_time() - start) / COPIES


def measure_references(file: str) -> Reference:
    """Measure references to outputs, of which there are about `REFERENCES`."""
    shards = split(file, REFERENCE_SHARD)
    with ray_nodes(2) as nodes, ray_cluster(nodes.address) as engine:
        with mock.patch.object(cluster_module, "TASK_BYTES", 1):
            summary = summarize(shards, plan(), engine.map)
        partitions = REFERENCES // len(shards)
        size = FINGERPRINT_BYTES * summary.examples // partitions
        with mock.patch.object(cluster_fingerprints, "PARTITION_BYTES", size):
            with mock.patch.object(cluster_fingerprints, "MAX_INPUTS", 1):
                fingerprints = engine.fingerprints(summary)
                memory, start = driver_memory(), cpu_seconds()
                list(fingerprints.copies())
                both = cpu_seconds() - start
                memory = driver_memory() - memory
            start = cpu_seconds()
            list(fingerprints.copies())
            passing = cpu_seconds() - start
    count = len(shards) * (partitions + 1)
    return Reference((both - passing) / count, passing / count, memory / count)


def driver_memory() -> int:
    """Return the bytes of private memory of the driver."""
    total = 0
    for pid in drivers("ftkit.validation.ray_driver"):
        status = Path(f"/proc/{pid}/status").read_text()
        total += int(status.partition("RssAnon:")[2].split()[0]) * 1024
    return total


def in_process(function: Callable[..., Any], *arguments: object) -> Any:
    """Return what a function returns in a new process, whose peak of memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def print_model(scale: Scale) -> None:
    """Print what 10 TB on 1,000 nodes take, by the parts that were measured."""
    tasks = len(large_tasks())
    examples = LARGE_BYTES / scale.examples
    partitions = examples * FINGERPRINT_BYTES / PARTITION_BYTES
    references = partitions**2  # partitions of as many groups of tasks
    added, exchange, reference = scale.adding, scale.exchange, scale.reference
    full = PARTITION_BYTES / FINGERPRINT_BYTES
    passes = 3  # copies, number of conflicts, conflicts
    rows = [
        ("measured: sending a task and receiving its result", f"{1000 * scale.overhead:.2f} ms"),
        ("measured: scanning on one processor", f"{scale.rate / 10**6:.0f} MB/s"),
        (
            f"measured: summary of a task of {LARGE_BYTES / tasks / MIB:.0f} MiB",
            f"{added.size / 10**6:.2f} MB",
        ),
        ("measured: decoding and adding it", f"{1000 * added.seconds:.1f} ms"),
        ("measured: partitioning, an example", f"{10**6 * exchange.partitioning:.2f} µs"),
        ("measured: comparing, an example", f"{10**6 * exchange.comparing:.2f} µs"),
        ("measured: peak of a task that compares", f"{exchange.peak / 10**9:.2f} GB"),
        ("measured: making a reference", f"{10**6 * reference.making:.0f} µs"),
        ("measured: passing a reference to a task", f"{10**6 * reference.passing:.0f} µs"),
        ("measured: memory of a reference", f"{reference.size:,.0f} bytes"),
        ("measured: reporting a duplicate", f"{10**6 * scale.finding:.1f} µs"),
        ("computed: tasks that scan", f"{tasks:,.0f}"),
        ("computed: examples", f"{examples / 10**9:.1f} billion"),
        (
            f"computed: scanning on {LARGE_NODES:,} nodes of {LARGE_PROCESSORS} processors",
            f"{LARGE_BYTES / scale.rate / LARGE_NODES / LARGE_PROCESSORS:,.0f} s",
        ),
        ("computed: sending tasks, on one machine", f"{tasks * scale.overhead:,.0f} s"),
        ("computed: adding, on one machine", f"{tasks * added.seconds:,.0f} s"),
        ("computed: summaries through its network", f"{tasks * added.size / 10**9:,.1f} GB"),
        ("computed: partitions", f"{partitions:,.0f}"),
        ("computed: partitioning, in parallel", f"{full * exchange.partitioning:,.0f} s"),
        ("computed: comparing, in parallel", f"{full * exchange.comparing:,.0f} s"),
        ("computed: references", f"{references:,.0f}"),
        (
            "computed: references and their tasks, on one machine",
            f"{references * (reference.making + passes * reference.passing):,.0f} s",
        ),
        ("computed: memory of references", f"{references * reference.size / 10**9:,.1f} GB"),
        (
            "computed: reporting, if one example in ten is a duplicate, on one machine",
            f"{examples / 10 * scale.finding:,.0f} s",
        ),
    ]
    print("| part | figure |\n|---|--:|")
    for name, figure in rows:
        print(f"| {name} | {figure} |")


def measure_killed_node(folder: Path, size: str) -> None:
    """Print what four nodes take for an object if one of them is killed.

    Raises:
        RuntimeError: The output is not that of one machine, or nothing was killed.
    """
    print("| command | one machine, s | four nodes, s | memory of command and driver, MiB |")
    print("|---|--:|--:|--:|")
    with (
        data_file(folder, size, "conversations", keep=False) as path,
        running_file_storage() as storage,
    ):
        url = storage.put(path.name, path)
        os.environ |= {**KEYS, "AWS_ENDPOINT_URL": storage.url}
        with ray_nodes(4) as nodes:
            for name in ("validate", "estimate"):
                say(f"{name}, {size}")
                command = [sys.executable, "-m", "ftkit", name, "-o", "json"]
                local = run([*command, str(path)], (0, 1))
                victim = min(nodes.nodes)
                killer = Thread(target=nodes.kill_during_tasks, args=(victim, KILL_SECONDS))
                killer.start()
                result = run([*command, url, "--engine", f"ray={nodes.address}"], (0, 1))
                if killer.is_alive():
                    raise RuntimeError(f"{name} ended before a node was killed")
                nodes.remove(victim)
                nodes.add()
                if result.output != local.output.replace(str(path), url):
                    raise RuntimeError(f"{name} prints something else than on one machine")
                memory = result.tree_peak / MIB
                print(
                    f"| {name} | {local.wall:.0f} | {result.wall:.0f} | {memory:.0f} |", flush=True
                )
    print()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", default="250MB", help="Size of the file.  [default: 250MB]")
    parser.add_argument("--repeat", type=int, default=3, help="Runs; the best counts.")
    parser.add_argument(
        "--object-size", default="2GB", help="Size of the object in S3.  [default: 2GB]"
    )
    parser.add_argument("--only", choices=("object", "model"), help="Print only some tables.")
    arguments = parser.parse_args()
    os.environ |= ENVIRONMENT
    print(", ".join(f"{name} {value}" for name, value in describe_machine().items()), end="\n\n")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.only != "model":
            measure_killed_node(Path(folder), arguments.object_size)
        if arguments.only != "object":
            measure_model(Path(folder), arguments)


def measure_model(folder: Path, arguments: argparse.Namespace) -> None:
    """Print the tables of the nodes and of the model."""
    with data_file(folder, arguments.size, "conversations", keep=False) as path:
        file = str(path)
        overhead = measure_nodes(file, arguments.repeat)
        scan_all = partial(summarize, split(file), plan())
        seconds = best(arguments.repeat, scan_all, time.process_time)
        rate = os.path.getsize(file) / seconds
        say("adding")
        adding, per_example = in_process(measure_adding, file)
        say("references")
        reference = measure_references(file)
    say("duplicates")
    exchange = in_process(measure_exchange)
    finding = in_process(measure_finding, folder)
    print("CPU seconds:\n")
    print_model(Scale(overhead, rate, per_example, adding, exchange, reference, finding))


if __name__ == "__main__":
    main()
