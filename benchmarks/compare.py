"""Compare ftkit with the straightforward way and with a peer: python benchmarks/compare.py.

Each program runs as a whole process on the same generated files, in turns, so that a slow minute of
the machine meets all of them. The result is a table in Markdown, and JSON with --output.
"""

import argparse
import contextlib
import datetime
import importlib
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import generate

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SAMPLE = Path("samples/marv.jsonl")
SAMPLE_SECONDS = 0.01
PROGRESS_FROM = 32 << 20  # bytes of files with a progress bar, as in ftkit.cli.inputs
QUICK = {"sizes": ["50MB"], "repeat": 1, "starts": 3, "memory_size": "0"}
MIB = 2**20

# Version 1 of the peer's package has the function in one place, version 2 in another.
PEER_SCRIPT = """
import json, sys
try:
    from together.lib.utils.files import check_file
except ImportError:
    from together.utils import check_file
print(json.dumps(check_file(sys.argv[1])))
"""


@dataclass(frozen=True)
class Program:
    """A command that gets the name of a file as its last argument."""

    name: str
    command: list[str]
    good_codes: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Run:
    """What one run of a program took."""

    wall: float
    cpu: float
    peak: int
    tree_peak: int
    output: str = field(repr=False)


@dataclass(frozen=True)
class Row:
    """What all runs of a program on a file took: seconds and bytes."""

    size: str
    data: str
    program: str
    runs: int
    wall_best: float
    wall_median: float
    cpu: float
    peak: int
    tree_peak: int


class TreeSampler(threading.Thread):
    """Looks every 10 ms at how much memory a process and its descendants have needed, all together.

    Each process counts with its own peak, and pages that processes share count in each of them.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.peak = 0
        self.done = threading.Event()
        self.look = linux_tree_bytes if sys.platform == "linux" else psutil_tree_bytes

    def run(self) -> None:
        while not self.done.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, self.look(self.pid))


def linux_tree_bytes(pid: int) -> int:
    """Return the sum of the peaks of a process and its living descendants, in bytes."""
    total = 0
    folder = Path(f"/proc/{pid}")
    with contextlib.suppress(OSError):
        for line in (folder / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                total += int(line.split()[1]) * 1024
        for task in (folder / "task").iterdir():
            for child in (task / "children").read_text().split():
                total += linux_tree_bytes(int(child))
    return total


def psutil_tree_bytes(pid: int) -> int:
    """Return the present memory of a process and its descendants, or 0 without psutil."""
    try:
        psutil = importlib.import_module("psutil")
    except ImportError:
        return 0
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += member.memory_info().rss
    return total


def run(command: list[str], good_codes: tuple[int, ...] = (0,)) -> Run:
    """Run a command to its end and measure it; RuntimeError if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TOGETHER_NO_BANNER": "1"}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as problems:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=problems, cwd=ROOT, env=environment
        )
        sampler = TreeSampler(process.pid)
        sampler.start()
        try:
            # wait4 gives the times of the whole tree and the peak of its largest process; that of
            # this process is the least it says, so this one keeps no data.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        finally:
            sampler.done.set()
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        sampler.join()
        output.seek(0)
        problems.seek(0)
        if process.returncode not in good_codes:
            raise RuntimeError(
                f"{shlex.join(command)} ended with {process.returncode}:\n{problems.read()[-2000:]}"
            )
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        cpu = usage.ru_utime + usage.ru_stime
        return Run(wall, cpu, peak, max(peak, sampler.peak), output.read())


def run_in_turns(programs: list[Program], file: Path, repeat: int) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {program.name: [] for program in programs}
    for turn in range(repeat):
        for program in programs:
            result = run([*program.command, str(file)], program.good_codes)
            runs[program.name].append(result)
            say(f"{file.name}, {program.name}, {turn + 1} of {repeat}: {result.wall:.2f} s")
    return runs


def make_row(size: str, data: str, program: str, runs: list[Run]) -> Row:
    return Row(
        size=size,
        data=data,
        program=program,
        runs=len(runs),
        wall_best=min(run.wall for run in runs),
        wall_median=statistics.median(run.wall for run in runs),
        cpu=statistics.median(run.cpu for run in runs),
        peak=max(run.peak for run in runs),
        tree_peak=max(run.tree_peak for run in runs),
    )


@contextlib.contextmanager
def data_file(folder: Path, size: str, kind: str, keep: bool) -> Iterator[Path]:
    """A generated file; in a process of its own, so that this one stays small: see `run`."""
    path = folder / f"{kind}-{size}.jsonl"
    options = ["--no-tools", "--no-defects"] if kind == "plain" else []
    run([sys.executable, str(HERE / "generate.py"), str(path), "--size", size, *options])
    os.sync()  # or writing it to the disk would disturb the first runs
    try:
        yield path
    finally:
        if not keep:
            path.unlink()


def count_lines(file: Path) -> int:
    with file.open("rb") as stream:
        return sum(1 for _ in stream)


def demand_all_lines(runs: list[Run], lines: int) -> None:
    """A peer that stops at the first error is quick, and nothing to compare with."""
    for result in runs:
        report = json.loads(result.output.splitlines()[-1])
        if not report["is_check_passed"] or report["num_samples"] != lines:
            raise RuntimeError(f"the peer did not check the whole file: {report['message']}")


def measure_starts(ftkit: list[str], repeat: int) -> dict[str, tuple[float, float]]:
    """Least and median seconds of short commands."""
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "ftkit --help": [*ftkit, "--help"],
    }
    if (ROOT / SAMPLE).is_file():
        commands[f"ftkit validate {SAMPLE}"] = [*ftkit, "validate", str(SAMPLE)]
        commands[f"ftkit estimate {SAMPLE}"] = [*ftkit, "estimate", str(SAMPLE)]
    starts = {}
    for name, command in commands.items():
        run(command, (0, 1))  # the first start compiles the modules
        times = [run(command, (0, 1)).wall for _ in range(repeat)]
        starts[name] = (min(times), statistics.median(times))
    return starts


def first_progress(command: list[str]) -> float:
    """Seconds until a command shows its progress bar on a terminal; it is stopped then."""
    main, side = os.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
    start, shown = time.perf_counter(), b""
    process = subprocess.Popen(
        command, stdin=side, stdout=side, stderr=side, cwd=ROOT, env=environment
    )
    os.close(side)
    try:
        while b"MB" not in shown:
            shown += os.read(main, 65536)
        return time.perf_counter() - start
    except OSError:
        raise RuntimeError(f"{shlex.join(command)} showed no progress bar") from None
    finally:
        process.terminate()
        process.wait()
        os.close(main)


def describe_machine() -> dict[str, str]:
    versions = []
    for package in ("msgspec", "tiktoken", "fastokens", "jsonschema"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions.append(f"{package} {metadata.version(package)}")
    return {
        "processor": processor_name(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(versions),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
    }


def processor_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def render(results: dict[str, Any]) -> str:
    """The results in Markdown."""
    rows: list[Row] = results["rows"]
    ftkit = {(row.size, row.data): row for row in rows if row.program == "ftkit"}
    lines = [f"- {name}: {value}" for name, value in results["machine"].items()]
    lines += [
        "",
        "| file | program | runs | best, s | median, s | CPU, s | peak, MiB | all, MiB | time / ftkit | all / ftkit |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        own = ftkit[row.size, row.data]
        lines.append(
            f"| {row.data} {row.size} | {row.program} | {row.runs} | {row.wall_best:.2f} | {row.wall_median:.2f}"
            f" | {row.cpu:.2f} | {row.peak / MIB:.0f} | {row.tree_peak / MIB:.0f}"
            f" | {row.wall_median / own.wall_median:.2f} | {row.tree_peak / own.tree_peak:.2f} |"
        )
    lines += ["", "| start | best, ms | median, ms |", "|---|--:|--:|"]
    for name, (best, median) in results["starts"].items():
        lines.append(f"| `{name}` | {best * 1000:.0f} | {median * 1000:.0f} |")
    return "\n".join(lines)


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    ftkit = shlex.split(arguments.ftkit) if arguments.ftkit else [sys.executable, "-m", "ftkit"]
    check = [*ftkit, "validate", "--model", "gpt-3.5-turbo"]
    own = Program("ftkit", [*check, "--quiet"], (0, 1))  # 1: the file has errors, as it should
    bill = Program("ftkit estimate", [*ftkit, "estimate", "--model", "gpt-3.5-turbo"])
    baseline = Program("baseline", [sys.executable, str(HERE / "baseline.py")])
    starts = measure_starts(ftkit, arguments.starts)
    rows: list[Row] = []

    def add(programs: list[Program], size: str, kind: str, repeat: int) -> None:
        with data_file(folder, size, kind, keep=arguments.dir is not None) as file:
            runs = run_in_turns(programs, file, repeat)
            if "together" in runs:
                demand_all_lines(runs["together"], count_lines(file))
            if file.stat().st_size > PROGRESS_FROM and hasattr(os, "openpty"):
                times = [first_progress([*check, str(file)]) for _ in range(repeat)]
                name = f"first progress of ftkit validate, {kind} {size}"
                starts[name] = (min(times), statistics.median(times))
        rows.extend(make_row(size, kind, name, runs[name]) for name in runs)

    for size in arguments.sizes:
        add([baseline, own, bill], size, "chat", arguments.repeat)
        if arguments.together_python:
            peer = Program("together", [arguments.together_python, "-c", PEER_SCRIPT])
            add([baseline, own, peer], size, "plain", arguments.repeat)
    if generate.parse_size(arguments.memory_size):
        add([own, bill], arguments.memory_size, "chat", 1)
    return {"machine": describe_machine(), "starts": starts, "rows": rows}


def size_text(text: str) -> str:
    """A size as it was written, once it is known to be one."""
    generate.parse_size(text)
    return text


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=size_text, nargs="+", default=["100MB", "500MB"])
    parser.add_argument("--repeat", type=int, default=3, help="runs of each program (default: 3)")
    parser.add_argument(
        "--starts", type=int, default=10, help="runs of short commands (default: 10)"
    )
    parser.add_argument(
        "--memory-size",
        type=size_text,
        default="1GB",
        help="one more file, for ftkit only; 0 for none",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="by default, one run of each program on 50 MB, within a minute",
    )
    parser.add_argument("--ftkit", help="another command for ftkit (default: python -m ftkit)")
    parser.add_argument("--together-python", help="an interpreter that has the package together")
    parser.add_argument("--dir", type=Path, help="keep the generated files in this folder")
    parser.add_argument("--output", type=Path, help="write the figures as JSON, too")
    if parser.parse_args().quick:
        parser.set_defaults(**QUICK)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = arguments.dir or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        try:
            results = measure(arguments, folder.resolve())
        except RuntimeError as error:
            sys.exit(f"compare: {error}")
    print(render(results))
    if arguments.output:
        plain = {**results, "rows": [asdict(row) for row in results["rows"]]}
        arguments.output.write_text(json.dumps(plain, indent=2) + "\n")


if __name__ == "__main__":
    main()
