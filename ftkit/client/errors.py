"""Translation of the SDK's exceptions into ftkit's."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

from ftkit._text import printable
from ftkit.catalog import match_messages
from ftkit.client.credentials import NO_KEY
from ftkit.errors import (
    ConnectError,
    InvalidResponseError,
    NotFoundError,
    ProviderError,
    UnknownOutcomeError,
    UsageError,
)

if TYPE_CHECKING:
    import openai

MAX_REASON_LENGTH = 300
"""Maximum number of characters that are kept of a message of the provider or the SDK."""

UNKNOWN_OUTCOME_STATUSES = (408, 409)
"""Statuses below 500 after which the request may have been carried out all the same."""


def is_transient(error: ProviderError) -> bool:
    """Return True if the same request may succeed later.

    That is so for a missing response (status 0), a timeout (408), a conflict (409), a rate limit
    (429) and every failure of the server (500 and above).
    """
    return error.status in (0, 408, 409, 429) or error.status >= 500


class Endpoint(Struct, frozen=True):
    """A connection, as error messages describe it.

    Attributes:
        title: Name of the provider.
        base_url: Address of the API.
        api_key: The key, so that it can be removed from messages.
        key_variables: Environment variables that may hold the key.
    """

    title: str
    base_url: str
    api_key: str
    key_variables: tuple[str, ...]


@contextmanager
def translated_errors(action: str, endpoint: Endpoint) -> Iterator[None]:
    """Raise a `ProviderError` for every exception of the SDK that the block raises.

    Args:
        action: The request in the words of "cannot ...", such as "list jobs".
        endpoint: The connection that the request is sent over.
    """
    import openai

    from ftkit.client.sdk import RefusedResponseError

    try:
        yield
    except UnicodeEncodeError as error:
        raise UsageError(
            f"cannot {action}: an argument is not valid text ({printable(error.object)!r:.100})"
        ) from error
    except _http_errors("InvalidURL") as error:
        raise UsageError(
            f"cannot {_clean(action, endpoint)}: the request has no valid URL"
            f" ({_clean(str(error), endpoint)})"
        ) from error
    except openai.APITimeoutError as error:
        raise UnknownOutcomeError(
            f"cannot {action}: {endpoint.title} did not respond in time"
        ) from error
    except openai.APIConnectionError as error:
        if isinstance(error.__cause__, RefusedResponseError) or _is_undecodable(error):
            raise _invalid_response(action, endpoint, error.__cause__) from error
        raise _connection_error(action, endpoint, error) from error
    except openai.APIStatusError as error:
        raise _status_error(action, endpoint, error) from error
    except _http_errors("DecodingError") as error:
        raise _invalid_response(action, endpoint, error) from error
    except _http_errors("TransportError") as error:
        reason = _clean(str(error), endpoint)
        raise UnknownOutcomeError(
            f"cannot {action}: the connection to {endpoint.base_url} broke ({reason})"
        ) from error
    except (openai.OpenAIError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise _invalid_response(action, endpoint, error) from error


def _invalid_response(
    action: str, endpoint: Endpoint, error: BaseException | None
) -> InvalidResponseError:
    reason = _clean(str(error), endpoint)
    return InvalidResponseError(
        f"cannot {action}: {endpoint.title} sent a response that cannot be read ({reason})"
    )


def _is_undecodable(error: openai.APIConnectionError) -> bool:
    """Return True if a response arrived, but its compressed content is damaged."""
    return type(error.__cause__).__name__ == "DecodingError"


def _connection_error(
    action: str, endpoint: Endpoint, error: openai.APIConnectionError
) -> UnknownOutcomeError:
    cause = error.__cause__
    reason = _clean(str(cause or error), endpoint).rstrip(".") or "it was closed"
    message = f"cannot {action}: no connection to {endpoint.base_url} ({reason})"
    # httpx or httpx2, depending on the release of the SDK: so the class is compared by name.
    if type(cause).__name__ == "ConnectError":
        return ConnectError(message)
    return UnknownOutcomeError(message)


def _status_error(action: str, endpoint: Endpoint, error: openai.APIStatusError) -> ProviderError:
    status, title = error.status_code, endpoint.title
    body = error.body if isinstance(error.body, dict) else {}
    message = _clean(str(body.get("message") or error.message), endpoint)
    code = _clean(str(body.get("code") or ""), endpoint)
    if status == 401:
        variables = " or ".join(endpoint.key_variables)
        advice = f"check {variables} (`ftkit config` shows where the key comes from)"
        return ProviderError(
            f"cannot {action}: {title} rejected the API key; {advice}", status, code
        )
    details = f"{message} ({code})" if code and code not in message else message
    known_messages = match_messages(f"{message} {code} {error.message}")
    advice = f"; {known_messages[0].do.rstrip('.')}" if known_messages else ""
    if status == 404:
        return NotFoundError(
            f"cannot {action}: not found at {title} ({details}){advice}", status, code, message
        )
    if status == 429:
        reason = f"rate limit or quota of {title} exceeded"
        return ProviderError(
            f"cannot {action}: {reason} ({details}){advice}",
            status,
            code,
            message,
            wait=_retry_after(error.response.headers),
        )
    is_unknown = status >= 500 or status in UNKNOWN_OUTCOME_STATUSES
    kind = UnknownOutcomeError if is_unknown else ProviderError
    return kind(
        f"cannot {action}: {title} responded with {status}: {details}{advice}",
        status,
        code,
        message,
    )


def _http_errors(name: str) -> tuple[type[Exception], ...]:
    """Return the exceptions of that name in httpx and httpx2, which the SDK does not translate."""
    modules = (sys.modules[module] for module in ("httpx", "httpx2") if module in sys.modules)
    return tuple(getattr(module, name) for module in modules)


def _clean(text: str, endpoint: Endpoint) -> str:
    """Return the text on one printable line, cut and without the API key."""
    if endpoint.api_key and endpoint.api_key != NO_KEY:
        text = text.replace(endpoint.api_key, "(the key)")
    line = " ".join(text.split())
    shown = line if len(line) <= MAX_REASON_LENGTH else f"{line[:MAX_REASON_LENGTH]}…"
    return printable(shown)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds in the `Retry-After` header, or 0 if it is missing or not a number."""
    try:
        seconds = float(headers.get("retry-after") or 0)
    except ValueError:
        return 0
    return seconds if 0 < seconds < math.inf else 0
