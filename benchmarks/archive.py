"""Measure archiving: python benchmarks/archive.py.

A service on loopback, in a process of its own, holds 3,000 jobs with events, checkpoints and results, and 200 files of 1 MB.
`ftkit archive` saves it into a new folder, then runs again with nothing new, and the archive is verified. The result is a table in
Markdown: seconds, CPU seconds, the peak memory of the process, and the requests that the service has counted.
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

PEAK = """
import re, sys
from ftkit.cli import run
code = run(sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(code)
"""
"""Runs ftkit and tells its peak resident memory in KiB: that of the process, not of the one that started it."""


def account(jobs: int, files: int, size: int) -> Any:
    """A service that holds so many jobs and files; one of the jobs has 5,000 events."""
    sys.path.insert(0, str(ROOT / "tests"))
    service: Any = importlib.import_module("service")
    chance, state = random.Random(1), service.Client()
    line = json.dumps(
        {
            "messages": [
                {"role": "user", "content": "x" * 400},
                {"role": "assistant", "content": "y" * 500},
            ]
        }
    ).encode()
    ids = []
    for number in range(files):
        one = b"%d" % number + b" " * 8
        ids.append(
            state.add_file(
                f"{number}.jsonl", (one + line + b"\n") * (size // (len(line) + len(one) + 1))
            )["id"]
        )
    for number in range(jobs):
        job = state.add_job(
            {"model": "gpt-4o-mini-2024-07-18", "training_file": ids[number % files]}
        )
        job |= {
            "status": "succeeded",
            "fine_tuned_model": f"ft:gpt-4o-mini-2024-07-18:me::{number}",
            "trained_tokens": 1000 * number,
            "hyperparameters": {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8},
        }
        for step in range(5000 if number == 7 else 12):
            state.add_event(
                job["id"],
                f"Step {step}: training loss={chance.random():.4f}",
                type="metrics",
                data={"step": step},
            )
        state.checkpoints[job["id"]] = [
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
        results = f"step,train_loss,valid_loss\n{rows}".encode()
        content = service.encoded(results) if number % 2 else results
        job["result_files"] = [state.add_file("results.csv", content, "fine-tune-results")["id"]]
    return service, state


def serve(jobs: int, files: int, size: int) -> None:
    """Serve until standard input is closed, and tell how many requests came."""
    service, state = account(jobs, files, size)
    with service.running(state) as url:
        print(url, flush=True)
        for _ in sys.stdin:
            print(len(state.requests), flush=True)


def measure(service: "subprocess.Popen[str]", url: str, *arguments: str) -> dict[str, Any]:
    """Run ftkit, and say what it took."""
    before, children, begun = (
        asked(service),
        resource.getrusage(resource.RUSAGE_CHILDREN),
        time.monotonic(),
    )
    environment = {**os.environ, "OPENAI_API_KEY": "sk-test", "FTKIT_BASE_URL": url}
    command = [sys.executable, "-c", PEAK, *arguments]
    done = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=tempfile.gettempdir(),
    )
    took = time.monotonic() - begun
    if done.returncode:
        raise SystemExit(
            f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}"
        )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - children.ru_utime - children.ru_stime
    peak = int(re.findall(r"\d+", done.stderr)[-1]) / 1024
    return {"seconds": took, "cpu": cpu, "peak": peak, "requests": asked(service) - before}


def asked(service: "subprocess.Popen[str]") -> int:
    """The requests that the service has seen."""
    assert service.stdin
    assert service.stdout
    service.stdin.write("\n")
    service.stdin.flush()
    return int(service.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=3000)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--size", type=int, default=MIB, help="bytes of a file")
    parser.add_argument("--dir", help="keep the archive there")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        return serve(given.jobs, given.files, given.size)
    sizes = ["--jobs", str(given.jobs), "--files", str(given.files), "--size", str(given.size)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = str(given.dir or Path(scratch) / "archive")
        command = [sys.executable, __file__, "--serve", *sizes]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as service:
            assert service.stdout
            url = service.stdout.readline().strip()
            print("| run | seconds | CPU seconds | peak, MiB | requests |\n|---|--:|--:|--:|--:|")
            runs = {
                "first": ("archive", folder),
                "nothing new": ("archive", folder),
                "verify": ("archive", "verify", folder),
            }
            for name, arguments in runs.items():
                took = measure(service, url, *arguments)
                print(
                    f"| {name} | {took['seconds']:.1f} | {took['cpu']:.1f} | {took['peak']:.0f} | {took['requests']:,} |"
                )
            assert service.stdin
            service.stdin.close()
    return None


if __name__ == "__main__":
    main()
