"""Conversion of rows to another format, with a report of everything that it has no place for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Literal, get_args

from msgspec.structs import replace

from ftkit.dataset.canonical import has_repeated_key
from ftkit.dataset.inputs import Examples, File
from ftkit.dataset.lenient_json import read
from ftkit.errors import UsageError, check_choice
from ftkit.prepare.audit import Audit, Origin
from ftkit.prepare.convert.detection import detect_rows
from ftkit.prepare.convert.mapping import Fields, map_rows, read_fields
from ftkit.prepare.convert.proof import differences
from ftkit.prepare.example import Example, Extra, ExtraKind
from ftkit.prepare.file_formats import file_formats, read_file
from ftkit.prepare.file_formats.base import ReadOptions
from ftkit.prepare.paths import split_pointer
from ftkit.prepare.prepared import Prepared, Step, prepare_files
from ftkit.prepare.row_formats import find_row_format, row_formats
from ftkit.prepare.row_formats.base import RowError, RowFormat
from ftkit.prepare.rows import ExampleRow, JoinedRow, Row

STEP = "convert"
"""Name of the step in reports and maps."""

NOT_USED = (ExtraKind.UNUSED, ExtraKind.UNKNOWN_KEY)
"""Kinds of values that nothing in the example has."""

COLUMN_NOT_USED = "column not used"
"""Reason for the loss of such a value, if it is the cell of a table."""

OnLoss = Literal["fail", "drop-row", "allow"]
"""What becomes of rows with values that the target has no place for: nothing is written at all,
they are dropped, or they are written without those values."""


def convert(
    files: File | Iterable[File] | Examples,
    *,
    to: str,
    from_: str | None = None,
    field: Mapping[str, Any] | None = None,
    on_loss: OnLoss = "fail",
    prove: bool = False,
    reading: ReadOptions | None = None,
) -> Prepared:
    """Return examples in another format.

    Args:
        files: Paths, folders, open files, or examples.
        to: Name of the format to write.
        from_: Name of the format of the rows or of the files, which are detected by default.
        field: Path or text of each message of rows in a shape of one's own, by role, such as
            {"user": "$.question", "assistant": "$.answer"}; see `ftkit.prepare.convert.mapping`.
        on_loss: What to do with rows that have values without a place in the target: write
            nothing (or raise `UsageError`, if the examples are iterated over), drop them, or write
            the rest.
        prove: Read each row back, and count every difference as a loss.
        reading: Options of the readers of files.

    Raises:
        UsageError: A format is unknown or cannot be written, or the rows have no known format.
    """
    check_choice("on_loss", on_loss, get_args(OnLoss))
    read = partial(read_file, options=reading or ReadOptions())
    if from_ in file_formats():
        from_, read = None, partial(read, name=from_)
    if from_ and field:
        raise UsageError("`from_` and `field` exclude each other")
    source = _source(from_, field)
    target = writable("to", to)
    step = convert_rows(target, source, on_loss=on_loss, prove=prove)
    return prepare_files(files, [step], allows_losses=on_loss != "fail", read=read)


def _source(from_: str | None, field: Mapping[str, Any] | None) -> RowFormat | Fields | None:
    if field:
        return read_fields(field)
    format = find_row_format(from_, file_formats()) if from_ else None
    if format and not format.read:
        raise UsageError(f"`from_` cannot be {from_}: ftkit writes that format, but does not read")
    return format


def writable(parameter: str, name: str) -> RowFormat:
    """Return the format of a name that can be written.

    Raises:
        UsageError: There is none.
    """
    format = find_row_format(name)
    if not format.write:
        written = (name for name, other in row_formats().items() if other.write)
        raise UsageError(
            f"`{parameter}` cannot be {name}: ftkit reads that format only; it writes "
            f"{', '.join(written)}"
        )
    return format


def convert_rows(
    target: RowFormat,
    source: RowFormat | Fields | None = None,
    *,
    on_loss: OnLoss = "fail",
    prove: bool = False,
) -> Step:
    """Return a step that converts rows.

    Args:
        target: Format to write.
        source: Format of the rows, or a mapping of them; the format is detected by default.
        on_loss: What to do with rows that lose values.
        prove: Read each row back, and count every difference as a loss.
    """

    def step(rows: Iterable[Row], audit: Audit) -> Iterator[Row]:
        format: RowFormat | None
        if isinstance(source, Fields):
            format, rows = map_rows(source, rows)
        elif source is None:
            format, rows = detect_rows(rows)
        else:
            format = source
        rows = _without_repeats(rows, audit, drops=on_loss == "drop-row")
        if format and format.assemble:
            rows = format.assemble(rows, audit, target.holds)
        conversion = _Conversion(format, target, prove)
        audit.columns = conversion.columns
        for row in rows:
            if source and isinstance(row, ExampleRow):
                raise UsageError(
                    f"{row.origin} is a chat, which has no other format: leave out `from_` and "
                    "`field`"
                )
            try:
                value, lost = conversion.convert(row)
            except RowError as error:
                origin, pointer = _place(row, error.pointer)
                audit.reject(STEP, error.reason, origin, row.encode_source(), pointer, error.detail)
                continue
            has_columns = bool(lost) and audit.has_columns(row.origin.file)
            if on_loss == "drop-row" and (losses := [extra for extra in lost if extra.is_loss]):
                reason = _reason(losses[0], target, has_columns)
                audit.drop(STEP, reason, row.origin, losses[0].pointer)
                continue
            for extra in lost:
                record = audit.lose if extra.is_loss else audit.note
                reason = _reason(extra, target, has_columns)
                record(STEP, reason, *_place(row, extra.pointer))
            yield row if value == row.value else row.replaced(value, STEP)

    return step


class _Conversion:
    """Conversion of single rows from one format to another."""

    def __init__(self, source: RowFormat | None, target: RowFormat, prove: bool) -> None:
        self._source, self._target, self._prove = source, target, prove
        self._variant: str | None = None
        self.columns: list[tuple[str, str]] = []

    def convert(self, row: Row) -> tuple[dict[str, Any], list[Extra]]:
        """Return the value that a row becomes, and what it lacks. Raises `RowError`."""
        if isinstance(row, ExampleRow):
            return self._write(row.example, None)
        if self._source is None:
            raise RowError("the format is not known")
        if isinstance(row, JoinedRow):
            return self._write(self._source.joined_example(row.value), None)
        value, lost = self._write(self._source.example(row.value), row.value)
        if value != row.value:
            exact = row.exact_value()
            if exact is not row.value:
                return self._write(self._source.example(exact), exact)
        return value, lost

    def _write(self, example: Example, value: Any) -> tuple[dict[str, Any], list[Extra]]:
        """Return the row for an example, and what it lacks; `value` is the row that it was."""
        try:
            row, lost = self._target.write(example) if self._target.write else ({}, [])
            notes = self._target.check(row) if self._target.check and row != value else []
            if isinstance(value, dict) and not self.columns:
                self.columns += _columns(example, value)
        except RowError as error:
            place = example.source_of(error.pointer)
            raise RowError(error.reason, place, error.detail) from error
        self._check_variant(row)
        if self._prove:
            lost = [*lost, *differences(example, row, self._target, lost)]
        places = (example.source_of(note.pointer) for note in notes)
        return row, [*lost, *map(_moved, notes, places)]

    def _check_variant(self, row: dict[str, Any]) -> None:
        if self._target.variant:
            variant = self._target.variant(row)
            if self._variant not in (None, variant):
                raise RowError("another shape than that of the first row", "", variant)
            self._variant = variant


def _columns(example: Example, value: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the role and the key of each message, or nothing if they are not those of the row."""
    keys = [_key(place) for place in example.places or ()]
    if any(
        value.get(key) != message.get("content")
        for key, message in zip(keys, example.messages, strict=False)
    ):
        return []
    return [(message["role"], key) for key, message in zip(keys, example.messages, strict=False)]


def _moved(extra: Extra, pointer: str) -> Extra:
    return replace(extra, pointer=pointer)


def unused_columns(audit: Audit, to: str) -> list[str]:
    """Return the keys of rows that are lost because nothing in the example has their value.

    Args:
        audit: The audit of a conversion.
        to: Name of the format to write.
    """
    reasons = [COLUMN_NOT_USED, *(f"{kind}: no place in {to}" for kind in NOT_USED)]
    pointers = dict.fromkeys(
        entry.pointer
        for entry in audit.entries
        if entry.effect == "loss" and entry.reason in reasons and entry.pointer.count("/") == 1
    )
    return list(map(_key, pointers))


def _key(pointer: str) -> str:
    """Return the key that a JSON pointer of one step names."""
    return pointer[1:].replace("~1", "/").replace("~0", "~")


def _reason(extra: Extra, target: RowFormat, has_columns: bool) -> str:
    if has_columns and extra.kind in NOT_USED and extra.pointer.count("/") == 1:
        return COLUMN_NOT_USED
    if extra.kind == ExtraKind.DIFFERENCE or not extra.is_loss:
        return str(extra.kind)
    return f"{extra.kind}: no place in {target.name}"


def _place(row: Row, pointer: str) -> tuple[Origin, str]:
    """Return the source row of a pointer into a row, and the pointer into the source row."""
    index, inner = split_pointer(pointer)
    return row.origins[index], inner


def _without_repeats(rows: Iterable[Row], audit: Audit, drops: bool) -> Iterator[Row]:
    """Yield rows; of those that repeat a key, only the last value is known, so they lose values."""
    for row in rows:
        if row.line is None or not has_repeated_key(row.line, row.value):
            yield row
            continue
        reason = "repeated key: the last one counts"
        if drops:
            audit.drop(STEP, reason, row.origin)
            continue
        for defect in read(row.line).defects:
            if defect.kind == "duplicate":
                audit.lose(STEP, reason, row.origin, detail=defect.path)
        yield row.replaced(row.exact_value(), STEP)
