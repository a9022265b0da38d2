"""Budget of steps for checking a value against a JSON Schema."""

from __future__ import annotations

from typing import Any

TOO_MANY_STEPS = "that takes too many steps"
TOO_DEEP = "they are nested too deeply"


class UncheckedError(Exception):
    """A value cannot be checked against a schema; the message says why."""


class Budget:
    """Steps that may be taken.

    Attributes:
        steps: Number of steps left.
        depth: Number of keywords that are being checked, each inside the one before.
        schema: The whole schema.
        sets: The values of each `enum` as a set, by `id`. The schemas live as long as the budget.
        matching: Schemas with a `$ref`, each with a value that matches it, by their `id`. Holding
            both keeps each `id` unique.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.depth = 0
        self.schema: Any = None
        self.sets: dict[int, set[Any]] = {}
        self.matching: dict[tuple[int, int], tuple[Any, Any]] = {}

    def spend(self, steps: int) -> None:
        """Take steps.

        Raises:
            UncheckedError: The budget is spent.
        """
        self.steps -= steps
        if self.steps < 0:
            raise UncheckedError(TOO_MANY_STEPS)
