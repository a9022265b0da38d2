"""Archive repeatedly, each time killed by SIGKILL at a random point, and then resume to the end.

Run with the address of a service, an empty folder and two numbers, which are the first and the last seed but one. Each run is a
process of its own. Prints how many of them were killed; ends with 1, and says why, where the second run did not end in the manifest
of a run that nobody killed.
"""

from __future__ import annotations

import datetime
import itertools
import os
import random
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ftkit.archive.layout import MANIFEST, PROGRESS
from ftkit.archive.manifest import ManifestUpdate, encode_update
from ftkit.archive.store import ArchiveStore
from ftkit.archive.sync import sync
from ftkit.archive.verify import verify
from ftkit.client import sdk  # noqa: F401 - each forked process would import it
from ftkit.client.connect import connect
from ftkit.client.pagination import Page

NOW = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.UTC)
DISK = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
"""What of the audit events of Python counts as a point."""


def in_a_process(do: Callable[[], int]) -> int:
    """Do it in a process of its own, and return its exit code, less than 0 where it was killed."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = do()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def archive(url: str, folder: Path) -> int:
    service = connect("openai", url, environment={"OPENAI_API_KEY": "sk-test"})
    sync(service, folder, now=NOW, sleep=lambda seconds: None)
    return 0


class Points:
    """Counts what is done to the disk and asked of the service, and kills at one of the points."""

    def __init__(self, folder: Path, last: int | None) -> None:
        self.count, self.folder, self.last = itertools.count(1), str(folder), last

    def install(self) -> None:
        sys.addaudithook(self._audit)
        read, download, log = Page.read, ArchiveStore.download, ArchiveStore.log

        def counted_page(response: Any) -> Page:
            self.pass_()
            page = read(response)
            self.pass_()
            return page

        def counted_download(store: ArchiveStore, chunks: Iterable[bytes]) -> Any:
            return download(store, self._pieces(chunks))

        def torn_log(store: ArchiveStore, update: ManifestUpdate) -> None:
            if self.is_last():
                with open(store.folder / PROGRESS, "ab", buffering=0) as file:
                    line = encode_update(update)
                    file.write(line[: len(line) // 2])
                self.kill()
            log(store, update)

        for owner, name, counted in (
            (Page, "read", counted_page),
            (ArchiveStore, "download", counted_download),
            (ArchiveStore, "log", torn_log),
        ):
            setattr(owner, name, counted)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in DISK and str(arguments[0]).startswith(self.folder):
            self.pass_()

    def _pieces(self, pieces: Iterable[bytes]) -> Iterable[bytes]:
        for piece in pieces:
            yield piece[: len(piece) // 2]
            self.pass_()
            yield piece[len(piece) // 2 :]

    def is_last(self) -> bool:
        self.at = next(self.count)
        return self.at == self.last

    def pass_(self) -> None:
        if self.is_last():
            self.kill()

    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def archive_and_count(url: str, folder: Path, points: Points, report_to: int) -> int:
    points.install()
    archive(url, folder)
    os.write(report_to, str(points.at).encode())
    return 0


def archive_until_killed(url: str, folder: Path, last: int) -> int:
    Points(folder, last).install()
    return archive(url, folder)


def main(url: str, place: str, first: str, end: str) -> int:
    reference = Path(place) / "reference"
    reading, report_to = os.pipe()
    if in_a_process(lambda: archive_and_count(url, reference, Points(reference, None), report_to)):
        return 1
    total = int(os.read(reading, 100))
    reference_manifest = (reference / MANIFEST).read_bytes()
    stopped = 0
    for seed in range(int(first), int(end)):
        folder, last = Path(place) / str(seed), random.Random(seed).randint(1, total)
        stopped += (
            in_a_process(lambda folder=folder, last=last: archive_until_killed(url, folder, last))
            == -signal.SIGKILL
        )  # type: ignore[misc]
        if in_a_process(lambda folder=folder: archive(url, folder)):  # type: ignore[misc]
            print(f"seed {seed}, killed at {last} of {total}: the second run failed")
            return 1
        if (folder / MANIFEST).read_bytes() != reference_manifest or not verify(folder).ok:
            print(f"seed {seed}, killed at {last} of {total}: another manifest")
            return 1
    print(stopped)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
