"""Files and formats.

Files that are not JSON Lines at all, and lines that have none of the formats.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from ftkit._text import excerpt, quote_argument, quote_path
from ftkit.dataset.detect import Head, classify, looks_like_table
from ftkit.dataset.formats import FORMATS
from ftkit.dataset.json_values import split_array, split_values
from ftkit.dataset.lenient_json import Reading
from ftkit.dataset.shapes import ARRAY, GRPO, MESSAGE, SHAPES
from ftkit.rules.base import ERROR, Hit, ScanPlan, rule
from ftkit.rules.fixes import FileFix, fix
from ftkit.rules.fixes.keys import nearest_key
from ftkit.rules.samples import CHAT, CHAT_LINE, file
from ftkit.rules.sources import (
    JSON_LINES,
    OPENAI_MESSAGE,
    OPENAI_PYTHON_426,
    OWN_CHECK,
    TOGETHER,
    TRL_FORMATS,
)


@rule(
    "FT101",
    "file-empty",
    ERROR,
    Head,
    bad=" \n",
    good=CHAT_LINE,
    evidence=[TOGETHER, OPENAI_MESSAGE.with_detail("code invalid_n_examples")],
)
def file_empty(head: Head, plan: ScanPlan) -> Iterator[Hit]:
    """The file is empty or has only white space.

    There is nothing to train on, so the job fails. Write one example on each line.
    """
    if head.complete and not head.data.strip():
        yield Hit("the file is empty; write one example on each line")


@rule(
    "FT102",
    "file-compressed",
    ERROR,
    Head,
    bad=b"\x1f\x8b\x08\x00",
    good=CHAT_LINE,
    evidence=[OWN_CHECK, OPENAI_MESSAGE.with_detail('"Line 1 is not a dictionary" for gzip files')],
)
def file_compressed(head: Head, plan: ScanPlan) -> Iterator[Hit]:
    """The file is compressed or binary: gzip, zip, Parquet, Excel or similar.

    Providers read plain text only, and report that line 1 is not JSON. Unpack the file, or export
    it as JSON Lines. ftkit itself reads gzip files whose name ends in `.gz`.
    """
    if head.magic:
        kind, action = head.magic
        is_table = head.data.startswith(TABLES) or WORKBOOK in head.data
        command = _command(head, "chat") if is_table else ""
        yield Hit(f"the file is {kind}, not text; {action}{command}")


@rule(
    "FT103",
    "json-array-file",
    ERROR,
    Head,
    bad=f"[{CHAT},\n{CHAT.replace('Hi', 'Hey')}]\n",
    good=file(CHAT, CHAT.replace("Hi", "Hey")),
    evidence=[OPENAI_MESSAGE.with_detail("HTTP 400 at upload"), JSON_LINES],
    provider_messages=[r"Expected file to have JSONL format", r"Line 1 is not a dictionary"],
)
def json_array_file(head: Head, plan: ScanPlan) -> Iterator[Hit]:
    """The file is one JSON array of examples instead of JSON Lines.

    Providers read the file line by line, and refuse it at upload. Write each element of the array
    on its own line: `jq -c '.[]' IN > OUT.jsonl`. If the elements need to be converted too, the
    message says how.
    """
    if not _is_one_array(head):
        return
    kind = head.kind_of_elements
    if kind == MESSAGE:
        yield Hit(
            "the file is a JSON array of messages; if they are one conversation, write it on one "
            f"line ({_jq(head, '{messages: .}')}), else write a line for each"
        )
    elif kind in SHAPES:
        shape = SHAPES[kind]
        command = _command(head, shape.target)
        yield Hit(
            f"the file is a JSON array of {shape.name}, which cannot be trained on; put each on "
            f"its own line ({_jq(head, '.[]')}), then {shape.conversion}{command}"
        )
    else:
        yield Hit("the file is a JSON array; put each example on its own line: " + _jq(head, ".[]"))


@fix(json_array_file, Head, "safe", "write each element on a line")
def _split_array(head: Head) -> FileFix | None:
    return None if head.kind_of_elements == MESSAGE else FileFix(split_array)


def _jq(head: Head, program: str) -> str:
    """Return the command that writes a file as JSON Lines.

    A name without an ending is not a file's own: it stands for standard input or for examples in
    memory. jq does not unpack files.
    """
    program = quote_argument(program)
    stem, ending = os.path.splitext(head.name)
    if ending in ("", ".gz"):
        return f"jq -c {program} IN > OUT.jsonl"
    target = f"{stem}-lines.jsonl" if ending == ".jsonl" else f"{stem}.jsonl"
    return f"jq -c {program} {quote_path(head.name)} > {quote_path(target)}"


def _is_one_array(head: Head) -> bool:
    """Return True if the file is one JSON array of objects, or of arrays of messages."""
    start = head.data.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start.startswith(b"["):
        return False
    first = head.readings[0]
    alone = not first.parsed or (head.complete and len(head.readings) == 1 and bool(first.value))
    inside = start[1:].lstrip()[:1]
    holds_objects = inside == b"{" or (inside == b"" and not head.complete)
    return alone and (holds_objects or head.kind_of_elements == ARRAY)


@rule(
    "FT104",
    "json-pretty-printed",
    ERROR,
    Head,
    bad=CHAT.replace(", ", ",\n  ") + "\n",
    good=CHAT_LINE,
    evidence=[OPENAI_MESSAGE.with_detail("HTTP 400 at upload"), OPENAI_PYTHON_426],
    provider_messages=[r"Expected file to have JSONL format", r"HINT: line starts with: ['\"]\{"],
)
def json_pretty_printed(head: Head, plan: ScanPlan) -> Iterator[Hit]:
    """Examples are spread over several lines.

    Providers read each line as an example of its own, so no line is valid JSON. Put each example on
    one line: `jq -c . IN > OUT.jsonl`, or `json.dumps` without `indent`.
    """
    if not isinstance(head.spread, dict):
        return
    shape = SHAPES.get(classify(head.spread) or "")
    rest = (
        f"; they are {shape.name}, so then {shape.conversion}{_command(head, shape.target)}"
        if shape
        else ""
    )
    yield Hit(
        f"examples are spread over several lines; put each on one line: {_jq(head, '.')}{rest}"
    )


@fix(json_pretty_printed, Head, "safe", "write each example on one line")
def _join_lines(head: Head) -> FileFix:
    return FileFix(split_values)


@rule(
    "FT201",
    "format-unknown",
    ERROR,
    Head,
    bad=file(
        '{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]}'
    ),
    good=CHAT_LINE,
    evidence=[OPENAI_MESSAGE, TRL_FORMATS],
    provider_messages=[r"Unexpected file format"],
)
def format_unknown(head: Head, plan: ScanPlan) -> Iterator[Hit]:
    """The lines have none of the formats chat, completions, preference and reinforcement.

    Providers refuse every other format. Convert the file. ftkit recognizes the rows of ShareGPT,
    Alpaca, TRL (preference, KTO and GRPO), Gemini, Anthropic, Bedrock, OpenAI Evals, batch and
    Responses API requests, pairs of questions and answers, single messages, CSV and plain text, and
    reports how to convert each.
    """
    if not head.readings or head.kind in FORMATS:
        return
    if _is_requested(plan) and head.fits(plan.format):
        return
    if head.kind:
        shape = SHAPES[head.kind]
        yield Hit(
            f"the lines are {shape.name}, which cannot be trained on; {shape.conversion}"
            f"{_command(head, shape.target)}"
        )
    elif head.objects:
        keys = ", ".join(sorted(head.objects[0])[:8]) or "no keys"
        yield Hit(
            f"the lines have none of the formats {', '.join(FORMATS)}; "
            f"the keys of the first are {excerpt(keys)}"
        )
    elif not head.readings[0].utf16:
        yield from _not_json(head)


def _command(head: Head, target: str) -> str:
    """Return the command that does it all, as the end of a message."""
    if not target:
        return ""
    name = quote_path(head.name) if os.path.splitext(head.name)[1] else "FILE"
    return f"; or use `ftkit convert {name} --to {target}`"


@fix(format_unknown, Head, "safe", "rename the keys")
def _rename_keys(head: Head) -> FileFix | None:
    if head.kind:
        return None
    for name, format in FORMATS.items():
        renamed = [_renamed(value, format.keys) for value in head.objects]
        if sum(classify(value) == name for value in renamed) * 2 > len(renamed):
            return FileFix(None, keeps_lines=True, format=name)
    return None


def _renamed(value: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Return an object with some misspelt keys corrected."""
    return {nearest_key(key, value, keys) or key: item for key, item in value.items()}


def _is_requested(plan: ScanPlan) -> bool:
    """Return True if the user named the format of the file."""
    return plan.named_format == plan.format


TABLES = (b"PAR1", b"ARROW1")
"""Magic numbers of binary tables."""

WORKBOOK = b"xl/worksheets/"
"""Beginning of the names of sheets in the archive of an Excel workbook."""

_LIKE_JSON = re.compile(r"""\{|\[\s*+(?:[\[{"'\]]|$)""")
"""Beginning of a line that is meant to be a JSON object or an array."""


def _not_json(head: Head) -> Iterator[Hit]:
    """Yield a hit if the first lines are a table or text, none of them a JSON object."""
    readings = head.readings
    if any(_LIKE_JSON.match(reading.text) for reading in readings[:3]):
        return
    table = looks_like_table(readings)
    if table:
        yield Hit(
            f'the file is {table}; turn each row into a line of JSON: {{"messages": [...]}}'
            f"{_command(head, 'chat')}"
        )
    elif any(not reading.parsed or reading.extra for reading in readings):
        yield Hit('the file is text, not JSON; write each example as a line: {"messages": [...]}')


_KEYS = {
    "chat": ("messages",),
    "reinforcement": ("messages",),
    "completions": ("prompt", "completion"),
    "preference": ("input", "preferred_output"),
}
"""Keys that make a line an example of another format, rather than an invalid one of this format."""


@rule(
    "FT202",
    "format-mixed",
    ERROR,
    Reading,
    whole_file=True,
    bad=file(CHAT, CHAT.replace("Hi", "Hey"), '{"prompt": "Hi", "completion": " Hello!"}'),
    good=file(CHAT, CHAT.replace("Hi", "Hey")),
    evidence=[TOGETHER],
)
def format_mixed(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """A line has another format than the rest of the file.

    A file is trained with one method, and each method takes one format. Split the file by format,
    or convert the line.
    """
    value = reading.value
    if not isinstance(value, dict) or (
        "messages" in value and plan.format in ("chat", "reinforcement")
    ):
        return
    kind = classify(value)
    is_graded = kind == GRPO and plan.format == "reinforcement"
    if is_graded or (_is_requested(plan) and FORMATS[plan.format].fits(value)):
        return
    if kind in SHAPES:
        name, conversion, *_ = SHAPES[kind]
        yield Hit(
            f"the line has the shape of {name}, but the file is in the {plan.format} format; "
            f"{conversion}"
        )
    elif kind in FORMATS and kind != plan.format and all(key in value for key in _KEYS[kind]):
        yield Hit(
            f"the line is in the {kind} format, but the file is in the {plan.format} format; "
            "split the file by format"
        )
