"""Bodies of requests, and decoding and checks of responses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from ftkit._text import is_encodable, printable
from ftkit.dataset.lenient_json import nesting_exceeds

if TYPE_CHECKING:
    import openai

MAX_FILE = 64 << 30
"""Maximum bytes of the content of a file; longer ones count as endless."""

MAX_DEPTH = 500
"""Maximum depth of nested arrays and objects in a response.

Python's JSON module reads and writes somewhat less than 1,000 levels, fewer within many calls.
"""

MAX_CATEGORY = 60
"""Maximum characters of the name of a category of a moderation model."""

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


def read_moderation(response: RawResponse, count: int) -> list[dict[str, float]]:
    """Return the scores of a response with the result of each text; see `moderation_scores`."""
    return moderation_scores(read_json(response), count)


def moderation_scores(value: Any, count: int) -> list[dict[str, float]]:
    """Return the score of each category that each text is flagged for.

    Args:
        value: JSON value of the response.
        count: Number of texts.

    Raises:
        ValueError: It has no result for each text.
    """
    results = value.get("results") if isinstance(value, dict) else None
    if not isinstance(results, list) or len(results) != count:
        raise ValueError(f"it does not hold {count} results")
    return [_flagged_categories(result) for result in results]


def _flagged_categories(result: Any) -> dict[str, float]:
    categories = result.get("categories") if isinstance(result, dict) else None
    scores = result.get("category_scores") if isinstance(result, dict) else None
    if not isinstance(categories, dict):
        raise ValueError("a result holds no categories")  # noqa: TRY004 - of the response
    scores = scores if isinstance(scores, dict) else {}
    flagged = {name: scores.get(name) for name, is_flagged in categories.items() if is_flagged}
    if not flagged and result.get("flagged") is True:
        flagged = {"other": None}
    return {printable(name)[:MAX_CATEGORY]: _score(value) for name, value in flagged.items()}


def _score(value: Any) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= 1 else 1.0


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
