"""Conversion of rows: detection, losses, checks and the map."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ftkit.errors import UnknownNameError, UsageError
from ftkit.prepare.audit import Audit
from ftkit.prepare.convert.convert import convert
from support.fixture_types import Write
from support.paths import SAMPLES

USER = {"role": "user", "content": "Hi"}
ASSISTANT = {"role": "assistant", "content": "Hello!"}
CHAT = {"messages": [USER, ASSISTANT]}
ALPACA = {"instruction": "Hi", "input": "", "output": "Hello!"}
TAGGED = {**ALPACA, "tag": 1}


def entries(audit: Audit, effect: str) -> list[tuple[str, int, str]]:
    return [
        (entry.reason, entry.origin.line, entry.pointer)
        for entry in audit.entries
        if entry.effect == effect
    ]


def test_a_row_without_losses_is_converted() -> None:
    assert list(convert([ALPACA], to="chat")) == [CHAT]


def test_a_row_in_the_target_format_is_written_as_it_is(tmp_path: Path, write: Write) -> None:
    line = '{"messages":  [{"content": "Hi", "role": "user"}, {"role":"assistant","content":"x"}]}'
    out = tmp_path / "out"
    convert(write([line.encode()]), to="chat").write(out)
    assert out.read_text() == f"{line}\n"


def test_by_default_nothing_is_written_if_a_value_is_lost(tmp_path: Path) -> None:
    prepared = convert([ALPACA, TAGGED], to="chat")
    assert not prepared.write(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert entries(prepared.audit, "loss") == [("unknown key: no place in chat", 2, "/tag")]


def test_by_default_iterating_stops_at_a_lost_value() -> None:
    with pytest.raises(UsageError, match=r":2 /tag: unknown key.*`on_loss`"):
        list(convert([ALPACA, TAGGED], to="chat"))


def test_rows_that_lose_values_can_be_dropped() -> None:
    prepared = convert([ALPACA, TAGGED], to="chat", on_loss="drop-row")
    assert list(prepared) == [CHAT]
    assert prepared.audit.is_balanced
    assert prepared.audit.total("dropped") == 1
    assert not prepared.audit.total("loss")


def test_losses_can_be_allowed() -> None:
    prepared = convert([TAGGED], to="chat", on_loss="allow")
    assert list(prepared) == [CHAT]
    assert prepared.audit.total("loss") == 1


def test_a_repeated_key_is_a_loss(tmp_path: Path, write: Write) -> None:
    line = '{"messages": [{"role": "user", "content": "a", "content": "b"}, %s]}'
    path = write([(line % json.dumps(ASSISTANT)).encode()])
    prepared = convert(path, to="chat", on_loss="allow")
    (row,) = prepared
    assert row["messages"][0]["content"] == "b"
    assert [entry.detail for entry in prepared.audit.entries] == ["$.messages[0].content"]
    assert list(convert(path, to="chat", on_loss="drop-row")) == []


def test_a_row_of_another_format_is_rejected_with_its_place(tmp_path: Path) -> None:
    rows = [ALPACA, {"instruction": 1, "output": "x"}, {"q": "a"}, ALPACA, ALPACA]
    prepared = convert(rows, to="chat")
    out, rejects = tmp_path / "out", tmp_path / "rejects"
    assert prepared.write(out, rejects=rejects)
    assert len(out.read_text().splitlines()) == 3
    assert len(rejects.read_text().splitlines()) == 2
    assert entries(prepared.audit, "rejected") == [
        ("not a string", 2, "/instruction"),
        ("no `instruction`", 3, ""),
    ]


def test_the_map_names_the_step_and_the_source(tmp_path: Path, write: Write) -> None:
    path, map = write([b"", json.dumps(ALPACA).encode()]), tmp_path / "map"
    convert(path, to="chat").write(tmp_path / "out", map)
    (line,) = map.read_text().splitlines()
    source = {"file": str(path), "line": 2}
    assert json.loads(line) == {"line": 1, "sources": [source], "steps": ["convert"]}


def test_rows_without_a_known_format_name_their_keys() -> None:
    with pytest.raises(UsageError, match=r"no known format; its keys are 'q, a'; set `from_`"):
        list(convert([{"q": "x", "a": "y"}], to="chat"))


@pytest.mark.parametrize(
    ("value", "named"),
    [(5, "a number"), (None, "null"), ("x", "a string"), (True, "a boolean"), ([], "an array")],
)
def test_rows_that_are_no_objects_are_named_as_in_json(
    value: Any, named: str, write: Write
) -> None:
    with pytest.raises(UsageError, match=f"no known format; it is {named}, not an object; set"):
        list(convert(write([json.dumps(value).encode()]), to="chat"))


def test_rows_of_several_formats_are_named() -> None:
    sharegpt = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
    message = r":1 is chat, and .*:2 is sharegpt; put .* set `from_` to chat or sharegpt to reject"
    with pytest.raises(UsageError, match=message):
        list(convert([CHAT, sharegpt, {"prompt": "a", "completion": "b"}], to="chat"))


TRANSCRIPT = "\n\nHuman: a\n\nAssistant: b"
HH = {"chosen": TRANSCRIPT, "rejected": f"{TRANSCRIPT}c"}


@pytest.mark.parametrize("odd", [f"Here:{TRANSCRIPT}", "b"])
@pytest.mark.parametrize("copies", [1, 3])
def test_odd_transcripts_do_not_change_the_format(odd: str, copies: int) -> None:
    rows = [{"chosen": odd, "rejected": f"{odd}c"}] * copies + [HH]
    prepared = convert(rows, to="preference")
    assert len(list(prepared)) == 1
    (reason,) = {reason for reason, _, _ in entries(prepared.audit, "rejected")}
    assert reason == "a transcript that does not begin with Human: or Assistant:"


@pytest.mark.parametrize("plain", [0, 1, 3])
def test_texts_beside_a_system_prompt_are_detected_as_anthropic(plain: int) -> None:
    rows = [CHAT] * plain + [{"messages": [{"role": "system", "content": "x"}, USER, ASSISTANT]}]
    written = list(convert(rows, to="anthropic"))
    assert written[-1]["system"] == "x"
    prepared = convert(written, to="chat")
    assert list(prepared) == rows
    assert not prepared.audit.entries


def test_an_ambiguous_row_is_an_error_that_shows_both_readings() -> None:
    row = {
        "conversations": [{"from": "human", "value": "One"}, {"from": "gpt", "value": "Uno"}],
        "conversation": [{"human": "Two", "assistant": "Due"}],
    }
    with pytest.raises(UsageError) as error:
        list(convert([row], to="chat"))
    assert re.search(r":1 can .* as sharegpt: .*Uno.*, or as ms-swift: .*Due", str(error.value))
    assert "set `from_` to one of them" in str(error.value)


def test_formats_that_read_a_row_alike_are_not_ambiguous() -> None:
    row = {"prompt": "Hi", "completion": "Hello!"}
    assert list(convert([row], to="chat")) == [CHAT]


def test_the_format_that_knows_more_keys_is_detected() -> None:
    row = {"prompt": "Hi", "completion": "Hello!", "label": True}
    assert list(convert([row], to="chat")) == [CHAT]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "chats"}, "unknown format 'chats'; did you mean 'chat'"),
        ({"to": "dolly"}, "`to` cannot be dolly: ftkit reads that format only"),
        ({"to": "chat", "from_": "alpacca"}, "unknown format 'alpacca'; did you mean 'alpaca'[?]$"),
        ({"to": "chat", "from_": "xls"}, "unknown format 'xls'; did you mean 'xlsx'"),
        ({"to": "chat", "from_": "?"}, "unknown format '[?]'. Known: OpenAI: .*; Files: .*xlsx"),
        ({"to": "chat", "on_loss": "ignore"}, "`on_loss` must be fail or drop-row or allow"),
        ({"to": "chat", "from_": "chat", "field": {"user": "q"}}, "exclude each other"),
    ],
)
def test_a_wrong_argument_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        convert([ALPACA], **options)
    assert isinstance(error.value, UnknownNameError) == message.startswith("unknown")


def test_no_rows_give_no_rows(write: Write) -> None:
    assert list(convert(write([]), to="chat")) == []


def test_prove_reports_what_does_not_come_back() -> None:
    transcript = {
        "messages": [
            USER,
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
        ]
    }
    prepared = convert([transcript], to="completions", on_loss="allow", prove=True)
    assert list(prepared) == [{"prompt": "Hi", "completion": "ab"}]
    assert entries(prepared.audit, "loss") == [
        ("limits of text parts: no place in completions", 1, "/messages/1/content")
    ]


@pytest.mark.parametrize("value", [None, 1, "x", [], [[]], {}, {"messages": {}}, {"messages": [1]}])
def test_odd_rows_are_rejected(value: Any, tmp_path: Path, write: Write) -> None:
    path = write([json.dumps(value).encode()])
    for name in ("chat", "alpaca", "sharegpt", "trl-preference", "trl-kto", "oasst", "hh-rlhf"):
        prepared = convert(path, to="chat", from_=name)
        assert list(prepared) == []
        assert prepared.audit.total("rejected") == 1
        assert prepared.audit.is_balanced


@pytest.mark.parametrize(
    ("name", "format"),
    [
        *(("marv", "chat"), ("tool-calls", "chat"), ("images", "chat")),
        *(("completions", "completions"), ("preference", "preference")),
        ("reinforcement", "reinforcement"),
    ],
)
def test_a_file_in_the_target_format_stays_as_it_is(name: str, format: str, tmp_path: Path) -> None:
    path, out = SAMPLES / f"{name}.jsonl", tmp_path / "out"
    prepared = convert(path, to=format, prove=True)
    assert prepared.write(out)
    assert out.read_bytes() == path.read_bytes()
    assert not prepared.audit.entries


def test_the_format_of_most_rows_counts_even_if_they_cannot_be_read() -> None:
    rows = [{"messages": "x"}] * 3 + [ALPACA]
    prepared = convert(rows, to="chat")
    assert list(prepared) == []
    assert entries(prepared.audit, "rejected")[0] == ("not an array", 1, "/messages")


def test_huge_keys_take_no_memory_in_the_report() -> None:
    prepared = convert([{**ALPACA, "k" * 100_000: 1}], to="chat", on_loss="allow")
    assert len(list(prepared)) == 1
    assert len(prepared.audit.entries[0].pointer) == 2000


CALLING = {
    "role": "assistant",
    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
PREFERENCE = {
    "input": {"messages": [USER]},
    "preferred_output": [{**ASSISTANT, "name": "ann"}],
    "non_preferred_output": [CALLING],
}


@pytest.mark.parametrize(
    ("row", "to", "effect", "pointer"),
    [
        (PREFERENCE, "chat", "loss", "/non_preferred_output"),
        (PREFERENCE, "sharegpt", "loss", "/preferred_output"),
        (PREFERENCE, "alpaca", "rejected", "/non_preferred_output/0"),
        (
            {"conversations": [{"from": "human", "value": "x"}, {"from": "human", "value": "y"}]},
            *("completions", "rejected", ""),
        ),
        ({"messages": [USER, CALLING]}, "alpaca", "rejected", "/messages/1"),
        (
            {
                "conversations": [
                    {"from": "human", "value": "x"},
                    {"from": "function_call", "value": '{"name": "f", "arguments": {}}'},
                ]
            },
            *("alpaca", "rejected", "/conversations/1"),
        ),
    ],
)
def test_places_are_those_of_the_source(
    row: dict[str, Any], to: str, effect: str, pointer: str
) -> None:
    prepared = convert([row], to=to, on_loss="allow")
    assert len(list(prepared)) == (effect == "loss")
    assert pointer in [place for _, _, place in entries(prepared.audit, effect)]


NUMBERS = '{"a":0.1234567890123456789,"b":1e-400,"c":123456789012345678901234567890}'
CALL_OF_NUMBERS = '{"type":"tool_use","id":"a","name":"f","input":NUMBERS}'


@pytest.mark.parametrize("prove", [False, True])
@pytest.mark.parametrize(
    ("row", "to", "written"),
    [
        ('{"messages":[USER,{"role":"assistant","content":[CALL]}]}', "chat", '"{}"'),
        ('{"messages":[USER,{"role":"assistant","content":[CALL]}]}', "gemini", '"args":{}'),
        ('{"prompt":[USER],"solution":NUMBERS}', "reinforcement", '"solution":{}'),
        ('{"messages":[USER],"solution":NUMBERS,"q":[]}', "trl-prompt", '"solution":{}'),
    ],
)
def test_numbers_keep_their_digits(
    row: str, to: str, written: str, prove: bool, write: Write, tmp_path: Path
) -> None:
    line = row.replace("CALL", CALL_OF_NUMBERS).replace("NUMBERS", NUMBERS)
    path, out = write([line.replace("USER", json.dumps(USER)).encode()]), tmp_path / "out"
    prepared = convert(path, to=to, prove=prove)
    assert prepared.write(out)
    assert written.replace("{}", NUMBERS) in out.read_text().replace("\\", "")
    assert not prepared.audit.total("loss")


def test_a_row_whose_source_is_not_valid_is_written_with_a_note() -> None:
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]
    prepared = convert([{"conversations": [*turns, turns[0]]}], to="chat")
    assert list(prepared) == [{"messages": [USER, ASSISTANT, USER]}]
    assert entries(prepared.audit, "note") == [
        ("no valid example (assistant-not-last)", 1, "/conversations/2")
    ]
