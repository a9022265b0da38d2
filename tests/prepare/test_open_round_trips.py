"""Round trips of examples through the formats of open data sets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.prepare.convert.convert import convert
from ftkit.prepare.convert.proof import canonical_example, differences
from ftkit.prepare.example import Example, Extra
from ftkit.prepare.row_formats import find_row_format
from ftkit.prepare.row_formats.base import RowError, RowFormat
from support.neutral_examples import examples

WRITTEN = (
    *("chat", "completions", "preference", "reinforcement", "alpaca", "sharegpt"),
    *("trl-messages", "trl-prompt-completion", "trl-preference", "trl-prompt", "trl-text"),
    *("anthropic", "bedrock-nova", "gemini", "mistral", "together"),
)

Written = tuple[dict[str, Any], list[Extra]]


def written(format: RowFormat, example: Example) -> Written | None:
    """Return the row of an example as it is read from a file, and what it lacks, if it has one."""
    assert format.write
    try:
        row, lost = format.write(example)
    except RowError:
        return None
    return json.loads(json.dumps(row)), lost


def read(format: RowFormat, row: dict[str, Any]) -> Example:
    assert format.read
    return format.read(row)


@given(examples, st.sampled_from(WRITTEN))
def test_what_a_format_has_no_place_for_is_reported(example: Example, name: str) -> None:
    format = find_row_format(name)
    result = written(format, example)
    if result:
        assert not list(differences(example, *result[:1], format, result[1]))


@given(examples, st.sampled_from(WRITTEN))
def test_a_row_that_lacks_nothing_is_read_back_as_it_was(example: Example, name: str) -> None:
    format = find_row_format(name)
    result = written(format, example)
    if result and not result[1]:
        assert canonical_example(read(format, result[0])) == canonical_example(example)


@given(examples, st.sampled_from(WRITTEN), st.sampled_from(WRITTEN))
def test_a_row_is_the_same_after_another_format(example: Example, name: str, other: str) -> None:
    format, second = find_row_format(name), find_row_format(other)
    first = written(format, example)
    if not first or first[1]:
        return
    before = read(format, first[0])
    across = written(second, before)
    if not across or across[1] or before.extras:
        return
    back = written(format, read(second, across[0]))
    assert back
    assert canonical_example(read(format, back[0])) == canonical_example(before)


@given(examples, st.sampled_from(WRITTEN))
def test_an_example_is_not_changed_by_writing_it(example: Example, name: str) -> None:
    before = json.dumps(canonical_example(example).decode())
    written(find_row_format(name), example)
    assert json.dumps(canonical_example(example).decode()) == before


@pytest.mark.parametrize("name", WRITTEN)
def test_some_example_goes_through_without_a_loss(name: str) -> None:
    format = find_row_format(name)
    row = json.loads(format.layout)
    result = written(format, read(format, row))
    assert result
    assert not [extra for extra in result[1] if extra.is_loss]
    assert list(convert([row], to=name, from_=name, prove=True)) == [result[0]]
