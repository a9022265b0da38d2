"""A fake provider: an HTTP server on loopback that speaks the OpenAI fine-tuning protocol and injects faults.

`Faults` decides for each request what goes wrong: nothing, or one of `KINDS`. Whatever it is, the state is that of a service that
acted as often as it says: `created` lists every job that was ever made.
"""

from __future__ import annotations

import base64
import email.parser
import email.policy
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from support.fake_moderation import FakeModeration

KINDS = ("drop before", "drop after", "500 before", "500 after", "truncate", "429", "delay")
"""Faults of a service, `before` or `after` it has acted."""

Faults = Callable[[str, str], str]
"""Function from method and path to one of `KINDS`, "" for no fault, or "short" for a file sent by half."""


class FakeProvider:
    """The state of the service, and the server in front of it. `pages` is the size of a page at most."""

    def __init__(self, faults: Faults = lambda method, path: "", pages: int = 100) -> None:
        self.faults = faults
        self.pages = pages
        self.key = "sk-test"
        self.files: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.uploads: dict[str, dict[str, Any]] = {}
        self.parts: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.checkpoints: dict[str, list[dict[str, Any]]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.permissions: dict[str, list[dict[str, Any]]] = {}
        self.moderation = FakeModeration(self)
        self.is_admin = False
        self.retry_after = ""
        self.created: list[str] = []
        self.requests: list[tuple[str, str, Any]] = []
        self.refuse: dict[str, tuple[int, dict[str, Any]]] = {}
        self.on_job: Callable[[dict[str, Any]], None] = lambda job: None
        self.on_chat: Callable[[dict[str, Any]], dict[str, Any]] = reverse_words
        self.encode: Callable[[Any], bytes] = lambda answer: json.dumps(answer).encode()
        self.lock = threading.RLock()
        self._number = 0

    def number(self) -> int:
        self._number += 1
        return self._number

    def add_file(self, name: str, content: bytes, purpose: str = "fine-tune") -> dict[str, Any]:
        file = {
            "id": f"file-{self.number()}",
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": name,
            "purpose": purpose,
            "status": "processed",
        }
        self.files[file["id"]] = file
        self.contents[file["id"]] = content
        return file

    def add_job(self, body: dict[str, Any]) -> dict[str, Any]:
        job = {
            "id": f"ftjob-{self.number()}",
            "object": "fine_tuning.job",
            "created_at": int(time.time()),
            "error": None,
            "fine_tuned_model": None,
            "finished_at": None,
            "hyperparameters": {"n_epochs": "auto"},
            "organization_id": "org-1",
            "result_files": [],
            "status": "validating_files",
            "trained_tokens": None,
            "validation_file": None,
            "seed": 1,
            "estimated_finish": None,
            "integrations": [],
            **body,
        }
        self.jobs[job["id"]] = job
        self.created.append(job["id"])
        self.add_event(job["id"], "Created fine-tuning job: " + job["id"])
        return job

    def add_event(self, job: str, message: str, **more: Any) -> None:
        events = self.events.setdefault(job, [])
        events.insert(
            0,
            {
                "id": f"ftevent-{self.number()}",
                "object": "fine_tuning.job.event",
                "created_at": int(time.time()),
                "level": "info",
                "message": message,
                "type": "message",
                "data": {},
                **more,
            },
        )

    def answer(  # noqa: C901
        self, method: str, path: str, query: dict[str, list[str]], body: Any
    ) -> tuple[int, Any]:
        """What the service does and says."""
        parts = [unquote(part) for part in path.strip("/").split("/")[1:]]
        refused = self.refuse.get(f"{method} /{'/'.join(parts)}")
        if refused:
            return refused
        with self.lock:
            match method, parts:
                case "POST", ["files"]:
                    return 200, self.add_file(body["name"], body["content"], body["purpose"])
                case "GET", ["files"]:
                    purpose = query.get("purpose", [""])[0]
                    return 200, self.page(
                        [f for f in self.files.values() if purpose in ("", f.get("purpose"))][::-1],
                        query,
                    )
                case "GET", ["files", id, "content"] if id in self.contents:
                    return 200, self.contents[id]
                case "GET", ["files", id] if id in self.files:
                    return 200, self.files[id]
                case "DELETE", ["files", id] if id in self.files:
                    del self.files[id]
                    return 200, {"id": id, "object": "file", "deleted": True}
                case "POST", ["uploads"]:
                    upload = {
                        "id": f"upload_{self.number()}",
                        "object": "upload",
                        "status": "pending",
                        "created_at": 1,
                        "expires_at": 2,
                        **body,
                    }
                    self.uploads[upload["id"]] = upload
                    return 200, upload
                case "POST", ["uploads", id, "parts"] if id in self.uploads:
                    part = f"part_{self.number()}"
                    self.parts[part] = body["content"]
                    return 200, {
                        "id": part,
                        "object": "upload.part",
                        "upload_id": id,
                        "created_at": 1,
                    }
                case "POST", ["uploads", id, "complete"] if id in self.uploads:
                    upload = self.uploads[id]
                    content = b"".join(self.parts[part] for part in body["part_ids"])
                    if len(content) != upload["bytes"]:
                        return 400, error_body("the bytes are not those that were announced")
                    upload["file"] = upload.get("file") or self.add_file(
                        upload["filename"], content, upload["purpose"]
                    )
                    return 200, {**upload, "status": "completed"}
                case "POST", ["fine_tuning", "jobs"]:
                    if body["training_file"] not in self.files:
                        return 400, error_body(f"file {body['training_file']} does not exist")
                    return 200, self.add_job(body)
                case "GET", ["fine_tuning", "jobs"]:
                    metadata = {
                        key[9:-1]: values[0]
                        for key, values in query.items()
                        if key.startswith("metadata[")
                    }
                    jobs = [
                        job
                        for job in self.jobs.values()
                        if not metadata or metadata.items() <= (job.get("metadata") or {}).items()
                    ]
                    return 200, self.page(jobs[::-1], query)
                case "GET", ["fine_tuning", "jobs", id] if id in self.jobs:
                    self.on_job(self.jobs[id])
                    return 200, self.jobs[id]
                case "POST", [
                    "fine_tuning",
                    "jobs",
                    id,
                    ("cancel" | "pause" | "resume") as action,
                ] if id in self.jobs:
                    self.jobs[id]["status"] = {
                        "cancel": "cancelled",
                        "pause": "paused",
                        "resume": "running",
                    }[action]
                    return 200, self.jobs[id]
                case "GET", ["fine_tuning", "jobs", id, "events"] if id in self.jobs:
                    return 200, self.page(self.events.get(id, []), query)
                case "GET", ["fine_tuning", "jobs", id, "checkpoints"] if id in self.jobs:
                    return 200, self.page(self.checkpoints.get(id, []), query)
                case "GET", ["fine_tuning", "checkpoints", id, "permissions"]:
                    if not self.is_admin:
                        return 403, error_body(
                            "You have insufficient permissions for this operation. Missing scopes: api.admin"
                        )
                    return 200, self.page(self.permissions.get(id, []), query)
                case "POST", ["moderations"]:
                    return self.moderation.moderate(body)
                case _, ["batches", *rest]:
                    return self.moderation.answer_batch(method, rest, query, body)
                case "GET", ["models"]:
                    return 200, {"object": "list", "data": list(self.models.values())}
                case "GET", ["models", id] if id in self.models:
                    return 200, self.models[id]
                case "DELETE", ["models", id] if id in self.models:
                    del self.models[id]
                    return 200, {"id": id, "object": "model", "deleted": True}
                case "POST", ["chat", "completions"]:
                    if body.get("stream"):
                        return 200, stream_chunks(body)
                    message = self.on_chat(body)
                    return (
                        (400, message)
                        if "error" in message
                        else (200, chat_completion(body, message))
                    )
            return 404, error_body(f"no such thing: {method} {path}", "invalid_request_error")

    def page(self, items: list[dict[str, Any]], query: dict[str, list[str]]) -> dict[str, Any]:
        after, limit = (
            query.get("after", [""])[0],
            min(int(query.get("limit", ["20"])[0]), self.pages),
        )
        ids = [item.get("id") for item in items]
        start = ids.index(after) + 1 if after in ids else 0
        return {
            "object": "list",
            "data": items[start : start + limit],
            "has_more": start + limit < len(items),
        }


def error_body(message: str, code: str | None = None) -> dict[str, Any]:
    return {
        "error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    }


def stream_chunks(body: dict[str, Any]) -> bytes:
    """A streamed answer that says what was asked backwards, word by word."""
    words = body["messages"][-1]["content"].split()[::-1]
    events = [
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}],
        }
        for word in words
    ]
    return (
        b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
        + b"data: [DONE]\n\n"
    )


def reverse_words(body: dict[str, Any]) -> dict[str, Any]:
    """The message that says backwards what was asked, word by word."""
    return {"content": " ".join(body["messages"][-1]["content"].split()[::-1])}


def chat_completion(body: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    """A whole answer, with its usage."""
    reply = {"role": "assistant", "refusal": None, **message}
    return {
        "id": f"chatcmpl-{body['model']}",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "message": reply, "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    state: FakeProvider

    def handle_any(self) -> None:
        state, url = self.state, urlsplit(self.path)
        body = self.read_body()
        fault = state.faults(self.command, url.path)
        state.requests.append((self.command, self.path, body))
        if self.headers.get("Authorization") != f"Bearer {state.key}":
            return self.send(
                401, error_body("Incorrect API key provided: sk-wrong", "invalid_api_key")
            )
        if fault == "drop before":
            return self.drop()
        if fault in ("500 before", "429"):
            return self.send(500 if fault == "500 before" else 429, error_body("try again"))
        if fault == "delay":
            time.sleep(0.02)
        status, answer = state.answer(self.command, url.path, parse_qs(url.query), body)
        if fault == "drop after":
            return self.drop()
        if fault == "500 after":
            return self.send(500, error_body("the server had an error"))
        if fault == "short" and isinstance(answer, bytes):
            answer = answer[: len(answer) // 2]
        return self.send(status, answer, truncated=fault == "truncate")

    do_GET = do_POST = do_DELETE = handle_any  # noqa: N815

    def read_body(self) -> Any:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.headers.get("Content-Type") or ""
        if kind.startswith("multipart/"):
            return parse_form(kind, data)
        return json.loads(data) if data else {}

    def send(self, status: int, answer: Any, truncated: bool = False) -> None:
        data = answer if isinstance(answer, bytes) else self.state.encode(answer)
        kind = "text/event-stream" if data.startswith(b"data: ") else "application/json"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if status == 429 and self.state.retry_after:
            self.send_header("Retry-After", self.state.retry_after)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if truncated else data)
        if truncated:
            self.drop()

    def drop(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


def parse_form(kind: str, data: bytes) -> dict[str, Any]:
    """The fields of a multipart form; a file gives `name` and `content`."""
    parsed = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        b"Content-Type: " + kind.encode() + b"\r\n\r\n" + data
    )
    fields: dict[str, Any] = {}
    for part in parsed.iter_parts():  # type: ignore[attr-defined]
        name, content = (
            part.get_param("name", header="content-disposition"),
            part.get_payload(decode=True),
        )
        if part.get_filename() or name in ("file", "data"):
            fields |= {"name": part.get_filename(), "content": content}
        else:
            fields[name] = content.decode()
    return fields


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:
        """Connections that a client gave up are part of the tests."""


@contextmanager
def serving(state: FakeProvider) -> Iterator[str]:
    """The base URL of a server for that state."""
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}))
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


def random_faults(seed: int, rate: float = 0.4, kinds: tuple[str, ...] = KINDS) -> Faults:
    """Faults at random, the same for the same seed and order of requests."""
    chance = random.Random(seed)

    def fault(method: str, path: str) -> str:
        return chance.choice(kinds) if chance.random() < rate else ""

    return fault


def base64_content(content: bytes) -> bytes:
    """A result file as some services send it."""
    return base64.b64encode(content)
