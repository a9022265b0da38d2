"""Limits on disk space: quotas of tenants, and the free space that the service leaves."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from ftkit.server.errors import FullDiskError, QuotaError, ServiceError

RESERVE = 1 << 30
"""Bytes that are left free on a disk, unless that is more than its `RESERVE_SHARE`."""

RESERVE_SHARE = 0.05
"""Share of a small disk that is left free."""

BYTES_PER_CHECK = 1 << 20
"""Bytes of a body between checks of the free disk space."""

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of writes that fail for want of space: disk, disk quota, maximum file size."""


class StorageLimits(Struct, frozen=True):
    """Limits on the disk space of a service, in bytes.

    Attributes:
        total: Maximum size of all files, or None.
        tenant: Maximum size of the files of each tenant, or None.
        reserve: Free space to leave on the disk, or None for `RESERVE`.
    """

    total: int | None = None
    tenant: int | None = None
    reserve: int | None = None


class Disk:
    """Disk of the data folder: its free space, and the room for the bodies being received.

    Args:
        root: Folder on the disk.
        limits: Limits on the disk space of the service.
    """

    def __init__(self, root: Path, limits: StorageLimits) -> None:
        self.limits = limits
        self._root = root
        self._incoming: Counter[str] = Counter()
        self._lock = threading.Lock()

    def check_free(self, size: int = 0) -> None:
        """Check that `size` bytes can be written.

        Raises:
            FullDiskError: They would use space that must stay free.
        """
        disk = shutil.disk_usage(self._root)
        reserve = self.reserve(disk.total)
        if disk.free - size < reserve:
            raise full_disk(f"{disk.free:,} bytes are free, and {reserve:,} must stay free")

    def reserve(self, size: int) -> int:
        """Return the bytes that are left free on a disk of that size."""
        if self.limits.reserve is not None:
            return self.limits.reserve
        return min(RESERVE, int(size * RESERVE_SHARE))

    def total(self, owner: str) -> int:
        """Return the bytes of all bodies of the owner that are being received."""
        with self._lock:
            return self._incoming[owner]

    def add(self, owner: str, size: int) -> int:
        """Count received bytes of a body, and return the new total of the owner."""
        with self._lock:
            self._incoming[owner] += size
            return self._incoming[owner]

    def remove(self, owner: str, size: int) -> None:
        """Stop to count the bytes of a body, at its end."""
        with self._lock:
            self._incoming[owner] -= size
            if not self._incoming[owner]:
                del self._incoming[owner]


class SizeLimit(Struct, frozen=True):
    """Maximum size in bytes, and a function that returns the exception to raise beyond it."""

    size: int
    error: Callable[[], ServiceError]


class Allowance:
    """Bytes that the body of a request may have.

    All bodies of an owner that are being received share its limit.

    Args:
        disk: Disk that the body is written to.
        owner: Tenant or upload that the body belongs to.
        limit: Limit on the bodies of the owner together, or None.
    """

    def __init__(self, disk: Disk, owner: str, limit: SizeLimit | None = None) -> None:
        self._disk, self._owner, self._limit = disk, owner, limit
        self._taken = self._unchecked = 0

    def expect(self, size: int) -> None:
        """Check that a body of `size` bytes can be received, before it is.

        Raises:
            ServiceError: There is no room for it.
        """
        self._disk.check_free(size)
        self._check(self._disk.total(self._owner) + size)

    def take(self, size: int) -> None:
        """Take room for more bytes of the body.

        Raises:
            ServiceError: There is no room for them.
        """
        self._taken += size
        self._unchecked += size
        self._check(self._disk.add(self._owner, size))
        if self._unchecked >= BYTES_PER_CHECK:
            self._unchecked = 0
            self._disk.check_free()

    def _check(self, size: int) -> None:
        if self._limit and size > self._limit.size:
            raise self._limit.error()

    def release(self) -> None:
        """Give the room back, at the end of the request."""
        self._disk.remove(self._owner, self._taken)
        self._taken = 0


def full_disk(reason: str) -> FullDiskError:
    """Return the error for a disk without enough free space."""
    return FullDiskError(f"The disk of the service is full: {reason}.", code="insufficient_storage")


def quota_exceeded(limit: int) -> QuotaError:
    """Return the error for files that exceed a quota in bytes."""
    return QuotaError(
        f"The files would exceed the storage quota of {limit:,} bytes; delete some.",
        code="storage_quota_exceeded",
    )


def full_disk_reason(error: Exception) -> str | None:
    """Return the reason of an exception that was raised for want of disk space, or None."""
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        return error.strerror
    if isinstance(error, sqlite3.Error):
        # Extended codes have the primary one in their lowest byte.
        code = getattr(error, "sqlite_errorcode", None) or 0
        return str(error) if code & 0xFF == sqlite3.SQLITE_FULL else None
    return None
