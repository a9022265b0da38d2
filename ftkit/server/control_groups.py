"""Linux's control groups: files of the memory controller for this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

MOUNT_POINT = Path("/sys/fs/cgroup")
"""Folder with the control groups."""

MEMBERSHIP = Path("/proc/self/cgroup")
"""File with the groups of this process."""


class GroupMemory(Struct, frozen=True):
    """Memory of the control group of this process.

    Attributes:
        limit: Maximum size in bytes.
        used: Size in bytes without the cache of files, which is freed when it is needed.
    """

    limit: int
    used: int


def memory_limits() -> list[int]:
    """Return the limits on the memory of the groups of this process in bytes."""
    limits = []
    for path in memory_files("memory.max", "memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # there is no such group, or it has no limit ("max")
            limits.append(int(path.read_text()))
    return limits


def group_memory() -> GroupMemory | None:
    """Return the memory of the group with the lowest limit, or None without a limit."""
    groups = []
    for limit, usage in zip(
        memory_files("memory.max", "memory.limit_in_bytes"),
        memory_files("memory.current", "memory.usage_in_bytes"),
        strict=True,
    ):
        with suppress(OSError, ValueError):
            used = int(usage.read_text()) - _file_cache(usage.with_name("memory.stat"))
            groups.append(GroupMemory(int(limit.read_text()), used))
    return min(groups, key=lambda group: group.limit, default=None)


def _file_cache(path: Path) -> int:
    """Return the size of the cache of files that were not used recently, in bytes."""
    fields = (line.split() for line in path.read_text().splitlines())
    sizes = {name: int(size) for name, size in fields}
    return sizes.get("total_inactive_file", sizes.get("inactive_file", 0))


def memory_files(name: str, old_name: str) -> Iterator[Path]:
    """Yield the files that the memory controller may have, the most specific ones first.

    Args:
        name: Name of the file in version 2, which has one unnamed hierarchy.
        old_name: Name in version 1, which has a hierarchy for each controller.
    """
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except OSError:
        lines = []
    groups = {name: group.lstrip("/") for _, name, group in (line.split(":", 2) for line in lines)}
    # A container sees its own group at the mount point.
    for group in (groups.get("", ""), ""):
        yield MOUNT_POINT / group / name
    for group in (groups.get("memory", ""), ""):
        yield MOUNT_POINT / "memory" / group / old_name
