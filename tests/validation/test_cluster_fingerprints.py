"""Fingerprints that are compared in partitions have the answers of those in memory."""

from __future__ import annotations

import json
import tempfile
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from unittest import mock

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ftkit.catalog import find_limits
from ftkit.dataset.inputs import open_source
from ftkit.dataset.reader import Part, Shard
from ftkit.rules import RULES, ScanPlan
from ftkit.summary import FileReport, Summary
from ftkit.validation import cluster_fingerprints
from ftkit.validation.cluster_fingerprints import STORED, Output, PartitionedFingerprints, Step
from ftkit.validation.scan import Engine, PlannedScan
from ftkit.validation.validate import Purpose, ScannedFile
from support.property_tests import example_count

PLAN = ScanPlan(find_limits(), rules=frozenset(RULES), keep=5)

Files = tuple[list[bytes], list[bytes]]
"""Lines of a training file and of its validation file."""


class NodesInProcess:
    """Nodes that run their tasks in this process.

    Attributes:
        outputs: Outputs that were not released.
        operations: Names of the operations that were run.
    """

    def __init__(self, cuts: Sequence[int]) -> None:
        self._cuts = cuts
        self._count = 0
        self.outputs: dict[Output, bytes] = {}
        self.operations: list[str] = []

    def map(self, scan: PlannedScan, parts: Iterable[Part]) -> Iterator[Summary]:
        for part in parts:
            assert isinstance(part, Shard)
            ends = sorted({part.start, *(cut for cut in self._cuts if cut < part.end), part.end})
            for start, end in pairwise(ends):
                summary = scan(msgspec.structs.replace(part, start=start, end=end))
                task = self._add([summary.fingerprints])
                stored = STORED.pack(0, task, summary.examples)
                yield msgspec.structs.replace(summary, fingerprints=stored)

    def fingerprints(self, summary: Summary) -> PartitionedFingerprints:
        return PartitionedFingerprints(summary.fingerprints, self)

    def run(self, steps: Iterable[Step]) -> Iterator[tuple[int, bytes]]:
        for step in steps:
            self.operations.append(type(step.operation).__name__)
            outcome = step.operation([self.outputs[name] for name in step.inputs])
            assert len(outcome.outputs) == step.outputs
            yield self._add(outcome.outputs), outcome.result

    def release(self, tasks: Iterable[int]) -> None:
        released = set(tasks)
        self.outputs = {
            name: data for name, data in self.outputs.items() if name[0] not in released
        }

    def _add(self, outputs: Sequence[bytes]) -> int:
        self._count += 1
        self.outputs |= {(self._count, number): data for number, data in enumerate(outputs)}
        return self._count


def chat_line(prompt: int, answer: int) -> bytes:
    messages = [
        {"role": "user", "content": f"Question {prompt}"},
        {"role": "assistant", "content": f"Answer {answer}"},
    ]
    return json.dumps({"messages": messages}).encode()


def completion_line(prompt: int, answer: int) -> bytes:
    return json.dumps({"prompt": f"Question {prompt}", "completion": f" {answer} it is"}).encode()


def lines_of(line: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    return st.lists(st.one_of(line, line, line, st.sampled_from([b"", b"oops"])), max_size=60)


FEW_ANSWERS = [
    *(chat_line(number // 3, number % 3) for number in range(12)),
    *(chat_line(number, number) for number in range(12, 24)),
]
"""Examples that share prompts and a few answers, and others with answers of their own."""


@st.composite
def files(draw: st.DrawFn) -> Files:
    """Files with many copies and conflicts, or with few."""
    most = draw(st.sampled_from([2, 6, 1000]))
    numbers = st.integers(0, most)
    line = st.builds(draw(st.sampled_from([chat_line, completion_line])), numbers, numbers)
    return draw(lines_of(line)), draw(lines_of(line))


def scan_file(path: Path, lines: list[bytes], purpose: Purpose, engine: Engine) -> ScannedFile:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return ScannedFile(open_source(str(path), "files"), PLAN, purpose, engine)


def reports(folder: Path, files: Files, engine: Engine) -> list[FileReport]:
    """Return the reports on a training file and its validation file."""
    names: tuple[Purpose, Purpose] = ("training", "validation")
    scanned = []
    for name, lines in zip(names, files, strict=True):
        scanned.append(scan_file(folder / f"{name}.jsonl", lines, name, engine))
    return [scanned[0].report(scanned[1]), scanned[1].report()]


@given(
    files(),
    st.lists(st.integers(1, 5000), max_size=6),
    st.integers(1, 400),
    st.integers(1, 4),
)
@example(([chat_line(n // 4, n) for n in range(40)], [chat_line(3, 13)] * 2), [700], 100, 2)
@example((FEW_ANSWERS, FEW_ANSWERS), [700], 100, 2)
@example(([completion_line(n, n) for n in range(9)], [completion_line(1, 1)]), [99, 300], 48, 1)
@settings(max_examples=example_count(150), deadline=None)
def test_reports_are_those_of_one_machine_whatever_the_shards_and_partitions(
    files: Files, cuts: list[int], partition_bytes: int, max_inputs: int
) -> None:
    nodes = NodesInProcess(cuts)
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(cluster_fingerprints, "PARTITION_BYTES", partition_bytes),
        mock.patch.object(cluster_fingerprints, "MAX_INPUTS", max_inputs),
    ):
        expected = reports(Path(folder), files, Engine(map))
        assert reports(Path(folder), files, Engine(nodes.map, nodes.fingerprints)) == expected
    assert nodes.outputs == {}


@pytest.mark.parametrize(
    ("completion", "exchanges"),
    [(" {} END", 0), (" {}", 1), (" The answer to this is {}", 1)],
    ids=["common ending", "no common ending", "common beginning"],
)
def test_different_answers_are_counted_once_and_only_if_a_rule_needs_them(
    completion: str, exchanges: int, tmp_path: Path
) -> None:
    lines = [
        json.dumps({"prompt": f"Question {n}", "completion": completion.format(n)}).encode()
        for n in range(20)
    ]
    nodes = NodesInProcess([])
    engine = Engine(nodes.map, nodes.fingerprints)
    scan_file(tmp_path / "train.jsonl", lines, "training", engine).report()
    assert nodes.operations.count("PartitionByAnswer") == exchanges


def test_partitions_of_a_validation_file_are_kept_for_one_training_file_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_fingerprints, "PARTITION_BYTES", 100)
    nodes = NodesInProcess([])
    engine = Engine(nodes.map, nodes.fingerprints)
    lines = [chat_line(n, n) for n in range(50)]
    validation = scan_file(tmp_path / "validation.jsonl", lines, "validation", engine)
    before = set(nodes.outputs)
    for count in (10, 20, 30):
        training = scan_file(tmp_path / f"{count}.jsonl", lines[:count], "training", engine)
        report = training.report(validation)
        assert report.severities["split-overlap"] == {"warning": count}
        assert set(nodes.outputs) == before


class CopiesOnNodes:
    """Nodes that find copies of `count` examples, in random order."""

    def __init__(self, count: int) -> None:
        self._count = count

    def run(self, steps: Iterable[Step]) -> Iterator[tuple[int, bytes]]:
        import numpy as np

        lines = np.random.default_rng(1).permutation(self._count).astype("<u8")
        for step, numbers in zip(steps, np.array_split(lines, 50), strict=False):
            is_result = not step.outputs
            yield 1, np.column_stack((numbers, numbers)).tobytes() if is_result else b""

    def release(self, tasks: Iterable[int]) -> None:
        pass


def test_the_lines_of_many_duplicates_need_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numpy")
    monkeypatch.setattr(cluster_fingerprints, "PARTITION_BYTES", 20)
    count = 500_000
    fingerprints = PartitionedFingerprints(STORED.pack(0, 0, 50), CopiesOnNodes(count))
    tracemalloc.start()
    try:
        lines = iter(fingerprints.copies())
        assert [next(lines), next(lines)] == [(0, 0), (1, 1)]
        assert sum(1 for _ in lines) == count - 2
        assert tracemalloc.get_traced_memory()[1] < 48 * count
    finally:
        tracemalloc.stop()
