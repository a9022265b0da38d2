"""Ends of job processes: crashes, kills from outside, and a full memory."""

from __future__ import annotations

from pathlib import Path

from ftkit._text import last_line
from ftkit.server.control_groups import memory_files
from ftkit.server.runner import Ended, EndKind

SIGKILL = 9
"""Signal of the kernel's out-of-memory killer, among others. Windows has none."""

KILL_SIGNALS = (1, 2, SIGKILL, 15)
"""SIGHUP, SIGINT, SIGKILL and SIGTERM, whose numbers POSIX fixes. No process crashes with them."""


MEMORY_EXIT_CODE = 12
"""Exit code of a process that ran out of memory; the number of the error ENOMEM."""


LOST_EXIT_CODE = 75
"""Exit code of a remote worker that could not reach the service; EX_TEMPFAIL of sysexits.h."""

STALE_EXIT_CODE = 76
"""Exit code of a remote worker whose attempt is not the current one."""


def explain_exit(exit_code: int, log: Path, memory_kills: int) -> Ended:
    """Explain the end of a process.

    Args:
        exit_code: Its exit code, or the negative number of the signal that ended it.
        log: Its output.
        memory_kills: Value of `count_memory_kills` at its start.
    """
    if exit_code == -SIGKILL and count_memory_kills() > memory_kills:
        return Ended("out_of_memory", "killed because the memory was full")
    if exit_code == MEMORY_EXIT_CODE:
        return Ended("out_of_memory", "one of its processes had too little memory")
    if -exit_code in KILL_SIGNALS:
        return Ended("killed", f"killed with signal {-exit_code}")
    if exit_code == LOST_EXIT_CODE:
        return Ended("killed", "it could not reach the service")
    cause = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
    line = last_line(log)
    kind: EndKind = "crashed" if exit_code else "completed"
    return Ended(kind, f"{cause}: {line}" if line else cause)


def count_memory_kills() -> int:
    """Return the number of processes that Linux has killed because the memory was full.

    They are those of the control group of this process, or else those of the machine. Returns 0 if
    the number is not known, as on other systems.
    """
    files = memory_files("memory.events", "memory.oom_control")
    for path in (*files, Path("/proc/vmstat")):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0
