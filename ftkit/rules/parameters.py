"""Validation of tool parameters as JSON Schema, and of arguments against them.

What strangers wrote is checked in a number of steps that is proportional to its size.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any

import msgspec

from ftkit._text import excerpt, shorten
from ftkit.dataset.exact_numbers import encode
from ftkit.dataset.lenient_json import nests_deeper
from ftkit.dataset.types import FunctionDefinition
from ftkit.rules.json_schema.budget import TOO_DEEP, Budget, UncheckedError
from ftkit.rules.json_schema.simple import certainly_matches, is_simple

MESSAGE_LENGTH = 120
"""Maximum number of characters of a message of jsonschema."""

NAME_LENGTH = 64
"""Maximum number of characters of a function's name in a message."""

MAX_NESTING = 80
"""Maximum levels of arrays and objects in parameters and arguments."""

STEPS = 2_000
"""Steps that checking the calls of a conversation may take beside those for their size."""

STEPS_PER_CHARACTER = 4
"""Steps for each character of parameters and arguments.

Usual ones take half a step or less, lists of unions with twenty variants about three.
"""

CACHED_CHARACTERS = 20_000
"""Maximum characters of a small schema."""

CACHED_SCHEMAS = 256
"""Number of small schemas that are kept for the next examples."""

CACHED_LARGE_SCHEMAS = 1
"""Number of larger schemas that are kept: that of the tool whose calls are being checked."""


class ToolSchema:
    """JSON Schema of a tool: its parameters.

    Attributes:
        encoded: The schema as JSON.
    """

    def __init__(self, encoded: bytes) -> None:
        self.encoded = encoded

    @cached_property
    def problem(self) -> str:
        """Reason that the parameters are not the JSON Schema of an object, or ""."""
        if nests_deeper(self.encoded, MAX_NESTING):
            return TOO_DEEP
        if self.simple:
            return ""
        from ftkit.rules.json_schema.bounded import bounded_errors, meta_validator

        parameters = msgspec.json.decode(self.encoded)
        budget = Budget(STEPS + STEPS_PER_CHARACTER * len(self.encoded))
        try:
            errors = bounded_errors(meta_validator(), parameters, budget, limit=1)
        except UncheckedError as error:
            return f"they cannot be checked, since {error}"
        if errors:
            path = "".join(f"[{key!r}]" for key in errors[0].absolute_path)
            return f"{_short(errors[0])}{f' at {path[:80]}' if path else ''}"
        kind = parameters.get("type", "object")
        return "" if kind == "object" else f'"type" is {excerpt(kind, 40)}, not "object"'

    @cached_property
    def simple(self) -> dict[str, Any] | None:
        """The parameters if they are a small and simple schema of an object, else None."""
        if len(self.encoded) > CACHED_CHARACTERS or nests_deeper(self.encoded, MAX_NESTING):
            return None
        parameters = msgspec.json.decode(self.encoded)
        return parameters if is_simple(parameters) and parameters["type"] == "object" else None

    @cached_property
    def validator(self) -> Any:
        """Validator of the parameters, which must be a JSON Schema."""
        from ftkit.rules.json_schema.bounded import bounded_validator

        return bounded_validator(msgspec.json.decode(self.encoded))


def tool_schema(parameters: dict[str, Any]) -> ToolSchema:
    """Return the schema of a tool. Small ones are kept, since many examples have them."""
    encoded = encode(parameters)
    return (_small if len(encoded) <= CACHED_CHARACTERS else _large)(encoded)


_small = lru_cache(CACHED_SCHEMAS)(ToolSchema)
_large = lru_cache(CACHED_LARGE_SCHEMAS)(ToolSchema)


class ArgumentChecks:
    """Checks of the arguments of the calls of a conversation, which share a budget."""

    def __init__(self) -> None:
        self._schemas: dict[str, ToolSchema] = {}
        self._budget = Budget(STEPS)

    def mismatches(self, function: FunctionDefinition, arguments: str, value: Any) -> list[str]:
        """Return a message for each error in the arguments of a call.

        There is none if the function's parameters are invalid.

        Args:
            function: The function. Others in the conversation have other names.
            arguments: The arguments.
            value: The JSON value of the arguments.
        """
        schema = self._schemas.get(function.name)
        if schema is None:
            assert isinstance(function.parameters, dict)
            schema = self._schemas[function.name] = tool_schema(function.parameters)
            self._budget.steps += STEPS_PER_CHARACTER * len(schema.encoded)
        self._budget.steps += STEPS_PER_CHARACTER * len(arguments)
        if schema.problem:
            return []
        try:
            if nests_deeper(arguments.encode(), MAX_NESTING):
                raise UncheckedError(TOO_DEEP)
            if schema.simple and certainly_matches(value, schema.simple):
                return []
            from ftkit.rules.json_schema.bounded import bounded_errors

            errors = bounded_errors(schema.validator, value, self._budget)
        except UncheckedError as error:
            problems = [f"cannot be compared with its parameters: {error}"]
        except Exception:  # what jsonschema and referencing raise for an unusable schema
            return []
        else:
            problems = [f"do not match its parameters: {_short(error)}" for error in errors]
        return [f"arguments of {shorten(function.name, NAME_LENGTH)} {text}" for text in problems]


def _short(error: Any) -> str:
    message: str = error.message
    return message if len(message) <= MESSAGE_LENGTH else f"{message[:MESSAGE_LENGTH]}…"
