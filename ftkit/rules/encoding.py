"""Encoding of lines."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit.dataset.detect import Head
from ftkit.dataset.lenient_json import Reading, is_utf16
from ftkit.dataset.transcode import is_encoded, transcode, utf16_codec
from ftkit.rules.base import ERROR, INFO, WARNING, Hit, ScanPlan, also, rule
from ftkit.rules.fixes import FileFix, Repair, fix
from ftkit.rules.samples import CHAT, CHAT_LINE
from ftkit.rules.sources import (
    AZURE_DOCS,
    JSON_LINES,
    OPENAI_PYTHON_426,
    RFC_8259,
    TOGETHER,
)

UTF16_ADVICE = "UTF-16 or UTF-32; convert it to UTF-8, e.g. with `iconv -f UTF-16 -t UTF-8`"
BOM = b"\xef\xbb\xbf"
NOT_UTF8 = TOGETHER.with_detail('"not UTF-8 encoded"')
WHERE = (
    '{"messages": [{"role": "user", "content": "Où?"}, {"role": "assistant", "content": "Ici."}]}'
)


@rule(
    "FT110",
    "encoding-bom",
    WARNING,
    Reading,
    whole_file=True,
    bad=b"\xef\xbb\xbf" + CHAT_LINE.encode(),
    good=CHAT_LINE,
    evidence=[
        OPENAI_PYTHON_426.with_detail("parsers fail on line 1"),
        AZURE_DOCS.with_detail("asks for a byte order mark"),
    ],
    provider_messages=[r"Line 1 is not a dictionary"],
)
def encoding_bom(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """The file begins with a UTF-8 byte order mark.

    Editors and spreadsheets on Windows write these three invisible bytes. A plain JSON parser takes
    them as part of the first line, and refuses it. Save the file as "UTF-8 without BOM". Providers
    that ask for the mark are exempt.
    """
    if reading.bom and reading.first and plan.limits.facts.bom == "unwanted":
        yield Hit(
            "the file begins with a byte order mark (EF BB BF); save it as UTF-8 without BOM",
            column=1,
        )


@fix(encoding_bom, Reading, "safe", "remove the byte order mark")
def _remove_bom(reading: Reading) -> Repair:
    return Repair([reading.raw.removeprefix(BOM)])


@rule(
    "FT111",
    "encoding-utf16",
    ERROR,
    Reading,
    bad=lambda: CHAT.encode("utf-16-le"),
    good=CHAT,
    evidence=[NOT_UTF8, JSON_LINES],
)
def encoding_utf16(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """The text is UTF-16 or UTF-32.

    JSON Lines are UTF-8, and providers read nothing else. Convert the file, for example with
    `iconv -f UTF-16 -t UTF-8`.
    """
    if reading.utf16:
        yield Hit(f"the line is {UTF16_ADVICE}")


@also(encoding_utf16, Head)
def _utf16_file(head: Head, plan: ScanPlan) -> Iterator[Hit]:
    if is_utf16(head.data[:4096]):
        yield Hit(f"the file is {UTF16_ADVICE}")


@fix(encoding_utf16, Reading, "safe", "write the line as UTF-8")
def _transcode_line(reading: Reading) -> Repair | None:
    raw = reading.raw
    for codec in (utf16_codec(raw), "utf-16-le", "utf-16-be"):
        try:
            text = raw.decode(codec)
        except UnicodeDecodeError:
            continue
        if text.isprintable() and text.strip():
            return Repair([text.encode()])
    return None


@fix(encoding_utf16, Head, "safe", "write the file as UTF-8")
def _transcode_file(head: Head) -> FileFix | None:
    codec = utf16_codec(head.data)
    if not is_encoded(head.data, codec, head.complete):
        return None  # single lines are, or none is
    return FileFix(lambda pieces: transcode(pieces, codec), keeps_lines=True)


@rule(
    "FT112",
    "encoding-invalid",
    ERROR,
    Reading,
    bad=WHERE.encode("latin-1"),
    good=WHERE,
    evidence=[NOT_UTF8, JSON_LINES],
)
def encoding_invalid(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """The line has bytes that are not UTF-8.

    Providers refuse the file. Usually it was written in Latin-1 or Windows-1252, or cut in the
    middle of a character. Write it as UTF-8. The column of the finding counts bytes.
    """
    error = reading.bad_byte
    if error and not reading.utf16 and not reading.pieces:  # which are read by themselves
        byte = reading.raw[error.start]
        yield Hit(
            f"byte 0x{byte:02X} at byte {error.start + 1} of the line is not UTF-8 "
            f"({error.reason}); save the file as UTF-8",
            column=error.start + 1,
        )


@rule(
    "FT113",
    "line-ending-cr",
    ERROR,
    Reading,
    bad=b"\r".join([CHAT.encode()] * 2),
    good=CHAT,
    evidence=[JSON_LINES.with_detail("lines end with LF")],
)
def line_ending_cr(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    r"""Examples are separated by bare carriage returns.

    JSON Lines end with LF, so the whole file is a single line to a reader. Exports of old Mac
    programs look like this. Replace each CR by LF, for example with `tr '\r' '\n'`.
    """
    if reading.pieces:
        yield Hit(
            f"{len(reading.pieces)} examples are separated by bare carriage returns; "
            "end lines with LF: tr '\\r' '\\n' < IN > OUT"
        )


@fix(line_ending_cr, Reading, "safe", "end lines with LF")
def _split_pieces(reading: Reading) -> Repair:
    return Repair(reading.pieces)


@rule(
    "FT114",
    "line-trailing-space",
    INFO,
    Reading,
    bad=" " + CHAT,
    good=CHAT,
    evidence=[RFC_8259.with_detail("section 2 allows it")],
)
def line_trailing_space(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """There is white space before or after the JSON of a line.

    It is valid JSON and harmless, but tools that compare or split lines may trip over it. Strip the
    lines.
    """
    line = reading.raw.removesuffix(b"\r")
    if reading.text and (line[:1] in b" \t\r" or line[-1:] in b" \t\r"):
        yield Hit("white space around the JSON of the line; strip the line")


@fix(line_trailing_space, Reading, "safe", "strip the line")
def _strip(reading: Reading) -> Repair:
    return Repair([reading.raw.strip(b" \t\r")])
