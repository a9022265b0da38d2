"""Benchmark of `ftkit archive`: python benchmarks/archive.py.

A fake provider in a separate process holds 3,000 jobs with events, checkpoints and results, and 200
files of 1 MB. `ftkit archive` saves it into a new folder, runs again without changes, and verifies
the archive. Prints a Markdown table with wall time, CPU time, peak memory and number of requests.
"""

import argparse
import importlib
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MIB = 1 << 20

LARGE_JOB = 7
"""Number of the job that has 5,000 events; all others have 12."""

PEAK_MEMORY = """
import re, sys
from ftkit.cli import run
code = run(sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(code)
"""
"""Program that runs ftkit and prints the peak memory of its own process in KiB."""


def fill(jobs: int, files: int, size: int) -> Any:
    """Return the module of the fake provider, and a provider with that many jobs and files."""
    sys.path.insert(0, str(ROOT / "tests"))
    module: Any = importlib.import_module("service")
    provider, rng = module.Service(), random.Random(1)
    file_ids = [
        provider.add_file(f"{number}.jsonl", content(number, size))["id"] for number in range(files)
    ]
    for number in range(jobs):
        add_job(module, provider, number, file_ids[number % files], rng)
    return module, provider


def content(number: int, size: int) -> bytes:
    """Return a dataset of about `size` bytes that no other number has."""
    messages = [
        {"role": "user", "content": "x" * 400},
        {"role": "assistant", "content": "y" * 500},
    ]
    line = b"%d" % number + b" " * 8 + json.dumps({"messages": messages}).encode() + b"\n"
    return line * (size // len(line))


def add_job(module: Any, provider: Any, number: int, file_id: str, rng: random.Random) -> None:
    """Add a succeeded job with events, checkpoints and results."""
    job = provider.add_job({"model": "gpt-4o-mini-2024-07-18", "training_file": file_id})
    job |= {
        "status": "succeeded",
        "fine_tuned_model": f"ft:gpt-4o-mini-2024-07-18:me::{number}",
        "trained_tokens": 1000 * number,
        "hyperparameters": {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8},
    }
    for step in range(5000 if number == LARGE_JOB else 12):
        text = f"Step {step}: training loss={rng.random():.4f}"
        provider.add_event(job["id"], text, type="metrics", data={"step": step})
    provider.checkpoints[job["id"]] = [
        {
            "id": f"ftckpt-{number}-{step}",
            "created_at": step,
            "step_number": step,
            "metrics": {"step": step, "train_loss": 1.0},
            "fine_tuned_model_checkpoint": f"ft:x:ckpt-step-{step}",
        }
        for step in (30, 20, 10)
    ]
    rows = "".join(f"{step},{3 / step:.4f},{3.2 / step:.4f}\n" for step in range(1, 61))
    csv = f"step,train_loss,valid_loss\n{rows}".encode()
    results = module.encoded(csv) if number % 2 else csv
    job["result_files"] = [provider.add_file("results.csv", results, "fine-tune-results")["id"]]


def serve(jobs: int, files: int, size: int) -> None:
    """Run the fake provider until standard input is closed; print the request count per line."""
    module, provider = fill(jobs, files, size)
    with module.running(provider) as url:
        print(url, flush=True)
        for _ in sys.stdin:
            print(len(provider.requests), flush=True)


def measure(provider: "subprocess.Popen[str]", url: str, *arguments: str) -> dict[str, Any]:
    """Run ftkit, and return wall time and CPU time in seconds, peak memory in MiB, and requests."""
    requests = count_requests(provider)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    completed = subprocess.run(
        [sys.executable, "-c", PEAK_MEMORY, *arguments],
        env={**os.environ, "OPENAI_API_KEY": "sk-test", "FTKIT_BASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
        cwd=tempfile.gettempdir(),
    )
    seconds = time.monotonic() - start
    if completed.returncode:
        raise SystemExit(
            f"{' '.join(arguments)} exited with {completed.returncode}: {completed.stderr[-2000:]}"
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": seconds,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak": int(re.findall(r"\d+", completed.stderr)[-1]) / 1024,
        "requests": count_requests(provider) - requests,
    }


def count_requests(provider: "subprocess.Popen[str]") -> int:
    """Return the number of requests that the fake provider has received."""
    assert provider.stdin
    assert provider.stdout
    provider.stdin.write("\n")
    provider.stdin.flush()
    return int(provider.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=3000, help="number of jobs")
    parser.add_argument("--files", type=int, default=200, help="number of files")
    parser.add_argument("--size", type=int, default=MIB, help="size of a file in bytes")
    parser.add_argument("--dir", help="folder in which to keep the archive")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.jobs, options.files, options.size)
    sizes = [f"--{name}={getattr(options, name)}" for name in ("jobs", "files", "size")]
    with tempfile.TemporaryDirectory() as scratch:
        folder = str(options.dir or Path(scratch) / "archive")
        with subprocess.Popen(
            [sys.executable, __file__, "--serve", *sizes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as provider:
            assert provider.stdout
            url = provider.stdout.readline().strip()
            print("| run | seconds | CPU seconds | peak, MiB | requests |\n|---|--:|--:|--:|--:|")
            runs = {
                "first": ("archive", "save", folder),
                "no changes": ("archive", "save", folder),
                "verify": ("archive", "verify", folder),
            }
            for name, arguments in runs.items():
                row = measure(provider, url, *arguments)
                print(
                    f"| {name} | {row['seconds']:.1f} | {row['cpu']:.1f} | {row['peak']:.0f} |"
                    f" {row['requests']:,} |"
                )
            assert provider.stdin
            provider.stdin.close()
    return None


if __name__ == "__main__":
    main()
