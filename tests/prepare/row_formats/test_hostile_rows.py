"""Rows of any content: a reader converts one or says what is wrong and where."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit.prepare.example import Example
from ftkit.prepare.row_formats import find_row_format, row_formats
from ftkit.prepare.row_formats.base import RowError
from support.property_tests import example_count

READ = [name for name, format in row_formats().items() if format.read]
WRITTEN = [name for name, format in row_formats().items() if format.write]


def nodes(value: Any) -> list[tuple[Any, Any]]:
    """Return the places in a JSON value, as holders and keys."""
    found = []
    stack = [value]
    while stack:
        holder = stack.pop()
        for key in holder if isinstance(holder, dict) else range(len(holder)):
            found.append((holder, key))
            if isinstance(holder[key], (dict, list)):
                stack.append(holder[key])
    return found


KEYS = sorted(
    {
        key
        for name in READ
        for holder, key in nodes(json.loads(find_row_format(name).layout))
        if isinstance(holder, dict)
    }
)
WORDS = ["user", "assistant", "system", "tool", "model", "text", "image", "image_url", "tool_use"]
WORDS += ["tool_result", "function", "human", "constructor", "STRING", "stop", "length", ""]
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def damaged_rows(draw: st.DrawFn, layout: str) -> Any:
    """A layout with some values replaced, removed, added or moved to other places."""
    row = json.loads(layout)
    for _ in range(draw(st.integers(1, 4))):
        places = nodes(row)
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        action = draw(st.sampled_from(["replace", "remove", "add", "move"]))
        if action == "replace":
            holder[key] = draw(junk)
        elif action == "remove":
            del holder[key]
        elif action == "move":
            source, name = draw(st.sampled_from(places))
            holder[key] = copy.deepcopy(source[name])
        elif isinstance(holder, dict):
            holder[draw(st.sampled_from(KEYS))] = draw(junk)
        else:
            holder.append(draw(junk))
    return row


def resolves(row: Any, pointer: str) -> bool:
    """Return True if a pointer leads to a value of a row, or into a text, which may be JSON."""
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(row, str):
            return True
        if isinstance(row, dict) and key in row:
            row = row[key]
        elif isinstance(row, list) and key.isdigit() and int(key) < len(row):
            row = row[int(key)]
        else:
            return False
    return True


def write_everywhere(example: Example) -> None:
    for name in WRITTEN:
        with suppress(RowError):
            find_row_format(name).write(example)  # type: ignore[misc]


def check_error(row: Any, error: RowError) -> None:
    """Check that a pointer leads to a value, or to a key that is missing."""
    assert error.reason
    assert resolves(row, error.pointer) or resolves(row, error.pointer.rpartition("/")[0]), (
        error.pointer
    )


def check_extras(row: Any, example: Example) -> None:
    for extra in example.extras:
        assert resolves(row, extra.pointer), extra
        assert -1 <= extra.message < len(example.messages), extra
    assert len(example.places or []) <= len(example.messages)


@pytest.mark.parametrize("name", READ)
@given(data=st.data())
@settings(max_examples=example_count(60))
def test_a_damaged_row_is_read_or_refused(name: str, data: st.DataObject) -> None:
    format = find_row_format(name)
    row = data.draw(damaged_rows(format.layout))
    before = json.dumps(row)
    format.recognizes(row)
    try:
        example = format.read(row)  # type: ignore[misc]
    except RowError as error:
        check_error(row, error)
        return
    assert json.dumps(row) == before
    check_extras(row, example)
    write_everywhere(example)


@pytest.mark.parametrize("name", READ)
@given(row=st.dictionaries(st.sampled_from(KEYS), junk, max_size=4))
@settings(max_examples=example_count(40))
def test_any_object_is_read_or_refused(name: str, row: dict[str, Any]) -> None:
    format = find_row_format(name)
    format.recognizes(row)
    try:
        check_extras(row, format.read(row))  # type: ignore[misc]
    except RowError as error:
        check_error(row, error)


@pytest.mark.parametrize("name", READ)
def test_a_deep_value_is_read_or_refused(name: str) -> None:
    format = find_row_format(name)
    deep: Any = {}
    for _ in range(450):
        deep = {"properties": {"a": deep}}
    for index in range(len(nodes(json.loads(format.layout)))):
        row = json.loads(format.layout)
        holder, key = nodes(row)[index]
        holder[key] = deep
        with suppress(RowError):
            write_everywhere(format.read(row))  # type: ignore[misc]
