"""Seeded hostile cases, with limits on the time and the memory of each."""

from __future__ import annotations

import contextlib
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

SECONDS = 10.0
"""Maximum duration of a case; longer ones count as hanging."""

MEBIBYTES = 500
"""Maximum growth of the memory of the process that runs the cases."""


class HangError(BaseException):
    """A case took longer than `SECONDS`. No `except Exception` of the tested code catches it."""


class Cases:
    """The cases of a harness: their number, their generators of random numbers, their times.

    Each case has a generator of its own, so it can be repeated alone: `--hostile-case NUMBER`.
    """

    def __init__(self, name: str, seed: int, count: int, only: int | None) -> None:
        self.name, self.count = name, count
        self.slowest = 0.0
        self.done = 0
        self.outcomes: dict[str, int] = {}
        self._memory = Memory()
        self._seed = seed
        self._numbers = range(count) if only is None else [only]

    def __iter__(self) -> Iterator[tuple[int, random.Random]]:
        for number in self._numbers:
            yield number, random.Random(f"{self.name}/{self._seed}/{number}")

    @contextmanager
    def case(self, number: int, description: object = "") -> Iterator[None]:
        """Run a case: a failure names it, and one that hangs is interrupted."""

        def interrupt(_: int, __: FrameType | None) -> None:
            raise HangError(f"more than {SECONDS} s")

        previous = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        begun = time.monotonic()
        try:
            yield
        except BaseException as error:
            error.add_note(f"{self.name}: case {number}, seed {self._seed}: {description!r:.2000}")
            raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
        self.slowest = max(self.slowest, time.monotonic() - begun)
        self.done += 1

    def count_outcome(self, outcome: str) -> None:
        """Count how a case ended, for the summary, such as "accepted" or "400"."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def summary(self) -> dict[str, Any]:
        """Return the counts for the summary of the run, after checking the memory."""
        peak = max(self._memory.growth(), 0)
        assert peak <= MEBIBYTES, f"{self.name}: {peak} MiB"
        return {
            "name": self.name,
            "cases": self.done,
            "slowest_seconds": round(self.slowest, 2),
            "peak_mebibytes": peak,
            "outcomes": dict(sorted(self.outcomes.items())),
        }


class Memory:
    """Peak memory of this process above that at the start, which earlier tests may have left.

    It is read from /proc, and 0 on other systems than Linux.
    """

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        self._start = _status("VmRSS")

    def growth(self) -> int:
        """Return the peak growth in MiB."""
        return _status("VmHWM") - self._start


def _status(field: str) -> int:
    """Return a field of the process's status in MiB."""
    with contextlib.suppress(OSError):
        match = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())
        return int(match[1]) >> 10 if match else 0
    return 0
