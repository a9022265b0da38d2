"""Process that checks a file: `python -m ftkit.dashboard.check_process TASK FILE OUTPUT ARGUMENTS`.

It writes its result to OUTPUT with the suffixes of `check_results`. On the standard output it says
how far it is, and why it fails: JSON objects with `share` or `error`, one on each line. It ends
with the service, which holds its standard input.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.server.commands import PipeWatch, end_with_server

if TYPE_CHECKING:
    from msgspec import Struct

NICENESS = 10
"""Priority below that of the service."""

MEMORY_BYTES = {"validate": 4 << 30, "convert": 2 << 30, "fix": 2 << 30}
"""Maximum address space beyond that at the start, by task. PyTorch reserves more than it uses, so
`encode` has no maximum."""

FILE_BYTES = 256 << 20
"""Maximum size of a file that the process writes."""

PROGRESS_SECONDS = 0.5
"""Seconds between messages on the progress."""

CRASHED = "The check ended unexpectedly; the log of the service has the reason."
"""Message for an unexpected exception."""


class ProgressReporter:
    """Sends the share of the work that is done, at most every `PROGRESS_SECONDS`.

    Args:
        total: Number of bytes to read, all reads together.
        send: Sends a message.
    """

    def __init__(self, total: int, send: Callable[[dict[str, Any]], None]) -> None:
        self._total, self._send = max(total, 1), send
        self._done, self._last = 0, 0.0

    def __call__(self, _: str, size: int) -> None:
        """Add the bytes that were read since the last call."""
        self._done += size
        if time.monotonic() >= self._last + PROGRESS_SECONDS:
            self._last = time.monotonic()
            self._send({"share": min(self._done / self._total, 1.0)})


def main() -> None:
    """Run the check that the command line names."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    task, path, output, arguments = sys.argv[1:]
    messages = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no message
    end_with_server()
    PipeWatch().start()
    _limit(task)

    def send(message: dict[str, Any]) -> None:
        messages.write(json.dumps(message) + "\n")
        messages.flush()

    try:
        result = _run(task, Path(path), Path(output), json.loads(arguments), send)
        _write(Path(f"{output}.json"), result)
    except Exception as error:
        message = "The file has been deleted." if _is_gone(path) else _explain(error, task)
        if message is None:
            send({"error": CRASHED})
            raise
        send({"error": message.replace(path, "the file")})


def _is_gone(path: str) -> bool:
    return not os.path.exists(path)


def _limit(task: str) -> None:
    """Limit the priority, the memory and the output of this process, where the system can."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICENESS)
    try:
        import resource
    except ImportError:  # on Windows
        return
    limits = {resource.RLIMIT_FSIZE: FILE_BYTES, resource.RLIMIT_CORE: 0}
    if task in MEMORY_BYTES and sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits[resource.RLIMIT_AS] = pages * resource.getpagesize() + MEMORY_BYTES[task]
    for limit, value in limits.items():
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (value, value))


def _run(
    task: str,
    path: Path,
    output: Path,
    arguments: dict[str, Any],
    send: Callable[[dict[str, Any]], None],
) -> Struct:
    size = path.stat().st_size
    if task == "validate":
        from ftkit.dashboard.validation_check import READS, validate_file

        return validate_file(path, output, arguments, ProgressReporter(READS * size, send))
    if task == "encode":
        from ftkit.dashboard.encoding_check import encode_examples

        return encode_examples(path, arguments)
    from ftkit.dashboard.preparation import convert_file, fix_file

    return (convert_file if task == "convert" else fix_file)(path, output, arguments)


def _write(path: Path, result: Struct) -> None:
    import msgspec

    from ftkit._private import open_private

    with open_private(path) as file:
        file.write(msgspec.json.encode(result))


def _explain(error: Exception, task: str) -> str | None:
    """Return the message for an exception, or None for an unexpected one."""
    from ftkit.errors import FtkitError
    from ftkit.server.out_of_memory import is_out_of_memory

    if is_out_of_memory(error):
        limit = MEMORY_BYTES.get(task)
        needed = f"more than {limit >> 30} GiB of memory" if limit else "more memory than is free"
        return f"The check needs {needed}; split the file into smaller ones."
    return str(error) if isinstance(error, FtkitError) else None


if __name__ == "__main__":
    main()
