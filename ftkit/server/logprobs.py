"""Log probabilities of tokens, in the forms of chat and text completions.

The generation process sends, for each token,

    {"token", "logprob", "bytes", "top_logprobs": [{"token", "logprob", "bytes"}]}

where `logprob` is null for the first token of a prompt that is echoed.
"""

from __future__ import annotations

import codecs
from typing import Any

from ftkit.server.errors import InvalidRequestError

MIN_LOGPROB = -9999.0
"""Log probability of very unlikely tokens, as in OpenAI's API; JSON has no infinity."""

MAX_LOGPROBS = 200_000
"""Maximum number of log probabilities of a response that is collected in memory."""

TokenLogprob = dict[str, Any]


class LogprobCounter:
    """Counter that limits the number of log probabilities of a response."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, tokens: list[TokenLogprob] | None) -> None:
        """Count the log probabilities of further tokens.

        Raises:
            InvalidRequestError: There are more than `MAX_LOGPROBS`.
        """
        self._count += sum(1 + len(_alternatives(token)) for token in tokens or ())
        if self._count > MAX_LOGPROBS:
            message = (
                f"The response would have more than {MAX_LOGPROBS:,} log probabilities. Request"
                " fewer alternatives, choices or tokens."
            )
            raise InvalidRequestError(message, "logprobs", "invalid_value")


def chat_logprobs(tokens: list[TokenLogprob] | None) -> dict[str, Any] | None:
    """Return the log probabilities of a chat completion, or None without tokens."""
    if tokens is None:
        return None
    content = [
        {**_chat_token(token), "top_logprobs": [_chat_token(top) for top in _alternatives(token)]}
        for token in tokens
    ]
    return {"content": content, "refusal": None}


class TextLogprobs:
    """Converter of log probabilities to those of a text completion, which may arrive in parts."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._offset = 0

    def add(self, tokens: list[TokenLogprob] | None) -> dict[str, list[Any]] | None:
        """Return the log probabilities of further tokens, or None without tokens."""
        if tokens is None:
            return None
        return {
            "tokens": [token["token"] for token in tokens],
            "token_logprobs": [_logprob(token) for token in tokens],
            "top_logprobs": [_logprobs_by_text(token) for token in tokens],
            "text_offset": [self._next_offset(token) for token in tokens],
        }

    def _next_offset(self, token: TokenLogprob) -> int:
        """Return the number of characters before a token, whose bytes may end within one."""
        offset = self._offset
        self._offset += len(self._decoder.decode(_bytes(token)))
        return offset


def _alternatives(token: TokenLogprob) -> list[TokenLogprob]:
    return token.get("top_logprobs") or []


def _logprob(token: TokenLogprob) -> float | None:
    return None if token["logprob"] is None else max(token["logprob"], MIN_LOGPROB)


def _bytes(token: TokenLogprob) -> bytes:
    encoded = token.get("bytes")
    return token["token"].encode("utf-8", "replace") if encoded is None else bytes(encoded)


def _chat_token(token: TokenLogprob) -> dict[str, Any]:
    return {
        "token": token["token"],
        "logprob": _logprob(token),
        "bytes": list(_bytes(token)),
    }


def _logprobs_by_text(token: TokenLogprob) -> dict[str, float | None] | None:
    """Return the log probability of a token and its alternatives by their texts."""
    if token["logprob"] is None:
        return None
    return {item["token"]: _logprob(item) for item in (*_alternatives(token), token)}
