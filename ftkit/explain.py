"""The slow path: a line that the fast decoder refused, or that is odd, is read patiently and its faults are named.

`explain` is total: it never raises, whatever the bytes. What of the example can be read is returned with the findings, so
that the rules on whole examples are not skipped because of a fault elsewhere in the line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from ftkit.checks import Checks
from ftkit.examples import Message, PromptMessage
from ftkit.formats import Format
from ftkit.reading import Reading, read
from ftkit.rules.base import Broken
from ftkit.summary import Finding


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
    raw: bytes, format: Format, checks: Checks, number: int = 1, last: bool = False, first: bool = False
) -> Explained:
    """Everything that is wrong with one line, given without its line feed. `number` counts from 1 in the file."""
    reading = read(raw, number, last, first)
    if reading.blank and not raw.strip(b" \t\r"):
        return Explained([], blank=True)
    findings = list(checks.reading(reading))
    if reading.pieces:
        return _pieces(reading, format, checks, findings)
    value = reading.value
    if not isinstance(value, dict):
        return Explained(findings)
    clean = reading.bad_byte is None and not reading.marks
    if any(finding.rule == "format-mixed" for finding in findings):
        return Explained(findings, examples=1)
    from ftkit.shape import broken_places  # brings in jsonschema, which most files never need

    broken = broken_places(value, format.name)
    shaped = list(checks.shapes(broken, number))
    whole = _decode_rest(value, broken, format)
    if broken and whole is None:
        shaped.extend(_with_stand_ins(value, format, checks, number))
    reported = tuple(place.path for place in broken)
    findings.extend(shaped)
    if whole is not None:
        findings.extend(
            finding
            for finding in checks.example(format, whole, number)[0]
            if not finding.path.startswith(reported or ("?",))
        )
    return Explained(findings, 1, whole, clean)


def _pieces(reading: Reading, format: Format, checks: Checks, findings: list[Finding]) -> Explained:
    """Explain each of the examples that bare carriage returns separate, all of them on one line."""
    examples = 0
    for piece in reading.pieces:
        found = explain(piece, format, checks, reading.number)
        findings.extend(found.findings)
        examples += found.examples
    return Explained(findings, examples)


def _decode_rest(value: dict[str, Any], broken: list[Broken], format: Format) -> Any:
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


def _with_stand_ins(value: dict[str, Any], format: Format, checks: Checks, number: int) -> Iterator[Finding]:
    """Findings on the rest of an example that has messages which cannot be decoded.

    These are replaced by plain messages of the same role, and nothing is said of them. Whether calls and answers match
    cannot be told. Where a role is not known, nothing more is said of the example.
    """
    replaced = []
    for path, messages in _message_lists(value, format.name):
        for index, message in enumerate(messages):
            if not _decodes(message, format):
                role = message.get("role") if isinstance(message, dict) else None
                if not isinstance(role, str) or role not in STAND_INS:
                    return
                messages[index] = {"role": role, "content": "?", **STAND_INS[role]}
                replaced.append(f"{path}[{index}]")
    try:
        example = format.build(value)
    except (msgspec.ValidationError, TypeError):
        return
    for finding in checks.example(format, example, number)[0]:
        if not finding.path.startswith(tuple(replaced)) and not finding.rule.startswith("tool-"):
            yield finding


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
