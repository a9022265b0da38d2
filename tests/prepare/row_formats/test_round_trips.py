"""Round trips of examples through the formats of providers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit.prepare.audit import Origin
from ftkit.prepare.convert.convert import convert
from ftkit.prepare.convert.detection import detect
from ftkit.prepare.convert.proof import canonical_example, differences
from ftkit.prepare.example import Example
from ftkit.prepare.row_formats import find_row_format, row_formats
from ftkit.prepare.row_formats.shared.json_text import to_text
from ftkit.prepare.rows import Row
from support.property_tests import example_count

WRITTEN = ["anthropic", "bedrock-nova", "gemini", "mistral", "together"]
ALIKE = ["bedrock-titan", "mistral", "together"]
"""Formats whose rows are as OpenAI's, which are recognized as those."""

LOGS = ["batch", "evals", "gateway", "langfuse", "langsmith", "opentelemetry", "responses"]
OWN = [
    "anthropic",
    "bedrock-claude",
    "bedrock-nova",
    "cohere",
    "gemini",
    "stored-completion",
    *LOGS,
]
"""Formats that have rows of their own."""

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
names = st.sampled_from(["find_order", "get_weather", "add"])
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, values, max_size=3)
urls = st.sampled_from(["s3://bucket/a.png", "s3://bucket/b%20c.jpeg"])
web_urls = st.sampled_from(["https://example.com/a.png", "data:image/png;base64,iVBORw0KGgo="])


def parts(urls: st.SearchStrategy[str]) -> st.SearchStrategy[list[dict[str, Any]]]:
    text = texts.map(lambda text: {"type": "text", "text": text})
    image = urls.map(lambda url: {"type": "image_url", "image_url": {"url": url}})
    return st.lists(text | image, min_size=2, max_size=4)


@st.composite
def conversations(draw: st.DrawFn, calls: bool = True, urls: Any = web_urls) -> Example:
    """Turns of a user and an assistant, which may call tools first."""
    messages: list[dict[str, Any]] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(texts)})
    number = 0
    for _ in range(draw(st.integers(1, 3))):
        messages.append({"role": "user", "content": draw(texts | parts(urls))})
        requested = draw(st.lists(st.tuples(names, objects), max_size=3)) if calls else []
        if requested:
            message: dict[str, Any] = {"role": "assistant", "tool_calls": []}
            if draw(st.booleans()):
                message["content"] = draw(texts)
            messages.append(message)
            for name, arguments in requested:
                number += 1
                function = {"name": name, "arguments": to_text(arguments)}
                call = {"id": f"call_{number}", "type": "function", "function": function}
                message["tool_calls"].append(call)
                result = draw(texts | objects.map(to_text) | st.just(""))
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
        messages.append({"role": "assistant", "content": draw(texts)})
    tools = draw(st.lists(names, unique=True, max_size=2)) if calls else []
    schema = {"type": "object", "properties": {"type": {"type": ["string", "null"]}}}
    return Example(
        messages=messages,
        tools=[
            {"type": "function", "function": {"name": name, "parameters": schema}} for name in tools
        ]
        or None,
    )


def check(name: str, example: Example) -> None:
    format = find_row_format(name)
    assert format.read
    assert format.write
    row, extras = format.write(example)
    assert not [extra for extra in extras if extra.is_loss]
    assert list(differences(example, row, format, extras)) == []
    if not extras:
        back = format.read(json.loads(json.dumps(row)))
        assert canonical_example(back) == canonical_example(example)
        assert not [extra for extra in back.extras if extra.is_loss]
        assert format.write(back)[0] == row


@pytest.mark.parametrize("name", ["anthropic", "gemini", "mistral", "together"])
@given(data=st.data())
@settings(max_examples=example_count(50))
def test_what_is_written_without_a_loss_is_read_back(name: str, data: st.DataObject) -> None:
    check(name, data.draw(conversations()))


@pytest.mark.parametrize("name", ["anthropic", "gemini"])
@given(data=st.data())
@settings(max_examples=15)
def test_the_format_of_rows_that_are_written_is_detected(name: str, data: st.DataObject) -> None:
    examples = data.draw(st.lists(conversations(), min_size=1, max_size=3))
    written = convert([_chat(example) for example in examples], to=name)
    read = find_row_format("chat").example
    back = [read(row) for row in convert(list(written), to="chat")]
    assert list(map(canonical_example, back)) == list(map(canonical_example, examples))


def _chat(example: Example) -> dict[str, Any]:
    tools = {"tools": example.tools} if example.tools else {}
    return {"messages": example.messages, **tools}


@given(conversations(calls=False, urls=urls))
def test_what_is_written_for_nova_is_read_back(example: Example) -> None:
    check("bedrock-nova", example)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_row_that_is_read_is_written_as_it_was(name: str) -> None:
    format = find_row_format(name)
    row = json.loads(format.layout)
    assert format.read
    assert format.write
    example = format.read(row)
    written, extras = format.write(example)
    assert written == row
    assert list(written) == list(row)
    assert not [extra for extra in [*example.extras, *extras] if extra.is_loss]


@pytest.mark.parametrize("name", OWN)
def test_rows_of_a_format_are_recognized(name: str) -> None:
    format = find_row_format(name)
    assert format.recognizes(json.loads(format.layout))


@pytest.mark.parametrize("name", [*OWN, *ALIKE])
def test_all_formats_that_recognize_a_row_read_it_alike(name: str) -> None:
    format = find_row_format(name)
    row = json.loads(format.layout)
    assert format.read
    expected = canonical_example(format.read(row))
    others = [other for other in row_formats().values() if other.read and other.recognizes(row)]
    for other in others:
        assert canonical_example(other.read(row)) == expected, other.name  # type: ignore[misc]


@pytest.mark.parametrize("name", OWN)
def test_rows_of_a_format_are_detected(name: str) -> None:
    rows = [Row(json.loads(find_row_format(name).layout), (Origin("data.jsonl", 1),))]
    alike = {"bedrock-claude": "anthropic"}
    assert detect(rows).name in (name, alike.get(name))
