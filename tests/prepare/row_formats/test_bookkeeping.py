"""Keys of rows beside the conversation: bookkeeping keys are noted, all others are losses."""

from __future__ import annotations

import json

import pytest

from ftkit.prepare.row_formats import row_formats
from ftkit.prepare.row_formats.base import EVERY_KEY, RowFormat

WITH_FIELDS = ("reinforcement", "trl-prompt")
"""Formats whose other keys are fields for a grader."""

JOINED = ("oasst",)
"""Formats whose rows are not read alone."""

FORMATS = [
    format
    for format in row_formats().values()
    if format.read
    and format.layout[0] == "{"
    and format.name not in (*WITH_FIELDS, *JOINED)
    and format.group != "Chats"
]


def losses(format: RowFormat, key: str) -> list[str]:
    example = format.example({**json.loads(format.layout), key: "x"})
    assert [extra for extra in example.extras if extra.pointer == f"/{key}"]
    return [extra.pointer for extra in example.extras if extra.is_loss]


@pytest.mark.parametrize("format", FORMATS, ids=lambda item: item.name)
def test_bookkeeping_keys_are_notes_and_other_keys_losses(format: RowFormat) -> None:
    row = json.loads(format.layout)
    before = [extra.pointer for extra in format.example(row).extras if extra.is_loss]
    for key in format.bookkeeping - row.keys() - {"error", "status", "status_code", "item"}:
        assert losses(format, key) == before
    is_log = format.bookkeeping == EVERY_KEY
    assert losses(format, "tag") == [*before, *([] if is_log else ["/tag"])]
