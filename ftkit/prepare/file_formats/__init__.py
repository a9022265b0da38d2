"""Formats of files from which rows are read: each module lists its own in `FORMATS`."""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache

from ftkit._text import quote_argument, quote_path
from ftkit.dataset.detect import MAGIC, classify
from ftkit.dataset.formats import FORMATS
from ftkit.dataset.inputs import IN_MEMORY
from ftkit.dataset.object_location import is_url
from ftkit.dataset.object_ranges import ObjectRanges
from ftkit.dataset.reader import SinglePass, Source
from ftkit.dataset.shapes import SHAPES
from ftkit.errors import FileError, UsageError
from ftkit.prepare.audit import Audit
from ftkit.prepare.file_formats.base import (
    GZIP,
    FileFormat,
    MissingOptionError,
    ReadOptions,
    open_ranges,
    open_source,
    read_beginning,
)
from ftkit.prepare.rows import Row, read_json_lines


def _read_jsonl(source: Source, audit: Audit, options: ReadOptions) -> Iterator[Row]:
    file = None if source.path.endswith(".gz") else open_ranges(source)
    if file is not None:
        with file:
            is_packed = file.read(len(GZIP)) == GZIP
        if is_packed:  # and its name does not say so
            with open_source(source) as stream:
                yield from read_json_lines(SinglePass(source.path, stream=stream), audit)
                return
    yield from read_json_lines(source, audit)


JSONL = FileFormat(
    name="jsonl",
    title="JSON Lines",
    read=_read_jsonl,
    recognizes=lambda path, beginning: False,
    layout="A JSON object on each line.",
)
"""The format of files that no other recognizes."""


@cache
def file_formats() -> dict[str, FileFormat]:
    """Return all formats by name, in the order in which they are tried."""
    modules = (importlib.import_module(f"{__name__}.{name}") for name in _module_names())
    formats = [format for module in modules for format in getattr(module, "FORMATS", ())]
    formats.sort(key=lambda item: (item.priority, item.name))
    return {format.name: format for format in (*formats, JSONL)}


def _module_names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def read_file(
    source: Source, audit: Audit, options: ReadOptions, name: str | None = None
) -> Iterator[Row]:
    """Yield the rows of a file or folder of any format, which options may describe.

    The rows of a chat are `ExampleRow`s; see `read_dataset` for rows of JSON only.

    Args:
        source: The file.
        audit: Records what is not read.
        options: Options of the readers.
        name: Name of its format, which is detected by default.

    Raises:
        FileError: The file cannot be read.
        UsageError: An option is not valid for the file.
    """
    if source.path == IN_MEMORY:
        return read_json_lines(source, audit)
    format = _recorded(file_formats()[name] if name else detect_file(source), source, audit)
    for option in ReadOptions.__struct_fields__:
        if getattr(options, option) is not None and option not in format.options:
            users = [other.name for other in file_formats().values() if option in other.options]
            path = audit.names.get(source.path, source.path)
            raise UsageError(
                f"`{option}` applies to {', '.join(users)}, but {path} is {format.name}"
            )
    return format.read(source, audit, options)


def read_dataset(source: Source, audit: Audit) -> Iterator[Row]:
    """Yield the rows of a file that needs no options. Their values are JSON.

    Raises:
        FileError: The file cannot be read.
        UsageError: It is a chat.
    """
    if source.path == IN_MEMORY:
        return read_json_lines(source, audit)
    format = _recorded(detect_file(source), source, audit)
    _refuse_chat(format, audit.names.get(source.path, source.path))
    return _without_options(format.read(source, audit, ReadOptions()), source, audit)


def _without_options(rows: Iterator[Row], source: Source, audit: Audit) -> Iterator[Row]:
    """Yield rows. If an option is missing, name the command that has it."""
    try:
        yield from rows
    except MissingOptionError as error:
        name = audit.names.get(source.path, source.path)
        place = f"{name}{error.place.removeprefix(source.path)}"
        command = convert_command(name, "chat", {error.option: error.value})
        raise UsageError(f"{place}: {error.problem}; run `{command}` first") from error


def _recorded(format: FileFormat, source: Source, audit: Audit) -> FileFormat:
    """Return the format of a file, which errors and reports refer to."""
    name = audit.names.get(source.path, source.path)
    if format is not JSONL:
        audit.titles[name] = format.title
    if format.is_table:
        audit.tables.add(name)
    return format


def _refuse_chat(format: FileFormat, name: str) -> None:
    if "me" in format.options:
        command = f"ftkit convert {quote_path(name)} --to chat --me NAME -o chat.jsonl"
        raise UsageError(f"{name} is a chat; write its conversations to a file first: {command}")


def check_json_lines(source: Source, name: str) -> None:
    """Raise an error with the command that converts a file, if it is a table or a chat.

    Args:
        source: The file.
        name: The name to show for it.

    Raises:
        FileError: It is a table, or cannot be read.
        UsageError: It is a chat.
    """
    format = JSONL if source.path == IN_MEMORY else detect_file(source)
    _refuse_chat(format, name)
    if format.name not in (JSONL.name, "json"):
        raise convert_first(name, f"is not JSON Lines ({format.title})")


def check_is_example(row: Row, audit: Audit) -> None:
    """Raise `FileError` with the command that converts a row's file, if the row needs it.

    It does if the row has a well-known other format, or no known one and the file is a table or the
    like. An invalid example does not.
    """
    kind = classify(row.value)
    shape = SHAPES.get(kind or "")
    title = audit.titles.get(row.origin.file) or (shape and shape.name)
    if title and kind not in FORMATS:
        reason = f"has no examples of a known format ({title})"
        raise convert_first(row.origin.file, reason, (shape and shape.target) or "chat")


def convert_first(name: str, reason: str, target: str = "chat") -> FileError:
    """Return the error for a file that must be converted before a command can read it."""
    if name == IN_MEMORY:
        return FileError(f"{name} {reason}; convert them first")
    return FileError(f"{name} {reason}; run `{convert_command(name, target)}` first")


def convert_command(name: str, target: str, options: Mapping[str, str] | None = None) -> str:
    """Return the command that converts a file.

    Args:
        name: The file.
        target: Name of the format to write.
        options: Further options, by name. Without `output-file`, the name of the output is that of
            the file with another suffix, in the current folder if it is a URL; `-` is standard
            output.
    """
    options = dict(options or {})
    output = options.pop("output-file", "")
    words = "".join(f" --{key} {quote_argument(value)}" for key, value in options.items())
    command = f"ftkit convert {quote_path(name)}{words} --to {target}"
    if output == "-":
        return command
    return f"{command} -o {quote_path(output) if output else _output_name(name, target)}"


def _output_name(name: str, target: str) -> str:
    name = name.rpartition("/")[2] if is_url(name) else name
    stem, suffix = os.path.splitext("chat" if name == "-" else name.removesuffix(".gz"))
    return quote_path(f"{stem}-{target}.jsonl" if suffix == ".jsonl" else f"{stem}.jsonl")


def detect_file(source: Source) -> FileFormat:
    """Return the format of a file by its content and its suffix.

    Raises:
        FileError: The file cannot be read, or is in a format that ftkit does not read.
    """
    beginning = b"" if os.path.isdir(source.path) else read_beginning(source)
    path = source.object if isinstance(source, ObjectRanges) else source.path
    for format in file_formats().values():
        if format.recognizes(path, beginning):
            return format
    for magic, (title, advice) in MAGIC.items():
        if beginning.startswith(magic):
            raise FileError(f"{source.path} is {title}; {advice}")
    if os.path.isdir(source.path):
        raise FileError(f"{source.path} is a folder, but no export that ftkit reads; name a file")
    if not beginning.lstrip().startswith((b"{", b"[")):
        _check_suffix(path, source.path)
    return JSONL


def _check_suffix(path: str, name: str) -> None:
    """Raise an error if the suffix of a file promises a binary format, which it does not have."""
    for format in file_formats().values():
        for suffix in format.suffixes:
            if path.lower().endswith(suffix):
                raise FileError(
                    f"{name} has the suffix {suffix}, but not the format {format.title}; save it"
                    " in that format, or name it by its content, such as .csv or .jsonl"
                )
