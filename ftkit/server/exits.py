"""Unexpected ends of job processes: crashes, kills from outside, and a full memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from msgspec import Struct

from ftkit._text import last_line

SIGKILL = 9
"""Signal of the kernel's out-of-memory killer, among others. Windows has none."""

KILL_SIGNALS = (1, 2, SIGKILL, 15)
"""SIGHUP, SIGINT, SIGKILL and SIGTERM, whose numbers POSIX fixes. No process crashes with them."""

CONTROL_GROUPS = Path("/sys/fs/cgroup")
"""Mount point of Linux's control groups."""


class UnexpectedEnd(Struct, frozen=True):
    """End of a process that had not completed its task.

    Attributes:
        kind: "killed" if somebody else ended it, "out_of_memory" if the kernel did because the
            memory was full, or else "crashed".
        cause: Signal or exit code, with the last line of the log.
    """

    kind: Literal["crashed", "killed", "out_of_memory"]
    cause: str


def explain_exit(exit_code: int, log: Path, memory_kills: int) -> UnexpectedEnd:
    """Explain the unexpected end of a process.

    Args:
        exit_code: Its exit code, or the negative number of the signal that ended it.
        log: Its output.
        memory_kills: Value of `count_memory_kills` at its start.
    """
    if exit_code == -SIGKILL and count_memory_kills() > memory_kills:
        return UnexpectedEnd("out_of_memory", "killed because the memory was full")
    if -exit_code in KILL_SIGNALS:
        return UnexpectedEnd("killed", f"killed with signal {-exit_code}")
    cause = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
    line = last_line(log)
    return UnexpectedEnd("crashed", f"{cause}: {line}" if line else cause)


def count_memory_kills() -> int:
    """Return the number of processes that Linux has killed because the memory was full.

    They are those of the control group of this process, or else those of the machine. Returns 0 if
    the number is not known, as on other systems.
    """
    for path in _counter_files():
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0


def _counter_files() -> Iterator[Path]:
    """Yield the files that may have the counter `oom_kill`, the most specific ones first."""
    root = CONTROL_GROUPS
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    groups = {name: group.lstrip("/") for _, name, group in (line.split(":", 2) for line in lines)}
    # Version 2 has one unnamed hierarchy, version 1 one for each controller. A container sees its
    # own group at the mount point.
    for group in (groups.get("", ""), ""):
        yield root / group / "memory.events"
    for group in (groups.get("memory", ""), ""):
        yield root / "memory" / group / "memory.oom_control"
    yield Path("/proc/vmstat")
