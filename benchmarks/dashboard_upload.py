"""Measure an upload in the dashboard with Chromium: python benchmarks/dashboard_upload.py [--size MB].

A browser uploads a file through the page with the files, four times: to a service that accepts it,
to one whose disk has no room for it, to one whose disk gets full on the way (a limit on the size of
its files), and to one that is killed on the way. A fifth upload is left by the browser.

The result is a table in Markdown: what the page says, the time, how often its progress changed, the
memory that the service took beyond that at its start, and the number of files that are left.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from ftkit._local import dashboard_url, find_running

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
"""Options of Chromium."""

SAMPLE_SECONDS = 0.02
"""Seconds between two measurements of the memory."""

WAIT_MS = 300_000
"""Milliseconds to wait for an upload."""

CHECK_SECONDS = 120
"""Maximum seconds of the check of an uploaded file."""

WATCH = """() => {
  const bar = document.querySelector('progress');
  new MutationObserver(() => window.progressed(bar.value)).observe(bar, { attributes: true });
}"""
"""Script that reports the values of the progress bar."""

LINE = json.dumps(
    {
        "messages": [
            {"role": "user", "content": "Where is my order? " * 40},
            {"role": "assistant", "content": "It left the warehouse this morning. " * 20},
        ]
    }
)
"""Line of the file that is uploaded."""


class Memory(threading.Thread):
    """Thread that measures the peak of the resident memory of a process, in bytes."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._process, self._ended = process, threading.Event()
        self.start_bytes = int(process.memory_info().rss)
        self.peak = self.start_bytes
        self.start()

    def run(self) -> None:
        """Measure until `end`, or until the process has ended."""
        while not self._ended.wait(SAMPLE_SECONDS):
            try:
                self.peak = max(self.peak, self._process.memory_info().rss)
            except psutil.NoSuchProcess:
                return

    def end(self) -> float:
        """Return by how much the memory grew, in MiB."""
        self._ended.set()
        self.join()
        return float(self.peak - self.start_bytes) / (1 << 20)


@contextmanager
def service(folder: Path, *options: str, file_bytes: int | None = None) -> Iterator[psutil.Process]:
    """Run a service, perhaps with a limit on the size of its files."""

    def limit() -> None:
        if file_bytes:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    environment = {**os.environ, "FTKIT_STATE_DIR": str(folder.with_name("state"))}
    command = [sys.executable, "-m", "ftkit", "serve", "--port", "0", "--data-dir", str(folder)]
    with subprocess.Popen(
        [*command, *options],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=limit,
    ) as process:
        assert process.stderr
        try:
            process.stderr.readline()  # It is printed when the service answers.
            yield psutil.Process(process.pid)
        finally:
            process.terminate()


def begin(page: Page, folder: Path, file: Path) -> None:
    """Open the page with the files, and begin an upload."""
    running = find_running(folder)
    assert running
    page.goto(dashboard_url(running.url, "files"))
    page.set_input_files("[type=file]", file)
    page.evaluate(WATCH)
    page.get_by_role("button", name="Upload").click()


def wait_for_share(page: Page, share: float) -> None:
    """Wait until that share of the file has been sent."""
    page.wait_for_function(
        f"() => document.querySelector('progress').value > {share}", timeout=WAIT_MS
    )


def failure(page: Page) -> str:
    """Wait for the message of an upload that failed, and return it."""
    page.locator("[data-status] .verdict").wait_for(timeout=WAIT_MS)
    return str(page.locator("[data-status]").inner_text())


def left_files(folder: Path) -> int:
    """Return the number of files with contents, once no check of the file runs any more."""
    deadline = time.monotonic() + CHECK_SECONDS
    while any(folder.joinpath("parts").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return sum(path.is_file() for name in ("parts", "blobs") for path in (folder / name).rglob("*"))


def succeed(page: Page, _: psutil.Process) -> str:
    """Wait for the page of the file."""
    page.wait_for_url("**/files/file-*", timeout=WAIT_MS, wait_until="commit")
    return "the page of the file"


def fail(page: Page, _: psutil.Process) -> str:
    """Wait for the message of the page."""
    return failure(page)


def kill(page: Page, process: psutil.Process) -> str:
    """Kill the service halfway."""
    wait_for_share(page, 0.3)
    process.kill()
    return failure(page)


def leave(page: Page, _: psutil.Process) -> str:
    """Leave the page halfway."""
    wait_for_share(page, 0.3)
    page.goto("about:blank")
    return "left by the browser"


Case = tuple[str, tuple[str, ...], int | None, Callable[[Page, psutil.Process], str]]


def cases(size: int) -> Iterator[Case]:
    """Yield the cases: title, options of the service, limit on its files, and what happens."""
    yield "accepted", (), None, succeed
    yield "no room", ("--min-free-space", f"{shutil.disk_usage('/').total}"), None, fail
    yield "disk gets full", (), size // 3, fail
    yield "service is killed", (), None, kill
    yield "browser leaves", (), None, leave


def print_case(browser: Browser, file: Path, case: Case) -> None:
    """Upload the file, and print the row of a case."""
    title, options, file_bytes, happen = case
    with tempfile.TemporaryDirectory(dir=file.parent) as name:
        folder = Path(name, "data")
        with service(folder, *options, file_bytes=file_bytes) as process:
            page, memory = browser.new_page(), Memory(process)
            shares: set[float] = set()
            page.expose_function("progressed", lambda share: shares.add(share))
            began = time.perf_counter()
            begin(page, folder, file)
            text = happen(page, process)
            seconds, grown = time.perf_counter() - began, memory.end()
            page.close()
            if title == "service is killed":  # what it left is removed when it is started again
                with service(folder):
                    left = left_files(folder)
            else:
                left = left_files(folder)
    print(
        f"| {title} | {text} | {seconds:.1f} s | {len(shares)} | {grown:.0f} MiB | {left} |",
        flush=True,
    )


def main() -> None:
    """Write a file, and upload it in each case."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=500, help="megabytes of the file [500]")
    options = parser.parse_args()
    chromium = os.environ.get("FTKIT_CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        file = Path(name, "large.jsonl")
        with file.open("w") as output:
            for _ in range(options.size * 1_000_000 // (len(LINE) + 1)):
                output.write(LINE + "\n")
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        print("| case | the page shows | time | changes of the progress | memory | files left |")
        print("|---|---|--:|--:|--:|--:|")
        for case in cases(file.stat().st_size):
            print_case(browser, file, case)
        browser.close()


if __name__ == "__main__":
    main()
