"""Linux's control groups: files of the memory controller for this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

MOUNT_POINT = Path("/sys/fs/cgroup")
"""Folder with the control groups."""

MEMBERSHIP = Path("/proc/self/cgroup")
"""File with the groups of this process."""


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
