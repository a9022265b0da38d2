"""Format detection from the beginning of a file.

A file in another well-known shape gets one finding that names the shape, instead of one for each
line.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from ftkit.dataset.formats import FORMATS, ends_with_assistant
from ftkit.dataset.lenient_json import Reading, is_too_large, read

HEAD_BYTES = 1 << 20
"""Bytes of the beginning of a file that are looked at."""

SAMPLE_LINES = 100
"""Number of lines that vote on the format of a file."""

MAGIC = {
    b"\x1f\x8b": ("gzip", "unpack it with gunzip, or name it .jsonl.gz for ftkit"),
    b"PK\x03\x04": ("a zip archive or an Excel workbook", "unpack or export it as JSON Lines"),
    b"PAR1": ("Parquet", "convert it to JSON Lines"),
    b"BZh": ("bzip2", "unpack it with bunzip2"),
    b"\xfd7zXZ": ("xz", "unpack it with unxz"),
    b"\x28\xb5\x2f\xfd": ("Zstandard", "unpack it with unzstd"),
    b"ARROW1": ("Arrow", "convert it to JSON Lines"),
    b"%PDF-": ("a PDF document", "export its text as JSON Lines"),
    b"\xd0\xcf\x11\xe0": ("an old Office document", "export it as JSON Lines"),
    b"SQLite format 3": ("an SQLite database", "export it as JSON Lines"),
}
"""Magic numbers of binary files: the name of the file type and what to do."""


_OPENING = re.compile(r'[\[{]\s*+|\{\s*+"\w++"\s*+:\s*+\[?\{?\s*+')
"""First line of a JSON object or array that is spread over several lines."""


class Shape(NamedTuple):
    """A well-known shape of lines that is not a fine-tuning format."""

    name: str
    conversion: str
    """How to convert it."""


FOREIGN: dict[str, Shape] = {
    "sharegpt": Shape(
        "ShareGPT",
        "turn each `conversations` entry {from, value} into a message {role, content}",
    ),
    "alpaca": Shape(
        "Alpaca",
        "make `instruction` and `input` the user's message and `output` the assistant's",
    ),
    "gemini": Shape(
        "Gemini (Vertex AI)",
        "turn `contents` into `messages`, role `model` into `assistant`, `parts` into content",
    ),
    "bedrock": Shape(
        "Amazon Bedrock",
        "turn the content blocks of each message into strings and `system` into a message",
    ),
    "batch": Shape(
        "Batch API request",
        "take `messages` out of `body` and add the assistant's answer to each",
    ),
    "responses": Shape(
        "Responses API",
        "turn `input` into `messages` and add the assistant's answer to each",
    ),
    "text": Shape(
        "plain text (`text` only)",
        "split it into `prompt` and `completion`, or into `messages`",
    ),
    "messages": Shape("bare array of messages", 'wrap each line as {"messages": [...]}'),
}
"""Well-known shapes that are not fine-tuning formats."""


class Head:
    """The beginning of a file: about `HEAD_BYTES` in whole lines.

    Attributes:
        complete: True if this is the whole file.
    """

    def __init__(self, name: str, data: bytes, complete: bool) -> None:
        self.name = name
        self.data = data
        self.complete = complete

    @cached_property
    def magic(self) -> tuple[str, str] | None:
        """Name of the file type and what to do, if the file begins with a magic number."""
        return next((kind for magic, kind in MAGIC.items() if self.data.startswith(magic)), None)

    @cached_property
    def readings(self) -> list[Reading]:
        """The first `SAMPLE_LINES` lines that are not blank."""
        readings: list[Reading] = []
        for number, line in enumerate(self.data.split(b"\n"), 1):
            if len(readings) >= SAMPLE_LINES:
                break
            if line.strip():
                reading = _read_quickly(line, number)
                readings.extend(map(read, reading.pieces) if reading.pieces else [reading])
        return readings

    @cached_property
    def objects(self) -> list[dict[str, Any]]:
        """The JSON objects among the first lines."""
        return [reading.value for reading in self.readings if isinstance(reading.value, dict)]

    @cached_property
    def kind(self) -> str | None:
        """Name of the format or the shape that most of the first lines have, if any."""
        votes = Counter(kind for reading in self.readings if (kind := classify(reading.value)))
        return votes.most_common(1)[0][0] if votes else None

    @cached_property
    def asks(self) -> bool:
        """True if most of the first lines end with a message to the model."""
        return sum(not ends_with_assistant(value) for value in self.objects) * 2 > len(self.objects)

    @cached_property
    def spread(self) -> Any:
        """The JSON object or array that begins on the first line and ends on a later one."""
        text = self.data.decode(errors="replace").lstrip("\ufeff \t\r\n")
        first = self.readings[0] if self.readings else None
        if text[:1] not in ("{", "[") or not first or first.parsed or first.is_too_large:
            return None
        try:
            value, end = json.JSONDecoder().raw_decode(text)
        except RecursionError:
            return None
        except json.JSONDecodeError:
            opens = _OPENING.fullmatch(text.partition("\n")[0])
            return {} if opens and text[0] == "{" and not self.complete else None
        return value if "\n" in text[:end] else None


def _read_quickly(line: bytes, number: int) -> Reading:
    """Read a line with the fast decoder, or with the lenient one if that fails."""
    if is_too_large(line):
        return read(line, number)
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return read(line, number, first=number == 1)
    text = line[:100].decode(errors="replace").strip()
    return Reading(line, number, text=text, parsed=True, value=value)


def classify(value: Any) -> str | None:
    """Return the name of the format or the shape that a JSON value looks like, or None."""
    if isinstance(value, list):
        is_messages = value and all(isinstance(item, dict) and "role" in item for item in value)
        return "messages" if is_messages else None
    if not isinstance(value, dict):
        return None
    keys = {key.lower() for key in value if isinstance(key, str)}
    if "messages" in keys and ("schemaversion" in keys or _has_bedrock_blocks(value)):
        return "bedrock"
    formats = (name for name, format in FORMATS.items() if format.recognizes(value, keys))
    return next(formats, None) or _classify_foreign(keys)


def _has_bedrock_blocks(value: dict[str, Any]) -> bool:
    """Return True if the messages have content blocks without a `type`, as only Bedrock does."""
    messages = value.get("messages")
    blocks = [
        block
        for message in (messages if isinstance(messages, list) else ())
        if isinstance(message, dict) and isinstance(message.get("content"), list)
        for block in message["content"]
    ]
    bare = [block for block in blocks if isinstance(block, dict) and set(block) == {"text"}]
    return len(bare) > 1 and len(bare) == len(blocks)


def _classify_foreign(keys: set[str]) -> str | None:
    if {"custom_id", "body"} <= keys:
        return "batch"
    if "conversations" in keys or "conversation" in keys:
        return "sharegpt"
    if "instruction" in keys:
        return "alpaca"
    if "contents" in keys:
        return "gemini"
    if "input" in keys:
        return "responses"
    return "text" if keys == {"text"} else None


def looks_like_csv(line: str) -> str | None:
    """Return the name of the table format if a line looks like the header of a table."""
    for separator, name in ((",", "CSV"), ("\t", "TSV"), (";", "CSV (semicolons)")):
        cells = [cell.strip().strip('"') for cell in line.split(separator)]
        if len(cells) > 1 and all(re.fullmatch(r"[A-Za-z_][\w .-]{0,40}", cell) for cell in cells):
            return name
    return None


def first_texts(head: Head, count: int = 3) -> Iterator[str]:
    """Yield the texts of the first lines that are not blank."""
    for reading in head.readings[:count]:
        yield reading.text
