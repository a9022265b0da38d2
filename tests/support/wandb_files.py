"""Files that wandb writes: a log of records in the format of LevelDB, behind a header."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEADER, BLOCK = 7, 32768
"""Bytes of the file's header, and of a block."""

RECORD = struct.Struct("<IHB")
"""Header of a part of a record: checksum, size, and kind."""

FULL, LAST = 1, 4
"""Kinds of the parts that end a record."""


def read_records(path: Path) -> Iterator[Any]:
    """Yield the records of a `.wandb` file, as wandb's own protocol buffers."""
    from wandb.proto.wandb_internal_pb2 import Record

    data = path.read_bytes()
    assert data.startswith(b":W&B")
    position, parts = HEADER, b""
    while position < len(data):
        left = BLOCK - position % BLOCK
        if left < RECORD.size:
            position += left
            continue
        _, size, kind = RECORD.unpack_from(data, position)
        position += RECORD.size
        parts += data[position : position + size]
        position += size
        if kind in (FULL, LAST):
            yield Record.FromString(parts)
            parts = b""


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return what was logged at each step, without what wandb itself adds."""
    rows = []
    for record in read_records(path):
        if record.HasField("history"):
            items = {
                item.nested_key[0]: json.loads(item.value_json) for item in record.history.item
            }
            rows.append({name: value for name, value in items.items() if name[0] != "_"})
    return rows


def read_run(path: Path) -> Any:
    """Return the record of the run."""
    return next(record.run for record in read_records(path) if record.HasField("run"))
