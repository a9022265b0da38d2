"""State of this machine: CPU, memory, GPUs, the disk of the data folder, and what runs on it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

import psutil
from msgspec import Struct

from ftkit.dashboard.gpus import GpuReading, read_gpus
from ftkit.dashboard.processes import ProcessReader, ServiceProcess
from ftkit.server.control_groups import group_memory
from ftkit.server.folder import Folder

STATE_SECONDS = 1.0
"""Seconds for which a reading is used again, however many pages are open."""

SIZE_SECONDS = 60.0
"""Seconds for which the sizes of the folders are used again."""

MEASURING_SECONDS = 5.0
"""Maximum seconds to add up the sizes of files."""

CPU_INFO = Path("/proc/cpuinfo")
"""Linux's description of the CPU."""

T = TypeVar("T")


class ResourceUsage(Struct, frozen=True):
    """Use of a resource, in bytes."""

    used: int
    total: int

    @property
    def share(self) -> float:
        """Used share, from 0 to 1."""
        return min(self.used / self.total, 1.0) if self.total else 0.0


class MachineState(Struct, frozen=True):
    """State of the machine.

    Attributes:
        cores: Number of CPU cores that the service may use.
        load: Share of all cores in use since the last reading, or None at the first one.
        memory: Main memory; that of the control group if this has a lower limit.
        is_limited: True if the memory is that of a control group.
        disk: Disk of the data folder.
        gpus: The GPUs.
        processes: Processes of the service.
    """

    cores: int
    load: float | None
    memory: ResourceUsage
    is_limited: bool
    disk: ResourceUsage
    gpus: GpuReading
    processes: list[ServiceProcess]


class FolderSize(Struct, frozen=True):
    """Size of a part of the data folder in bytes.

    Attributes:
        is_complete: False if adding up took too long, so that the size is a minimum.
    """

    name: str
    size: int
    is_complete: bool


class Cached(Generic[T]):
    """Value that is read again when it is too old.

    Args:
        read: Reads the value.
        seconds: Maximum age.
    """

    def __init__(self, read: Callable[[], T], seconds: float) -> None:
        self._read, self._seconds = read, seconds
        self._lock = threading.Lock()
        self._entry: tuple[float, T] | None = None

    def get(self) -> T:
        """Return the value. Threads that need it meanwhile wait for the same one."""
        with self._lock:
            if self._entry is None or time.monotonic() - self._entry[0] > self._seconds:
                value = self._read()
                self._entry = time.monotonic(), value
            return self._entry[1]


class Monitor:
    """Reads the state of the machine and the sizes of the data folder, each not too often.

    Args:
        folder: Data folder of the service.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._processes = ProcessReader()
        self._cpu_times: tuple[float, float] | None = None  # busy and all seconds of all cores
        self._state = Cached(self._read_state, STATE_SECONDS)
        self._sizes = Cached(self._read_sizes, SIZE_SECONDS)

    def state(self) -> MachineState:
        """Return the state of the machine."""
        return self._state.get()

    def sizes(self) -> list[FolderSize]:
        """Return the sizes of the parts of the data folder."""
        return self._sizes.get()

    def _read_state(self) -> MachineState:
        memory, is_limited = _read_memory()
        disk = shutil.disk_usage(self._folder.root)
        return MachineState(
            cores=_count_cores(),
            load=self._read_load(),
            memory=memory,
            is_limited=is_limited,
            disk=ResourceUsage(disk.total - disk.free, disk.total),
            gpus=read_gpus(),
            processes=self._processes.read(),
        )

    def _read_load(self) -> float | None:
        """Return the share of all cores in use since the last call, or None at the first one."""
        times, earlier = psutil.cpu_times(), self._cpu_times
        idle = times.idle + getattr(times, "iowait", 0.0)
        # Linux counts the time of guests as that of users, too.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        self._cpu_times = total - idle, total
        if earlier is None or total <= earlier[1]:
            return None
        share = float((total - idle - earlier[0]) / (total - earlier[1]))
        return min(max(share, 0.0), 1.0)

    def _read_sizes(self) -> list[FolderSize]:
        """Add up the sizes of the files; one with several names counts once."""
        root, deadline = self._folder.root, time.monotonic() + MEASURING_SECONDS
        seen: set[int] = set()
        parts = {
            "files and uploads": (self._folder.blobs, self._folder.parts),
            "checkpoints, adapters and logs of jobs": (self._folder.jobs,),
        }
        sizes = []
        for name, folders in parts.items():
            size, is_complete = 0, True
            for path in (path for folder in folders for path in _files_below(folder)):
                size += _size(path, seen)
                if time.monotonic() > deadline:
                    is_complete = False
                    break
            sizes.append(FolderSize(name, size, is_complete))
        with os.scandir(root) as entries:
            own = sum(_size(entry, seen) for entry in entries if entry.is_file())
        return [*sizes, FolderSize("database and logs of the service", own, True)]


def _files_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the files below a folder. Links are not followed."""
    folders = [str(folder)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:  # removed meanwhile
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    yield entry


def _size(entry: os.DirEntry[str], seen: set[int]) -> int:
    """Return the size of a file, or 0 if it was removed, or was seen under another name."""
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return 0
    if status.st_nlink > 1:
        if status.st_ino in seen:
            return 0
        seen.add(status.st_ino)
    return status.st_size


def _read_memory() -> tuple[ResourceUsage, bool]:
    """Return the memory, and True if it is that of the control group."""
    memory, group = psutil.virtual_memory(), group_memory()
    if group and group.limit < memory.total:
        return ResourceUsage(group.used, group.limit), True
    return ResourceUsage(memory.total - memory.available, memory.total), False


def _count_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    try:
        return len(psutil.Process().cpu_affinity())
    except (AttributeError, psutil.Error):  # macOS has no affinity
        return os.cpu_count() or 1


@cache
def cpu_name() -> str:
    """Return the name of the CPU, or ""."""
    with suppress(OSError):
        names = re.findall(r"^model name\s*:\s*(.+)$", CPU_INFO.read_text("utf-8"), re.MULTILINE)
        return str(names[0]).strip() if names else ""
    return platform.processor()
