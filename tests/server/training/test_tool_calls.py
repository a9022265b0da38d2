"""Tool calls in generated text, in the formats of real chat templates."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.call_formats import FORMATS
from support.call_formats import TEMPLATES as FORMAT_TEMPLATES
from support.splitting import CUTS, split
from support.tool_formats import (
    CALLS,
    FAMILIES,
    TEMPLATES,
    TOOLS,
    UNSUPPORTED,
    build,
    parse,
    render,
)

pytestmark = pytest.mark.training

WEATHER = ("get_weather", {"city": "São Paulo", "days": 3, "place": {"x": 1.5, "y": -2}})
TIME: tuple[str, dict[str, Any]] = ("get_time", {})
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
PARTS = [
    '<tool_call>\n{"name": "get_time", "arguments": {',
    "<tool_call>\n<function=get_time>\n",
    "<parameter=city>\n",
    "\n</parameter>\n",
    "\n</function>\n</tool_call>",
    '{"name": "get_weather", "parameters": {"city": "',
    '[TOOL_CALLS] [{"name": "get_time"',
    " to=functions.get_time<|channel|>commentary json<|message|>",
    " to=get_time<|message|>",
    "<|tool_call>call:get_time{",
    '<|"|>',
    "<|tool_call_start|>[get_weather(city='",
    "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>",
    "</arg_value>\n</tool_call>",
    "}}",
    "}\n</tool_call>",
    "]",
    "[[[[{{{",
    "\\",
    '"',
    "'",
    ", ",
    " " * 20,
    "\n",
    "x",
    "NaN",
    "1" * 5000,
]


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_the_calls_of_every_template_with_tools_are_parsed(name: str) -> None:
    _, template, form = build(name)
    assert (form is not None) is template.features.tools
    if form is None:
        return
    assert parse(name, render(name, [WEATHER])) == ("", [WEATHER])
    if form.between is not None:
        assert parse(name, render(name, [WEATHER, TIME])) == ("", [WEATHER, TIME])
    assert (form.between is not None) is template.features.parallel_tool_calls


@pytest.mark.parametrize("name", FORMATS)
def test_the_formats_of_the_quick_tests_are_those_of_templates(name: str) -> None:
    assert build(FORMAT_TEMPLATES[name])[2] == FORMATS[name]


@pytest.mark.parametrize("name", CALLS)
def test_a_format_is_detected_or_not_supported(name: str) -> None:
    if name in UNSUPPORTED:
        assert build(name)[2] is None
    else:
        assert parse(name, render(name, [WEATHER, TIME])) == ("", [WEATHER, TIME])


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("qwen3", "Wait.\n<tool_call>\n{}\n</tool_call>", "Wait."),
        ("qwen3", "Wait.\n\n  <tool_call>{}</tool_call>\n", "Wait."),
        ("qwen3", "<tool_call>\n{}\n</tool_call>\nWait.", "Wait."),
        ("qwen3", "<tool_call>\n{}", ""),
        ("qwen3", "<tool_call>\n{}\n</tool", ""),
        ("llama3_1", "Wait. {} Bye.", "Wait.Bye."),
        ("smoke", "{}", ""),
    ],
)
def test_content_is_separated_from_a_call(name: str, text: str, expected: str) -> None:
    key = build(name)[2].call.arguments_key
    call = f'{{"name": "get_time", "{key}": {{}}, "id": "7"}}'
    assert parse(name, text.replace("{}", call)) == (expected, [TIME])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("qwen3", '<tool_call>\n{"name": "get_time", "arguments": {'),
        ("qwen3", '<tool_call>\n{"name": "get_time", "arguments": []}\n</tool_call>'),
        ("qwen3", '<tool_call>\n{"name": "get_time", "arguments": {"a": NaN}}\n</tool_call>'),
        ("qwen3", '<tool_call>\n{"name": "get_time", "arguments": {}} and more'),
        ("qwen3", '<tool_call>\n{"name": "delete_all", "arguments": {}}\n</tool_call>'),
        ("qwen3", f'<tool_call>\n{{"name": "get_time", "arguments": {{"a": {"[" * 10_000}'),
        ("qwen3", f'<tool_call>\n{{"name": "get_time", "arguments": {{"a": {"1" * 5_000}}}}}'),
        ("qwen3", '<tool_call>\n{"name": "get_time", "arguments": {"a": 1e999}}\n</tool_call>'),
        ("qwen3_5_nothink", "<tool_call>\n<function=get_time>\n<parameter=a>\n1"),
        ("gemma4_v5", "<|tool_call>call:get_time{a:1e999}<tool_call|>"),
        ("gemma4_v5", "<|tool_call>call:get_time{a:007}<tool_call|>"),
        ("qwen3_5_nothink", "<tool_call>\n<function=get_times>\n</function>\n</tool_call>"),
        ("gemma4_v5", "<|tool_call>call:get_time{a:[[<tool_call|>"),
        ("gemma4_v5", f"<|tool_call>call:get_time{{a:{'[' * 10_000}"),
        ("lfm2_v2", "<|tool_call_start|>[get_time(a=os)]<|tool_call_end|>"),
        ("lfm2_v2", "<|tool_call_start|>[get_time(a='b)]<|tool_call_end|>"),
        ("gptoss", " to=functions.get_time<|channel|>commentary json<|message|>{"),
        ("mistral_v0_3", '[TOOL_CALLS] [{"name": "get_time", "arguments": {}}, {}]'),
    ],
)
def test_an_invalid_call_is_content(name: str, text: str) -> None:
    assert parse(name, text) == (text, [])


def test_content_is_passed_on_until_a_call_may_start() -> None:
    from ftkit.server.generation.tool_calls import ToolCallParser

    parser = ToolCallParser(build("qwen3")[2], TOOLS)
    parts = ["Hello ", "there <", "b>\n<tool", '_call>\n{"name": "get_', "it"]
    assert [parser.add(part) for part in parts] == [
        "Hello",
        " there",
        " <b>",
        "",
        '\n<tool_call>\n{"name": "get_it',
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("17", "17"),
        ('"quoted"', '"quoted"'),
        ("two\nlines", "two\nlines"),
        ("\n  indented", "\n  indented"),
        ("", ""),
    ],
)
def test_a_string_without_quotes_is_as_it_is_written(text: str, value: str) -> None:
    call = f"<tool_call>\n<function=get_weather>\n<parameter=city>\n{text}\n</parameter>\n"
    answer = call + "</function>\n</tool_call>"
    assert parse("qwen3_5_nothink", answer) == ("", [("get_weather", {"city": value})])


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("days", "3", 3),
        ("days", "three", "three"),
        ("hours", "[1, 2]", [1, 2]),
        ("place", '{"x": null}', {"x": None}),
        ("unknown", "True", True),
        ("unknown", "some text", "some text"),
    ],
)
def test_other_values_are_json_if_they_can_be(key: str, text: str, value: Any) -> None:
    call = f"<tool_call>\n<function=get_weather>\n<parameter={key}>\n{text}\n</parameter>\n"
    answer = call + "</function>\n</tool_call>"
    assert parse("qwen3_5_nothink", answer) == ("", [("get_weather", {key: value})])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("qwen3", '<tool_call>\n{"name": "get_time", "arguments": {"a": "TEXT"}}\n</tool_call>'),
        ("gemma4_v5", '<|tool_call>call:get_time{a:"TEXT"}<tool_call|>'),
        ("lfm2_v2", "<|tool_call_start|>[get_time(a='TEXT')]<|tool_call_end|>"),
    ],
)
@pytest.mark.parametrize("escapes", ["\\ud83d\\ude00", "\\ud83d", "\\n\\u00e9", "\\\\ n"])
def test_escapes_in_strings_are_those_of_json(name: str, text: str, escapes: str) -> None:
    from ftkit.server.generation.tool_calls import ToolCallParser

    parser = ToolCallParser(build(name)[2], TOOLS)
    assert parser.add(text.replace("TEXT", escapes), final=True) == ""
    (call,) = parser.calls
    assert call.arguments.encode()
    assert json.loads(call.arguments) == {"a": json.loads(f'"{escapes}"')}


@settings(deadline=None, max_examples=25)
@given(TEXTS, TEXTS, CUTS)
@pytest.mark.parametrize("name", FAMILIES)
def test_calls_are_the_same_however_the_text_is_split(
    name: str, city: str, unit: str, cuts: list[int]
) -> None:
    calls = [("get_weather", {"city": city, "days": 3, "unit": unit})]
    text = "Wait. " + render(name, calls)
    assert parse(name, *split(text, cuts)) == parse(name, text)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(PARTS) | TEXTS, max_size=12), CUTS)
@pytest.mark.parametrize("name", FAMILIES)
def test_arbitrary_text_is_parsed_without_loss(
    name: str, parts: list[str], cuts: list[int]
) -> None:
    text = "".join(parts)
    content, calls = parse(name, text)
    assert parse(name, *split(text, cuts)) == (content, calls)
    assert calls or content == text


@settings(deadline=None, max_examples=25)
@given(st.dictionaries(st.sampled_from(["city", "days", "hours"]), st.none() | st.booleans()
    | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.lists(TEXTS, max_size=3) | st.dictionaries(TEXTS, TEXTS, max_size=2)))  # fmt: skip
@pytest.mark.parametrize("name", ["qwen3", "mistral_v0_3", "gptoss", "named", "smoke"])
def test_json_arguments_are_preserved(name: str, arguments: dict[str, Any]) -> None:
    calls = [("get_weather", arguments)]
    assert parse(name, render(name, calls)) == ("", calls)


HOSTILE = (
    "<",
    "\n",
    "<tool_call>\n",
    '<tool_call>\n{"name": "get_time", "arguments": {"a": ',
    '{"name": "get_time", "parameters": {"a": [',
    "<tool_call>\n<function=get_weather>\n<parameter=city>\n",
    "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>",
    "<|tool_call>call:get_weather{city:[",
    "<|tool_call_start|>[get_weather(city='",
    " to=functions.get_time<|channel|>commentary json<|message|>{",
    "<tool_call>\n<function=get_time>\n</function>\n</tool_call>\n",
)


@pytest.mark.parametrize("name", FAMILIES)
def test_hostile_text_takes_linear_time(name: str) -> None:
    for text in HOSTILE:
        start = time.process_time()
        parse(name, *([text] * 4_000))
        parse(name, text * 4_000)
        assert time.process_time() - start < 3, text
