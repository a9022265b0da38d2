"""The slow path: explains the faults of a line that the fast decoder refused.

`explain` never raises, whatever the bytes. As much of the example as possible is decoded, so that a
fault in one place does not hide the findings on the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from ftkit.dataset.formats import Format
from ftkit.dataset.lenient_json import MAX_PLACES, Reading, json_path, read, walk
from ftkit.rules.nodes import Roles, SchemaError, Text
from ftkit.summary import Finding
from ftkit.validation.runner import Checks

MATCHING = ("tool-orphan", "tool-unanswered")
"""Rules that match tool calls with tool messages, which needs all messages."""

TEXT_KEYS = ("content", "text", "refusal", "arguments", "prompt", "completion")
"""Keys whose values the rules on texts apply to."""


class Explanation(Struct):
    """Findings on a line that the decoder refused, and the example that could be saved."""

    findings: list[Finding]
    example_count: int = 0
    """Number of JSON objects in the line; several if bare carriage returns separate them."""
    example: Any = None
    """The example without the invalid values, or None if the rest cannot be decoded either."""
    is_intact: bool = True
    """False if some of the bytes or values could not be decoded."""
    is_blank: bool = False


def explain(
    raw: bytes,
    format: Format,
    checks: Checks,
    number: int = 1,
    last: bool = False,
    first: bool = False,
) -> Explanation:
    """Return all findings on a line.

    Args:
        raw: The line without its line feed.
        format: The format of the file.
        checks: The rules to check.
        number: Line number, from 1.
        last: True for the last line of the file.
        first: True for the first line of the file.
    """
    reading = read(raw, number, last, first)
    findings = list(checks.reading(reading))
    if reading.pieces:
        return _explain_pieces(reading, format, checks, findings)
    if reading.is_too_large:
        return Explanation(findings, example_count=1)
    if not reading.text and not reading.utf16:
        return Explanation(findings, is_blank=True)
    if not isinstance(reading.value, dict):
        return Explanation(findings)
    if any(finding.rule == "format-mixed" for finding in findings):
        return Explanation(findings, example_count=1)
    return _explain_object(reading, format, checks, findings)


def _explain_pieces(
    reading: Reading, format: Format, checks: Checks, findings: list[Finding]
) -> Explanation:
    """Explain a line in which bare carriage returns separate several examples."""
    example_count = 0
    for piece in reading.pieces:
        explanation = explain(piece, format, checks, reading.number)
        findings.extend(explanation.findings[: MAX_PLACES - len(findings)])
        example_count += explanation.example_count
    return Explanation(findings, example_count)


def _explain_object(
    reading: Reading, format: Format, checks: Checks, findings: list[Finding]
) -> Explanation:
    # Imports jsonschema, which most files never need.
    from ftkit.validation.schema_errors import schema_errors

    value, number = reading.value, reading.number
    is_intact = not reading.bad_byte and not reading.defects
    unreadable = {
        defect.path for defect in reading.defects if defect.kind in ("nonfinite", "range")
    }
    places = schema_errors(value, format.name)
    broken = [place for place in places if place.path not in unreadable]
    findings.extend(checks.schema_errors(broken, number))
    texts = list(texts_of(value)) if is_intact else []
    all_errors_reported = max(len(places), len(reading.defects)) < MAX_PLACES
    example = _decode_rest(value, broken, format) if all_errors_reported else None
    if example is None:
        if all_errors_reported:
            findings.extend(_check_with_placeholders(value, format, checks, number))
        findings.extend(checks.texts(texts, number, checks.on(Text)))
        return Explanation(findings, 1)
    hidden = PathPrefixes({*unreadable, *_hidden_by(broken)})
    findings.extend(
        finding
        for finding in checks.example(format, example, number)[0]
        if not (hidden and (finding.rule in MATCHING or hidden.match(finding.path)))
    )
    return Explanation(findings, 1, example, is_intact)


class PathPrefixes:
    """Prefixes of JSON paths. A look-up takes the same time however many there are."""

    def __init__(self, prefixes: set[str]) -> None:
        self._prefixes = prefixes
        self._lengths = sorted(set(map(len, prefixes)))

    def __bool__(self) -> bool:
        return bool(self._prefixes)

    def match(self, path: str) -> bool:
        """Return True if the path begins with one of the prefixes."""
        return any(path[:length] in self._prefixes for length in self._lengths)


def _hidden_by(broken: list[SchemaError]) -> Iterator[str]:
    """Yield the paths that get no other findings.

    These are the values that do not fit, and content that may be empty beside them.
    """
    for place in broken:
        yield place.path
        if place.field in ("tool_calls", "function_call", "refusal"):
            yield f"{place.path.partition(f'.{place.field}')[0]}.content"


def texts_of(root: Any) -> Iterator[tuple[str, str]]:
    """Yield each text of an example that cannot be decoded with its JSON path."""
    for steps, _, value in walk([root]):
        if isinstance(value, str) and "tools" not in steps:
            key = next((step for step in reversed(steps) if isinstance(step, str)), "")
            if key in TEXT_KEYS:
                yield json_path(steps), value


def _decode_rest(value: dict[str, Any], broken: list[SchemaError], format: Format) -> Any:
    """Remove the keys that do not fit, and return the example, or None if it still does not fit."""
    for place in broken:
        holder, key = place.parent, place.steps[-1] if place.steps else None
        if isinstance(holder, dict) and place.keyword != "required":
            holder.pop(key, None)
    try:
        return format.build(value)
    except (msgspec.ValidationError, ValueError, TypeError):
        return None


def _check_with_placeholders(
    value: dict[str, Any], format: Format, checks: Checks, number: int
) -> Iterator[Finding]:
    """Yield the findings on an example in which some messages cannot be decoded.

    Placeholders of the same role replace these messages. There are no findings on them, nor on
    matching tool calls, nor on the order of the messages if a role is unknown.
    """
    replaced, unknown_role = set(), False
    for path, messages in _message_lists(value, format):
        for index, message in enumerate(messages):
            if not _is_decodable(message, format):
                role = message.get("role") if isinstance(message, dict) else None
                placeholder = format.placeholders.get(role) if isinstance(role, str) else None
                unknown_role = unknown_role or placeholder is None
                messages[index] = placeholder or format.placeholders["user"]
                replaced.add(f"{path}[{index}]")
    try:
        example = format.build(value)
    except (msgspec.ValidationError, TypeError):
        return
    order = {rule.name for rule in checks.on(Roles)} if unknown_role else set()
    for finding in checks.example(format, example, number)[0]:
        # The path of a message ends at its first bracket: `$.messages[2].content` is in
        # `$.messages[2]`.
        message_path = finding.path.partition("]")[0] + "]"
        if not (message_path in replaced or finding.rule in MATCHING or finding.rule in order):
            yield finding


def _is_decodable(message: Any, format: Format) -> bool:
    try:
        msgspec.convert(message, format.message_type)
    except msgspec.ValidationError:
        return False
    return True


def _message_lists(value: dict[str, Any], format: Format) -> Iterator[tuple[str, list[Any]]]:
    """Yield each list of messages in an example with its JSON path."""
    for keys in format.message_lists:
        inner: Any = value
        for key in keys:
            inner = inner.get(key) if isinstance(inner, dict) else None
        if isinstance(inner, list):
            yield ".".join(("$", *keys)), inner
