"""Paths into rows: read as findings write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.dataset.lenient_json import json_path
from ftkit.errors import UsageError
from ftkit.prepare.filter.filter import NAMES
from ftkit.prepare.filter.where import parse_where
from ftkit.prepare.paths import look_up, parse_path, path_steps, pointer_of, split_pointer

steps = st.lists(st.text(max_size=10) | st.integers(0, 99), max_size=5)


@given(steps)
def test_the_path_of_a_finding_is_read_as_its_steps(steps: list[str | int]) -> None:
    assert list(parse_path(json_path([0, *steps]), "group")) == steps


def test_the_last_step_of_a_cut_path_is_left_out() -> None:
    assert path_steps('$.messages[3]["a ke…') == ("messages", 3)


@pytest.mark.parametrize("path", ["$a", "$.", "$[x]", "$[-1]", '$["\\q"]', "$.a b"])
def test_what_begins_like_a_path_must_be_one(path: str) -> None:
    with pytest.raises(UsageError, match=r"`group` has .* not a path"):
        parse_path(path, "group")


def test_a_condition_with_an_escape_that_json_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match="a path that is not JSON at column 1"):
        parse_where('$["\\q"] == 1', NAMES)


@pytest.mark.parametrize(
    ("path", "value"),
    [("$.a[1].b", 2), ("a", [0, {"b": 2}]), ("$.a[2]", None), ("$.a.b", None), ("$[0]", None)],
)
def test_a_path_that_leads_nowhere_has_no_value(path: str, value: object) -> None:
    assert look_up({"a": [0, {"b": 2}]}, parse_path(path, "group")) == value


def test_a_pointer_has_slashes_and_tildes_escaped() -> None:
    assert pointer_of(["a/b", 0, "~"]) == "/a~1b/0/~0"


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("", (0, "")),
        ("/12/a", (0, "/12/a")),
        ("/a#b", (0, "/a#b")),
        ("0#", (0, "")),
        ("12#/a#b", (12, "/a#b")),
    ],
)
def test_a_pointer_into_a_joined_row_names_the_row(pointer: str, expected: tuple[int, str]) -> None:
    assert split_pointer(pointer) == expected
