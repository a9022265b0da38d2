"""Readers of tool calls, for one format of each kind."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from ftkit.server.generation.call_readers import MessageReader, ParsedCall, flexible_pattern
from ftkit.server.generation.tool_format import KeyedCall, NamedCall, ToolFormat
from ftkit.server.generation.tool_values import ValueReadError
from support.call_formats import FORMATS

CITY = {"type": "string"}
SCHEMAS: dict[str, Any] = {
    "get": None,
    "get_weather": {"type": "object", "properties": {"city": CITY, "days": {"type": "integer"}}},
}

TEXTS = st.text("ab é{}[]():,=|1", max_size=12)


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


# Without a schema, nothing tells an unquoted text such as 1 from a number.
PLAIN_TEXTS = TEXTS.filter(lambda text: not is_json(text))
CALLS = st.lists(
    st.tuples(
        st.sampled_from(sorted(SCHEMAS)),
        st.fixed_dictionaries({}, optional={"city": PLAIN_TEXTS, "days": st.integers(-99, 99)}),
    ),
    min_size=1,
    max_size=3,
)


def write_value(value: Any, call: KeyedCall) -> str:
    if not isinstance(value, str) or call.values == "text":
        return str(value)
    return f"{call.quote}{value}{call.quote}"


def write_call(name: str, arguments: dict[str, Any], form: ToolFormat) -> str:
    call, text = form.call, json.dumps(arguments)
    if isinstance(call, NamedCall):
        return f"{name}{call.before_arguments}{text}"
    if isinstance(call, KeyedCall):
        pairs = [f"{key}{call.assign}{write_value(arguments[key], call)}" for key in arguments]
        return name + (f"{call.first}{call.next.join(pairs)}{call.last}" if pairs else call.empty)
    return f"{call.before_name}{name}{call.before_arguments}{text}{call.after_arguments}"


def write(calls: list[tuple[str, dict[str, Any]]], form: ToolFormat) -> str:
    between = form.between or ""
    body = between.join(write_call(name, arguments, form) for name, arguments in calls)
    return f"{form.marker}{body}{form.closing}"


def parsed(calls: list[tuple[str, dict[str, Any]]]) -> list[ParsedCall]:
    return [
        ParsedCall(name, json.dumps(arguments, ensure_ascii=False)) for name, arguments in calls
    ]


@pytest.mark.parametrize("name", FORMATS)
@given(CALLS)
def test_calls_are_read_as_they_were_written(
    name: str, calls: list[tuple[str, dict[str, Any]]]
) -> None:
    text = write(calls, FORMATS[name])
    assert MessageReader(FORMATS[name], SCHEMAS).read(text, 0) == (parsed(calls), len(text))


@pytest.mark.parametrize("end", range(len("\n</tool_call>")))
def test_the_end_of_a_message_may_be_missing(end: int) -> None:
    form = FORMATS["object"]
    text = write([("get", {"a": 1})], form)
    text = text[: len(text) - end]
    calls = [ParsedCall("get", '{"a": 1}')]
    assert MessageReader(form, SCHEMAS).read(text, 0) == (calls, len(text))


@pytest.mark.parametrize("name", FORMATS)
@given(st.data())
def test_any_text_is_read_or_an_error_within_it(name: str, data: st.DataObject) -> None:
    form = FORMATS[name]
    whole = write([("get_weather", {"city": "a", "days": 2}), ("get", {})], form)
    pieces = st.sampled_from([whole[start : start + 9] for start in range(0, len(whole), 3)])
    text = form.marker + "".join(data.draw(st.lists(pieces | TEXTS, max_size=8)))
    try:
        calls, end = MessageReader(form, SCHEMAS).read(text, 0)
    except ValueReadError as error:
        end, calls = error.position, []
    assert 0 <= end <= len(text)
    assert all(call.name in SCHEMAS and json.loads(call.arguments) is not None for call in calls)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("object", '{"name": "other", "arguments": {}}'),
        ("object", '{"name": "get", "arguments": [1]}'),
        ("object", '{"name": ["get"], "arguments": {}}'),
        ("object", '{"name": "get", "arguments": "no"}'),
        ("object", '{"name": "get", "arguments": {}} and so on, and more'),
        ("named", 'other[ARGS]{"a": 1}'),
        ("named", "get[ARGS]1"),
        ("text", "other>\n</function>\n</tool_call>"),
        ("text", "get_weather>\n<parameter=city>\nOulu"),
        ("literal", "get_weather{city:Oulu}<tool_call|>"),
        ("literal", 'get_weather{city:<|"|>Oulu<|"|> days:2}<tool_call|>'),
        ("quoted", "get_weather(city='Oulu"),
    ],
)
def test_an_invalid_call_is_an_error(name: str, text: str) -> None:
    with pytest.raises(ValueReadError):
        MessageReader(FORMATS[name], SCHEMAS).read(FORMATS[name].marker + text, 0)


def test_arguments_may_be_json_in_a_string() -> None:
    text = '<tool_call>\n{"name": "get", "arguments": "{\\"a\\": 1}"}\n</tool_call>'
    reader = MessageReader(FORMATS["object"], SCHEMAS)
    assert reader.read(text, 0)[0] == [ParsedCall("get", '{"a": 1}')]


def test_half_of_a_surrogate_pair_is_an_escape() -> None:
    text = '<tool_call>\n{"name": "get", "arguments": {"a": "\\ud83d é"}}\n</tool_call>'
    (call,), _ = MessageReader(FORMATS["object"], SCHEMAS).read(text, 0)
    assert call.arguments == '{"a": "\\ud83d \\u00e9"}'


def test_text_between_calls_may_begin_the_end_of_the_message() -> None:
    form = ToolFormat("<", "<", ">", ">;", NamedCall(" "))
    assert MessageReader(form, SCHEMAS).read("<get {}>;", 0) == ([ParsedCall("get", "{}")], 9)
    with pytest.raises(ValueReadError) as caught:
        MessageReader(form, SCHEMAS).read("<get {}>get {]", 0)
    assert caught.value.position == 14


@pytest.mark.parametrize(
    ("text", "matches"),
    [("<a>\n<b>", True), ("<a><b>", True), ("<a> \n\t <b>", True), (f"<a>{' ' * 17}<b>", False)],
)
def test_white_space_may_have_another_length(text: str, matches: bool) -> None:
    assert bool(re.fullmatch(flexible_pattern("<a>\n<b>"), text)) == matches


def test_a_message_may_have_one_call_only() -> None:
    form = structs.replace(FORMATS["literal"], between=None)
    calls: list[tuple[str, dict[str, Any]]] = [("get_weather", {"days": 3})]
    text = write(calls, form)
    assert MessageReader(form, SCHEMAS).read(text, 0) == (parsed(calls), len(text))
    with pytest.raises(ValueReadError):
        MessageReader(form, SCHEMAS).read(write(calls * 2, form), 0)
