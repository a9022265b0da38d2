"""Hostile HTTP requests to a real server, as bytes over sockets and through httpx."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import httpx
import openai
import pytest

from support import hostile_bodies, hostile_requests
from support.hostile import MEBIBYTES, Cases
from support.hostile_requests import Target
from support.local_server import LocalServer
from support.models import SMOKE
from support.raw_requests import RawRequest, Reply, build, send
from support.server_requests import CLEAN_DATA, upload_file

GENERATORS = (*hostile_requests.GENERATORS, *hostile_bodies.GENERATORS)

CHECK_EVERY = 100
"""Number of cases between checks of the server's health."""

CASES_PER_UPLOAD = 4
"""An upload in parts takes as long as so many single requests."""

EXCERPT = 400
"""Bytes of a request that a failure shows."""

MARKER = "canary-7f3a91"
"""Text in everything that belongs to the other tenant."""

PARSER_MESSAGES = (b"Invalid HTTP request received.",)
"""Bodies of the HTTP parser's own responses to what is not HTTP."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tmp").mkdir()
    return tmp_path / "data"


def _start(folder: Path, keys: tuple[str, ...]) -> LocalServer:
    """A server that trains nothing, so that jobs stay queued."""
    return LocalServer(folder, {"gpt-3.5-turbo": SMOKE}, keys, max_jobs=0)


def _create_objects(client: openai.OpenAI, name: str) -> dict[str, str]:
    """Create an object of each kind, and return their ids."""
    file = upload_file(
        client, CLEAN_DATA.replace(b"\n", f" \n {name}".encode(), 1), f"{name}.jsonl"
    )
    job = client.fine_tuning.jobs.create(
        model=SMOKE, training_file=file.id, suffix=name, metadata={"name": name}
    )
    client.fine_tuning.jobs.cancel(job.id)
    upload = client.uploads.create(
        bytes=100, filename=f"{name}.jsonl", mime_type="application/jsonl", purpose="fine-tune"
    )
    part = client.uploads.parts.create(upload.id, data=name.encode())
    event = client.fine_tuning.jobs.list_events(job.id).data[0]
    return {
        "file": file.id,
        "job": job.id,
        "upload": upload.id,
        "part": part.id,
        "event": event.id,
    }


class Checker:
    """Checks the responses of a server, and its health."""

    def __init__(self, server: LocalServer, target: Target, hostile: Cases) -> None:
        self._server, self._target, self._hostile = server, target, hostile
        self._origin = server.url.removesuffix("/v1")

    def send(self, request: RawRequest) -> Reply:
        """Send a request, check the response and count it."""
        reply = send(self._origin, request)
        self._hostile.count_outcome(str(reply.status or "closed"))
        self.check(request, reply)
        return reply

    def check(self, request: RawRequest, reply: Reply) -> None:
        """Check a response: success, an error object or the login, and no foreign data."""
        if request.expected:
            assert reply.status in request.expected, reply
        assert reply.status < 500, reply
        if reply.status == 0:
            assert request.malformed, "no response"
        elif reply.status >= 400 and request.method != "HEAD":
            is_parser = request.malformed and reply.body in PARSER_MESSAGES
            assert is_parser or set(reply.error or ()) == {"message", "type", "param", "code"}, (
                reply
            )
        elif 300 <= reply.status < 400:
            assert reply.status == 303, reply
            assert reply.headers["location"].startswith("/login?next=/"), reply
        text = reply.body.decode("utf-8", "replace")
        for secret in (MARKER, *self._target.foreign.values()):
            assert secret not in text or secret.encode() in request.data, reply

    def check_health(self) -> None:
        """Check that the server is fast, small, and has not logged an error."""
        begun = time.monotonic()
        request = RawRequest(build("GET", "/v1/models", key=self._target.key), (200,))
        self.check(request, send(self._origin, request))
        assert time.monotonic() - begun < 1
        assert "Traceback" not in self._server.log(), self._server.log()
        if sys.platform == "linux":
            status = Path(f"/proc/{self._server.pid}/status").read_text()
            peak = int(re.findall(r"VmHWM:\s*(\d+)", status)[0]) >> 10
            assert peak < MEBIBYTES, f"{peak} MiB"
            self._hostile.outcomes["server_peak_mebibytes"] = peak


def _run_cases(hostile: Cases, checker: Checker, target: Target) -> None:
    for number, random in hostile:
        generator = random.choice(GENERATORS)
        request = generator(random, target)
        with hostile.case(number, (generator.__name__, request.expected, request.data[:EXCERPT])):
            reply = checker.send(request)
            if b"POST /v1/fine_tuning/jobs " in request.data and reply.status == 200:
                id = json.loads(reply.body)["id"]
                path = f"/v1/fine_tuning/jobs/{id}/cancel"
                checker.send(RawRequest(build("POST", path, key=target.key), (200,)))
            if number % CHECK_EVERY == CHECK_EVERY - 1:
                checker.check_health()
    checker.check_health()


def _check_surroundings(folder: Path) -> None:
    """Check that the server wrote nothing outside its folder, and nothing with a foreign name."""
    assert {path.name for path in folder.parent.iterdir()} <= {"data", "data.log", "state", "tmp"}
    assert not list((folder.parent / "tmp").iterdir())
    allowed = r"(blobs/..(/[0-9a-f]{64})?|parts/part_\w+|jobs/ftjob-\w+(/process\.log)?)|[\w.-]+"
    for path in folder.rglob("*"):
        assert re.fullmatch(allowed, str(path.relative_to(folder))), path


def test_hostile_requests_of_one_tenant_among_others(hostile: Cases, folder: Path) -> None:
    server = _start(folder, ("key-a", "key-b"))
    server.start(TMPDIR=str(folder.parent / "tmp"))
    try:
        other = server.client("key-b")
        target = Target("key-a", _create_objects(server.client("key-a"), "mine"))
        target.foreign = _create_objects(other, MARKER)
        _run_cases(hostile, Checker(server, target, hostile), target)
        assert other.files.content(target.foreign["file"]).read().count(MARKER.encode()) == 1
        listed = [job.id for job in other.fine_tuning.jobs.list()]
        assert listed == [target.foreign["job"]]
        assert [file.id for file in other.files.list()] == [target.foreign["file"]]
    finally:
        server.stop()
    _check_surroundings(folder)


def test_hostile_requests_to_a_server_without_keys(hostile: Cases, folder: Path) -> None:
    server = _start(folder, ())
    server.start(TMPDIR=str(folder.parent / "tmp"))
    try:
        target = Target("", _create_objects(server.client(), "mine"))
        _run_cases(hostile, Checker(server, target, hostile), target)
        content = server.client().files.content(target.own["file"]).read()
        assert b"mine" in content
    finally:
        server.stop()
    _check_surroundings(folder)


# Uploads in parts, whose result is known.


@pytest.fixture
def upload_server(folder: Path) -> Iterator[LocalServer]:
    with _start(folder, ("key-a", "key-b")) as server:
        yield server


def test_hostile_sequences_of_uploads_in_parts(hostile: Cases, upload_server: LocalServer) -> None:
    """A file consists of the parts that `complete` names, in that order, or is refused."""
    target = Target("key-a")
    checker = Checker(upload_server, target, hostile)
    with (
        httpx.Client(base_url=upload_server.url, headers={"Authorization": "Bearer key-a"}) as own,
        httpx.Client(
            base_url=upload_server.url, headers={"Authorization": "Bearer key-b"}
        ) as other,
    ):
        for number, random in islice(hostile, max(hostile.count // CASES_PER_UPLOAD, 1)):
            with hostile.case(number):
                _upload(random, own, other, hostile)
                if number % CHECK_EVERY == CHECK_EVERY - 1:
                    checker.check_health()


def _upload(random: Random, own: httpx.Client, other: httpx.Client, hostile: Cases) -> None:
    contents = [random.randbytes(random.randint(1, 50)) for _ in range(random.randint(1, 5))]
    size = sum(map(len, contents))
    announced = random.choice((*[size] * 7, size + 1, max(size - 1, 1), 1))
    body = {"bytes": announced, "filename": "a.jsonl", "mime_type": "x", "purpose": "fine-tune"}
    upload = own.post("uploads", json=body).json()["id"]
    parts: dict[str, bytes] = {}
    sent = 0
    for content in random.sample(contents, len(contents)):
        sender = other if random.random() < 0.05 else own
        reply = sender.post(f"uploads/{upload}/parts", files={"data": content})
        fits = len(content) <= announced and sent + len(content) <= 2 * announced
        expected = 404 if sender is other else 200 if fits else 413
        assert reply.status_code == expected, reply.text
        if expected == 200:
            parts[reply.json()["id"]] = content
            sent += len(content)
    ids = random.sample(
        list(parts), random.choice((len(parts), len(parts), random.randint(0, len(parts))))
    )
    if random.random() < 0.2 and ids:
        ids += [random.choice((ids[0], "part_none", upload))]
    finisher = other if random.random() < 0.1 else own
    reply = finisher.post(f"uploads/{upload}/complete", json={"part_ids": ids})
    whole = b"".join(parts.get(id, b"") for id in ids)
    is_valid = set(ids) <= set(parts) and len(set(ids)) == len(ids) and len(whole) == announced
    if finisher is own and is_valid and whole:
        assert reply.status_code == 200, reply.text
        file = reply.json()["file"]["id"]
        assert own.get(f"files/{file}/content").content == whole
        assert other.get(f"files/{file}/content").status_code == 404
        assert own.delete(f"files/{file}").status_code == 200
    else:
        assert reply.status_code in (400, 404), reply.text
        assert own.post(f"uploads/{upload}/cancel").status_code == 200
        assert own.post(f"uploads/{upload}/cancel").status_code == 400
    hostile.count_outcome(str(reply.status_code))
