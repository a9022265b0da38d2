"""Unsupported parameters of OpenAI's API, and their values that are accepted, without an effect."""

from __future__ import annotations

import json
from typing import Any

from msgspec import Raw, Struct

from ftkit.server.bodies import read_value
from ftkit.server.errors import InvalidRequestError

MAX_NEUTRAL_BYTES = 256
"""Maximum size of an accepted value."""

TEXT_ONLY = "this service generates text only"
REASONING = "`template` in the recipe of the base model sets it"
NOT_STORED = "this service does not store completions and responses"


class Unsupported(Struct, frozen=True):
    """Unsupported parameter.

    Attributes:
        reason: Reason for refusing other values.
        neutral: Accepted values besides null.
    """

    reason: str
    neutral: tuple[Any, ...] = ()


UNSUPPORTED = {
    "access_programs": Unsupported("this service has no such programs"),
    "audio": Unsupported(TEXT_ONLY),
    "background": Unsupported("this service answers at once", (False,)),
    "background_options": Unsupported("this service answers at once"),
    "context_management": Unsupported("this service does not shorten the input", ([],)),
    "conversation": Unsupported(NOT_STORED),
    "image": Unsupported("this service does not compress images"),
    "modalities": Unsupported(TEXT_ONLY, (["text"],)),
    "moderation": Unsupported("this service has no moderation"),
    "previous_response_id": Unsupported(f"{NOT_STORED}: send the earlier items in 'input'"),
    "prediction": Unsupported("this service has no predicted outputs"),
    "reasoning": Unsupported(REASONING, ({},)),
    "reasoning_effort": Unsupported(REASONING),
    "store": Unsupported(NOT_STORED, (False,)),
    "suffix": Unsupported("completions are generated after the prompt only", ("",)),
    "truncation": Unsupported("this service does not shorten the input", ("disabled",)),
    "verbosity": Unsupported("the models have no verbosity", ("medium",)),
    "web_search_options": Unsupported("this service has no web search"),
}
"""Parameters by their name, which has the same meaning at every endpoint."""


def check_unsupported(body: Struct) -> None:
    """Check the unsupported parameters of a body, whose fields are not decoded.

    Raises:
        InvalidRequestError: A parameter has a value that would have an effect.
    """
    for name in body.__struct_fields__:
        parameter = UNSUPPORTED.get(name)
        if parameter and not _is_neutral(getattr(body, name), parameter, name):
            raise _error(name, parameter)


def _is_neutral(encoded: Raw, parameter: Unsupported, name: str) -> bool:
    if memoryview(encoded).nbytes > MAX_NEUTRAL_BYTES:
        return False
    value: Any = read_value(encoded, object, name)
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if item is not None}
    # In Python, 0 equals False.
    return value is None or any(
        type(value) is type(item) and value == item for item in parameter.neutral
    )


def _error(name: str, parameter: Unsupported) -> InvalidRequestError:
    if not parameter.neutral:
        message = f"Unsupported parameter: '{name}'; {parameter.reason}. Leave it out."
        return InvalidRequestError(message, name, "unsupported_parameter")
    value = json.dumps(parameter.neutral[0])
    message = (
        f"Unsupported value for '{name}'; {parameter.reason}. Leave it out, or set it to {value}."
    )
    return InvalidRequestError(message, name, "unsupported_value")
