"""Faults of other converters, each on the row that shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftkit.prepare.audit import Audit
from ftkit.prepare.convert.convert import convert
from support.fixture_types import Write

USER = {"role": "user", "content": "How far is it?"}
CALL = {
    "id": "call_9f",
    "type": "function",
    "function": {"name": "distance", "arguments": '{"to": "Aldholm"}'},
}
RESULT = {"role": "tool", "tool_call_id": "call_9f", "content": "18"}
ANSWER = {"role": "assistant", "content": "18 miles.", "weight": 0}
TOOLS = [{"type": "function", "function": {"name": "distance"}}]


def chat(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": list(messages), **more}


def calling(**more: Any) -> dict[str, Any]:
    return {"role": "assistant", **more, "tool_calls": [CALL]}


def reported(audit: Audit, *effects: str) -> list[tuple[str, str]]:
    return [(entry.reason, entry.pointer) for entry in audit.entries if entry.effect in effects]


@pytest.mark.parametrize("to", ["chat", "trl-messages", "sharegpt", "alpaca"])
def test_nothing_is_added_to_the_system_message(to: str) -> None:
    row = chat({"role": "system", "content": "Be brief."}, USER, {**ANSWER, "weight": 1})
    (converted,) = convert([row], to=to)
    (back,) = convert([converted], to="chat", from_=to)
    assert back["messages"][0] == row["messages"][0]


def test_content_ids_and_weight_beside_tool_calls_are_kept() -> None:
    row = chat(USER, calling(content="I look it up.", weight=0), RESULT, ANSWER, tools=TOOLS)
    assert list(convert([row], to="chat")) == [row]


def test_what_sharegpt_has_no_place_for_is_reported() -> None:
    row = chat(USER, calling(content="I look it up.", weight=0), RESULT, ANSWER, tools=TOOLS)
    prepared = convert([row], to="sharegpt", on_loss="allow")
    assert len(list(prepared)) == 1
    assert reported(prepared.audit, "loss", "note") == [
        ("`weight` of a message: no place in sharegpt", "/messages/1/weight"),
        ("content beside tool calls: no place in sharegpt", "/messages/1/content"),
        ("id of a tool call", "/messages/1/tool_calls/0/id"),
        ("id of a tool call", "/messages/2/tool_call_id"),
        ("`weight` of a message: no place in sharegpt", "/messages/3/weight"),
    ]


def test_a_bad_row_is_rejected_and_not_empty(tmp_path: Path) -> None:
    rows = [chat(USER, ANSWER), chat(USER, {"role": "assistant", "content": 7}), chat(USER, ANSWER)]
    prepared = convert(rows, to="sharegpt", on_loss="allow")
    assert len(list(prepared)) == 2
    assert [(entry.origin.line, entry.pointer) for entry in prepared.audit.entries][1] == (
        2,
        "/messages/1/content",
    )


@pytest.mark.parametrize("more", [{}, {"content": None}])
def test_a_call_without_content_is_kept(more: dict[str, Any]) -> None:
    row = chat(USER, calling(**more), RESULT, {**ANSWER, "weight": 1}, tools=TOOLS)
    for to in ("chat", "trl-messages", "sharegpt"):
        (converted,) = convert([row], to=to)
        (back,) = convert([converted], to="chat", from_=to)
        assert [message["role"] for message in back["messages"]] == [
            *("user", "assistant", "tool", "assistant")
        ]
        function = back["messages"][1]["tool_calls"][0]["function"]
        assert json.loads(function["arguments"]) == {"to": "Aldholm"}


def test_a_null_does_not_take_the_text_of_the_message_before() -> None:
    row = chat(USER, calling(content=None), RESULT, {**ANSWER, "weight": 1}, tools=TOOLS)
    (converted,) = convert([row], to="trl-messages")
    assert converted["messages"][1].get("content") is None


def test_a_message_without_content_is_rejected() -> None:
    prepared = convert([chat(USER, {"role": "user"}, ANSWER)], to="alpaca", from_="chat")
    assert list(prepared) == []
    assert reported(prepared.audit, "rejected") == [
        ("not as OpenAI's format requires", "/messages/1")
    ]


def test_words_are_not_split_where_two_answers_begin_alike() -> None:
    transcript = "\n\nHuman: What colour is it?\n\nAssistant: I think it is bl"
    row = {"chosen": f"{transcript}ue.", "rejected": f"{transcript}ack."}
    (converted,) = convert([row], to="preference")
    assert converted["preferred_output"][0]["content"] == "I think it is blue."
    assert converted["non_preferred_output"][0]["content"] == "I think it is black."


def test_texts_without_turns_are_not_split_at_all() -> None:
    row = {"chosen": "It is blue.", "rejected": "It is black."}
    prepared = convert([row], to="preference", from_="trl-preference")
    assert list(prepared) == []
    assert reported(prepared.audit, "rejected") == [
        ("no prompt, and no messages that both answers begin with", "")
    ]


@pytest.mark.parametrize("format", ["chat", "trl-messages"])
@pytest.mark.parametrize("role", ["human", "gpt", "narrator", ["user"], None])
def test_unknown_roles_do_not_pass(format: str, role: Any) -> None:
    row = chat({"role": role, "content": "Hi"}, ANSWER)
    prepared = convert([row], to="chat", from_=format)
    assert list(prepared) == []
    assert reported(prepared.audit, "rejected") == [("unknown role", "/messages/0/role")]


def test_the_input_is_not_overwritten(write: Write, tmp_path: Path) -> None:
    path = write([json.dumps(chat(USER, calling(), RESULT, ANSWER)).encode()])
    before = path.read_bytes()
    convert(path, to="sharegpt", on_loss="allow").write(tmp_path / "out")
    assert path.read_bytes() == before


@pytest.mark.parametrize("to", ["chat", "sharegpt", "trl-messages"])
def test_turns_at_the_end_are_kept(to: str) -> None:
    row = chat(USER, {**ANSWER, "weight": 1}, {"role": "user", "content": "And back?"})
    (converted,) = convert([row], to=to)
    (back,) = convert([converted], to="chat", from_=to)
    assert back["messages"][-1]["content"] == "And back?"


def test_ids_are_made_in_the_same_way_each_time() -> None:
    call = {"type": "function", "function": {"name": "distance", "arguments": {"to": "x"}}}
    row = chat(USER, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "content": "1"})
    first, second = (list(convert([row], to="chat")) for _ in range(2))
    assert first == second
    assert first[0]["messages"][2]["tool_call_id"] == "call_1"


def test_every_row_is_checked_and_not_only_the_first_ten() -> None:
    rows: list[dict[str, Any]] = [
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]}
        for _ in range(12)
    ]
    rows[11]["conversations"][1] = {"role": "gpt", "value": "Ho"}
    rows[10]["conversations"][1]["mood"] = "good"
    prepared = convert(rows, to="chat", on_loss="allow")
    assert len(list(prepared)) == 11
    assert [(entry.origin.line, entry.pointer) for entry in prepared.audit.entries] == [
        (11, "/conversations/1/mood"),
        (12, "/conversations/1"),
    ]


def test_keys_of_a_message_that_the_target_lacks_are_reported() -> None:
    row = chat({**USER, "name": "ann"}, {**ANSWER, "weight": 1}, tools=TOOLS, tag=7)
    prepared = convert([row], to="completions", on_loss="allow")
    assert len(list(prepared)) == 1
    assert {pointer for _, pointer in reported(prepared.audit, "loss")} == {
        *("/messages/0/name", "/tools/0", "/tag")
    }


def test_nulls_that_columns_are_padded_with_are_no_values() -> None:
    padded = {"weight": None, "tool_calls": None, "name": None, "index": None}
    user = {"name": None, "weight": None, "tool_calls": None}
    row = chat(
        {**USER, **user}, {"role": "assistant", "content": "18", **padded}, tools=None, id=None
    )
    prepared = convert([row], to="chat")
    assert list(prepared) == [chat(USER, {"role": "assistant", "content": "18"})]
    assert not prepared.audit.entries


def test_json_inside_texts_is_kept_as_it_is() -> None:
    texts = ["true", "null", '{"a": 1}', "00501", "NA", ""]
    rows = [{"instruction": text, "input": "", "output": text} for text in texts]
    converted = list(convert(rows, to="chat"))
    assert [row["messages"][1]["content"] for row in converted] == texts


def test_rows_that_look_empty_are_kept() -> None:
    rows = [{"prompt": "", "completion": " x"}, {"prompt": "y", "completion": ""}]
    assert list(convert(rows, to="completions")) == rows
