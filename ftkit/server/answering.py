"""Client of an answering server, such as vLLM: completions, and loading of adapters.

The server speaks OpenAI's protocol, and vLLM's for adapters: `POST /v1/load_lora_adapter` with
`lora_name` and `lora_path`, and `POST /v1/unload_lora_adapter` with `lora_name`. Both affect all
users of the server, so only this service may be able to reach it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from ftkit._local import is_loopback
from ftkit._text import printable
from ftkit.errors import FtkitError
from ftkit.server.errors import EXCERPT
from ftkit.server.http_clients import client_options, httpx

CONNECT_SECONDS = 5.0
"""Maximum seconds to wait for a connection."""

READ_SECONDS = 600.0
"""Maximum seconds to wait for the next bytes of a completion."""

ADAPTER_SECONDS = 120.0
"""Maximum seconds to wait until an adapter is loaded or unloaded."""

RETRY_SECONDS = 5.0
"""Seconds after a failure during which the server, or the adapter that failed, is not used."""

MAX_BYTES = 16 << 20
"""Maximum size of a line of a stream, and of any other response."""

PASSED_ON = (400, 413, 422, 429)
"""Statuses of errors of the request. Others, such as 401, are errors of the server."""


class UnusableError(FtkitError):
    """The server cannot answer now.

    Attributes:
        adapter: Name of the adapter that cannot be used, or "" for the whole server.
    """

    def __init__(self, reason: str, adapter: str = "") -> None:
        super().__init__(reason)
        self.adapter = adapter


class RejectedError(FtkitError):
    """The server rejected a request.

    Attributes:
        status: One of `PASSED_ON`.
        fields: Error object of the response, or {}.
    """

    def __init__(self, status: int, fields: dict[str, Any]) -> None:
        super().__init__(str(fields.get("message") or "The request was rejected."))
        self.status, self.fields = status, fields


class Adapter(Struct, frozen=True):
    """Adapter of a fine-tuned model: its name at the server, and the path of its folder."""

    name: str
    path: str


class AnsweringServer:
    """Server that answers for a base model.

    Args:
        base: The base model, which has the same name at the server.
        url: Base URL of its API.
        key: API key, or "".
    """

    def __init__(self, base: str, url: str, key: str = "") -> None:
        self.base, self.url = base, url
        self._logger = logging.getLogger("ftkit.server")
        self._adapter_lock = asyncio.Lock()
        self._retry_times: dict[str, float] = {}  # by adapter, and "" for the whole server
        self._client = httpx.AsyncClient(
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
            **client_options(url, key, bypass_proxies=is_loopback(urlsplit(url).hostname or "")),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def is_usable(self, adapter: Adapter | None) -> bool:
        """Return True if neither the server nor the adapter has failed recently."""
        names = ("", adapter.name if adapter else "")
        return all(time.monotonic() >= self._retry_times.get(name, 0.0) for name in names)

    def note_failure(self, error: UnusableError) -> None:
        """Stop using the server or the adapter for `RETRY_SECONDS`. Log only the first failure."""
        name = error.adapter
        if name not in self._retry_times:
            message = "%s does not answer for %s; the local process does instead: %s"
            self._logger.warning(message, self.url, name or self.base, printable(str(error)))
        self._retry_times[name] = time.monotonic() + RETRY_SECONDS

    def note_success(self, adapter: Adapter | None) -> None:
        """Note that the server has answered. Log it if it had failed before."""
        for name in {"", adapter.name if adapter else ""}:
            if self._retry_times.pop(name, None):
                self._logger.warning("%s answers for %s again", self.url, name or self.base)

    def forget(self, adapters: Iterable[str]) -> None:
        """Forget the failures of adapters that were deleted."""
        for name in adapters:
            self._retry_times.pop(name, None)

    async def open(self, path: str, fields: dict[str, Any], adapter: Adapter | None) -> Any:
        """Send a request for a completion, and return the response, whose content is not read.

        An adapter that the server does not have is loaded first. The caller closes the response.

        Raises:
            UnusableError: The server cannot be reached, failed, or does not load the adapter.
            RejectedError: The request is invalid.
        """
        response = await self._send("POST", path, fields, READ_SECONDS)
        if response.status_code == 404 and adapter:
            await response.aclose()
            await self.load(adapter)
            response = await self._send("POST", path, fields, READ_SECONDS)
        if response.status_code == 200:
            return response
        try:
            raise await _failure(response, adapter)
        finally:
            await response.aclose()

    async def loaded(self, prefix: str) -> set[str]:
        """Return the names of loaded models that begin with a prefix.

        Raises:
            UnusableError: The server cannot be reached, or failed.
        """
        status, data = await self._request("GET", "models")
        try:
            names = [model["id"] for model in msgspec.json.decode(data)["data"]]
            return {name for name in names if name.startswith(prefix)}
        except (msgspec.MsgspecError, LookupError, TypeError, AttributeError, RecursionError) as e:
            raise UnusableError(f"it does not list its models (status {status})") from e

    async def load(self, adapter: Adapter) -> None:
        """Load an adapter, unless it is loaded.

        Raises:
            UnusableError: The server cannot be reached, or does not load it.
        """
        async with self._adapter_lock:
            if adapter.name in await self.loaded(adapter.name):
                return
            fields = {"lora_name": adapter.name, "lora_path": adapter.path}
            status, data = await self._request("POST", "load_lora_adapter", fields)
        if status != 200:
            reason = f"it does not load the adapter (status {status}: {_error_text(data)})"
            raise UnusableError(reason, adapter.name)

    async def unload(self, name: str) -> None:
        """Unload an adapter. Nothing happens if it is not loaded.

        Raises:
            UnusableError: The server cannot be reached, or does not unload it.
        """
        async with self._adapter_lock:
            fields = {"lora_name": name}
            status, data = await self._request("POST", "unload_lora_adapter", fields)
        if status not in (200, 404):
            reason = f"it does not unload the adapter (status {status}: {_error_text(data)})"
            raise UnusableError(reason, name)

    async def _request(
        self, method: str, path: str, fields: dict[str, Any] | None = None
    ) -> tuple[int, bytes]:
        """Return the status and the content of a response."""
        response = await self._send(method, path, fields, ADAPTER_SECONDS)
        try:
            return response.status_code, await read_content(response)
        finally:
            await response.aclose()

    async def _send(
        self, method: str, path: str, fields: dict[str, Any] | None, seconds: float
    ) -> Any:
        """Send a request, and return the response, whose content is not read."""
        request = self._client.build_request(
            method,
            f"{self.url}/{path}",
            content=None if fields is None else msgspec.json.encode(fields),
            headers={} if fields is None else {"Content-Type": "application/json"},
            timeout=httpx.Timeout(seconds, connect=CONNECT_SECONDS),
        )
        try:
            return await self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise unreachable(error) from error


def unreachable(error: Exception) -> UnusableError:
    """Return the error for an exception of the HTTP library."""
    return UnusableError(f"{type(error).__name__}: {error}".rstrip(": "))


async def read_chunks(response: Any) -> AsyncIterator[bytes]:
    """Yield the content of a response as it arrives.

    Raises:
        UnusableError: The connection failed, or the content is compressed.
    """
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnusableError("it compresses its responses, which it was not asked to do")
    try:
        async for chunk in response.aiter_raw():
            yield chunk
    except httpx.HTTPError as error:
        raise unreachable(error) from error


async def read_content(response: Any) -> bytes:
    """Return the content of a response.

    Raises:
        UnusableError: The connection failed, or the content is too long.
    """
    content = bytearray()
    async for chunk in read_chunks(response):
        content += chunk
        _check_size(len(content))
    return bytes(content)


async def read_lines(response: Any) -> AsyncIterator[bytes]:
    """Yield the lines of a response as they arrive, without their line ends.

    Raises:
        UnusableError: The connection failed, or a line is too long.
    """
    line = bytearray()
    async for chunk in read_chunks(response):
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            line += end
            _check_size(len(line))
            yield bytes(line)
            line.clear()
        line += rest
        _check_size(len(line))
    if line:
        yield bytes(line)


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise UnusableError(f"a line or a response has more than {MAX_BYTES:,} bytes")


async def _failure(response: Any, adapter: Adapter | None) -> Exception:
    """Return the exception for a response with another status than 200."""
    status, data = response.status_code, await read_content(response)
    if status in PASSED_ON:
        return RejectedError(status, error_fields(data))
    if status == 404:
        return UnusableError("it does not have the model", adapter.name if adapter else "")
    return UnusableError(f"status {status}: {_error_text(data)}".rstrip(": "))


def error_fields(data: bytes) -> dict[str, Any]:
    """Return the error object of a response, or {} if it has none.

    Versions of vLLM before 0.10 have its fields at the top.
    """
    try:
        value = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    fields = value.get("error", value) if isinstance(value, dict) else {}
    return fields if isinstance(fields, dict) else {"message": str(fields)}


def _error_text(data: bytes) -> str:
    """Return the message of an error response, for the log."""
    message = error_fields(data).get("message") or data[:EXCERPT].decode("utf-8", "replace")
    return str(message)[:EXCERPT]
