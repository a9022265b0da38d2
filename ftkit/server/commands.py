"""Worker side of the pipe from the server: requests, and exit when it closes.

This module is imported before anything that takes long, so it imports little itself.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import Any

PR_SET_PDEATHSIG = 1
"""Option of Linux's `prctl`: signal to send to a process when the thread that started it ends."""


def end_with_server() -> None:
    """Have Linux kill this process when its server ends, also while it is not running Python code.

    On other systems, a thread that reads the standard input ends the process.
    """
    if sys.platform != "linux":
        return
    import ctypes
    import select
    import signal

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    poll = select.poll()
    poll.register(0, 0)
    if poll.poll(0):  # the input is closed: the server ended before the call
        os._exit(1)


class PipeWatch(threading.Thread):
    """Thread that ends the process of a job when its server ends, and so closes its input."""

    def __init__(self) -> None:
        super().__init__(name="pipe", daemon=True)

    def run(self) -> None:
        """Read until the input is closed, then exit the process."""
        # Not `sys.stdin.buffer`: the waiting thread would hold its lock, and the interpreter aborts
        # if it finds that lock held at exit.
        with open(0, "rb", buffering=0, closefd=False) as pipe:
            while pipe.read(1024):
                pass
        os._exit(1)  # the job is not finished: its next server starts it again


class RequestReader(threading.Thread):
    """Thread that reads requests for completions, and their cancellations.

    Attributes:
        requests: What was read, in its order.
    """

    def __init__(self) -> None:
        super().__init__(name="requests", daemon=True)
        self.requests: queue.Queue[dict[str, Any]] = queue.Queue()

    def run(self) -> None:
        """Queue requests until the input is closed, then exit the process."""
        with open(0, "rb", closefd=False) as lines:
            for line in lines:
                self.requests.put(json.loads(line))
        os._exit(0)  # closing the input is how the server ends this process
