"""Validation of tool parameters as JSON Schema, and of arguments against them.

What strangers wrote is checked in a number of steps that is proportional to its size.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from ftkit._text import excerpt
from ftkit.dataset.lenient_json import nests_deeper
from ftkit.dataset.types import FunctionDefinition

if TYPE_CHECKING:
    from ftkit.rules.json_schema.bounded import Budget

MESSAGE_LENGTH = 120
"""Maximum number of characters of a message of jsonschema."""

MAX_NESTING = 80
"""Maximum levels of arrays and objects in parameters and arguments."""

STEPS = 2_000
"""Steps that checking the calls of a conversation may take beside those for their size."""

STEPS_PER_CHARACTER = 4
"""Steps for each character of parameters and arguments.

Usual ones take half a step or less, lists of unions with twenty variants about three.
"""

CACHED_CHARACTERS = 20_000
"""Maximum characters of parameters that are kept for the next examples."""


class Parameters:
    """The parameters of a tool.

    Attributes:
        encoded: The parameters as JSON.
    """

    def __init__(self, encoded: bytes) -> None:
        self.encoded = encoded

    @cached_property
    def problem(self) -> str:
        """Reason that they are not the JSON Schema of an object, or "" if they are."""
        from ftkit.rules.json_schema.bounded import (
            TOO_DEEP,
            Budget,
            UncheckedError,
            bounded_errors,
            meta_validator,
        )

        if nests_deeper(self.encoded, MAX_NESTING):
            return TOO_DEEP
        parameters = msgspec.json.decode(self.encoded)
        budget = Budget(STEPS + STEPS_PER_CHARACTER * len(self.encoded))
        try:
            errors = bounded_errors(meta_validator(), parameters, budget, limit=1)
        except UncheckedError as error:
            return f"they cannot be checked, since {error}"
        for first in errors:
            path = "".join(f"[{key!r}]" for key in first.absolute_path)
            return f"{_short(first)}{f' at {path[:80]}' if path else ''}"
        kind = parameters.get("type", "object")
        return "" if kind == "object" else f'"type" is {excerpt(kind, 40)}, not "object"'

    @cached_property
    def validator(self) -> Any:
        """Validator of the parameters, which must be a JSON Schema."""
        from ftkit.rules.json_schema.bounded import bounded_validator

        return bounded_validator(msgspec.json.decode(self.encoded))


def parameters_of(schema: dict[str, Any]) -> Parameters:
    """Return the parameters of a tool. Small ones are kept, since many examples have them."""
    encoded = msgspec.json.encode(schema)
    return (_small if len(encoded) <= CACHED_CHARACTERS else _large)(encoded)


_small, _large = lru_cache(256)(Parameters), lru_cache(1)(Parameters)


def forget_parameters() -> None:
    """Forget the parameters of earlier examples, so that the time for them can be measured."""
    _small.cache_clear()
    _large.cache_clear()


class ArgumentChecks:
    """Checks of the arguments of the calls of a conversation, which share a budget."""

    def __init__(self) -> None:
        self._parameters: dict[str, Parameters] = {}
        self._budget: Budget | None = None

    def mismatches(self, function: FunctionDefinition, arguments: str, value: Any) -> list[str]:
        """Return what is wrong with the arguments of a call, in words that follow "arguments".

        The list is empty if the function's parameters are invalid.

        Args:
            function: The function. Others in the conversation have other names.
            arguments: The arguments.
            value: The JSON value of the arguments.
        """
        from ftkit.rules.json_schema.bounded import TOO_DEEP, Budget, UncheckedError, bounded_errors

        self._budget = self._budget or Budget(STEPS)
        parameters = self._parameters.get(function.name)
        if parameters is None:
            assert isinstance(function.parameters, dict)
            parameters = self._parameters[function.name] = parameters_of(function.parameters)
            self._budget.steps += STEPS_PER_CHARACTER * len(parameters.encoded)
        self._budget.steps += STEPS_PER_CHARACTER * len(arguments)
        if parameters.problem:
            return []
        try:
            if nests_deeper(arguments.encode(), MAX_NESTING):
                raise UncheckedError(TOO_DEEP)
            errors = bounded_errors(parameters.validator, value, self._budget)
        except UncheckedError as error:
            return [f"cannot be compared with its parameters: {error}"]
        except Exception:  # what jsonschema and referencing raise for an unusable schema
            return []
        return [f"do not match its parameters: {_short(error)}" for error in errors]


def _short(error: Any) -> str:
    message: str = error.message
    return message if len(message) <= MESSAGE_LENGTH else f"{message[:MESSAGE_LENGTH]}…"
