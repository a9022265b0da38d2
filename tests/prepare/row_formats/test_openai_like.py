"""Rows of Mistral, Together, Cohere and Bedrock, and the faults of other converters to them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ftkit.prepare.convert.convert import convert
from ftkit.prepare.example import Example
from ftkit.prepare.row_formats import find_row_format
from ftkit.prepare.row_formats.base import RowError

USER = {"role": "user", "content": "Hi"}
ASSISTANT = {"role": "assistant", "content": "Hello"}


def calls(*ids: str, **keys: Any) -> dict[str, Any]:
    calls = [
        {"id": id, "type": "function", "function": {"name": "add", "arguments": "{}"}} for id in ids
    ]
    return {"role": "assistant", "tool_calls": calls} | keys


def result(id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": "1"}


def write(name: str, *messages: dict[str, Any], **values: Any) -> tuple[dict[str, Any], list[Any]]:
    format = find_row_format(name)
    assert format.write
    return format.write(Example(messages=list(messages), **values))


def read(name: str, row: dict[str, Any]) -> Example:
    format = find_row_format(name)
    assert format.read
    return format.read(row)


def test_ids_for_mistral_have_nine_characters_and_are_the_same_each_time() -> None:
    messages = [
        USER,
        calls("call00001", "x", "toolu_0123456789"),
        result("x"),
        result("call00001"),
        result("toolu_0123456789"),
        ASSISTANT,
    ]
    row, extras = write("mistral", *messages)
    ids = [call["id"] for call in row["messages"][1]["tool_calls"]]
    assert ids == ["call00001", "call00002", "call00003"]
    assert [message["tool_call_id"] for message in row["messages"][2:5]] == [
        "call00002",
        "call00001",
        "call00003",
    ]
    assert write("mistral", *copy.deepcopy(messages)) == (row, extras)
    assert not any(extra.is_loss for extra in extras)
    assert {extra.message for extra in extras} == {1, 2, 4}


@pytest.mark.parametrize("name", ["mistral", "together"])
@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": "I add."}])
def test_calls_keep_their_content_weight_and_ids(name: str, content: dict[str, Any]) -> None:
    message = calls("abcdefghi", weight=0, **content)
    row, extras = write(name, USER, message, result("abcdefghi"), ASSISTANT)
    assert row["messages"][1] == {key: value for key, value in message.items() if value is not None}
    assert [entry["role"] for entry in row["messages"]] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    assert extras == []


@pytest.mark.parametrize("name", ["anthropic", "bedrock-nova", "gemini", "mistral", "together"])
def test_a_null_content_does_not_take_the_text_of_the_message_before_it(name: str) -> None:
    with pytest.raises(RowError, match=r"content|call"):
        write(name, USER, {"role": "assistant", "content": None})


def test_turns_after_the_last_answer_are_refused_rather_than_dropped() -> None:
    with pytest.raises(RowError) as error:
        write("mistral", USER, ASSISTANT, USER)
    assert error.value.pointer == "/messages/2"


def test_no_system_prompt_is_added() -> None:
    for name in ("anthropic", "bedrock-nova", "gemini", "mistral", "together"):
        row, _ = write(name, USER, ASSISTANT)
        assert "system" not in str(row).lower(), name


@pytest.mark.parametrize("name", ["anthropic", "bedrock-nova", "cohere", "mistral", "together"])
def test_unknown_roles_are_refused(name: str) -> None:
    with pytest.raises(RowError, match="role"):
        read(name, {"messages": [{"role": "human", "content": "Hi"}]})


def test_nulls_that_a_table_adds_are_no_values() -> None:
    padded = {"role": "user", "content": "Hi", "weight": None, "tool_calls": None, "name": None}
    row = {"messages": [padded, {**padded, "role": "assistant", "refusal": None}]}
    for name in ("mistral", "together"):
        example = read(name, row)
        assert example.messages == [USER, {"role": "assistant", "content": "Hi"}]
        assert example.extras == []


def test_arguments_and_images_of_mistral_may_be_short() -> None:
    call = {"id": "abcdefghi", "function": {"name": "add", "arguments": {"b": 1, "a": 2.5}}}
    parts = [{"type": "image_url", "image_url": "https://example.com/a.png"}]
    row = {
        "messages": [
            {"role": "user", "content": parts},
            {"role": "assistant", "tool_calls": [call]},
        ]
    }
    example = read("mistral", row)
    assert example.messages[1]["tool_calls"][0]["function"]["arguments"] == '{"b":1,"a":2.5}'
    assert example.messages[0]["content"][0]["image_url"] == {"url": "https://example.com/a.png"}


NOT_ALTERNATING = [
    ([USER, USER], 1),
    ([ASSISTANT], 0),
    ([USER, calls("x"), USER], 2),
    ([USER, ASSISTANT, result("x")], 2),
    ([USER, ASSISTANT, {"role": "system", "content": "Be brief."}], 2),
]


@pytest.mark.parametrize(("messages", "index"), NOT_ALTERNATING)
def test_roles_must_alternate_for_together(messages: list[dict[str, Any]], index: int) -> None:
    with pytest.raises(RowError, match="alternate") as error:
        write("together", *messages)
    assert error.value.pointer == f"/messages/{index}"


@pytest.mark.parametrize("row", [{"text": "Hi", "messages": [USER]}, {"text": "Hi"}, {}])
def test_together_needs_one_shape_with_roles(row: dict[str, Any]) -> None:
    with pytest.raises(RowError):
        read("together", row)


def test_a_file_for_together_has_one_shape() -> None:
    preference = {
        "input": {"messages": [USER]},
        "preferred_output": [ASSISTANT],
        "non_preferred_output": [ASSISTANT | {"content": "?"}],
    }
    prepared = convert(
        [{"messages": [USER, ASSISTANT]}, preference], to="together", from_="together"
    )
    assert list(prepared) == [{"messages": [USER, ASSISTANT]}]
    assert prepared.audit.total("rejected") == 1
    assert list(convert([preference], to="together", from_="preference")) == [preference]


NOVA = find_row_format("bedrock-nova")


@pytest.mark.parametrize("text", ["User: hi", "see <image>", "the [EOS] mark", "System:"])
def test_reserved_keywords_are_refused_in_prompts_for_nova(text: str) -> None:
    for messages in (
        [{"role": "user", "content": text}, ASSISTANT],
        [{"role": "system", "content": text}, USER, ASSISTANT],
    ):
        with pytest.raises(RowError, match="reserved"):
            write("bedrock-nova", *messages)
    assert write("bedrock-nova", USER, {"role": "assistant", "content": text})[0]


@pytest.mark.parametrize(
    "messages",
    [
        [ASSISTANT, USER],
        [USER],
        [USER, ASSISTANT, USER],
        [USER, calls("x"), result("x"), ASSISTANT],
        [],
    ],
)
def test_what_nova_cannot_train_on_is_refused(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(RowError):
        write("bedrock-nova", *messages)


def test_requests_to_the_converse_api_are_read() -> None:
    use = {"toolUse": {"toolUseId": "t1", "name": "add", "input": {"a": 1}}}
    answer = {
        "toolResult": {"toolUseId": "t1", "content": [{"json": {"sum": 1}}], "status": "error"}
    }
    reasoning = {"reasoningContent": {"reasoningText": {"text": "Hm"}}}
    spec = {"toolSpec": {"name": "add", "inputSchema": {"json": {"type": "object"}}}}
    row = {
        "messages": [
            {"role": "user", "content": [{"text": "1 + 0?"}]},
            {"role": "assistant", "content": [reasoning, use]},
            {"role": "user", "content": [answer]},
        ],
        "toolConfig": {"tools": [spec]},
    }
    example = read("bedrock-nova", row)
    assert example.messages[2] == {"role": "tool", "tool_call_id": "t1", "content": '{"sum":1}'}
    assert example.tools
    assert [(extra.pointer, extra.message) for extra in example.extras] == [
        ("/messages/1/content/0", 1),
        ("/messages/2/content/0/toolResult/status", 2),
    ]


def test_the_roles_of_cohere_may_be_in_lower_case() -> None:
    messages = [
        {"role": "system", "content": "a"},
        {"role": "User", "content": "b"},
        {"role": "chatbot", "content": "c"},
    ]
    roles = [message["role"] for message in read("cohere", {"messages": messages}).messages]
    assert roles == ["system", "user", "assistant"]


def test_claude_on_bedrock_has_texts_only() -> None:
    with pytest.raises(RowError) as error:
        read(
            "bedrock-claude",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
        )
    assert error.value.pointer == "/messages/0/content"
