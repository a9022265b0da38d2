"""Rows as valid examples of a format, and their tokens as they are billed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import msgspec

from ftkit.catalog import DEFAULT_PROVIDER, find_limits
from ftkit.dataset.detect import classify
from ftkit.dataset.formats import FORMATS, Format
from ftkit.prepare.audit import Audit
from ftkit.prepare.rows import Row
from ftkit.tokens.counting import TokenCount, count

BATCH_ROWS = 500
"""Maximum number of rows whose tokens are counted together, which is faster."""
BATCH_BYTES = 8 << 20
"""Bytes from which a batch is complete."""


class ParsedRow(msgspec.Struct):
    """A row as an example of a format, or None if it was not parsed."""

    row: Row
    format: Format | None = None
    example: Any = None


def batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield rows in lists, whose tokens can be counted together. The last one may be empty."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row.line or b"") or len(row.encode())
        if len(batch) == BATCH_ROWS or size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    yield batch


def parse_rows(rows: list[Row], chosen: Format | None, step: str, audit: Audit) -> list[ParsedRow]:
    """Return the rows that are valid examples. Others are rejected.

    Args:
        rows: The rows.
        chosen: Format of the examples; detected for each row if None.
        step: Name of the step, for the audit.
        audit: Records the rows that are rejected.
    """
    examples = []
    for row in rows:
        format = chosen or FORMATS.get(classify(row.value) or "")
        try:
            built = format.build(row.value) if format else None
        except (msgspec.ValidationError, ValueError, TypeError, AttributeError):
            built = None
        if built is None:
            kind = f"a valid {format.name} example" if format else "an example of a known format"
            audit.reject(step, f"not {kind}", row.origin, row.encode_source())
        else:
            examples.append(ParsedRow(row, format, built))
    return examples


def encoding_of(model: str | None) -> str:
    """Return the encoding of a model, or the default one.

    Raises:
        UnknownNameError: There is no such model.
    """
    return find_limits(DEFAULT_PROVIDER, model).encoding


def token_counts(examples: Iterable[ParsedRow], encoding: str) -> Iterator[TokenCount]:
    """Yield the tokens of each example, counted together for each run of one format."""
    for _, group in groupby(examples, lambda item: item.format and item.format.name):
        run = list(group)
        format = run[0].format
        assert format is not None
        yield from count([item.example for item in run], format, encoding)
