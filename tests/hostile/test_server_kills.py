"""A server that is killed at any moment loses nothing that it acknowledged, and keeps no leftovers."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import httpx

from support.hostile import Cases
from support.local_server import LocalServer
from support.models import SMOKE
from support.server_requests import CLEAN_DATA

CASES_PER_KILL = 40
"""A kill and a restart take as long as so many cases of other harnesses."""

KILLS_PER_FOLDER = 20
"""Number of kills after which the next server starts with an empty folder."""


class Client:
    """A thread that creates, cancels and deletes objects until the server is gone.

    Attributes:
        files: Contents of the files whose creation was acknowledged, by id; None if their deletion
            was requested.
        jobs: Ids of the jobs whose creation was acknowledged; True if they were cancelled.
        unexpected: Description of a response that was wrong, or None.
    """

    def __init__(self, url: str, random: Random) -> None:
        self.files: dict[str, bytes | None] = {}
        self.jobs: dict[str, bool] = {}
        self.unexpected: str | None = None
        self._url, self._random = url, random
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        actions = (self._create_file, self._upload, self._create_job, self._cancel, self._delete)
        with httpx.Client(base_url=self._url, timeout=10) as http:
            try:
                while True:
                    self._random.choice(actions)(http)
            except httpx.TransportError:
                pass
            except Exception as error:
                self.unexpected = repr(error)

    def _post(self, http: httpx.Client, path: str, **body: Any) -> Any:
        reply = http.post(path, **body)
        assert reply.status_code in (200, 400), reply.text
        return reply.json()

    def _content(self) -> bytes:
        """The content of a file: often one that other files have too."""
        return CLEAN_DATA + b" " * self._random.choice((0, 0, self._random.randint(1, 200_000)))

    def _create_file(self, http: httpx.Client) -> None:
        content = self._content()
        form = {"files": {"file": ("a.jsonl", content)}, "data": {"purpose": "fine-tune"}}
        self.files[self._post(http, "files", **form)["id"]] = content

    def _upload(self, http: httpx.Client) -> None:
        content = self._content()
        body = {"bytes": len(content), "filename": "a.jsonl", "mime_type": "x"}
        upload = self._post(http, "uploads", json={**body, "purpose": "fine-tune"})["id"]
        middle = self._random.randrange(1, len(content))
        parts = [
            self._post(http, f"uploads/{upload}/parts", files={"data": data})["id"]
            for data in (content[:middle], content[middle:])
        ]
        if self._random.random() < 0.2:
            self._post(http, f"uploads/{upload}/cancel")
        else:
            done = self._post(http, f"uploads/{upload}/complete", json={"part_ids": parts})
            self.files[done["file"]["id"]] = content

    def _create_job(self, http: httpx.Client) -> None:
        files = [id for id, content in self.files.items() if content is not None]
        if files:
            body = {"model": SMOKE, "training_file": self._random.choice(files)}
            self.jobs[self._post(http, "fine_tuning/jobs", json=body)["id"]] = False

    def _cancel(self, http: httpx.Client) -> None:
        job = self._random.choice([*self.jobs, None])
        if job:
            reply = self._post(http, f"fine_tuning/jobs/{job}/cancel")
            self.jobs[job] = "error" not in reply or self.jobs[job]

    def _delete(self, http: httpx.Client) -> None:
        files = [id for id, content in self.files.items() if content is not None]
        if files and self._random.random() < 0.5:
            file = self._random.choice(files)
            self.files[file] = None  # it may be deleted even if the response is lost
            assert http.delete(f"files/{file}").status_code == 200


def test_hostile_kills_of_the_server(hostile: Cases, tmp_path: Path) -> None:
    cases = list(islice(hostile, max(hostile.count // CASES_PER_KILL, 1)))
    for start in range(0, len(cases), KILLS_PER_FOLDER):
        with LocalServer(tmp_path / f"data-{start}", max_jobs=0) as server:
            files: dict[str, bytes | None] = {}
            jobs: dict[str, bool] = {}
            for number, random in cases[start : start + KILLS_PER_FOLDER]:
                with hostile.case(number):
                    _kill(server, random, files, jobs)
                    hostile.count_outcome("restarted")


def _kill(
    server: LocalServer, random: Random, files: dict[str, bytes | None], jobs: dict[str, bool]
) -> None:
    """Kill a server that is in use, start it again, and check all of its objects."""
    clients = [Client(server.url, Random(random.random())) for _ in range(3)]
    clients[0].files |= files
    clients[1].jobs |= jobs
    for client in clients:
        client.thread.start()
    time.sleep(random.uniform(0, 0.5))
    server.kill()
    for client in clients:
        client.thread.join()
        assert client.unexpected is None, client.unexpected
        files |= client.files
        jobs |= client.jobs
    server.start()
    hashes = _check_objects(server, files, jobs)
    _cancel_all(server)
    _check_folder(server.folder, hashes)


def _list(http: httpx.Client, path: str) -> list[dict[str, Any]]:
    """All objects of a list, page by page."""
    objects: list[dict[str, Any]] = []
    while True:
        after = {"after": objects[-1]["id"]} if objects else {}
        page = http.get(path, params={"limit": 100, **after}).json()
        objects += page["data"]
        if not page["has_more"]:
            return objects


def _check_objects(
    server: LocalServer, files: dict[str, bytes | None], jobs: dict[str, bool]
) -> set[str]:
    """Check the objects, and return the hashes of all contents."""
    with httpx.Client(base_url=server.url, timeout=10) as http:
        listed = Counter(file["id"] for file in _list(http, "files"))
        assert all(count == 1 for count in listed.values())
        for id, content in files.items():
            if content is not None:
                assert listed[id] == 1
                assert http.get(f"files/{id}/content").content == content
        statuses = {job["id"]: job["status"] for job in _list(http, "fine_tuning/jobs")}
        assert jobs.keys() <= statuses.keys()
        assert all(statuses[id] == "cancelled" for id, cancelled in jobs.items() if cancelled)
        # What was created without the response arriving may be there, but whole.
        hashes = set()
        for id in listed:
            content = http.get(f"files/{id}/content").content
            assert len(content) == http.get(f"files/{id}").json()["bytes"]
            hashes.add(hashlib.sha256(content).hexdigest())
        return hashes


def _cancel_all(server: LocalServer) -> None:
    with httpx.Client(base_url=server.url, timeout=10) as http:
        for job in _list(http, "fine_tuning/jobs"):
            if job["status"] != "cancelled":
                http.post(f"fine_tuning/jobs/{job['id']}/cancel")


def _check_folder(folder: Path, hashes: set[str]) -> None:
    """Check that nothing is half-written, and that all blobs belong to files."""
    deadline = time.monotonic() + 5
    while leftovers := _leftovers(folder, hashes):
        assert time.monotonic() < deadline, leftovers
        time.sleep(0.05)  # a process that was cancelled is still ending


def _leftovers(folder: Path, hashes: set[str]) -> list[Path]:
    return [
        *(path for path in folder.glob("blobs/*/*") if path.name not in hashes),
        *(path for path in folder.glob("parts/*") if not path.name.startswith("part_")),
        *(path for path in folder.glob("jobs/*/*") if path.name != "process.log"),
    ]
