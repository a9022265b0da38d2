"""Measure how time and memory grow with the file: python benchmarks/growth.py.

Prints two tables in Markdown: files of growing size beside the disk and the bare decoder, and files
of other shapes. --svg draws the first as curves.
"""

import argparse
import contextlib
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import generate

from compare import HERE, MIB, Program, describe_machine, run, say, size_text

SIZES = ["1MB", "10MB", "100MB", "1GB", "4GB"]
SHAPES = ["conversations", *generate.SHAPES, "gzip"]
MEMORY_PROGRAM = "validate"
ONCE_FROM = 500 * 10**6  # a larger file is measured once: its time varies little

# Bare programs, whose times are limits of what ftkit can reach. Python starts in them, too.
READ_SCRIPT = """
import sys
with open(sys.argv[1], "rb", buffering=0) as file:
    while file.read(1 << 20):
        pass
"""
DECODE_SCRIPT = """
import gzip, sys
import msgspec
decode = msgspec.json.decode
with (gzip.open if sys.argv[1].endswith(".gz") else open)(sys.argv[1], "rb") as file:
    for line in file:
        try:
            decode(line)
        except msgspec.DecodeError:
            pass
"""


@dataclass(frozen=True)
class BestRun:
    """The best of several runs of a program on a file: seconds and bytes."""

    size: str
    shape: str
    program: str
    file_bytes: int
    lines: int
    wall: float
    cpu: float
    peak: int
    tree_peak: int


def programs(workers: list[int]) -> dict[str, Program]:
    """Programs by their column: the limits first, then ftkit."""
    programs = {
        "disk": Program("disk", [sys.executable, "-c", READ_SCRIPT]),
        "decode": Program("decode", [sys.executable, "-c", DECODE_SCRIPT]),
    }
    model = ["--model", "gpt-3.5-turbo"]
    for command in ("validate", "estimate"):
        for number in workers:
            name = f"{command}, {number}"
            arguments = [command, *model, "--workers", str(number)]
            programs[name] = Program(name, [sys.executable, "-m", "ftkit", *arguments], (0, 1))
    return programs


def drop_from_cache(file: Path) -> bool:
    """Make the next reading of a file go to the disk; False if this system cannot."""
    if not hasattr(os, "posix_fadvise"):
        return False
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def best_run(
    program: Program, file: Path, place: tuple[str, str, int], repeat: int
) -> BestRun | None:
    """The quickest of several runs; None for the disk where it cannot be measured.

    `place` is the size of the file as it was asked for, its shape, and its number of lines.
    """
    size, shape, lines = place
    runs = []
    for _ in range(repeat):
        if program.name == "disk" and not drop_from_cache(file):
            return None
        runs.append(run([*program.command, str(file)], program.good_codes))
    best = min(runs, key=lambda result: result.wall)
    say(f"{shape} {size}, {program.name}: {best.wall:.2f} s")
    return BestRun(
        size,
        shape,
        program.name,
        file.stat().st_size,
        lines,
        best.wall,
        best.cpu,
        max(result.peak for result in runs),
        max(result.tree_peak for result in runs),
    )


@contextlib.contextmanager
def data_file(folder: Path, size: str, shape: str) -> Iterator[tuple[Path, int]]:
    """A generated file of a shape, and its number of lines. It is removed at the end."""
    path = folder / f"{shape}-{size}.jsonl{'.gz' if shape == 'gzip' else ''}"
    options = ["--shape", shape] if shape in generate.SHAPES else []
    command = [sys.executable, str(HERE / "generate.py"), str(path), "--size", size, *options]
    lines = int(run(command).output)
    os.sync()  # or writing it to the disk would disturb the first runs
    try:
        yield path, lines
    finally:
        path.unlink()


def measure(arguments: argparse.Namespace, folder: Path) -> list[BestRun]:
    """Measure all programs on files of each size, and one worker and all on each shape."""
    rows = []
    all_programs = programs(arguments.workers)
    few = {name: all_programs[name] for name in ("decode", f"validate, {arguments.workers[-1]}")}
    files = [(size, "conversations", all_programs) for size in arguments.sizes]
    files += [
        (arguments.shape_size, shape, few)
        for shape in arguments.shapes
        if shape != "conversations" or arguments.shape_size not in arguments.sizes
    ]
    for size, shape, chosen in files:
        repeat = arguments.repeat if generate.parse_size(size) < ONCE_FROM else 1
        with data_file(folder, size, shape) as (file, lines):
            for program in chosen.values():
                row = best_run(program, file, (size, shape, lines), repeat)
                if row:
                    rows.append(row)
    return rows


def growth_table(rows: list[BestRun], sizes: list[str], workers: list[int]) -> list[str]:
    """Seconds and memory by size, and the rate that the largest step adds."""
    names = list(programs(workers))
    own = [name for name in names if name not in ("disk", "decode")]
    memory = [name for name in own if name.startswith(MEMORY_PROGRAM)]
    heads = [f"`{name.partition(',')[0]}`,{name.partition(',')[2]}" for name in own]
    lines = [
        "| file | disk, s | `msgspec` alone, s | "
        + " | ".join(f"{head} w, s" for head in heads)
        + " | "
        + " | ".join(f"`{MEMORY_PROGRAM}`, {name.partition(', ')[2]} w, MiB" for name in memory)
        + " |",
        "|---|" + "--:|" * (2 + len(own) + len(memory)),
    ]
    by_place = {(row.size, row.program): row for row in rows if row.shape == "conversations"}
    for size in sizes:
        cells = [
            f"{by_place[size, name].wall:.2f}" if (size, name) in by_place else "" for name in names
        ]
        cells += [f"{by_place[size, name].tree_peak / MIB:,.0f}" for name in memory]
        lines.append(f"| {size} | {' | '.join(cells)} |")
    rates = [f"{rate:,.0f}" if rate else "" for rate in (_rate(rows, name) for name in names)]
    lines.append(f"| MB/s after the start | {' | '.join(rates)} |{' |' * len(memory)}")
    return lines


def _rate(rows: list[BestRun], program: str) -> float | None:
    """Bytes that the largest file has more than the smallest, by the time that they take, in MB/s."""
    own = [row for row in rows if row.program == program and row.shape == "conversations"]
    own.sort(key=lambda row: row.file_bytes)
    if len(own) < 2 or own[-1].wall <= own[0].wall:
        return None
    return (own[-1].file_bytes - own[0].file_bytes) / (own[-1].wall - own[0].wall) / 1e6


def shape_table(rows: list[BestRun], size: str, workers: int) -> list[str]:
    """Seconds, rate and memory by shape."""
    lines = [
        f"| {size} of | lines | `msgspec` alone, s | `validate`, s | CPU, s | MB/s | all processes, MiB |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    shapes = dict.fromkeys(row.shape for row in rows if row.size == size)
    by_place = {(row.shape, row.program): row for row in rows if row.size == size}
    for shape in shapes:
        own, bare = by_place[shape, f"validate, {workers}"], by_place[shape, "decode"]
        rate = generate.parse_size(size) / own.wall / 1e6
        lines.append(
            f"| {shape} | {own.lines:,} | {bare.wall:.2f} | {own.wall:.2f} | {own.cpu:.2f}"
            f" | {rate:,.0f} | {own.tree_peak / MIB:,.0f} |"
        )
    return lines


def draw(rows: list[BestRun], path: Path) -> None:
    """Draw seconds by size as an SVG with logarithmic axes."""
    figure: Any = importlib.import_module("matplotlib.figure").Figure((7, 4.5))
    axes = figure.add_subplot(xlabel="MB", ylabel="seconds", xscale="log", yscale="log")
    grown = sorted(
        (row for row in rows if row.shape == "conversations"), key=lambda row: row.file_bytes
    )
    for program in dict.fromkeys(row.program for row in grown):
        own = [row for row in grown if row.program == program]
        limit = program in ("disk", "decode")
        label = {"decode": "msgspec alone"}.get(program, program if limit else f"{program} w")
        points = [row.file_bytes / 1e6 for row in own], [row.wall for row in own]
        axes.plot(*points, "--" if limit else "-", marker="o", label=label)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=size_text, nargs="+", default=SIZES)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=3, help="runs of each program (default: 3)")
    parser.add_argument("--shapes", nargs="*", choices=SHAPES, default=SHAPES)
    parser.add_argument("--shape-size", type=size_text, default="100MB")
    parser.add_argument("--dir", type=Path, help="folder for the generated files, on the disk")
    parser.add_argument("--svg", type=Path, help="draw the curves, with matplotlib")
    parser.add_argument("--output", type=Path, help="write the figures as JSON, too")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.dir)))
        try:
            rows = measure(arguments, folder)
        except RuntimeError as error:
            sys.exit(f"growth: {error}")
    print("\n".join(f"- {name}: {value}" for name, value in describe_machine().items()), "\n")
    if arguments.sizes:
        print("\n".join(growth_table(rows, arguments.sizes, arguments.workers)), "\n")
    if arguments.shapes:
        print("\n".join(shape_table(rows, arguments.shape_size, arguments.workers[-1])))
    if arguments.svg:
        draw(rows, arguments.svg)
    if arguments.output:
        arguments.output.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
