"""Rows of Anthropic's messages."""

from __future__ import annotations

from typing import Any

import pytest

from ftkit.prepare.convert.convert import convert
from ftkit.prepare.example import Example
from ftkit.prepare.row_formats.anthropic import read, write
from ftkit.prepare.row_formats.base import RowError

USER = {"role": "user", "content": "Hi"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"b": 1.5, "a": [1]}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "2"}


def blocks(role: str, *content: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "content": list(content)}


def text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def test_tool_logs_become_chat_examples() -> None:
    row = {
        "model": "claude",
        "system": [text("Be brief.") | {"cache_control": {"type": "ephemeral"}}],
        "messages": [
            USER,
            blocks("assistant", text("I add."), USE),
            blocks("user", RESULT, text("Well?")),
            blocks("assistant", text("2")),
        ],
    }
    prepared = convert([row], to="chat", from_="anthropic")
    (example,) = prepared
    assert example["messages"] == [
        {"role": "system", "content": "Be brief."},
        USER,
        {
            "role": "assistant",
            "content": "I add.",
            "tool_calls": [
                {
                    "id": "toolu_1",
                    "type": "function",
                    "function": {"name": "add", "arguments": '{"b":1.5,"a":[1]}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_1", "content": "2"},
        {"role": "user", "content": "Well?"},
        {"role": "assistant", "content": "2"},
    ]
    assert [entry.pointer for entry in prepared.audit.entries if entry.effect == "note"] == [
        "/system/0/cache_control",
        "/model",
    ]


LOST = [
    (
        blocks("assistant", {"type": "thinking", "thinking": "Hm", "signature": "x"}, text("4")),
        "/messages/1/content/0",
    ),
    (
        blocks("assistant", text("4") | {"citations": [{"type": "x"}]}),
        "/messages/1/content/0/citations",
    ),
    (blocks("assistant", USE, text("4")), "/messages/1/content/1"),
    (blocks("user", text("4"), {"type": "document", "source": {}}), "/messages/1/content/1"),
    (blocks("user", RESULT | {"is_error": True}), "/messages/1/content/0/is_error"),
]


@pytest.mark.parametrize(("message", "pointer"), LOST)
def test_what_has_no_place_is_a_loss_with_its_place(message: dict[str, Any], pointer: str) -> None:
    example = read({"messages": [USER, message]})
    assert [extra.pointer for extra in example.extras if extra.is_loss] == [pointer]


def test_thinking_and_failed_results_return_to_their_places() -> None:
    thinking = {"type": "thinking", "thinking": "Hm", "signature": "x"}
    row = {
        "messages": [
            USER,
            blocks("assistant", thinking, USE),
            blocks("user", RESULT | {"is_error": True}),
        ]
    }
    assert write(read(row)) == (row, [])


@pytest.mark.parametrize(
    ("source", "url"),
    [
        (
            {"type": "base64", "media_type": "image/png", "data": "aGk="},
            "data:image/png;base64,aGk=",
        ),
        ({"type": "url", "url": "https://example.com/a"}, "https://example.com/a"),
    ],
)
def test_images_are_read_and_written(source: dict[str, Any], url: str) -> None:
    row = {"messages": [blocks("user", text("What?"), {"type": "image", "source": source})]}
    example = read(row)
    assert example.messages[0]["content"][1]["image_url"]["url"] == url
    assert write(example) == (row, [])


def test_results_of_parallel_calls_are_one_message() -> None:
    calls = [
        {"id": id, "type": "function", "function": {"name": "add", "arguments": "{}"}}
        for id in "xy"
    ]
    messages = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "x", "content": "1"},
        {"role": "tool", "tool_call_id": "y", "content": "2"},
    ]
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    row, extras = write(Example(messages=messages, tools=[tool], parallel_tool_calls=False))
    assert [block["tool_use_id"] for block in row["messages"][2]["content"]] == ["x", "y"]
    assert row["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert extras == []
    assert read(row).parallel_tool_calls is False


@pytest.mark.parametrize("content", [None, ""])
def test_calls_without_a_text_have_no_empty_block(content: str | None) -> None:
    call = {"id": "x", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    message = {"role": "assistant", "content": content, "tool_calls": [call]}
    row, extras = write(Example(messages=[USER, message]))
    assert [block["type"] for block in row["messages"][1]["content"]] == ["tool_use"]
    assert not any(extra.is_loss for extra in extras)


REFUSED = [
    ({"role": "system", "content": "Hi"}, "/messages/0/role"),
    ({"role": "assistant", "content": []}, "/messages/0/content"),
    ({"role": "user", "content": 1}, "/messages/0/content"),
    ({"role": "assistant", "content": [USE | {"input": "{}"}]}, "/messages/0/content/0/input"),
]


@pytest.mark.parametrize(("message", "pointer"), REFUSED)
def test_what_is_not_in_the_format_is_refused(message: dict[str, Any], pointer: str) -> None:
    with pytest.raises(RowError) as error:
        read({"messages": [message]})
    assert error.value.pointer == pointer


TEXT_FIRST = {"messages": [USER, blocks("assistant", USE), blocks("user", text("So?"), RESULT)]}


def test_a_text_before_a_result_is_moved_behind_it_and_noted() -> None:
    example = read(TEXT_FIRST)
    assert [message["role"] for message in example.messages][-2:] == ["tool", "user"]
    notes = [(extra.pointer, extra.message) for extra in example.extras if not extra.is_loss]
    assert notes == [("/messages/2", 3)]
    assert example.places == [
        *("/messages/0", "/messages/1"),
        *("/messages/2/content/1", "/messages/2"),
    ]
    row, extras = write(example)
    assert row["messages"][2]["content"] == [RESULT, text("So?")]
    assert not any(extra.is_loss for extra in extras)


def test_a_call_without_its_answer_is_rejected() -> None:
    row = {"messages": [USER, blocks("assistant", USE), USER, blocks("assistant", text("4"))]}
    prepared = convert([row], to="chat")
    assert list(prepared) == []
    assert [entry.reason for entry in prepared.audit.entries] == [
        "no valid example (tool-unanswered)"
    ]
