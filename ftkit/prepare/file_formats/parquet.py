"""Writing of Parquet files from JSON Lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import msgspec

from ftkit.errors import FileError, UsageError
from ftkit.prepare.file_formats.arrow import import_pyarrow

PARQUET = ".parquet"
"""Suffix of the files that are written as Parquet."""

BATCH_BYTES = 8 << 20
"""Bytes of JSON that become a row group."""


def write_parquet(lines: IO[bytes], target: Any, name: str) -> None:
    """Write the objects of a JSON Lines file to a Parquet file.

    The lines are read twice: first for the types of its columns. Objects have the members of all
    objects in the same place, and those that they lack are null; so a member that is null cannot
    be told from one that is not there.

    Args:
        lines: The JSON Lines file.
        target: Path of the Parquet file, or a binary file.
        name: Name of the Parquet file, for error messages.

    Raises:
        FileError: Values in the same place have types that Parquet cannot hold together.
        UsageError: pyarrow is not installed, or a row is not an object.
    """
    pyarrow = import_pyarrow()
    from pyarrow import parquet

    schema = pyarrow.schema([])
    for rows in _batches(lines):
        schema = _unify(schema, rows)
    try:
        with parquet.ParquetWriter(target, schema, compression="zstd") as writer:
            for rows in _batches(lines):
                writer.write_batch(pyarrow.RecordBatch.from_pylist(rows, schema))
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise FileError(f"cannot write {name}: {reason:.200}; write JSON Lines instead") from error


def _unify(schema: Any, rows: list[dict[str, Any]]) -> Any:
    pyarrow = import_pyarrow()
    names = dict.fromkeys(name for row in rows for name in row)
    for name in names:
        try:
            array = pyarrow.array([row.get(name) for row in rows])
            column = pyarrow.schema([(name, array.type)])
            schema = pyarrow.unify_schemas([schema, column], promote_options="permissive")
        except (pyarrow.ArrowException, OverflowError) as error:
            raise FileError(
                f"Parquet cannot hold the values of {name!r:.60} in one column, since their types "
                f"differ: {str(error).partition(chr(10))[0]:.200}; write JSON Lines instead"
            ) from error
    return schema


def _batches(lines: IO[bytes]) -> Iterator[list[dict[str, Any]]]:
    decode = msgspec.json.Decoder().decode
    lines.seek(0)
    while batch := lines.readlines(BATCH_BYTES):
        rows = list(map(decode, batch))
        if not all(isinstance(row, dict) for row in rows):
            raise UsageError("only JSON objects can be written to Parquet")
        yield rows
