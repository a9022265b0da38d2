"""The registry of fixes.

A fix is a decorated function beside its rule. It takes a node and returns what replaces it, or None
where it does not apply. `on` is the node type:

- `Head`: returns a `FileFix` for the bytes of the file.
- `Reading`: returns the `Repair` of the line.
- `SchemaError`: returns an `Edit` of the object that holds the value, or several.
- `Messages`: returns the edits of a conversation.
- `Text`: returns the text.

The caller applies a fix only where the rule has a hit, and only if the rule then has none. A safe
fix keeps every value, in its only spelling that is valid. An unsafe one changes or removes a value.
A redaction replaces what should not be known, so no report has the old value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar, get_args

from msgspec import UNSET

from ftkit.dataset.lenient_json import Reading
from ftkit.rules.base import RULES, Fix, Rule, ScanPlan
from ftkit.rules.nodes import Messages, SchemaError, Text
from ftkit.summary import Safety

Allowed = frozenset[Safety]
"""Safeties of the fixes to apply."""

ALL: Allowed = frozenset(get_args(Safety))

UNREADABLE = (
    "line-too-large",
    "encoding-utf16",
    "encoding-invalid",
    "line-ending-cr",
    "json-too-deep",
    "json-syntax",
    "json-truncated",
    "json-extra-data",
    "json-control-char",
    "json-nonfinite",
    "json-number-range",
)
"""Rules on lines that may be no JSON. Such a line is rejected unless it is fixed."""

NodeT = TypeVar("NodeT")


class FileFix(NamedTuple):
    """Fix of a file: a function from the pieces of its bytes to those of JSON Lines."""

    convert: Callable[[Iterator[bytes]], Iterator[bytes]] | None
    """The function, or None if the fixes of lines do it all."""
    keeps_lines: bool = False
    """True if each line of the result is the line of the same number in the file."""
    format: str | None = None
    """Format of the fixed lines, if the file has none that is known."""


class Repair(NamedTuple):
    """The lines that replace a line."""

    lines: list[bytes]
    old: str = ""
    """What is lost, for the report."""


class Edit(NamedTuple):
    """Change of an object: a key gets another value, gets another name, or is removed."""

    parent: dict[str, Any]
    key: str
    value: Any = UNSET
    """The new value, or UNSET to rename or remove the key."""
    name: str = ""
    """The new name."""
    path: str = ""
    """JSON path of the value, if it is not that of the node."""

    def apply(self) -> None:
        """Change the object. A renamed key keeps its place."""
        if self.name:
            items = [(self._renamed(key), value) for key, value in self.parent.items()]
            self.parent.clear()
            self.parent.update(items)
        elif self.value is UNSET:
            self.parent.pop(self.key, None)
        else:
            self.parent[self.key] = self.value

    def _renamed(self, key: str) -> str:
        return self.name if key == self.key else key


def fix(
    rule: Rule, on: type[NodeT], safety: Safety, summary: str
) -> Callable[[Callable[[NodeT], Any]], Callable[[NodeT], Any]]:
    """Register a function as a fix of a rule.

    Args:
        rule: The rule.
        on: Node type that the function takes.
        safety: "safe" if no value is changed or lost, "redaction" if a secret is replaced, else
            "unsafe".
        summary: Imperative phrase, such as "rename the key".
    """

    def register(function: Callable[[NodeT], Any]) -> Callable[[NodeT], Any]:
        rule.fixes.append(Fix(safety, summary, on, function))
        rule.fixes.sort(key=lambda fix: get_args(Safety).index(fix.safety))
        return function

    return register


class Applied(NamedTuple):
    """A fix that applies to a node, and what replaces the node."""

    fix: Fix
    result: Any


def find_fix(rule: Rule, on: type[Any], node: Any, allowed: Allowed = ALL) -> Applied | None:
    """Return the first fix of a rule that applies to a node, or None.

    A `SchemaError` has no fix if an array holds the value: fixes edit objects.
    """
    if isinstance(node, SchemaError) and not isinstance(node.parent, dict):
        return None
    for fix in rule.fixes:
        if fix.on is on and fix.safety in allowed:
            result = fix.apply(node)
            if result is not None:
                return Applied(fix, result)
    return None


def find_line_fix(
    rule: Rule, reading: Reading, plan: ScanPlan, allowed: Allowed = ALL
) -> Applied | None:
    """Return the fix of a line by a rule, or None if the rule has no hit or no fix for it."""
    if Reading in rule.checks and next(rule.checks[Reading](reading, plan), None) is None:
        return None
    return find_fix(rule, Reading, reading, allowed)


def find_value_fix(
    rule: Rule, error: SchemaError, plan: ScanPlan, allowed: Allowed = ALL
) -> Applied | None:
    """Return the fix of a value by a rule, or None if the rule has no hit or no fix for it."""
    if next(rule.checks[SchemaError](error, plan), None) is None:
        return None
    return find_fix(rule, SchemaError, error, allowed)


def find_text_fix(rule: Rule, text: str, plan: ScanPlan, allowed: Allowed = ALL) -> Applied | None:
    """Return the fix of a text by a rule, or None if the rule has hits on the result, too.

    A text is not fixed either if it would be left blank or break another rule, such as a special
    token that an invisible character had divided.
    """
    applied = find_fix(rule, Text, text, allowed)
    if not applied or not applied.result.strip():
        return None

    def breaks(other: Rule, text: str) -> bool:
        return next(other.checks[Text](text, plan), None) is not None

    others = (other for other in RULES.values() if Text in other.checks)
    for other in others:
        if breaks(other, applied.result) and (other is rule or not breaks(other, text)):
            return None
    return applied


def fixed_paths(rule: Rule, messages: Messages, allowed: Allowed = ALL) -> dict[str, Safety]:
    """Return the safety of the fix of each path in a conversation that a rule can fix."""
    applied = find_fix(rule, Messages, messages, allowed)
    return {edit.path: applied.fix.safety for edit in applied.result} if applied else {}
