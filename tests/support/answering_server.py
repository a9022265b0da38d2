"""A server on loopback that speaks OpenAI's protocol and vLLM's for adapters, and fails on request.

It answers each chat with the last message in reverse, and each prompt with the prompt in reverse.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HEAD = {
    "id": "chatcmpl-1",
    "created": 1,
    "system_fingerprint": "vllm-0.30",
    "kv_transfer_params": None,
}


class AnsweringServer:
    """State of the server.

    Attributes:
        base: Name of its base model.
        adapters: Paths of the loaded adapters by their names.
        requests: Path and JSON body of each request, oldest first.
        headers: Headers of the last request.
        fault: Fault of the next responses to requests for completions, or "": "500", "401", "400",
            "redirect", "drop", "drop in stream", "error in stream", "rejection in stream", "slow",
            "long line", "gzip", "not json", "no choices", "early end", "no events".
        refuses_adapters: Answer 400 to requests that load an adapter.
        cancelled: Set once a client has disconnected from a slow response.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self.adapters: dict[str, str] = {}
        self.requests: list[tuple[str, Any]] = []
        self.headers: dict[str, str] = {}
        self.fault = ""
        self.refuses_adapters = False
        self.cancelled = threading.Event()
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def bodies(self, path: str) -> list[Any]:
        """The bodies of the requests for a path."""
        return [body for requested, body in self.requests if requested == f"/v1/{path}"]

    def start(self) -> None:
        """Listen, at the same port as before."""
        state = self

        class Handler(_Handler):
            server_state = state

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_: Any) -> None:
                """Connections that a client gave up are part of the tests."""

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening, and forget the adapters, as a restart does."""
        assert self._server
        self._server.shutdown()
        self._server.server_close()
        self.adapters = {}

    def reset(self) -> None:
        """Forget the requests, and have no fault."""
        self.requests, self.fault, self.refuses_adapters = [], "", False
        self.cancelled.clear()


@contextmanager
def answering_server(base: str) -> Iterator[AnsweringServer]:
    server = AnsweringServer(base)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class _Handler(BaseHTTPRequestHandler):
    server_state: AnsweringServer

    def do_GET(self) -> None:
        state = self._note(None)
        names = [state.base, *state.adapters]
        self._send(200, {"object": "list", "data": [{"id": name} for name in names]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        state = self._note(body)
        if self.path == "/v1/load_lora_adapter":
            self._load(state, body["lora_name"], body["lora_path"])
        elif self.path == "/v1/unload_lora_adapter":
            found = state.adapters.pop(body["lora_name"], None)
            self._send(200 if found else 404, {})
        else:
            self._complete(state, body)

    def _note(self, body: Any) -> AnsweringServer:
        self.server_state.requests.append((self.path, body))
        self.server_state.headers = {name.lower(): value for name, value in self.headers.items()}
        return self.server_state

    def _load(self, state: AnsweringServer, name: str, path: str) -> None:
        if name in state.adapters or state.refuses_adapters or not Path(path).is_dir():
            self._send(400, _error(f"LoRA rank 64 is greater than max_lora_rank 16. {path}", 400))
        else:
            state.adapters[name] = path
            self._send_raw(200, f"Success: LoRA adapter '{name}' added successfully.".encode())

    def _complete(self, state: AnsweringServer, body: Any) -> None:
        if body["model"] not in (state.base, *state.adapters):
            self._send(404, _error(f"The model `{body['model']}` does not exist.", 404))
        elif state.fault.isdecimal():
            message = f"Bad {body['model']} of {state.adapters.get(body['model'])} at {state.url}"
            message += " (maximum context length)"
            self._send(int(state.fault), _error(message, int(state.fault)))
        elif state.fault == "redirect":
            self._send_raw(307, b"", Location=state.url + "/elsewhere")
        elif state.fault == "drop":
            self.connection.shutdown(socket.SHUT_RDWR)
        elif state.fault == "slow":
            self._wait_for_disconnect(state, body)
        elif body.get("stream"):
            self._stream(state, body)
        else:
            self._answer(state, body)

    def _answer(self, state: AnsweringServer, body: Any) -> None:
        text = _text(body)
        content = {"message": {"role": "assistant", "content": text}}
        if "prompt" in body:
            content = {"text": text}
        choice = {"index": 0, **content, "finish_reason": "stop", "stop_reason": None}
        usage = {"prompt_tokens": 3, "completion_tokens": len(text), "total_tokens": 3 + len(text)}
        response = {**HEAD, "model": body["model"], "choices": [choice], "usage": usage}
        if state.fault == "no choices":
            response["choices"] = None
        data = b"{}x" if state.fault == "not json" else json.dumps(response).encode()
        if state.fault == "long line":
            data += b" " * (1 << 17)
        headers = {"Content-Encoding": "gzip"} if state.fault == "gzip" else {}
        self._send_raw(200, data, **headers)

    def _stream(self, state: AnsweringServer, body: Any) -> None:
        length = {"Content-Length": "100000"} if state.fault == "drop in stream" else {}
        self._start(200, "text/event-stream", **length)
        if state.fault == "no events":
            return
        for number, letter in enumerate(_text(body)):
            if number == 1 and state.fault.endswith("in stream"):
                self._fail_in_stream(state)
                return
            if number == 1 and state.fault == "early end":
                return
            if number == 1 and state.fault == "long line":
                self.wfile.write(b"data: " + b"x" * (1 << 17))
            content = {"text": letter} if "prompt" in body else {"delta": {"content": letter}}
            self._event({**HEAD, "model": body["model"], "choices": [{"index": 0, **content}]})
            time.sleep(0.01)
        if body["stream_options"]["include_usage"]:
            usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
            self._event({**HEAD, "model": body["model"], "choices": [], "usage": usage})
        self.wfile.write(b": comment\n\ndata: [DONE]\n\n")

    def _fail_in_stream(self, state: AnsweringServer) -> None:
        if state.fault == "drop in stream":
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self._event(_error(f"See {state.url}", 400 if "rejection" in state.fault else 500))

    def _wait_for_disconnect(self, state: AnsweringServer, body: Any) -> None:
        if body.get("stream"):
            self._start(200, "text/event-stream")
            self._event({**HEAD, "model": body["model"], "choices": []})
        self.connection.settimeout(20)
        if self.connection.recv(1) == b"":
            state.cancelled.set()

    def _start(self, status: int, type: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": type, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _event(self, value: Any) -> None:
        self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")

    def _send(self, status: int, value: Any) -> None:
        self._send_raw(status, json.dumps(value).encode())

    def _send_raw(self, status: int, data: bytes, **headers: str) -> None:
        self._start(
            status,
            "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        )
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def _text(body: Any) -> str:
    text: str = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
    return text[::-1]


def _error(message: str, status: int) -> dict[str, Any]:
    return {"error": {"message": message, "type": "Error", "param": None, "code": status}}
