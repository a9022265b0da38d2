"""The slow path: a line that the fast decoder refused, or that is odd, is read patiently and its faults are named.

`explain` is total: it never raises, whatever the bytes. What of the example can be read is returned with the findings, so
that the rules on whole examples are not skipped because of a fault elsewhere in the line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from ftkit.dataset.formats import Format
from ftkit.dataset.lenient_json import Reading, join, read
from ftkit.dataset.types import Message, PromptMessage
from ftkit.rules.nodes import Roles, SchemaError, Text
from ftkit.summary import Finding
from ftkit.validation.runner import Checks


class Explained(Struct):
    """What one line turned out to be.

    `examples` counts the JSON objects that it holds (more than one where bare CRs separate them). `whole` is the example if
    the line has one that can be decoded, after the places that do not fit were taken out. `clean` says that its text can be
    trusted: every byte of it could be decoded.
    """

    findings: list[Finding]
    examples: int = 0
    whole: Any = None
    clean: bool = True
    blank: bool = False


def explain(
    raw: bytes,
    format: Format,
    checks: Checks,
    number: int = 1,
    last: bool = False,
    first: bool = False,
) -> Explained:
    """Everything that is wrong with one line, given without its line feed. `number` counts from 1 in the file."""
    reading = read(raw, number, last, first)
    findings = list(checks.reading(reading))
    if reading.pieces:
        return _pieces(reading, format, checks, findings)
    if not reading.text and not reading.utf16:
        return Explained(findings, blank=True)
    if not isinstance(reading.value, dict):
        return Explained(findings)
    if any(finding.rule == "format-mixed" for finding in findings):
        return Explained(findings, examples=1)
    return _explain_object(reading, format, checks, findings)


def _explain_object(
    reading: Reading, format: Format, checks: Checks, findings: list[Finding]
) -> Explained:
    from ftkit.validation.schema_errors import (
        broken_places,
    )  # brings in jsonschema, which most files never need

    value, number = reading.value, reading.number
    unreadable = tuple(mark.path for mark in reading.marks if mark.kind in ("nonfinite", "range"))
    broken = [place for place in broken_places(value, format.name) if place.path not in unreadable]
    findings.extend(checks.shapes(broken, number))
    texts = [] if reading.bad_byte or reading.marks else list(_texts(value, format.name))
    whole = _decode_rest(value, broken, format)
    if whole is None:
        findings.extend(_with_stand_ins(value, format, checks, number))
        findings.extend(checks.texts(texts, number, checks.on(Text)))
        return Explained(findings, 1)
    hidden = (*unreadable, *_hidden_by(broken))
    findings.extend(
        each
        for each in checks.example(format, whole, number)[0]
        if not each.path.startswith(hidden or ("?",)) and not (hidden and each.rule in MATCHING)
    )
    return Explained(findings, 1, whole, clean=not reading.bad_byte and not reading.marks)


MATCHING = ("tool-orphan", "tool-unanswered")
"""The rules that match calls and answers, of which nothing can be said when some cannot be read."""


def _hidden_by(broken: list[SchemaError]) -> Iterator[str]:
    """The paths of which nothing more is said: those that do not fit, and content that they would have replaced."""
    for place in broken:
        yield place.path
        if place.field in ("tool_calls", "function_call", "refusal"):
            yield f"{place.path.partition(f'.{place.field}')[0]}.content"


TEXT_KEYS = ("content", "text", "refusal", "arguments", "prompt", "completion")


def _texts(value: Any, format: str) -> Iterator[tuple[str, str]]:
    """The texts of an example that cannot be decoded, each with its path."""
    stack = [("$", "", value)]
    while stack:
        path, key, each = stack.pop()
        if isinstance(each, str) and key in TEXT_KEYS:
            yield path, each
        elif isinstance(each, dict):
            stack.extend(
                (join(path, name), name, inner)
                for name, inner in reversed(each.items())
                if name != "tools"
            )
        elif isinstance(each, list):
            stack.extend(
                (f"{path}[{index}]", key, each[index]) for index in reversed(range(len(each)))
            )


def _pieces(reading: Reading, format: Format, checks: Checks, findings: list[Finding]) -> Explained:
    """Explain each of the examples that bare carriage returns separate, all of them on one line."""
    examples = 0
    for piece in reading.pieces:
        found = explain(piece, format, checks, reading.number)
        findings.extend(found.findings)
        examples += found.examples
    return Explained(findings, examples)


def _decode_rest(value: dict[str, Any], broken: list[SchemaError], format: Format) -> Any:
    """The example without the keys that do not fit; None if it cannot be decoded even so."""
    for place in broken:
        holder, key = place.parent, place.steps[-1] if place.steps else None
        if isinstance(holder, dict) and place.keyword != "required":
            holder.pop(key, None)
    try:
        return format.build(value)
    except (msgspec.ValidationError, ValueError, TypeError):
        return None


STAND_INS: dict[str, dict[str, str]] = {
    "system": {},
    "developer": {},
    "user": {},
    "assistant": {},
    "tool": {"tool_call_id": "?"},
    "function": {"name": "unknown"},
}


def _with_stand_ins(
    value: dict[str, Any], format: Format, checks: Checks, number: int
) -> Iterator[Finding]:
    """Findings on the rest of an example that has messages which cannot be decoded.

    These are replaced by plain messages of the same role, and nothing is said of them, nor of whether calls and answers
    match. Where a role is not known, nothing is said of the order of the messages.
    """
    replaced, guessed = [], False
    for path, messages in _message_lists(value, format.name):
        for index, message in enumerate(messages):
            if not _decodes(message, format):
                role = message.get("role") if isinstance(message, dict) else None
                stand_in = STAND_INS.get(role) if isinstance(role, str) else None
                guessed = guessed or stand_in is None
                messages[index] = (
                    PLAIN if stand_in is None else {"role": role, "content": "?", **stand_in}
                )
                replaced.append(f"{path}[{index}]")
    try:
        example = format.build(value)
    except (msgspec.ValidationError, TypeError):
        return
    order = {rule.name for rule in checks.on(Roles)} if guessed else set()
    for finding in checks.example(format, example, number)[0]:
        said = (
            finding.path.startswith(tuple(replaced))
            or finding.rule in MATCHING
            or finding.rule in order
        )
        if not said:
            yield finding


PLAIN = {"role": "user", "content": "?"}


def _decodes(message: Any, format: Format) -> bool:
    try:
        msgspec.convert(message, PromptMessage if format.name == "reinforcement" else Message)
    except msgspec.ValidationError:
        return False
    return True


def _message_lists(value: dict[str, Any], format: str) -> Iterator[tuple[str, list[Any]]]:
    if format == "preference":
        inner = value.get("input")
        yield from _lists(inner if isinstance(inner, dict) else {}, "$.input.", "messages")
        yield from _lists(value, "$.", "preferred_output", "non_preferred_output")
    else:
        yield from _lists(value, "$.", "messages")


def _lists(holder: dict[str, Any], path: str, *keys: str) -> Iterator[tuple[str, list[Any]]]:
    for key in keys:
        if isinstance(holder.get(key), list):
            yield f"{path}{key}", holder[key]
