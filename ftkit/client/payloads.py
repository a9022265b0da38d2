"""Bodies of requests, and decoding and checks of responses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from ftkit._text import is_encodable
from ftkit.dataset.lenient_json import nesting_exceeds

if TYPE_CHECKING:
    import openai

MAX_FILE = 64 << 30
"""Maximum bytes of the content of a file; longer ones count as endless."""

MAX_DEPTH = 500
"""Maximum depth of nested arrays and objects in a response.

Python's JSON module reads and writes somewhat less than 1,000 levels, fewer within many calls.
"""

OTHER_HOST = "ftkit_other_host"
"""Extension of a request that was redirected to another host."""


class RawResponse(Protocol):
    """A response that the SDK has not decoded."""

    @property
    def content(self) -> bytes:
        """Body of the response."""


def raw_type() -> type[openai.HttpxBinaryResponseContent]:
    """Return the type of a `RawResponse` for requests by path."""
    from openai import HttpxBinaryResponseContent

    return HttpxBinaryResponseContent


def check_sender(response: Any) -> None:
    """Raise `ValueError` if the request was redirected to another host, which gets no API key."""
    if OTHER_HOST in response.request.extensions:
        raise ValueError(
            f"it comes from {response.request.url.host}, which gets no API key; check the base URL"
        )


def read_json(response: RawResponse) -> Any:
    """Return the value of a JSON response.

    Raises `ValueError` if it is not JSON, nested more than `MAX_DEPTH` deep, or an error.
    """
    try:
        value = json.loads(response.content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if nesting_exceeds(value, MAX_DEPTH):
        raise ValueError("it is nested too deeply")
    if isinstance(value, dict) and value.get("error") and not value.get("id"):
        raise ValueError(f"an error: {value['error']}")
    return value


def read_resource(response: RawResponse, id: str = "") -> dict[str, Any]:
    """Return the JSON object of a resource.

    Raises `ValueError` if it has no id, like an error that is sent with status 200, or if it is not
    the one with the requested `id`.
    """
    resource = check_resource(read_json(response))
    if id and resource["id"] != id:
        raise ValueError(f"it has the id {resource['id']!r}")
    return resource


def check_resource(value: Any) -> dict[str, Any]:
    """Return a JSON object that has a valid id. Raises `ValueError` otherwise."""
    id = value.get("id") if isinstance(value, dict) else None
    if not isinstance(id, str) or not id or not is_encodable(id):
        raise ValueError(f"it has no id: {value}")
    return dict(value)


def check_deletion(response: RawResponse) -> None:
    """Raise `ValueError` unless a response confirms a deletion: by `deleted`, or without a body."""
    value = read_json(response) if response.content.strip() else {"deleted": True}
    if not isinstance(value, dict) or value.get("deleted") is not True:
        raise ValueError(f"it does not confirm the deletion: {value}")


def read_completion(response: RawResponse) -> dict[str, Any]:
    """Return a chat completion. Raises `ValueError` if it holds no message."""
    value = read_json(response)
    choices = value.get("choices") if isinstance(value, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict) or not isinstance(first.get("message"), dict):
        raise ValueError("it holds no message")  # noqa: TRY004 - of the response
    return dict(value)


def reply_texts(chunks: Iterable[Any]) -> Iterator[str]:
    """Yield the texts of a streamed reply. Raises `ValueError` if no chunk is one of a reply."""
    is_reply = False
    for chunk in chunks:
        choices = chunk.get("choices") if isinstance(chunk, dict) else None
        if not isinstance(choices, list):
            continue
        is_reply = True
        delta = choices[0].get("delta") if choices and isinstance(choices[0], dict) else None
        content = delta.get("content") if isinstance(delta, dict) else None
        if content and isinstance(content, str):
            yield content
    if not is_reply:
        raise ValueError("it holds no reply")


def limit_size(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of a file. Raises `ValueError` if it has more than `MAX_FILE` bytes."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > MAX_FILE:
            raise ValueError(f"it is longer than {MAX_FILE:,} bytes")
        yield chunk


def upload_request(name: str, size: int) -> dict[str, Any]:
    """Return the body of the request that starts a multipart upload of `size` bytes."""
    return {
        "bytes": size,
        "filename": name,
        "mime_type": "application/jsonl",
        "purpose": "fine-tune",
    }
