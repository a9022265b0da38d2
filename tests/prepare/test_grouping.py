"""Grouping of rows that belong together."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from ftkit.prepare.audit import Origin
from ftkit.prepare.grouping import group_rows
from ftkit.prepare.rows import Row


def make_rows(keys: list[str]) -> list[Row]:
    return [
        Row({"key": key, "n": n}, (Origin("in", n),), ("step",) * (n % 2), None)
        for n, key in enumerate(keys)
    ]


@given(st.lists(st.sampled_from("abc"), max_size=20))
def test_groups_are_in_the_order_of_their_first_rows(keys: list[str]) -> None:
    rows = make_rows(keys)
    expected = [[row for row in rows if row.value["key"] == key] for key in dict.fromkeys(keys)]
    assert list(group_rows(rows, lambda row: row.value["key"])) == expected


def test_an_unchanged_line_stays_as_it_is() -> None:
    row = Row({"a": 1}, (Origin("in", 1),), line=b'{"a":  1}')
    assert list(group_rows([row], lambda row: None)) == [[row]]


def test_the_rows_wait_on_disk() -> None:
    def rows() -> Iterator[Row]:
        for n in range(300):
            yield Row({"key": n % 100, "text": "x" * 100_000}, (Origin("in", n),))

    tracemalloc.start()
    try:
        assert sum(map(len, group_rows(rows(), lambda row: row.value["key"]))) == 300
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()
