"""Rows of Gemini."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.prepare.example import Example
from ftkit.prepare.row_formats.base import RowError
from ftkit.prepare.row_formats.gemini import read, response_object, response_text, write
from ftkit.prepare.row_formats.shared.json_text import parse_object, to_text
from ftkit.prepare.row_formats.shared.row_value import RowValue

USER = {"role": "user", "parts": [{"text": "Hi"}]}
MODEL = {"role": "model", "parts": [{"text": "Hello"}]}


def call(name: str, **args: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": args}}


def response(name: str, **result: Any) -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": result}}


def tool_call(id: str, arguments: str = "{}", name: str = "add") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_both_spellings_of_keys_are_read() -> None:
    tools = {"function_declarations": [{"name": "add", "parameters": {"type": "OBJECT"}}]}
    row = {
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "contents": [USER, MODEL],
        "tools": [tools],
    }
    example = read(row)
    assert example.messages[0] == {"role": "system", "content": "Be brief."}
    assert example.tools == [
        {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    ]


def test_answers_of_one_function_are_those_of_its_calls_in_order() -> None:
    calls = {"role": "model", "parts": [call("add", a=1), call("sub", a=2), call("add", a=3)]}
    answers = {
        "parts": [
            response("add", output="1"),
            response("add", output="3"),
            response("sub", output="2"),
        ]
    }
    example = read({"contents": [USER, calls, answers, MODEL]})
    assert [call["id"] for call in example.messages[1]["tool_calls"]] == [
        "call_1",
        "call_2",
        "call_3",
    ]
    results = [(message["tool_call_id"], message["content"]) for message in example.messages[2:5]]
    assert results == [("call_1", "1"), ("call_3", "3"), ("call_2", "2")]


def test_an_id_that_is_made_is_none_of_the_row_and_is_noted() -> None:
    calls = {
        "role": "model",
        "parts": [call("add"), {"functionCall": {"name": "add", "id": "call_1"}}],
    }
    example = read({"contents": [USER, calls]})
    assert [call["id"] for call in example.messages[1]["tool_calls"]] == ["call_2", "call_1"]
    (note,) = example.extras
    assert (note.pointer, note.value, note.message, note.is_loss) == (
        "/contents/1/parts/0/functionCall",
        "call_2",
        1,
        False,
    )


IMAGES = [
    ({"inlineData": {"mimeType": "image/png", "data": "aGk="}}, "data:image/png;base64,aGk="),
    ({"fileData": {"mimeType": "image/jpeg", "fileUri": "gs://bucket/a.jpg"}}, "gs://bucket/a.jpg"),
]


@pytest.mark.parametrize(("part", "url"), IMAGES)
def test_images_are_read_and_written(part: dict[str, Any], url: str) -> None:
    row = {"contents": [{"role": "user", "parts": [{"text": "What is it?"}, part]}, MODEL]}
    example = read(row)
    assert example.messages[0]["content"][1] == {"type": "image_url", "image_url": {"url": url}}
    assert write(example) == (row, [])


LOST = [
    ({"text": "Hm", "thought": True}, "/contents/1/parts/0", "thought"),
    (
        {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://b/a.mp4"}},
        "/contents/1/parts/0",
        "part that is no text and no image",
    ),
    (
        {"text": "Hm", "thoughtSignature": "x"},
        "/contents/1/parts/0/thoughtSignature",
        "unknown key",
    ),
    (
        {"functionCall": {"name": "add", "args": {}, "a/b": 1}},
        "/contents/1/parts/0/functionCall/a~1b",
        "unknown key",
    ),
]


@pytest.mark.parametrize(("part", "pointer", "kind"), LOST)
def test_what_has_no_place_is_a_loss_with_its_place(
    part: dict[str, Any], pointer: str, kind: str
) -> None:
    example = read({"contents": [USER, {"role": "model", "parts": [part, {"text": "Hello"}]}]})
    losses = [extra for extra in example.extras if extra.is_loss]
    assert (pointer, kind, 1) in [(extra.pointer, extra.kind, extra.message) for extra in losses]


SCHEMAS = [
    ({"type": "STRING", "nullable": True}, {"type": ["string", "null"]}),
    (
        {"type": "ARRAY", "items": {"type": "NUMBER"}, "minItems": "1"},
        {"type": "array", "items": {"type": "number"}, "minItems": 1},
    ),
    (
        {"type": "OBJECT", "properties": {"type": {"type": "STRING", "enum": ["OBJECT"]}}},
        {"type": "object", "properties": {"type": {"type": "string", "enum": ["OBJECT"]}}},
    ),
    (
        {"anyOf": [{"type": "INTEGER"}, {"type": "BOOLEAN"}]},
        {"anyOf": [{"type": "integer"}, {"type": "boolean"}]},
    ),
]


@pytest.mark.parametrize(("theirs", "json_schema"), SCHEMAS)
def test_types_of_schemas_are_in_capitals(
    theirs: dict[str, Any], json_schema: dict[str, Any]
) -> None:
    declaration = {"name": "add", "parameters": theirs}
    example = read({"contents": [USER, MODEL], "tools": [{"functionDeclarations": [declaration]}]})
    assert example.tools
    assert example.tools[0]["function"]["parameters"] == json_schema
    row, extras = write(example)
    back = read(row)
    assert (back.tools, extras) == (example.tools, [])


def test_keywords_without_a_place_in_a_schema_are_losses() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#/x"}}, "additionalProperties": False}
    function = {"name": "add", "parameters": schema, "strict": True}
    example = Example(
        messages=[{"role": "user", "content": "Hi"}],
        tools=[{"type": "function", "function": function}],
    )
    _, extras = write(example)
    pointers = {extra.pointer for extra in extras}
    assert pointers == {
        "/tools/0/function/parameters/properties/a/$ref",
        "/tools/0/function/parameters/additionalProperties",
        "/tools/0/function/strict",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        '{"a":1,"a":2}',
        '{"a":1e999}',
        "[1]",
        '{"a":',
        "",
        '{"a":NaN}',
        '{"a":"\\ud800"}',
    ],
)
def test_arguments_that_an_object_cannot_hold_are_refused(arguments: str) -> None:
    message = {"role": "assistant", "tool_calls": [tool_call("call_1", arguments)]}
    with pytest.raises(RowError) as error:
        write(Example(messages=[{"role": "user", "content": "Hi"}, message]))
    assert error.value.pointer == "/messages/1/tool_calls/0/function/arguments"


@pytest.mark.parametrize(
    "arguments", ['{ "b": 1.50, "a": [1e2, 12345678901234567890123, -0.0, "\\u00e9"] }', "{}"]
)
def test_arguments_keep_their_numbers_and_the_order_of_their_keys(arguments: str) -> None:
    message = {"role": "assistant", "tool_calls": [tool_call("call_1", arguments)]}
    row, extras = write(Example(messages=[{"role": "user", "content": "Hi"}, message]))
    args = row["contents"][1]["parts"][0]["functionCall"]["args"]
    assert to_text(args) == to_text(parse_object(arguments))
    assert list(args) == list(parse_object(arguments) or {})
    assert extras == []


def test_the_name_of_a_result_is_that_of_its_call() -> None:
    messages = [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": "One moment",
            "tool_calls": [tool_call("x", name="add"), tool_call("y", name="sub")],
        },
        {"role": "tool", "tool_call_id": "y", "content": "2", "name": "sub"},
        {"role": "tool", "tool_call_id": "x", "content": '{"sum": 1}'},
    ]
    row, extras = write(Example(messages=messages))
    parts = row["contents"][2]["parts"]
    assert parts == [response("add", sum=1), response("sub", output="2")]
    assert {extra.kind for extra in extras} == {
        "id of a tool call left out",
        "order of the answers to tool calls",
        "spelling of the result of a tool",
    }
    assert not any(extra.is_loss for extra in extras)


REFUSED = [
    [{"role": "tool", "tool_call_id": "x", "content": ""}],
    [{"role": "assistant", "content": None, "refusal": "No."}],
    [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a"}}],
        }
    ],
    [{"role": "assistant", "function_call": {"name": "add", "arguments": "{}"}}],
]


@pytest.mark.parametrize("messages", REFUSED)
def test_what_would_be_another_row_is_refused(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(RowError) as error:
        write(Example(messages=messages))
    assert error.value.pointer.startswith("/messages/0")


def test_what_messages_have_beside_their_content_is_lost() -> None:
    messages = [
        {"role": "user", "content": "Hi", "name": "ann"},
        {"role": "assistant", "content": "Hello", "weight": 0},
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": "Bye", "weight": 1},
    ]
    _, extras = write(Example(messages=messages))
    assert [(extra.pointer, extra.is_loss) for extra in extras] == [
        ("/messages/2", True),
        ("/messages/0/name", True),
        ("/messages/1/weight", True),
        ("/messages/3/weight", False),
    ]


values = st.recursive(
    st.none() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    lambda inner: st.dictionaries(st.sampled_from(["output", "a"]), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(["output", "a"]), values, max_size=2), st.integers(0, 3))
def test_the_result_of_a_function_becomes_a_text_and_an_object_again(
    result: dict[str, Any], wraps: int
) -> None:
    for _ in range(wraps):
        result = {"output": to_text(result)}
    assert response_object(response_text(RowValue(result))) == result


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 3))
def test_a_text_becomes_the_result_of_a_function_and_a_text_again(text: str, wraps: int) -> None:
    for _ in range(wraps):
        text = to_text({"output": text})
    assert response_text(RowValue(response_object(text))) == text
