"""Parquet and Arrow files (also Feather V2), read in batches with pyarrow."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from ftkit.dataset.reader import FileRanges, Source
from ftkit.errors import FileError, UsageError, install_command
from ftkit.prepare.audit import Audit, Origin
from ftkit.prepare.file_formats.base import FileFormat, ReadOptions, open_seekable
from ftkit.prepare.file_formats.shared.padding import OPEN_KEYS, Null, remove_padding
from ftkit.prepare.paths import child
from ftkit.prepare.rows import Row

BATCH_ROWS = 256
"""Rows that are converted to Python objects at a time."""

BUFFER_BYTES = 1 << 20
"""Bytes of a column of a Parquet file that are read at a time."""

MAX_DEPTH = 60
"""Maximum nesting of the types of a file."""

STREAM = b"\xff\xff\xff\xff"
"""First bytes of a stream of Arrow record batches."""

Convert = Callable[[Any, str, "_Record"], Any]
"""Function that converts a value, at a JSON pointer, to a JSON value."""

Member = tuple[str, str, Convert | None]
"""Name of a member of an object, the JSON pointer to it, and the function for its value."""


class _Record:
    """Faults of a row, and the nulls that Arrow may have added to it."""

    def __init__(self, audit: Audit, origin: Origin) -> None:
        self.audit, self.origin = audit, origin
        self.fault = ""
        self.nulls: list[Null] = []

    def lose(self, reason: str, pointer: str) -> None:
        """Record that a value is not read."""
        self.audit.lose("read", reason, self.origin, pointer)


def import_pyarrow() -> Any:
    """Return pyarrow.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        command = install_command("tables")
        raise UsageError(f"Parquet and Arrow need pyarrow; install it with: {command}") from None
    return pyarrow


def read_parquet(source: Source, audit: Audit, options: ReadOptions) -> Iterator[Row]:
    """Yield the rows of a Parquet file.

    Raises:
        FileError: The file cannot be read.
        UsageError: pyarrow is not installed.
    """
    import_pyarrow()
    from pyarrow import parquet

    path = source.path
    with (
        _errors(path),
        _open_native(source, "Parquet") as native,
        parquet.ParquetFile(native, pre_buffer=False, buffer_size=BUFFER_BYTES) as file,
    ):
        batches = file.iter_batches(BATCH_ROWS, use_threads=False)
        yield from _rows(file.schema_arrow, batches, path, audit)


def read_arrow(source: Source, audit: Audit, options: ReadOptions) -> Iterator[Row]:
    """Yield the rows of an Arrow file or stream.

    Raises:
        FileError: The file cannot be read.
        UsageError: pyarrow is not installed.
    """
    pyarrow = import_pyarrow()
    path = source.path
    with (
        _errors(path),
        _open_native(source, "Arrow") as file,
    ):
        is_stream = file.read(len(STREAM)) == STREAM
        file.seek(0)
        if is_stream:
            reader = pyarrow.ipc.open_stream(file)
            batches = iter(reader)
        else:
            reader = pyarrow.ipc.open_file(file)
            batches = map(reader.get_batch, range(reader.num_record_batches))
        yield from _rows(reader.schema, batches, path, audit)


@contextmanager
def _open_native(source: Source, title: str) -> Iterator[Any]:
    """Open a source as a file of pyarrow, which reads local files without Python."""
    pyarrow = import_pyarrow()
    with open_seekable(source, title) as stream:
        is_local = isinstance(source, FileRanges)
        native = pyarrow.OSFile(source.path) if is_local else pyarrow.PythonFile(stream, mode="r")
        with native:
            yield native


@contextmanager
def _errors(path: str) -> Iterator[None]:
    """Raise `FileError` for the exceptions of pyarrow."""
    pyarrow = import_pyarrow()
    try:
        yield
    except (pyarrow.ArrowException, OSError, MemoryError) as error:
        reason = str(error).partition("\n")[0]
        raise FileError(f"cannot read {path}: {reason:.200}; is the file complete?") from error


def _rows(schema: Any, batches: Iterator[Any], path: str, audit: Audit) -> Iterator[Row]:
    _check_columns(schema, path)
    converters = [_member(field, path, 0) for field in schema]
    number = 0
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH_ROWS):
            for values in batch.slice(start, BATCH_ROWS).to_pylist():
                number += 1
                audit.read += 1
                origin = audit.origin(path, row=number)
                record = _Record(audit, origin)
                value = _object(values, converters, "", record)
                for null in remove_padding(value, record.nulls) if record.nulls else ():
                    audit.note("read", "null that Arrow may have added", origin, null.pointer)
                if record.fault:
                    audit.reject("read", record.fault, origin, _as_json(values))
                else:
                    yield Row(value, (origin,))


def _as_json(values: Any) -> bytes:
    """Return a row that is rejected as a JSON object; maps are lists of their pairs."""
    return msgspec.json.encode(_without_nan(values), enc_hook=str)


def _without_nan(value: Any) -> Any:
    """Return a value in which numbers that JSON cannot hold are texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _without_nan(item) for key, item in value.items()}
    return list(map(_without_nan, value)) if isinstance(value, (list, tuple)) else value


def _check_columns(schema: Any, path: str) -> None:
    names = schema.names
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise FileError(f"{path} has several columns named {repeated!r:.60}; rename one")


def _converter(type_: Any, path: str, depth: int = 0) -> Convert | None:
    """Return the function that converts values of a type, or None if they are JSON values."""
    pyarrow = import_pyarrow()
    types = pyarrow.types
    if depth > MAX_DEPTH:
        raise FileError(f"{path} has types that are nested more than {MAX_DEPTH} deep")
    if isinstance(type_, pyarrow.BaseExtensionType):
        type_ = type_.storage_type
    if types.is_dictionary(type_):
        type_ = type_.value_type
    if types.is_struct(type_):
        fields = [type_.field(index) for index in range(type_.num_fields)]
        inner = [_member(field, path, depth + 1) for field in fields]
        return lambda value, pointer, record: _object(value, inner, pointer, record)
    if types.is_map(type_):
        return _map_converter(_converter(type_.item_type, path, depth + 1))
    if _is_list(types, type_):
        return _list_converter(_converter(type_.value_type, path, depth + 1))
    if types.is_floating(type_):
        return _number
    if types.is_string(type_) or types.is_large_string(type_) or _is_exact(types, type_):
        return None
    return _other


def _member(field: Any, path: str, depth: int) -> Member:
    return field.name, child("", field.name), _converter(field.type, path, depth)


def _is_list(types: Any, type_: Any) -> bool:
    return bool(
        types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_)
    )


def _is_exact(types: Any, type_: Any) -> bool:
    return bool(types.is_integer(type_) or types.is_boolean(type_) or types.is_null(type_))


def _object(
    values: dict[str, Any], members: list[Member], pointer: str, record: _Record
) -> dict[str, Any]:
    """Return an object without the members that are null.

    Arrow cannot leave a member out: one that some objects have is null in the others.
    """
    result: dict[str, Any] = {}
    is_open = pointer.rpartition("/")[2] in OPEN_KEYS
    for key, step, convert in members:
        value = values[key]
        if value is None:
            if is_open:
                result[key] = None
                record.nulls.append(Null(result, key, pointer + step))
        elif convert is None:
            result[key] = value
        else:
            result[key] = convert(value, pointer + step, record)
    return result


def _list_converter(convert: Convert | None) -> Convert | None:
    if convert is None:
        return None
    return lambda values, pointer, record: [
        None if value is None else convert(value, f"{pointer}/{index}", record)
        for index, value in enumerate(values)
    ]


def _map_converter(convert: Convert | None) -> Convert:
    def convert_map(items: Any, pointer: str, record: _Record) -> dict[str, Any]:
        pairs = [
            (key, value if value is None or not convert else convert(value, pointer, record))
            for key, value in items
        ]
        result = dict(pairs)
        if len(result) < len(pairs) or not all(isinstance(key, str) for key in result):
            record.fault = "a map has a repeated key, or keys that are not text"
        return result

    return convert_map


def _number(value: float, pointer: str, record: _Record) -> float:
    if not math.isfinite(value):
        record.fault = "a number that JSON cannot hold"
    return value


def _other(value: Any, pointer: str, record: _Record) -> Any:
    """Convert a value that JSON has no type for to text."""
    if isinstance(value, (bytes, memoryview)):
        record.lose("binary value", pointer)
        return None
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    return str(value)


FORMATS = (
    FileFormat(
        name="parquet",
        title="Parquet",
        suffixes=(".parquet",),
        is_table=True,
        read=read_parquet,
        recognizes=lambda path, beginning: beginning.startswith(b"PAR1"),
        priority=0,
        layout="A table. Needs the extra `tables`.",
        losses=("nulls in columns and objects, which are read as missing keys", "binary values"),
    ),
    FileFormat(
        name="arrow",
        title="Arrow or Feather",
        suffixes=(".arrow", ".feather"),
        is_table=True,
        read=read_arrow,
        recognizes=lambda path, beginning: beginning.startswith((b"ARROW1", STREAM)),
        priority=0,
        layout="A table, as a file or a stream. Needs the extra `tables`.",
        losses=("nulls in columns and objects, which are read as missing keys", "binary values"),
    ),
)
