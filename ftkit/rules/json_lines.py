"""Lines that are not JSON objects in UTF-8."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ftkit._text import excerpt
from ftkit.dataset.detect import Head
from ftkit.dataset.lenient_json import MAX_DEPTH, Reading, is_utf16
from ftkit.rules.base import ERROR, INFO, WARNING, Hit, ScanPlan, also, rule

GOOD = (
    '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}'
)


@rule(
    "FT110",
    "encoding-bom",
    WARNING,
    "reading",
    bad=b"\xef\xbb\xbf" + GOOD.encode() + b"\n",
    good=GOOD,
    whole_file=True,
    evidence="parsers fail on line 1 (openai-python#426); Azure's documentation asks for a byte order mark",
    says=[r"Line 1 is not a dictionary"],
)
def encoding_bom(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """The file begins with a UTF-8 byte order mark.

    Editors and spreadsheets on Windows write these three invisible bytes. A plain JSON parser takes them for part of the
    first line and refuses it. Save the file as "UTF-8 without BOM". Providers that ask for the mark are not warned about.
    """
    if reading.bom and reading.first and plan.limits.facts.bom == "unwanted":
        yield Hit(
            "the file begins with a byte order mark (EF BB BF); save it as UTF-8 without BOM",
            column=1,
        )


@rule(
    "FT111",
    "encoding-utf16",
    ERROR,
    "reading",
    bad=GOOD.encode("utf-16-le"),
    good=GOOD,
    evidence="together 1.5: 'not UTF-8 encoded'",
)
def encoding_utf16(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """The text is UTF-16 or UTF-32, not UTF-8.

    JSON Lines are UTF-8. Convert the file, for example with `iconv -f UTF-16 -t UTF-8`.
    """
    if reading.utf16:
        yield Hit(
            "this is UTF-16 or UTF-32 text; convert it to UTF-8, e.g. with `iconv -f UTF-16 -t UTF-8`"
        )


@also(encoding_utf16, "file")
def _utf16_file(head: Head, plan: ScanPlan) -> Iterator[Hit]:
    if is_utf16(head.data[:4096]):
        yield Hit(
            "the file is UTF-16 or UTF-32 text; convert it to UTF-8, e.g. with `iconv -f UTF-16 -t UTF-8`"
        )


@rule(
    "FT112",
    "encoding-invalid",
    ERROR,
    "reading",
    good=GOOD,
    bad='{"messages": [{"role": "user", "content": "Où?"}, {"role": "assistant", "content": "Ici."}]}'.encode(
        "latin-1"
    ),
    evidence="together 1.5: 'not UTF-8 encoded', without a position",
)
def encoding_invalid(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """The line holds bytes that are not UTF-8.

    Most often the file was written in Latin-1 or Windows-1252, or cut in the middle of a character. The column counts bytes.
    Write the file as UTF-8.
    """
    error = reading.bad_byte
    if error and not reading.utf16:
        byte = reading.raw[error.start]
        yield Hit(
            f"byte 0x{byte:02X} at byte {error.start + 1} of the line is not UTF-8 ({error.reason}); save the file as UTF-8",
            column=error.start + 1,
        )


@rule(
    "FT113",
    "line-ending-cr",
    ERROR,
    "reading",
    bad=b"\r".join([GOOD.encode()] * 2),
    good=GOOD,
    evidence="JSON Lines are separated by LF; a lone CR separates nothing",
)
def line_ending_cr(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """Examples are separated by a bare carriage return, which to a JSON Lines reader is no line end.

    Old Mac exports do this. Replace each CR by LF, for example with `tr '\\r' '\\n'`.
    """
    if reading.pieces:
        number = len(reading.pieces)
        yield Hit(
            f"{number} examples separated by bare carriage returns; end lines with LF: tr '\\r' '\\n' < IN > OUT"
        )


@rule(
    "FT114",
    "line-trailing-space",
    INFO,
    "reading",
    bad=" " + GOOD,
    good=GOOD,
    evidence="legal JSON white space; harmless",
)
def line_trailing_space(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """There is white space before or after the JSON of the line.

    It is legal and harmless; some tools that compare or split lines trip over it.
    """
    line = reading.raw.removesuffix(b"\r")
    if reading.text and (line[:1] in b" \t\r" or line[-1:] in b" \t\r"):
        yield Hit("white space around the JSON of the line; it may be stripped")


@rule(
    "FT120",
    "json-syntax",
    ERROR,
    "reading",
    good=GOOD,
    bad='{"messages": [{"role": "user", "content": "Hi"},]}',
    evidence="service message, file status error",
    says=[r"contains invalid json", r"cannot be parsed", r"is not valid JSON"],
)
def json_syntax(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """The line is not valid JSON.

    The column is where the parser stopped; the mistake is there or just before. Common ones: a comma after the last item,
    single quotes, a quote inside a string without a backslash, a comment, Python's `True` and `None`. Write each line with a
    JSON library rather than by hand.
    """
    if reading.bom and not reading.first:
        yield Hit(
            "the line begins with a byte order mark (EF BB BF), which is not JSON; remove it",
            column=1,
        )
    error = reading.error
    if error and not _cut_off(reading):
        yield Hit(f"not JSON: {_meaning(reading)}", column=reading.shift + error.pos + 1)


def _stops(reading: Reading) -> bool:
    """Whether the text ends before its JSON does."""
    error = reading.error
    if error is None or reading.text[:1] not in "{[":
        return False
    return error.pos >= len(reading.text) or error.msg.startswith("Unterminated string")


def _cut_off(reading: Reading) -> bool:
    """Whether the file ends in the middle of this line."""
    return (
        reading.last
        and reading.error is not None
        and reading.text[:1] in "{["
        and reading.text[-1:] not in "}]"
    )


def _meaning(reading: Reading) -> str:
    """What the parser's complaint most likely means, and what to do."""
    error, text = reading.error, reading.text
    assert error is not None
    here, before = text[error.pos : error.pos + 1], text[: error.pos].rstrip()[-1:]
    shown = excerpt(text[error.pos : error.pos + 20])
    if _stops(reading):
        return "the line ends before its JSON does; each example must stand on one line"
    if (before == "," and here in ("}", "]")) or error.msg.startswith("Illegal trailing comma"):
        return "a comma after the last item; remove it"
    if here and here in HINTS:
        return HINTS[here]
    if word := re.match(r"True|False|None|undefined|nan", text[error.pos :]):
        return f"{word[0]!r}; JSON writes true, false and null"
    if error.msg.startswith("Invalid \\"):
        return f"a backslash that escapes nothing: {shown}; write \\\\ for a backslash"
    if re.match(r"\w", here) and before == '"':
        return f'text after the closing quote: {shown}; a quote inside a string is written \\"'
    if re.match(r"\w", here) and error.msg.startswith("Expecting property name"):
        return f"a key without quotes: {shown}; keys take double quotes"
    return f"{error.msg[0].lower()}{error.msg[1:]} at {shown}"


HINTS = {
    "'": "single quotes; JSON strings take double quotes (was this printed by Python? use json.dumps)",
    "/": "a comment; JSON has none, remove it",
    "#": "a comment; JSON has none, remove it",
    "\ufeff": "a byte order mark (EF BB BF), which is not JSON; remove it",
    **dict.fromkeys("“”„‟", "a typographic quote; JSON strings take the straight double quote"),
}


@rule(
    "FT121",
    "json-truncated",
    ERROR,
    "reading",
    good=GOOD + "\n",
    bad=GOOD[:60],
    whole_file=True,
    evidence="as json-syntax: an interrupted download or copy",
)
def json_truncated(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """The last line stops in the middle of an example.

    The file was cut off, by an interrupted download or a writer that did not close it. Get the whole file again.
    """
    if _cut_off(reading):
        column = reading.shift + len(reading.text)
        yield Hit(
            "the file stops in the middle of an example; it was cut off, get it again",
            column=column,
        )


@rule(
    "FT122",
    "json-extra-data",
    ERROR,
    "reading",
    bad=GOOD + ",",
    good=GOOD,
    evidence="as json-syntax",
    says=[r"Extra data"],
)
def json_extra_data(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """There is text after the JSON value, or a second value on the line.

    A comma or a comment at the end of the line, or two examples without a line end between them.
    """
    if reading.extra and not reading.pieces:
        rest = reading.text[reading.extra :].lstrip()
        column = reading.shift + len(reading.text) - len(rest) + 1
        what = "a comma" if rest == "," else excerpt(rest, 40)
        action = "put each example on its own line" if rest.startswith("{") else "remove it"
        yield Hit(f"{what} after the end of the example; {action}", column=column)


@rule(
    "FT123",
    "json-not-object",
    ERROR,
    "reading",
    bad='["Hi", "Hello!"]',
    good=GOOD,
    evidence="service message; together 1.5 and the cookbook notebook check it too",
    says=[r"is not a dictionary", r"every line is a JSON dictionary"],
)
def json_not_object(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """The line is JSON, but not an object.

    Every line must be one `{...}`, an example.
    """
    if reading.parsed and not isinstance(reading.value, dict):
        yield Hit(
            f"the line is {_kind(reading.value)}, not an object; each line is one example {{...}}",
            column=reading.shift + 1,
        )


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "an array",
    }
    return names.get(type(value), "a value")


@rule(
    "FT124",
    "json-duplicate-key",
    ERROR,
    "reading",
    good=GOOD,
    bad='{"messages": [{"role": "user", "content": "Hi", "content": "Hey"}, {"role": "assistant", "content": "Hello!"}]}',
    evidence="RFC 8259 leaves it open; parsers keep the last value and say nothing",
)
def json_duplicate_key(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """A key stands twice in one object.

    Parsers keep the last one in silence, so data is lost. Keep one.
    """
    for defect in reading.defects:
        if defect.kind == "duplicate":
            yield Hit(
                f"the key {excerpt(defect.shown, 60)} stands twice in one object and only the last counts; keep one",
                defect.path,
            )


@rule(
    "FT125",
    "json-nonfinite",
    ERROR,
    "reading",
    given={"format": "reinforcement"},
    bad='{"messages": [{"role": "user", "content": "Hi"}], "score": NaN}',
    good='{"messages": [{"role": "user", "content": "Hi"}], "score": 0}',
    evidence="RFC 8259 has no NaN and no Infinity, though Python writes and reads them",
)
def json_nonfinite(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """NaN or Infinity, which JSON does not have.

    Python's json module writes them unless told `allow_nan=False`. Write null or leave the key out.
    """
    for defect in reading.defects:
        if defect.kind == "nonfinite":
            yield Hit(f"{defect.shown} is not JSON; write null or leave the key out", defect.path)


@rule(
    "FT126",
    "json-number-range",
    WARNING,
    "reading",
    given={"format": "reinforcement"},
    bad='{"messages": [{"role": "user", "content": "Hi"}], "score": 1e999}',
    good='{"messages": [{"role": "user", "content": "Hi"}], "score": 1e9}',
    evidence="doubles end at 1.8e308; Python reads no integer of more than 4,300 digits",
)
def json_number_range(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """A number that is too large for a double, or has too many digits to be read.

    Parsers turn it into infinity or refuse it. Write it as a string if it is an identifier.
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
    "reading",
    given={"format": "reinforcement"},
    bad='{"messages": [{"role": "user", "content": "Hi"}], "answer": %s%s}'
    % ("[" * 1000, "]" * 1000),
    good='{"messages": [{"role": "user", "content": "Hi"}], "answer": %s%s}'
    % ("[" * 100, "]" * 100),
    evidence="Python's json module raises RecursionError at about a thousand levels",
)
def json_too_deep(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """Arrays and objects are nested too deep.

    JSON parsers give up at about a thousand levels. Such a line is nearly always the product of a bug.
    """
    if reading.too_deep:
        yield Hit(f"{reading.too_deep:,} levels of nesting; parsers give up at about {MAX_DEPTH}")


@rule(
    "FT128",
    "json-control-char",
    ERROR,
    "reading",
    good=GOOD,
    bad='{"messages": [{"role": "user", "content": "a\tb"}, {"role": "assistant", "content": "Hello!"}]}',
    evidence="RFC 8259: control characters in strings must be escaped",
)
def json_control_char(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """A raw control character (a tab, a NUL) stands inside a string.

    JSON wants it escaped: `\\t`, `\\u0000`. Write the file with a JSON library.
    """
    if reading.control:
        at = reading.control.pos
        character = reading.text[at]
        yield Hit(
            f"raw control character U+{ord(character):04X} in a string; write it as \\u{ord(character):04x}",
            column=reading.shift + at + 1,
        )


@rule(
    "FT129",
    "json-lone-surrogate",
    ERROR,
    "reading",
    good=GOOD,
    bad='{"messages": [{"role": "user", "content": "\\ud83d"}, {"role": "assistant", "content": "Hello!"}]}',
    evidence="RFC 8259 section 8.2; such a string cannot be written as UTF-8",
)
def json_lone_surrogate(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """Half of a surrogate pair (`\\ud83d` without its partner), which is no character.

    It comes from cutting a string in the middle of an emoji. Cut by characters, or drop the half.
    """
    for defect in reading.defects:
        if defect.kind == "surrogate":
            yield Hit(
                f"half of a surrogate pair in {defect.shown}; the text was cut inside a character",
                defect.path,
            )
