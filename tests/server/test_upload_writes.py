"""Uploads to the local service do not block its event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftkit.server.folder import Writer
from ftkit.server.multipart import BATCH_BYTES, read_form

HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
TAIL = b"\r\n--x--\r\n"


class Blocked(Writer):
    """A writer whose disk is stuck until the event is set."""

    def __init__(self, path: Path, released: threading.Event) -> None:
        super().__init__(path)
        self._released = released

    def write(self, data: bytes | memoryview) -> None:
        assert self._released.wait(30), "nothing else ran while a batch was written"
        super().write(data)


def test_the_event_loop_runs_while_an_upload_waits_for_the_disk(tmp_path: Path) -> None:
    released = threading.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield HEAD + bytes(BATCH_BYTES)
        await asyncio.sleep(0.1)
        released.set()  # which the event loop only reaches if it is not stuck itself
        for _ in range(3):
            yield bytes(BATCH_BYTES)
        yield TAIL

    with Blocked(tmp_path / "new", released) as writer:
        read = read_form("multipart/form-data; boundary=x", chunks(), writer, 1 << 30)
        assert asyncio.run(read).file_name == "a.jsonl"
        assert writer.finish().size == 4 * BATCH_BYTES


def test_batches_that_cannot_be_written_end_the_upload(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield HEAD
        while True:
            yield bytes(BATCH_BYTES)

    class Full(Writer):
        def write(self, data: bytes | memoryview) -> None:
            raise OSError(28, "No space left on device")

    with Full(tmp_path / "new") as writer:
        read = read_form("multipart/form-data; boundary=x", chunks(), writer, 1 << 30)
        with pytest.raises(OSError, match="No space left"):
            asyncio.run(read)
