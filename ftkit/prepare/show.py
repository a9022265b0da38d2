"""Examples of a file as conversations, with their tokens and what is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
from msgspec import Struct

from ftkit._text import plural, validate_command
from ftkit.catalog import DEFAULT_PROVIDER, find_limits
from ftkit.dataset.detect import classify
from ftkit.dataset.formats import FORMATS, Format, find_format, message_texts
from ftkit.dataset.inputs import Examples, File, open_source
from ftkit.dataset.reader import Source
from ftkit.dataset.types import Answer, ImagePart
from ftkit.errors import FileError, UsageError
from ftkit.prepare.audit import Audit, Origin
from ftkit.prepare.file_formats import check_is_example, read_dataset
from ftkit.prepare.rows import CUT, NOT_JSON, Row
from ftkit.tokens.counting import overhead, sequences
from ftkit.tokens.encodings import token_counter
from ftkit.tokens.images import size


class Call(Struct, frozen=True):
    """A call of a tool or a function."""

    name: str
    arguments: str
    id: str = ""


class Turn(Struct, frozen=True, kw_only=True):
    """A message, or the prompt or the completion of a text."""

    path: str
    """JSON path of the message."""
    role: str
    name: str | None = None
    texts: list[str]
    """Texts of the content or of the refusal."""
    images: list[str]
    """Size of each image, such as "512x512", or its URL."""
    calls: list[Call]
    call_id: str | None = None
    """Id of the call that a tool message answers."""
    trained: bool
    tokens: int
    """Tokens without images."""


class Shown(Struct, frozen=True):
    """An example as a conversation."""

    file: str
    line: int
    format: str
    tokens: int
    """Tokens as they are billed, but without images, and with the prompt counted once."""
    trained_tokens: int
    tools: list[str]
    """Names of the functions that the example declares."""
    turns: list[Turn]


def show(
    file: File | Examples,
    *,
    line: int = 1,
    count: int = 1,
    format: str | None = None,
    model: str | None = None,
) -> list[Shown]:
    """Return examples of a file as conversations, from a line on.

    Args:
        file: A path, an open file, or examples.
        line: Number of the first line, or row of a table, from 1. Blank lines are left out.
        count: Maximum number of examples.
        format: `chat`, `completions`, `preference` or `reinforcement`; detected if None.
        model: Model whose encoding counts the tokens; the default encoding if None.

    Raises:
        FileError: The file cannot be read, or an example is invalid.
        UsageError: There is no such line, or an argument is invalid.
        UnknownNameError: There is no such format or model.
    """
    if line < 1 or count < 1:
        raise UsageError(f"`{'line' if line < 1 else 'count'}` must be 1 or more")
    source = open_source(file, "file")
    requested = find_format(format) if format else None
    encoding = find_limits(DEFAULT_PROVIDER, model).encoding
    audit = Audit()
    rows = list(islice(_rows_from(source, line, audit), count))
    if not rows:
        raise UsageError(f"`line` is {line}, but {source.path} has {plural(audit.read, 'line')}")
    chosen = requested or FORMATS.get(classify(rows[0].value) or "", FORMATS["chat"])
    return [_shown(row, chosen, encoding, audit) for row in rows]


def _number(origin: Origin) -> int:
    """Return the number of a row in its file."""
    return origin.row or origin.line


def _rows_from(source: Source, line: int, audit: Audit) -> Iterator[Row]:
    """Yield the rows from a line on. A row that cannot be read is an error."""
    broken: list[bytes] = []
    audit.save_reject = broken.append
    for row in read_dataset(source, audit):
        if _number(row.origin) >= line:
            _refuse(audit, line)
            yield row
    _refuse(audit, line)


def _refuse(audit: Audit, line: int) -> None:
    for entry in audit.entries:
        if entry.effect == "rejected" and _number(entry.origin) >= line:
            if entry.reason == NOT_JSON:
                raise _invalid(entry.origin, "JSON")
            detail = f" ({entry.detail})" if entry.detail not in ("", CUT) else ""
            raise FileError(f"{entry.origin} cannot be read: {entry.reason}{detail}")


def _invalid(origin: Origin, kind: str) -> FileError:
    command = validate_command(origin.file)
    return FileError(f"{origin} is not {kind}; {command} says what is wrong")


def _shown(row: Row, format: Format, encoding: str, audit: Audit) -> Shown:
    origin = row.origin
    try:
        example = format.build(row.value)
    except (msgspec.ValidationError, ValueError, TypeError, AttributeError):
        check_is_example(row, audit)
        raise _invalid(origin, f"a valid {format.name} example") from None
    items = {path: item for turns in format.sequences(example) for path, item, _ in turns}
    parts = {part.path: part for parts in sequences(example, format) for part in parts}
    counted = token_counter(encoding).count
    tokens = {
        path: overhead(part, encoding) + sum(counted(part.texts)) for path, part in parts.items()
    }
    trained = {path: part.trained for path, part in parts.items()}
    conversation = next(iter(format.conversations(example)), None)
    definitions = [tool.function for tool in (conversation and conversation.tools) or ()]
    definitions += (conversation and conversation.functions) or ()
    return Shown(
        origin.file,
        _number(origin),
        format.name,
        sum(tokens.values()),
        sum(number for path, number in tokens.items() if trained[path]),
        [definition.name for definition in definitions],
        [_turn(path, item, trained[path], tokens[path]) for path, item in items.items()],
    )


def _turn(path: str, item: Any, trained: bool, tokens: int) -> Turn:
    text = getattr(item, "text", None)
    if text is not None:  # of a completions example
        return Turn(
            path=path,
            role=item.kind,
            texts=[text],
            images=[],
            calls=[],
            trained=trained,
            tokens=tokens,
        )
    content = item.content if isinstance(item.content, list) else ()
    return Turn(
        path=path,
        role=item.__struct_config__.tag,
        name=getattr(item, "name", None) or None,
        texts=[text for at, text in message_texts(path, item) if not at.endswith(".arguments")],
        images=[_size(part.image_url.url) for part in content if isinstance(part, ImagePart)],
        calls=list(_calls(item)) if isinstance(item, Answer) else [],
        call_id=getattr(item, "tool_call_id", None),
        trained=trained,
        tokens=tokens,
    )


def _size(url: str) -> str:
    if not url.startswith("data:"):
        return url
    width, height = size(url)
    return f"{width}x{height}"


def _calls(answer: Answer) -> Iterator[Call]:
    for call in answer.tool_calls or ():
        yield Call(call.function.name, call.function.arguments, call.id)
    if answer.function_call:
        yield Call(answer.function_call.name, answer.function_call.arguments)
