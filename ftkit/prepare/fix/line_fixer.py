"""Fixes of one line: of its text, then of the values in it.

A line that was changed is read again, until no fix applies, so that fixing is idempotent. Numbers
keep their digits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from ftkit.dataset.exact_numbers import dumps, exact_numbers
from ftkit.dataset.formats import FORMATS
from ftkit.dataset.json_repair import encode_like
from ftkit.dataset.lenient_json import Reading, read
from ftkit.prepare.paths import path_steps, pointer_of
from ftkit.rules import RULES, Rule, ScanPlan
from ftkit.rules.fixes import (
    Allowed,
    Applied,
    Edit,
    find_fix,
    find_line_fix,
    find_text_fix,
    find_value_fix,
)
from ftkit.rules.nodes import Messages, SchemaError, Text
from ftkit.validation.runner import Checks
from ftkit.validation.slow_path import texts_of

MAX_ROUNDS = 12
"""Maximum number of times that a line is fixed and read again. If it needs more, it is left."""

MIXED = "format-mixed"
"""Rule on lines of another format, whose values are not fixed."""

BARE_CR = "line-ending-cr"
"""Rule on carriage returns that separate lines, each of which is fixed by itself."""

OLD_LENGTH = 2_000
"""Maximum number of characters of an old value in a report."""


class Change(NamedTuple):
    """A change that a fix made."""

    rule: str
    summary: str
    pointer: str
    """JSON pointer (RFC 6901) to the value, or "" for the line."""
    old: str = ""
    """The old value of an unsafe fix."""


class FixedLine(NamedTuple):
    """The lines that replace a line, and the changes that were made."""

    lines: list[bytes]
    changes: list[Change]


class LineFixer:
    """Fixes lines by the rules of a plan.

    Args:
        plan: The rules and the format.
        allowed: Safeties of the fixes to apply.
        fixes_values: False to fix the text of lines only, since their format is unknown.
    """

    def __init__(self, plan: ScanPlan, allowed: Allowed, fixes_values: bool = True) -> None:
        self.plan, self.allowed, self._fixes_values = plan, allowed, fixes_values
        self._format = FORMATS[plan.format]
        self._checks = Checks(plan)
        self._rules: dict[type[Any], list[Rule]] = {
            node: [
                rule
                for rule in RULES.values()
                if rule.name in plan.rules and any(fix.on is node for fix in rule.fixes)
            ]
            for node in (Reading, SchemaError, Messages, Text)
        }

    def split(self, raw: bytes) -> tuple[list[bytes], Change | None]:
        """Return the lines that bare carriage returns separate in a line, and the change if any."""
        rule = RULES[BARE_CR]
        if b"\r" in raw[:-1] and rule in self._rules[Reading]:
            applied = find_line_fix(rule, read(raw), self.plan, self.allowed)
            if applied:
                pieces = [piece for piece in raw.split(b"\r") if piece.strip()]
                return pieces, _change(rule, applied, "$", "")
        return [raw], None

    def fix(self, raw: bytes, number: int = 1, first: bool = False) -> FixedLine:
        """Return the lines that replace a line.

        Args:
            raw: The line without its line feed.
            number: Line number, from 1.
            first: True for the first line of a file.
        """
        done: list[bytes] = []
        changes: list[Change] = []
        pending = [(raw, 0)]
        while pending:
            line, rounds = pending.pop()
            try:
                replaced = self._fix_once(read(line, number, first=first), changes)
            except RecursionError:
                replaced = None
            if replaced is None:
                done.append(line)
            elif rounds == MAX_ROUNDS:
                return FixedLine([raw], [])
            else:
                pending += [(new, rounds + 1) for new in reversed(replaced)]
        return FixedLine(done, changes)

    def _fix_once(self, reading: Reading, changes: list[Change]) -> list[bytes] | None:
        """Return the lines that replace a line after the first fix of its text or its values."""
        for rule in self._rules[Reading]:
            applied = find_line_fix(rule, reading, self.plan, self.allowed)
            if applied and applied.result.lines != [reading.raw]:
                old = applied.result.old
                changes.append(_change(rule, applied, "$", old))
                lines: list[bytes] = applied.result.lines
                return lines
        if not self._fixes_values or not self._is_exact(reading):
            return None
        return self._fix_values(reading, changes)

    def _is_exact(self, reading: Reading) -> bool:
        """Return True if nothing is lost when the value of a line is written again."""
        return (
            isinstance(reading.value, dict)
            and not (reading.defects or reading.bad_byte or reading.extra or reading.control)
            and not any(row.rule == MIXED for row in self._checks.reading(reading))
        )

    def _fix_values(self, reading: Reading, changes: list[Change]) -> list[bytes] | None:
        text, new_changes = reading.text.encode(), list[Change]()
        value = exact_numbers(text, reading.value)
        for find in (self._fix_schema, self._fix_messages, self._fix_texts):
            find(value, reading.value, new_changes)
            if new_changes:
                before, _, after = reading.raw.partition(text)
                line = before + encode_like(value, reading.raw) + after
                changes += new_changes
                return [line]
        return None

    def _fix_schema(self, value: dict[str, Any], plain: Any, changes: list[Change]) -> None:
        from ftkit.validation.schema_errors import schema_errors

        for error in schema_errors(value, self._format.name):
            for rule in self._checks.rules_for(error):
                applied = (
                    find_value_fix(rule, error, self.plan, self.allowed)
                    if rule.name in self.plan.rules
                    else None
                )
                if applied:
                    edits = applied.result
                    edits = [edits] if isinstance(edits, Edit) else edits
                    self._apply(rule, applied, edits, error.path, changes)
                    break

    def _fix_messages(self, value: dict[str, Any], plain: Any, changes: list[Change]) -> None:
        example = self._build(plain)
        if example is None or not self._rules[Messages]:
            return
        broken = {row.rule for row in self._checks.example(self._format, example, 1)[0]}
        for rule in self._rules[Messages]:
            for messages in self._conversations(value) if rule.name in broken else ():
                applied = find_fix(rule, Messages, messages, self.allowed)
                if applied:
                    self._apply(rule, applied, applied.result, messages.path, changes)

    def _apply(
        self,
        rule: Rule,
        applied: Applied,
        edits: Iterable[Edit],
        path: str,
        changes: list[Change],
    ) -> None:
        for edit in edits:
            old = _as_text(edit.parent.get(edit.key)) if edit.key in edit.parent else ""
            edit.apply()
            changes.append(_change(rule, applied, edit.path or path, old))

    def _conversations(self, value: dict[str, Any]) -> Iterator[Messages]:
        for keys in self._format.message_lists:
            holder = value
            for key in keys[:-1]:
                holder = holder[key]
            yield Messages(holder[keys[-1]], holder, ".".join(("$", *keys)))

    def _fix_texts(self, value: dict[str, Any], plain: Any, changes: list[Change]) -> None:
        example = self._build(plain)
        texts = texts_of(value) if example is None else self._format.texts(example)
        for path, text in list(texts) if self._rules[Text] else ():
            holder, key = _place(value, path)
            fixed = text if holder is not None else ""
            for rule in self._rules[Text]:
                if next(rule.checks[Text](fixed, self.plan), None) is None:
                    continue
                applied = find_text_fix(rule, fixed, self.plan, self.allowed)
                if applied:
                    changes.append(_change(rule, applied, path, _as_text(fixed)))
                    fixed = applied.result
            if holder is not None:
                holder[key] = fixed

    def _build(self, value: dict[str, Any]) -> Any:
        """Return the example of a JSON object, or None if it does not fit the format."""
        try:
            return self._format.build(value)
        except (msgspec.ValidationError, ValueError, TypeError):
            return None


def _change(rule: Rule, applied: Applied, path: str, old: str) -> Change:
    summary = applied.fix.summary
    pointer = pointer_of(path_steps(path))
    return Change(rule.name, summary, pointer, old if applied.fix.safety == "unsafe" else "")


def _as_text(value: Any) -> str:
    text = value if isinstance(value, str) else dumps(value, ensure_ascii=False)
    return text if len(text) <= OLD_LENGTH else f"{text[:OLD_LENGTH]}…"


def _place(root: Any, path: str) -> tuple[Any, Any]:
    """Return the object or array that holds the value of a JSON path, and its key or index.

    A path may have been cut, and then the object is None.
    """
    steps = path_steps(path)
    try:
        for step in steps[:-1]:
            root = root[step]
        return (root, steps[-1]) if isinstance(root[steps[-1]], str) else (None, None)
    except (KeyError, IndexError, TypeError):
        return None, None
