"""What a file is, from its beginning: one of the dataset formats, or another known shape.

Another known shape gets one finding that names it, instead of one for each of its lines.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import msgspec

from ftkit.dataset.lenient_json import Reading, read

HEAD_BYTES = 1 << 20
SAMPLE_LINES = 100
"""Examples that vote on the format of a file."""

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

Shape = tuple[str, str]

FOREIGN: dict[str, Shape] = {
    "sharegpt": (
        "ShareGPT",
        "turn each `conversations` entry {from, value} into a message {role, content}",
    ),
    "alpaca": (
        "Alpaca",
        "make `instruction` and `input` the user's message and `output` the assistant's",
    ),
    "gemini": (
        "Gemini (Vertex AI)",
        "turn `contents` into `messages`, role `model` into `assistant`, `parts` into content",
    ),
    "bedrock": (
        "Amazon Bedrock",
        "turn the content blocks of each message into strings and `system` into a message",
    ),
    "batch": (
        "Batch API request",
        "take `messages` out of `body` and add the assistant's answer to each",
    ),
    "responses": (
        "Responses API",
        "turn `input` into `messages` and add the assistant's answer to each",
    ),
    "text": (
        "plain text (`text` only)",
        "split it into `prompt` and `completion`, or into `messages`",
    ),
    "messages": ("bare array of messages", 'wrap each line as {"messages": [...]}'),
}
"""Known shapes that are not fine-tuning formats: what to call them and how to convert them."""


class Head:
    """The beginning of a file: whole lines, about `HEAD_BYTES` of them. `complete` says that this is all."""

    def __init__(self, name: str, data: bytes, complete: bool) -> None:
        self.name = name
        self.data = data
        self.complete = complete

    @cached_property
    def magic(self) -> tuple[str, str] | None:
        """What the first bytes say the file is, if it is not text, and what to do."""
        return next((told for magic, told in MAGIC.items() if self.data.startswith(magic)), None)

    @cached_property
    def readings(self) -> list[Reading]:
        """The first lines that are not blank, read."""
        found: list[Reading] = []
        for number, line in enumerate(self.data.split(b"\n"), 1):
            if len(found) >= SAMPLE_LINES:
                break
            if line.strip():
                reading = _read_quickly(line, number)
                found.extend(map(read, reading.pieces) if reading.pieces else [reading])
        return found

    @cached_property
    def objects(self) -> list[dict[str, Any]]:
        """The JSON objects among the first lines."""
        return [reading.value for reading in self.readings if isinstance(reading.value, dict)]

    @cached_property
    def kind(self) -> str | None:
        """The format or foreign shape that most of the first lines have; None if they have none."""
        votes = Counter(kind for reading in self.readings if (kind := classify(reading.value)))
        return votes.most_common(1)[0][0] if votes else None

    @cached_property
    def asks(self) -> bool:
        """Whether most of the first lines end with a question to the model rather than with its answer."""
        return sum(not ends_with_assistant(value) for value in self.objects) * 2 > len(self.objects)

    @cached_property
    def spread(self) -> Any:
        """The JSON object or array that begins on the first line and ends on a later one, if there is one."""
        text = self.data.decode(errors="replace").lstrip("\ufeff \t\r\n")
        if text[:1] not in ("{", "[") or not self.readings or self.readings[0].parsed:
            return None
        try:
            value, end = json.JSONDecoder().raw_decode(text)
        except RecursionError:
            return None
        except json.JSONDecodeError:
            opens = re.fullmatch(r'[\[{]\s*|\{\s*"\w+"\s*:\s*\[?\{?\s*', text.partition("\n")[0])
            return {} if opens and text[0] == "{" and not self.complete else None
        return value if "\n" in text[:end] else None


def _read_quickly(line: bytes, number: int) -> Reading:
    """Read a line, by the fast decoder if that can do it."""
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return read(line, number, first=number == 1)
    return Reading(
        line, number, text=line[:100].decode(errors="replace").strip(), parsed=True, value=value
    )


def classify(value: Any) -> str | None:
    """The format or foreign shape that one JSON value looks like; None if it looks like none of them."""
    if isinstance(value, list):
        is_messages = value and all(isinstance(item, dict) and "role" in item for item in value)
        return "messages" if is_messages else None
    if not isinstance(value, dict):
        return None
    keys = {key.lower() for key in value if isinstance(key, str)}
    if keys & {
        "preferred_output",
        "non_preferred_output",
        "preferred_completion",
        "non_preferred_completion",
    }:
        return "preference"
    if keys & {"chosen", "rejected"} or ("input" in keys and isinstance(value.get("input"), dict)):
        return "preference"
    if "messages" in keys:
        return _classify_messages(value, keys)
    if "custom_id" in keys and "body" in keys:
        return "batch"
    return _classify_keys(keys)


def _classify_messages(value: dict[str, Any], keys: set[str]) -> str:
    if "schemaversion" in keys or _has_bedrock_blocks(value.get("messages")):
        return "bedrock"
    graded = keys - {"messages", "tools", "parallel_tool_calls", "functions"}
    return "reinforcement" if graded and not ends_with_assistant(value) else "chat"


def _has_bedrock_blocks(messages: Any) -> bool:
    """Whether a message holds content blocks without a `type`, as Bedrock writes them, and no format of ours does."""
    blocks = [
        block
        for message in (messages if isinstance(messages, list) else ())
        if isinstance(message, dict) and isinstance(message.get("content"), list)
        for block in message["content"]
    ]
    bare = [block for block in blocks if isinstance(block, dict) and set(block) == {"text"}]
    return len(bare) > 1 and len(bare) == len(blocks)


def _classify_keys(keys: set[str]) -> str | None:
    if keys & {"prompt", "completion"}:
        return "completions"
    if "conversations" in keys or "conversation" in keys:
        return "sharegpt"
    if "instruction" in keys:
        return "alpaca"
    if "contents" in keys:
        return "gemini"
    if "input" in keys:
        return "responses"
    return "text" if keys == {"text"} else None


def ends_with_assistant(value: dict[str, Any]) -> bool:
    """Whether the last of the messages is the assistant's, or none can be seen to be another's."""
    messages = value.get("messages")
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
        return True
    return messages[-1].get("role") not in ("user", "system", "developer", "tool", "function")


def looks_like_csv(line: str) -> str | None:
    """The name of the separator if the line looks like the header of a table."""
    for separator, name in ((",", "CSV"), ("\t", "TSV"), (";", "CSV (semicolons)")):
        cells = [cell.strip().strip('"') for cell in line.split(separator)]
        if len(cells) > 1 and all(re.fullmatch(r"[A-Za-z_][\w .-]{0,40}", cell) for cell in cells):
            return name
    return None


def first_texts(head: Head, count: int = 3) -> Iterator[str]:
    """The texts of the first lines that are not blank."""
    for reading in head.readings[:count]:
        yield reading.text
