"""Measure the client side: python benchmarks/service.py.

A provider on loopback, in a process of its own, lists any number of jobs and discards uploads.
Measured against it:

- `ftkit jobs list`, next to the provider's own time, the import of the SDK, and a script that does
  the same with the SDK;
- the memory of listing 1,000 and 10,000 jobs;
- the memory and time of an upload of 500 MB (one request) and of 2 GB (in parts), of sparse files.

With `--submit FILE`, it measures `ftkit submit FILE` instead, next to that of another checkout
with `--base DIR`.

The result is a table in Markdown.
"""

import argparse
import http.client
import http.server
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

MIB = 1 << 20

PEAK = """
import re, sys
from ftkit.cli import run
code = run(sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(code)
"""
"""Program that runs ftkit and prints the peak resident memory of its own process, in KiB."""

SUBMIT = r"""
import json, os, re, resource, sys, tempfile, time
from multiprocessing import util
began = time.perf_counter()
log = tempfile.NamedTemporaryFile("a+")
def read_and_peak():
    peak = re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]
    return int(open("/proc/self/io").read().split()[1]) / 1e6, int(peak) / 1024
def report():
    with open(log.name, "a") as file:
        print(*read_and_peak(), file=file)
util.register_after_fork(log, lambda _: util.Finalize(None, report, exitpriority=1))
from ftkit.cli import run
code = run(sys.argv[1:])
usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
cpu = sum(usage.ru_utime + usage.ru_stime for usage in usages)
workers = [tuple(map(float, line.split())) for line in open(log.name)]
read, peak = read_and_peak()
peaks = [peak for _, peak in workers]
took = time.perf_counter() - began
print(json.dumps([took, cpu, read, sum(read for read, _ in workers), peak, max(peaks, default=0)]),
      file=sys.stderr)
sys.exit(code)
"""
"""Runs ftkit and prints seconds, CPU seconds, MB read and MiB of memory, of it and its workers."""

PLAIN = """
import openai
for job in openai.OpenAI().fine_tuning.jobs.list(limit=20).data:
    print(job.id, job.status, job.created_at, job.fine_tuned_model or job.model)
"""


class Handler(http.server.BaseHTTPRequestHandler):
    """Lists as many jobs as the path names (`/10000/fine_tuning/jobs`), and discards uploads."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path.endswith("/fine_tuning/jobs"):
            query = parse_qs(url.query)
            begin = int(query.get("after", ["ftjob-0"])[0].removeprefix("ftjob-")) + 1
            end = int(url.path.split("/")[1])
            last = min(begin + int(query["limit"][0]) - 1, end)
            self.send(
                {
                    "object": "list",
                    "data": [job(number) for number in range(begin, last + 1)],
                    "has_more": last < end,
                }
            )
        else:
            self.send(file())

    def do_POST(self) -> None:
        size = self.discard()
        if self.path.endswith("/parts"):
            self.send(
                {
                    "id": f"part_{size}",
                    "object": "upload.part",
                    "created_at": 1,
                    "upload_id": "upload_1",
                }
            )
        elif self.path.endswith("/files"):
            self.send(file())
        elif self.path.endswith("/fine_tuning/jobs"):
            self.send(job(1))
        else:
            self.send({"id": "upload_1", "object": "upload", "status": "completed", "file": file()})

    def discard(self) -> int:
        size = left = int(self.headers.get("Content-Length") or 0)
        while left:
            left -= len(self.rfile.read(min(left, MIB)))
        return size

    def send(self, answer: Any) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def job(number: int) -> dict[str, Any]:
    """A job as a service sends it."""
    return {
        "id": f"ftjob-{number}",
        "object": "fine_tuning.job",
        "created_at": 1_790_000_000 - number,
        "error": None,
        "fine_tuned_model": f"ft:gpt-4o-mini-2024-07-18:me::{number}",
        "finished_at": 1_790_000_000,
        "hyperparameters": {"n_epochs": 3},
        "metadata": {"ftkit_submission": f"{number:024}-1"},
        "model": "gpt-4o-mini-2024-07-18",
        "organization_id": "org-1",
        "result_files": [f"file-r{number}"],
        "status": "succeeded",
        "trained_tokens": 12_345,
        "training_file": f"file-{number}",
        "validation_file": None,
        "seed": 1,
        "integrations": [],
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}},
    }


def file() -> dict[str, Any]:
    """A file as a service sends it."""
    return {
        "id": "file-1",
        "object": "file",
        "bytes": 1,
        "created_at": 1,
        "filename": "a.jsonl",
        "purpose": "fine-tune",
        "status": "processed",
    }


def _serve(port: Any) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_address[1])
    server.serve_forever()


@contextmanager
def serving() -> Iterator[int]:
    """The port of the service."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_serve, args=(there,), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()


def environment(port: int, jobs: int, folder: str) -> dict[str, str]:
    """The variables that lead ftkit and the SDK to the service."""
    url = f"http://127.0.0.1:{port}/{jobs}"
    return {
        **os.environ,
        "OPENAI_API_KEY": "sk-none",
        "FTKIT_BASE_URL": url,
        "OPENAI_BASE_URL": url,
        "FTKIT_STATE_DIR": folder,
    }


def seconds(command: list[str], variables: dict[str, str]) -> float:
    """The wall time of a process."""
    began = time.perf_counter()
    subprocess.run(command, env=variables, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def peak(arguments: list[str], variables: dict[str, str]) -> tuple[float, float]:
    """The peak memory of ftkit with these arguments, in MiB, and its wall time."""
    began = time.perf_counter()
    command = [sys.executable, "-c", PEAK, *arguments]
    done = subprocess.run(
        command,
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(done.stderr.split()[-1]) / 1024, time.perf_counter() - began


def service_seconds(port: int) -> float:
    """The time that the service itself takes for a page of jobs, over a connection of its own."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/20/fine_tuning/jobs?limit=20")
    connection.getresponse().read()
    connection.close()
    return time.perf_counter() - began


def starts(port: int, folder: str, repeat: int) -> Iterator[tuple[str, float]]:
    """The shortest times of a short list, the programs in turns."""
    variables = environment(port, 20, folder)
    programs = {
        "`python -c pass`": [sys.executable, "-c", "pass"],
        "`python -c 'import openai'`": [sys.executable, "-c", "import openai"],
        "a script of 4 lines on the SDK": [sys.executable, "-c", PLAIN],
        "`ftkit jobs list`": [sys.executable, "-m", "ftkit", "jobs", "list"],
    }
    times: dict[str, list[float]] = {name: [] for name in programs}
    own = []
    for _ in range(repeat):
        own.append(service_seconds(port))
        for name, command in programs.items():
            times[name].append(seconds(command, variables))
    yield "the service itself", min(own)
    for name, each in times.items():
        yield name, min(each)


def holes(path: Path, size: int) -> str:
    """A file of that size without any blocks."""
    with path.open("wb") as made:
        made.truncate(size)
    return str(path)


def submissions(port: int, folder: str, path: str, base: str | None, repeat: int) -> None:
    """Print a table of submissions of a file: for each version, the run with the least CPU time."""
    here = str(Path(__file__).resolve().parent.parent)
    versions = {"ftkit": here, **({"base": base} if base else {})}
    runs: dict[str, list[list[float]]] = {name: [] for name in versions}
    for number in range(repeat):
        for name, checkout in versions.items():
            state = str(Path(folder) / f"{name}-{number}")
            variables = environment(port, 1, state) | {"PYTHONPATH": checkout}
            command = [
                "submit",
                os.path.abspath(path),
                "--model",
                "gpt-4o-mini-2024-07-18",
                "--yes",
                "--force",
            ]
            done = subprocess.run(
                [sys.executable, "-c", SUBMIT, *command],
                cwd=folder,  # the current folder would be searched for ftkit first
                env=variables,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                check=True,
            )
            runs[name].append(json.loads(done.stderr.splitlines()[-1]))
    print("| version | seconds | CPU seconds | MB read | by workers | peak, MiB | of a worker |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, rows in runs.items():
        took, cpu, *numbers = min(rows, key=lambda row: row[1])
        print(f"| {name} | {took:.2f} | {cpu:.2f} | {' | '.join(f'{x:.0f}' for x in numbers)} |")


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--repeat", type=int, default=15, help="runs of each program for the times [15]"
    )
    parser.add_argument("--dir", help="where the files with holes are made [a temporary folder]")
    parser.add_argument("--submit", metavar="FILE", help="measure submissions of this file only")
    parser.add_argument("--base", metavar="DIR", help="checkout of a version to compare with")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as folder, serving() as port:
        if options.submit:
            submissions(port, folder, options.submit, options.base, options.repeat)
            return
        print("| a list of 20 jobs | milliseconds, best |\n|---|--:|")
        for name, took in starts(port, folder, options.repeat):
            print(f"| {name} | {1000 * took:.0f} |", flush=True)
        print("\n| what | peak memory, MiB | seconds |\n|---|--:|--:|")
        for number in (1_000, 10_000):
            for output in ("text", "json"):
                most, took = peak(
                    ["jobs", "list", "--all", "--output", output], environment(port, number, folder)
                )
                print(
                    f"| {number:,} jobs listed as {output} | {most:.0f} | {took:.2f} |", flush=True
                )
        for name, size in (
            ("500 MB uploaded in one request", 500_000_000),
            ("2 GB uploaded in parts", 2_000_000_000),
        ):
            most, took = peak(
                ["files", "upload", holes(Path(folder) / f"{size}.jsonl", size)],
                environment(port, 1, folder),
            )
            print(f"| {name} | {most:.0f} | {took:.2f} |", flush=True)


if __name__ == "__main__":
    main()
