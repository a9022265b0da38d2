"""Mappings of rows in shapes of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftkit.errors import FileError, UsageError
from ftkit.prepare.convert.convert import convert
from ftkit.prepare.convert.mapping import read_mapping

ROW = {"q": "Q", "a": {"best": ["A", "B"]}, "ctx": "C", "note": None}


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    ("field", "expected", "lost"),
    [
        (
            {"user": "q", "assistant": "$.a.best[0]", "system": "ctx"},
            [message("system", "C"), message("user", "Q"), message("assistant", "A")],
            ["/a/best/1"],
        ),
        (
            {"user": "$.q", "assistant": '$["a"].best[1]', "system": "Be brief."},
            [message("system", "Be brief."), message("user", "Q"), message("assistant", "B")],
            ["/ctx", "/a/best/0"],
        ),
    ],
)
def test_messages_are_found_by_their_paths(
    field: dict[str, str], expected: list[Any], lost: list[str]
) -> None:
    prepared = convert([ROW], to="chat", field=field, on_loss="allow")
    assert list(prepared) == [{"messages": expected}]
    assert [entry.pointer for entry in prepared.audit.entries] == lost


def test_two_answers_make_a_preference_example() -> None:
    field = {"user": "q", "chosen": "$.a.best[0]", "rejected": "$.a.best[1]", "system": "ctx"}
    (row,) = convert([ROW], to="preference", field=field)
    assert row["preferred_output"] == [message("assistant", "A")]
    assert row["non_preferred_output"] == [message("assistant", "B")]


MAPPING = """\
[turns]
list = "$.talk"
role = "$.by.kind"
content = "$.says"
[turns.roles]
customer = "user"
clerk = "assistant"
"""


def test_turns_of_a_list_are_mapped_by_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mapping.toml"
    path.write_text(MAPPING)
    turns = [("customer", "Hi"), ("clerk", "Hello!")]
    row = {"talk": [{"by": {"kind": kind, "id": 1}, "says": says} for kind, says in turns]}
    prepared = convert([row], to="chat", field=read_mapping(path), on_loss="allow")
    assert list(prepared) == [{"messages": [message("user", "Hi"), message("assistant", "Hello!")]}]
    assert [entry.pointer for entry in prepared.audit.entries] == [
        "/talk/0/by/id",
        "/talk/1/by/id",
    ]


@pytest.mark.parametrize(
    ("row", "reason", "pointer"),
    [
        ({"q": "Q"}, "nothing at the path of the mapping", "/a"),
        ({"q": "Q", "a": {"best": []}}, "nothing at the path of the mapping", "/a/best/0"),
        ({"q": 7, "a": {"best": ["A"]}}, "not a string", "/q"),
    ],
)
def test_a_row_without_the_value_is_rejected(
    row: dict[str, Any], reason: str, pointer: str
) -> None:
    prepared = convert([row], to="chat", field={"user": "q", "assistant": "$.a.best[0]"})
    assert list(prepared) == []
    assert [(entry.reason, entry.pointer) for entry in prepared.audit.entries] == [
        (reason, pointer)
    ]


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"user": "$.a..b"}, "is not a path"),
        ({"user": "$.a[x]"}, "is not a path"),
        ({"who": "$.a"}, "unknown field `who`"),
        ({"assistant": "$.a"}, "needs the path of a message of the user"),
        ({"user": "q", "chosen": "a"}, "needs both chosen and rejected"),
        ({"user": "q", "turns": 1}, "is not a mapping of rows"),
        ({"turns": "q", "turns.list": "a"}, "has turns as a value and as a table"),
    ],
)
def test_a_wrong_mapping_is_explained(field: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        convert([ROW], to="chat", field=field)


def test_a_file_that_is_not_a_mapping_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "mapping.toml"
    path.write_text("user = ")
    with pytest.raises(UsageError, match="is not a mapping in TOML"):
        read_mapping(path)
    with pytest.raises(FileError, match="cannot read"):
        read_mapping(tmp_path / "missing.toml")


def systems(rows: list[Any], **field: str) -> list[str | None]:
    """Return the system messages of rows."""
    prepared = convert(rows, to="chat", field={"user": "q", "assistant": "a", **field})
    messages = [row["messages"] for row in prepared]
    return [row[0]["content"] if row[0]["role"] == "system" else None for row in messages]


PAIR = {"q": "Q", "a": "A"}


@pytest.mark.parametrize(
    ("rows", "field", "expected"),
    [
        ([{**PAIR, "ctx": "C"}, PAIR], {"system": "ctx"}, ["C", None]),
        ([PAIR, {**PAIR, "ctx": "C"}], {"system": "ctx"}, [None, "C"]),
        ([{**PAIR, "ctx": ""}, {**PAIR, "ctx": None}], {"system": "ctx"}, [None, None]),
        ([{**PAIR, "ctx": "C"}, PAIR], {"system": "$.ctx"}, ["C", None]),
        ([PAIR, PAIR], {"system": "$.ctx.deep[0]"}, [None, None]),
        ([PAIR, PAIR], {"system": "Be brief."}, ["Be brief."] * 2),
        ([PAIR, PAIR], {"system": "answer"}, ["answer"] * 2),
        ([PAIR, PAIR], {"system_text": "a"}, ["a", "a"]),
        ([PAIR, PAIR], {"system_text": "$.ctx"}, ["$.ctx", "$.ctx"]),
    ],
)
def test_a_system_message_is_a_column_or_a_text_in_all_rows(
    rows: list[Any], field: dict[str, str], expected: list[str | None]
) -> None:
    assert systems(rows, **field) == expected


@pytest.mark.parametrize(
    ("rows", "field", "message"),
    [
        (
            [{**PAIR, "Hinweis": "H"}],
            {"system": "Hinwes"},
            "no column 'Hinwes'; if it is a text, set `system_text`; did you mean 'Hinweis'?",
        ),
        ([PAIR], {"user": "Q"}, "no column 'Q'; columns are q, a; did you mean 'q'?"),
        ([PAIR], {"assistant": "zzz"}, "no column 'zzz'; columns are q, a"),
        ([PAIR], {"chosen": "x", "rejected": "a"}, "no column 'x'"),
        ([PAIR] * 100 + [{**PAIR, "x y": "C"}], {"system": "x y"}, """by its path, $["x y"]"""),
        ([PAIR], {"system": "a", "system_text": "b"}, "exclude each other"),
    ],
)
def test_a_column_that_is_missing_is_an_error(
    rows: list[Any], field: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        systems(rows, **field)
    assert message in str(error.value)
