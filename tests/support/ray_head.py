"""An HTTP server with the REST API of the head of a Ray cluster, and fixed responses."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Head:
    """Head of a cluster that gives fixed responses, by method and path.

    `broken` has the ids of jobs whose submissions get status 500, `delays` the seconds before a
    response, by method and path.
    """

    url = ""

    def __init__(self) -> None:
        self.responses: dict[str, tuple[int, bytes]] = {}
        self.broken: set[str] = set()
        self.delays: dict[str, float] = {}
        self.location = ""
        self.requests: list[tuple[str, Any]] = []
        self.headers: dict[str, str] = {}

    def respond(self, request: str, status: int, content: object) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.responses[request] = status, data

    def show(self, nodes: dict[str, dict[str, float]], *jobs: dict[str, Any]) -> None:
        """Respond with nodes, by their ids, and with jobs."""
        rows = [
            {"node_id": id, "state": "ALIVE", "resources_total": total}
            for id, total in nodes.items()
        ]
        self.respond(
            "GET /api/v0/nodes?detail=1&limit=10000", 200, {"data": {"result": {"result": rows}}}
        )
        self.respond("GET /api/cluster_status", 200, {"data": {}})
        self.respond("GET /api/jobs/", 200, list(jobs))

    def count(self, request: str, job: str = "") -> int:
        """Return the number of requests so far; of the submissions of one job."""
        return sum(
            name == request and (not job or body["submission_id"] == job)
            for name, body in list(self.requests)
        )

    def response(self, request: str, body: Any) -> tuple[int, bytes]:
        if request == "POST /api/jobs/" and body["submission_id"] in self.broken:
            return 500, b"Traceback\nOSError: No space left on device"
        return self.responses.get(request, (404, b"it does not exist"))


@contextmanager
def running_head() -> Iterator[Head]:
    """Run a head as long as the context."""
    head = Head()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request, body = f"{self.command} {self.path}", json.loads(data) if data else None
            head.requests.append((request, body))
            head.headers = {name.lower(): value for name, value in self.headers.items()}
            time.sleep(head.delays.get(request, 0.0))
            status, data = head.response(request, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            if status == 302:
                self.send_header("Location", head.location)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    head.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield head
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
