"""JSON syntax."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ftkit._text import excerpt
from ftkit.dataset.exact_numbers import exact_numbers
from ftkit.dataset.json_repair import (
    encode_like,
    from_python,
    split_objects,
    with_escaped_controls,
    with_nulls,
    without_trailing_commas,
)
from ftkit.dataset.lenient_json import MAX_DEPTH, Reading, read
from ftkit.rules.base import ERROR, WARNING, Hit, ScanPlan, rule
from ftkit.rules.fixes import Repair, fix
from ftkit.rules.samples import CHAT, CHAT_LINE, reinforcement, user_says
from ftkit.rules.sources import (
    COOKBOOK,
    OPENAI_MESSAGE,
    PYTHON_INT,
    PYTHON_JSON,
    RFC_8259,
    TOGETHER,
)

BOM = b"\xef\xbb\xbf"
QUESTION = '{"role": "user", "content": "Hi"}'


@rule(
    "FT120",
    "json-syntax",
    ERROR,
    Reading,
    bad='{"messages": [{"role": "user", "content": "Hi"},]}',
    good=CHAT,
    evidence=[OPENAI_MESSAGE.with_detail("file status `error`"), RFC_8259],
    provider_messages=[r"contains invalid json", r"cannot be parsed", r"is not valid JSON"],
)
def json_syntax(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """The line is not valid JSON.

    Providers refuse the file. The mistake is at the reported column or just before it. Common ones
    are a comma after the last item, single quotes, a quote inside a string without a backslash, a
    comment, and Python's `True` and `None`. Write the lines with a JSON library instead of by hand.
    """
    if reading.bom and not reading.first:
        yield Hit(
            "the line begins with a byte order mark (EF BB BF), which is not JSON; remove it",
            column=1,
        )
    error = reading.error
    if error and not _is_cut_off(reading):
        yield Hit(f"not JSON: {_diagnosis(reading)}", column=reading.shift + _position(reading) + 1)


@fix(json_syntax, Reading, "safe", "remove the byte order mark")
def _remove_bom(reading: Reading) -> Repair | None:
    has_mark = reading.bom and not reading.first
    return Repair([reading.raw.removeprefix(BOM)]) if has_mark else None


@fix(json_syntax, Reading, "safe", "remove the comma after the last item")
def _remove_commas(reading: Reading) -> Repair | None:
    return _if_json(reading, without_trailing_commas(reading.text))


@fix(json_syntax, Reading, "unsafe", "write Python literals as JSON")
def _from_python(reading: Reading) -> Repair | None:
    repair = _if_json(reading, from_python(reading.text))
    return repair and Repair(repair.lines, reading.text)


def _if_json(reading: Reading, text: str | None) -> Repair | None:
    """Return the repair of a line, or None if it is not JSON either."""
    if text is None or reading.bad_byte or not read(text.encode()).parsed:
        return None
    return Repair([text.encode()])


def _position(reading: Reading) -> int:
    """Return the index of the character at which the text stops being JSON.

    Python 3.13 reports a trailing comma at the comma, earlier versions after it.
    """
    error, text = reading.error, reading.text
    assert error is not None
    if not error.msg.startswith("Illegal trailing comma"):
        return error.pos
    return len(text) - len(text[error.pos + 1 :].lstrip())


def _ends_early(reading: Reading) -> bool:
    """Return True if the text ends before its JSON does."""
    error = reading.error
    if error is None or reading.text[:1] not in "{[":
        return False
    return error.pos >= len(reading.text) or error.msg.startswith("Unterminated string")


def _is_cut_off(reading: Reading) -> bool:
    """Return True if the file ends in the middle of this line."""
    return (
        reading.last
        and reading.error is not None
        and reading.text[:1] in "{["
        and reading.text[-1:] not in "}]"
    )


def _diagnosis(reading: Reading) -> str:
    """Return the most likely cause of a syntax error, and what to do."""
    error, text = reading.error, reading.text
    assert error is not None
    position = _position(reading)
    here, before = text[position : position + 1], text[:position].rstrip()[-1:]
    shown = excerpt(text[error.pos : error.pos + 20])
    if _ends_early(reading):
        return "the line ends before its JSON does; write each example on one line"
    if before == "," and here in ("}", "]"):
        return "a comma after the last item; remove it"
    if here and here in HINTS:
        return HINTS[here]
    if word := re.match(r"True|False|None|undefined|nan", text[error.pos :]):
        return f"{word[0]!r}; JSON has true, false and null"
    if error.msg.startswith("Invalid \\"):
        return f"an invalid escape: {shown}; write \\\\ for a backslash"
    if re.match(r"\w", here) and before == '"':
        return f'text after the closing quote: {shown}; write \\" for a quote inside a string'
    if re.match(r"\w", here) and error.msg.startswith("Expecting property name"):
        return f"a key without quotes: {shown}; write keys in double quotes"
    return f"{error.msg[0].lower()}{error.msg[1:]} at {shown}"


HINTS = {
    "'": (
        "single quotes; write strings in double quotes "
        "(if Python printed this, use json.dumps instead)"
    ),
    "/": "a comment; JSON has no comments, remove it",
    "#": "a comment; JSON has no comments, remove it",
    "\ufeff": "a byte order mark (EF BB BF), which is not JSON; remove it",
    **dict.fromkeys("“”„‟", "a typographic quote; write straight double quotes"),
}
"""Diagnoses by the character at which parsing stops."""


@rule(
    "FT121",
    "json-truncated",
    ERROR,
    Reading,
    whole_file=True,
    bad=CHAT[:60],
    good=CHAT_LINE,
    evidence=[OPENAI_MESSAGE.with_detail("as for json-syntax")],
)
def json_truncated(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """The last line ends in the middle of an example.

    The file is incomplete: a download was interrupted, or a program did not close the file.
    Providers refuse it. Get the whole file again.
    """
    if _is_cut_off(reading):
        yield Hit(
            "the file ends in the middle of an example; get the whole file again",
            column=reading.shift + len(reading.text),
        )


@rule(
    "FT122",
    "json-extra-data",
    ERROR,
    Reading,
    bad=CHAT + ",",
    good=CHAT,
    evidence=[OPENAI_MESSAGE.with_detail("as for json-syntax")],
    provider_messages=[r"Extra data"],
)
def json_extra_data(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """There is text after the example on a line.

    It is a comma, a comment or a second example, and makes the line invalid JSON. Remove it, or put
    each example on its own line.
    """
    if reading.extra and not reading.pieces:
        rest = reading.text[reading.extra :].lstrip()
        column = reading.shift + len(reading.text) - len(rest) + 1
        shown = "a comma" if rest == "," else excerpt(rest, 40)
        action = "put each example on its own line" if rest.startswith("{") else "remove it"
        yield Hit(f"{shown} after the end of the example; {action}", column=column)


@fix(json_extra_data, Reading, "safe", "put each example on its own line")
def _split_objects(reading: Reading) -> Repair | None:
    objects = None if reading.bad_byte else split_objects(reading.text)
    return Repair([text.encode() for text in objects]) if objects else None


@rule(
    "FT123",
    "json-not-object",
    ERROR,
    Reading,
    bad='["Hi", "Hello!"]',
    good=CHAT,
    evidence=[OPENAI_MESSAGE, TOGETHER, COOKBOOK.with_detail("data_type")],
    provider_messages=[r"is not a dictionary", r"every line is a JSON dictionary"],
)
def json_not_object(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """The line is JSON, but not an object.

    Providers refuse the file, since every example is an object. Write the line as `{...}`.
    """
    if reading.parsed and not isinstance(reading.value, dict):
        yield Hit(
            f"the line is {_kind(reading.value)}, not an object; write an example {{...}}",
            column=reading.shift + 1,
        )


def _kind(value: object) -> str:
    """Return the JSON type of a value, with its article."""
    if value is None:
        return "null"
    names = {bool: "a boolean", str: "a string", list: "an array"}
    return names.get(type(value), "a number")


@rule(
    "FT124",
    "json-duplicate-key",
    ERROR,
    Reading,
    bad=CHAT.replace('"Hi"', '"Hi", "content": "Hey"'),
    good=CHAT,
    evidence=[RFC_8259.with_detail("section 4: the behavior of parsers is unpredictable")],
)
def json_duplicate_key(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """An object has the same key twice.

    Parsers silently keep the last value, so the others are lost. Keep one of them.
    """
    for defect in reading.defects:
        if defect.kind == "duplicate":
            yield Hit(
                f"the object has the key {excerpt(defect.shown, 60)} twice, "
                "and parsers keep only the last; remove one",
                defect.path,
            )


@fix(json_duplicate_key, Reading, "unsafe", "keep the last value, as parsers do")
def _keep_last(reading: Reading) -> Repair | None:
    is_broken = reading.bad_byte or reading.extra or reading.control
    if is_broken or any(defect.kind != "duplicate" for defect in reading.defects):
        return None
    value = exact_numbers(reading.text.encode(), reading.value)
    return Repair([encode_like(value, reading.raw)], reading.text)


@rule(
    "FT125",
    "json-nonfinite",
    ERROR,
    Reading,
    context={"format": "reinforcement"},
    bad=reinforcement(QUESTION, rest=', "score": NaN'),
    good=reinforcement(QUESTION, rest=', "score": null'),
    evidence=[
        RFC_8259.with_detail("section 6: Infinity and NaN are not permitted"),
        PYTHON_JSON.with_detail("writes and reads them by default"),
    ],
)
def json_nonfinite(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """The line has NaN or Infinity, which JSON does not.

    Strict parsers refuse the line. Python's json module writes these values unless it is called
    with `allow_nan=False`. Write null, or leave the key out.
    """
    for defect in reading.defects:
        if defect.kind == "nonfinite":
            yield Hit(f"{defect.shown} is not JSON; write null or leave the key out", defect.path)


@fix(json_nonfinite, Reading, "unsafe", "write null")
def _as_null(reading: Reading) -> Repair | None:
    repair = _if_json(reading, with_nulls(reading.text))
    return repair and Repair(repair.lines, reading.text)


@rule(
    "FT126",
    "json-number-range",
    WARNING,
    Reading,
    context={"format": "reinforcement"},
    bad=reinforcement(QUESTION, rest=', "score": 1e999'),
    good=reinforcement(QUESTION, rest=', "score": 1e9'),
    evidence=[
        RFC_8259.with_detail("section 6: numbers are doubles, up to 1.8e308"),
        PYTHON_INT.with_detail("no integers of more than 4,300 digits"),
    ],
)
def json_number_range(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """A number is too large for a double, or has too many digits.

    Parsers turn it into infinity, or refuse the line. Write identifiers as strings.
    """
    for defect in reading.defects:
        if defect.kind == "range":
            yield Hit(
                f"{defect.shown}, which parsers cannot hold; write it as a string", defect.path
            )


@rule(
    "FT127",
    "json-too-deep",
    ERROR,
    Reading,
    context={"format": "reinforcement"},
    bad=reinforcement(QUESTION, rest=f', "answer": {"[" * 1000}{"]" * 1000}'),
    good=reinforcement(QUESTION, rest=f', "answer": {"[" * 100}{"]" * 100}'),
    evidence=[PYTHON_JSON.with_detail("RecursionError at about a thousand levels")],
)
def json_too_deep(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """Arrays and objects are nested too deeply.

    JSON parsers give up at about a thousand levels. Such a line is nearly always the product of a
    bug in the program that wrote it. Flatten the value.
    """
    if reading.too_deep:
        yield Hit(
            f"{reading.too_deep:,} levels of nesting, but parsers give up at about {MAX_DEPTH}; "
            "flatten the value"
        )


@rule(
    "FT128",
    "json-control-char",
    ERROR,
    Reading,
    bad=user_says("a\tb"),
    good=user_says(r"a\tb"),
    evidence=[RFC_8259.with_detail("section 7: control characters must be escaped")],
)
def json_control_char(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    r"""A string has a raw control character, such as a tab or NUL.

    It makes the line invalid JSON. Escape it, as `\t` or `\u0000`, or write the file with a JSON
    library, which does.
    """
    if reading.control:
        at = reading.control.pos
        character = reading.text[at]
        yield Hit(
            f"raw control character U+{ord(character):04X} in a string; "
            f"write it as \\u{ord(character):04x}",
            column=reading.shift + at + 1,
        )


@fix(json_control_char, Reading, "safe", "escape the control character")
def _escape_controls(reading: Reading) -> Repair | None:
    return _if_json(reading, with_escaped_controls(reading.text))


@rule(
    "FT129",
    "json-lone-surrogate",
    ERROR,
    Reading,
    bad=user_says(r"\ud83d"),
    good=user_says(r"\ud83d\ude00"),
    evidence=[RFC_8259.with_detail("section 8.2: the behavior of parsers is unpredictable")],
)
def json_lone_surrogate(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    r"""A string has half of a surrogate pair, such as `\ud83d` without its partner.

    It is not a character and cannot be written as UTF-8. Usually a string was cut in the middle of
    an emoji. Cut by characters, or remove the half.
    """
    for defect in reading.defects:
        if defect.kind == "surrogate":
            yield Hit(
                f"half of a surrogate pair in {defect.shown}; "
                "cut texts between characters, or remove the half",
                defect.path,
            )
