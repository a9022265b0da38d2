"""Screening of rows: places, redaction and counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.prepare.prepared import Prepared
from ftkit.prepare.screen.screen import screen

CARD, MAIL, PHONE = "4111 1111 1111 1111", "jo.doe@acme.com", "+49 30 23125000"
IBAN, KEY = "DE89 3704 0044 0532 0130 00", "AKIA2J4K6L8M0N2P4Q6R"


def entries(prepared: Prepared) -> list[tuple[str, ...]]:
    """Return effect, kind, pointer and detail of each entry."""
    return [
        (entry.effect, entry.reason, entry.pointer, entry.detail)
        for entry in prepared.audit.entries
    ]


def screened(value: Any, **options: Any) -> tuple[Any, list[tuple[str, ...]]]:
    """Return a row after screening, and what was found."""
    prepared = screen([value], **options)
    (row,) = prepared
    assert prepared.audit.is_balanced
    return row, entries(prepared)


def test_values_are_found_with_line_pointer_and_a_part(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    line = {"messages": [{"role": "user", "content": f"{MAIL}, {CARD}"}]}
    path.write_text(f'{{"a": 1}}\n{json.dumps(line)}\n')
    prepared = screen(path)
    assert list(prepared) == [{"a": 1}, line]
    assert {str(entry.origin) for entry in prepared.audit.entries} == {f"{path}:2"}
    assert entries(prepared) == [
        ("found", "e-mail address", "/messages/0/content", "jo…@acme.com"),
        ("found", "payment card number", "/messages/0/content", "…1111"),
    ]


def test_redaction_replaces_values_and_keeps_the_other_bytes(tmp_path: Path) -> None:
    path, target = tmp_path / "data.jsonl", tmp_path / "out.jsonl"
    path.write_text(f'{{"a" :  1.0}}\n{{"text": "{IBAN} {KEY} {PHONE}"}}\n')
    prepared = screen(path, redact=True)
    assert prepared.write(target, map=tmp_path / "map")
    first, second = target.read_text().splitlines()
    assert first == '{"a" :  1.0}'
    assert json.loads(second) == {"text": "[IBAN] [AWS access key] [telephone number]"}
    steps = [json.loads(line)["steps"] for line in (tmp_path / "map").read_text().splitlines()]
    assert steps == [[], ["screen"]]
    assert entries(prepared) == [
        ("changed", "IBAN", "/text", "DE…00"),
        ("changed", "AWS access key", "/text", "AKIA…"),
        ("changed", "telephone number", "/text", "+49…00"),
    ]


def test_arguments_of_tools_stay_json_with_their_layout() -> None:
    inner = json.dumps({"mail": f"\n{MAIL}"})
    arguments = f'{{"to":  "é\\n{MAIL}", "{MAIL}": 1.50, "nested": {json.dumps(inner)}}}'
    row, places = screened({"arguments": arguments}, redact=True)
    assert row["arguments"] == arguments.replace(f"\\n{MAIL}", "\\n[e-mail address]").replace(
        f"\\\\n{MAIL}", "\\\\n[e-mail address]"
    )
    assert [place[0] for place in places] == ["changed", "found", "changed"]  # found: the key
    assert json.loads(json.loads(row["arguments"])["nested"]) == {"mail": "\n[e-mail address]"}


@pytest.mark.parametrize(
    "value",
    [
        {"name": MAIL},
        {"card": 4111111111111111},
        {"arguments": '{"card": 4111111111111111}'},
        {"image_url": {"url": f"https://x.org/?m={MAIL}"}},
        {MAIL: 1},
        {"arguments": f'{{"{MAIL}": 1}}'},
        {"arguments": '{"n":4111111111111111,"x":1e400,"y":0.10}'},
    ],
)
def test_what_is_no_text_is_found_but_not_replaced(value: Any) -> None:
    row, places = screened(value, redact=True)
    assert row == value
    assert [place[0] for place in places] == ["found"]


@pytest.mark.parametrize(
    "text",
    [
        "jo@example.com",
        "data:image/png;base64,jo@acme.com",
        "Order 20240115123456 of 2024-01-15, 10.1.2.3, $1,000,000.00",
    ],
)
def test_reserved_addresses_files_and_other_numbers_are_left(text: str) -> None:
    assert screened({"text": text}) == ({"text": text}, [])


@pytest.mark.parametrize("value", [MAIL, [MAIL], {"a": [{"b": MAIL}]}, {"a/b": MAIL}])
def test_rows_of_any_shape_are_screened(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(value))
    prepared = screen(path, redact=True)
    (row,) = prepared
    assert MAIL not in str(row)
    assert entries(prepared)[0][2] in ("", "/0", "/a/0/b", "/a~1b")


def test_values_in_escapes_are_found(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"a": "jo.doe\\u0040acme.com"}\n{"a": "\\u002b49\\u00a030 23125000"}\n')
    prepared = screen(path)
    list(prepared)
    assert [entry.origin.line for entry in prepared.audit.entries] == [1, 2]


def test_only_the_chosen_kinds_are_found() -> None:
    assert [place[1] for place in screened({"a": [MAIL, CARD, KEY]}, kinds=["key"])[1]] == [
        "AWS access key"
    ]


def test_rows_of_the_caller_are_not_changed() -> None:
    rows = [{"a": MAIL}]
    assert list(screen(rows, redact=True)) == [{"a": "[e-mail address]"}]
    assert rows == [{"a": MAIL}]
    assert list(screen(screen(rows), redact=True)) == [{"a": "[e-mail address]"}]
    assert rows == [{"a": MAIL}]


PIECES = st.sampled_from(
    [CARD, MAIL, PHONE, IBAN, KEY, CARD.replace(" ", ""), "eyJhbGciOiJI.eyJzdWIiOiIxMjM0NTY.Sfl"]
    + [*' .,-@+_[]{}":\\\n01aZé', "4111", "sk-", "00", '{"a": "', '"}']
)


@given(st.lists(PIECES, max_size=12).map("".join), st.booleans())
def test_redaction_is_idempotent_and_leaves_nothing(text: str, is_nested: bool) -> None:
    value = {"arguments": json.dumps({"a": text})} if is_nested else {"text": text}
    once = list(screen([value], redact=True))
    again = screen(once, redact=True)
    assert list(again) == once
    assert again.audit.entries == []
    if is_nested:
        json.loads(once[0]["arguments"])
