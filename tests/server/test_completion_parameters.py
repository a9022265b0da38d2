"""Parameters of completions: which values are accepted, and what the process receives of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ftkit.server.bodies import read_body
from ftkit.server.completion_bodies import ChatBody, CompletionBody
from ftkit.server.errors import InvalidRequestError
from ftkit.server.response_bodies import ResponseBody

DOCS = Path(__file__).parents[2] / "docs"

BODIES: dict[type[Any], dict[str, Any]] = {
    ChatBody: {"model": "m", "messages": [{"role": "user", "content": "x"}]},
    CompletionBody: {"model": "m", "prompt": "x"},
}
"""A body of each type without optional parameters."""

ABSENT = {
    ChatBody: {
        "messages": [{"role": "user", "content": "x"}],
        "n": 1,
        "max_tokens": None,
        "temperature": None,
        "top_p": None,
        "stop": [],
        "seed": None,
    },
    CompletionBody: {
        "prompt": "x",
        "n": 1,
        "max_tokens": 16,
        "temperature": None,
        "top_p": None,
        "stop": [],
        "seed": None,
    },
}
"""Request for the process by the type of a body without optional parameters."""


def make_request(type: type[Any], **parameters: Any) -> dict[str, Any]:
    """Return the request for the process, without the fields of messages that are null."""
    body = read_body(msgspec.json.encode({**BODIES[type], **parameters}), type)
    request = body.request() if type is ChatBody else body.requests()[0]
    for message in request.get("messages", ()):
        for name in [name for name, value in message.items() if value is None]:
            del message[name]
    return dict(request)


SHARED_NEUTRAL: list[dict[str, Any]] = [
    {"temperature": None},
    {"frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}},
    {"frequency_penalty": None, "presence_penalty": None, "logit_bias": None},
    {"stop": None},
    {"stop": ["", ""]},
    {"stream_options": None},
    {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
    {"user": "me"},
    {"service_tier": "auto"},
    {"logprobs": None},
]


@pytest.mark.parametrize("type", BODIES)
@pytest.mark.parametrize("parameters", SHARED_NEUTRAL)
def test_parameters_without_effect_do_not_reach_the_process(
    type: type[Any], parameters: dict[str, Any]
) -> None:
    assert make_request(type, **parameters) == ABSENT[type]


@pytest.mark.parametrize(
    "parameters",
    [
        {"audio": None, "prediction": None, "web_search_options": None, "moderation": None},
        {"modalities": None},
        {"modalities": ["text"]},
        {"reasoning_effort": None, "verbosity": None},
        {"verbosity": "medium"},
        {"store": None},
        {"store": False},
        {"metadata": {"team": "a"}},
        {"safety_identifier": "a", "prompt_cache_key": "b", "prompt_cache_retention": "24h"},
        {"prompt_cache_options": {"mode": "implicit"}},
        {"tools": None, "tool_choice": "none", "parallel_tool_calls": True},
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": False},
        {"functions": None, "function_call": None},
        {"response_format": None},
        {"response_format": {"type": "text"}},
        {"logprobs": False, "top_logprobs": None},
    ],
)
def test_chat_parameters_without_effect_do_not_reach_the_process(
    parameters: dict[str, Any],
) -> None:
    assert make_request(ChatBody, **parameters) == ABSENT[ChatBody]


@pytest.mark.parametrize(
    "parameters", [{"echo": False}, {"suffix": ""}, {"suffix": None}, {"best_of": 1}]
)
def test_text_parameters_without_effect_do_not_reach_the_process(
    parameters: dict[str, Any],
) -> None:
    assert make_request(CompletionBody, **parameters) == ABSENT[CompletionBody]


@pytest.mark.parametrize("type", BODIES)
@pytest.mark.parametrize(
    ("parameters", "fields"),
    [
        ({"temperature": 0}, {"temperature": 0}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"n": 128}, {"n": 128}),
        ({"stop": "a"}, {"stop": ["a"]}),
        ({"seed": -(2**70)}, {"seed": -(2**70)}),
        ({"max_tokens": 3}, {"max_tokens": 3}),
        ({"frequency_penalty": -2}, {"frequency_penalty": -2}),
        ({"presence_penalty": 1.5}, {"presence_penalty": 1.5}),
        ({"logit_bias": {"50256": -100}}, {"logit_bias": {"50256": -100}}),
    ],
)
def test_parameters_with_an_effect_reach_the_process(
    type: type[Any], parameters: dict[str, Any], fields: dict[str, Any]
) -> None:
    assert make_request(type, **parameters) == {**ABSENT[type], **fields}


WEATHER = {
    "name": "get_weather",
    "description": "Weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": True,
}
TOOL = {"type": "function", "function": WEATHER}
NAMED = {"type": "function", "function": {"name": "get_weather"}}
SCHEMA = {"name": "answer", "schema": {"type": "object"}, "strict": True}
JSON_SCHEMA = {"type": "json_schema", "json_schema": SCHEMA}
AUTO = {"tools": [TOOL], "tool_choice": "auto"}


@pytest.mark.parametrize(
    ("parameters", "fields"),
    [
        ({"tools": [TOOL]}, AUTO),
        ({"tools": [TOOL], "tool_choice": "none"}, {**AUTO, "tool_choice": "none"}),
        ({"tools": [TOOL], "tool_choice": "required"}, {**AUTO, "tool_choice": "required"}),
        ({"tools": [TOOL], "tool_choice": NAMED}, {**AUTO, "tool_choice": NAMED}),
        ({"tools": [TOOL], "parallel_tool_calls": False}, {**AUTO, "parallel_tool_calls": False}),
        ({"functions": [WEATHER]}, {**AUTO, "parallel_tool_calls": False}),
        (
            {"functions": [WEATHER], "function_call": {"name": "get_weather"}},
            {"tools": [TOOL], "tool_choice": NAMED, "parallel_tool_calls": False},
        ),
        (
            {"functions": [WEATHER], "function_call": "none"},
            {"tools": [TOOL], "tool_choice": "none", "parallel_tool_calls": False},
        ),
        (
            {"response_format": {"type": "json_object"}},
            {"response_format": {"type": "json_object"}},
        ),
        ({"response_format": JSON_SCHEMA}, {"response_format": JSON_SCHEMA}),
    ],
)
def test_tools_and_formats_reach_the_process(
    parameters: dict[str, Any], fields: dict[str, Any]
) -> None:
    assert make_request(ChatBody, **parameters) == {**ABSENT[ChatBody], **fields}


@pytest.mark.parametrize(
    "function", [{"name": "get_weather"}, {"name": "get_weather", "parameters": None}]
)
def test_a_function_may_have_no_parameters(function: dict[str, Any]) -> None:
    request = make_request(ChatBody, tools=[{"type": "function", "function": function}])
    assert request["tools"] == [{"type": "function", "function": {"name": "get_weather"}}]


def function(**fields: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {**WEATHER, **fields}}]}


def schema(**fields: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {**SCHEMA, **fields}}}


DEEP: dict[str, Any] = {}
for _ in range(64):
    DEEP = {"items": DEEP}


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        (function(name=""), "tools[0].function.name"),
        (function(name="a b"), "tools[0].function.name"),
        (function(name="a" * 65), "tools[0].function.name"),
        (function(name="a\n"), "tools[0].function.name"),
        (function(parameters=[]), "tools[0].function.parameters"),
        (function(parameters=DEEP), "tools[0].function.parameters"),
        ({"tools": [TOOL] * 129}, "tools"),
        ({"tools": [{"type": "custom", "custom": {"name": "a"}}]}, "tools[0].type"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": NAMED}, "tool_choice"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.type"),
        ({"functions": [WEATHER], "tools": [TOOL]}, "functions"),
        ({"function_call": {"name": "get_weather"}}, "function_call"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"logprobs": False, "top_logprobs": 1}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        (schema(name="a b"), "response_format.json_schema.name"),
        (schema(schema=[]), "response_format.json_schema.schema"),
        (schema(schema=DEEP), "response_format.json_schema.schema"),
        (schema(schema={"description": "x" * (1 << 20)}), "response_format.json_schema.schema"),
        (function(parameters={"description": "x" * (1 << 20)}), "tools"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
    ],
)
def test_invalid_chat_parameters_are_refused(parameters: dict[str, Any], param: str) -> None:
    refused, code = refusal(ChatBody, parameters)
    assert refused == param
    assert code in ("invalid_value", "invalid_parameter_combination")


def test_a_chat_has_two_names_for_the_number_of_tokens() -> None:
    request = make_request(ChatBody, max_completion_tokens=5)
    assert request == {**ABSENT[ChatBody], "max_tokens": 5}


@pytest.mark.parametrize(
    ("parameters", "logprobs"),
    [
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 0}, 0),
        ({"logprobs": True, "top_logprobs": 20}, 20),
    ],
)
def test_the_process_receives_the_number_of_alternatives(
    parameters: dict[str, Any], logprobs: int
) -> None:
    assert make_request(ChatBody, **parameters) == {**ABSENT[ChatBody], "logprobs": logprobs}


@pytest.mark.parametrize("fields", [{"logprobs": 0}, {"logprobs": 5}, {"echo": True}])
def test_text_parameters_with_an_effect_reach_the_process(fields: dict[str, Any]) -> None:
    assert make_request(CompletionBody, **fields) == {**ABSENT[CompletionBody], **fields}


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        (None, [""]),
        ("", [""]),
        (["a"], ["a"]),
        (["a", "", "a"], ["a", "", "a"]),
        ([5, 6], [[5, 6]]),
        ([[5], [6, 7]], [[5], [6, 7]]),
        (["null"], ["null"]),
        (["x"] * 128, ["x"] * 128),
    ],
)
def test_each_prompt_is_a_request(prompt: Any, prompts: list[Any]) -> None:
    body = read_body(msgspec.json.encode({"model": "m", "prompt": prompt}), CompletionBody)
    requests = body.requests()
    assert [request.pop("prompt") for request in requests] == prompts
    assert all(request == requests[0] for request in requests)


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt[0]"),
        ({"prompt": ["a", 1]}, "prompt[1]"),
        ({"prompt": ["a", [1]]}, "prompt[1]"),
        ({"prompt": [[1], "a"]}, "prompt[1]"),
        ({"prompt": [1, "a"]}, "prompt[1]"),
        ({"prompt": {}}, "prompt"),
        ({"prompt": 1}, "prompt"),
        ({"prompt": True}, "prompt"),
        ({"prompt": [-1]}, "prompt[0]"),
        ({"prompt": [2**31]}, "prompt[0]"),
        ({"prompt": [1.5]}, "prompt[0]"),
        ({"prompt": ["x"] * 129}, "prompt"),
        ({"prompt": ["x"] * 65, "n": 2}, "prompt"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
    ],
)
def test_invalid_prompts_and_logprobs_are_refused(parameters: dict[str, Any], param: str) -> None:
    assert refusal(CompletionBody, parameters) == (param, "invalid_value")


def test_best_of_may_be_the_number_of_choices() -> None:
    assert make_request(CompletionBody, n=3, best_of=3) == {**ABSENT[CompletionBody], "n": 3}


def refusal(type: type[Any], parameters: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the parameter and the code of the error that a body is refused with."""
    with pytest.raises(InvalidRequestError) as error:
        make_request(type, **parameters)
    assert "\n" not in str(error.value)
    return error.value.param, error.value.code


@pytest.mark.parametrize("type", BODIES)
@pytest.mark.parametrize(
    ("parameters", "param", "code"),
    [
        ({"temperature": 2.1}, "temperature", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 129}, "n", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"frequency_penalty": 2.1}, "frequency_penalty", "invalid_value"),
        ({"presence_penalty": -2.1}, "presence_penalty", "invalid_value"),
        ({"logit_bias": {"1": 101}}, "logit_bias[...]", "invalid_value"),
        ({"logit_bias": {"one": 1}}, "logit_bias", "invalid_value"),
        ({"logit_bias": {"05": 1}}, "logit_bias", "invalid_value"),
        ({"logit_bias": {"5": 1, "00005": 1}}, "logit_bias", "invalid_value"),
        ({"logit_bias": dict.fromkeys(map(str, range(1025)), 1)}, "logit_bias", "invalid_value"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        (
            {"stream": True, "stream_options": {"include_obfuscation": True}},
            "stream_options.include_obfuscation",
            "invalid_value",
        ),
        ({"guided_json": {}}, "guided_json", "unknown_parameter"),
    ],
)
def test_invalid_parameters_are_refused(
    type: type[Any], parameters: dict[str, Any], param: str, code: str
) -> None:
    assert refusal(type, parameters) == (param, code)


@pytest.mark.parametrize(
    ("parameters", "param", "code"),
    [
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio", "unsupported_parameter"),
        ({"modalities": ["text", "audio"]}, "modalities", "unsupported_value"),
        ({"moderation": {"model": "m"}}, "moderation", "unsupported_parameter"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction", "unsupported_parameter"),
        ({"reasoning_effort": "low"}, "reasoning_effort", "unsupported_parameter"),
        ({"verbosity": "high"}, "verbosity", "unsupported_value"),
        ({"web_search_options": {}}, "web_search_options", "unsupported_parameter"),
        ({"store": True}, "store", "unsupported_value"),
        ({"store": 0}, "store", "unsupported_value"),
        ({"store": [False] * 1000}, "store", "unsupported_value"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens", "invalid_parameter_combination"),
        ({"messages": [{"role": "user", "audio": {"id": "a"}}]}, "messages[0].audio", "invalid_value"),
    ],
)  # fmt: skip
def test_unsupported_chat_parameters_are_refused(
    parameters: dict[str, Any], param: str, code: str
) -> None:
    assert refusal(ChatBody, parameters) == (param, code)


@pytest.mark.parametrize(
    ("parameters", "param", "code"),
    [
        ({"best_of": 2}, "best_of", "unsupported_value"),
        ({"suffix": "x"}, "suffix", "unsupported_value"),
        ({"messages": []}, "messages", "unknown_parameter"),
    ],
)
def test_unsupported_text_parameters_are_refused(
    parameters: dict[str, Any], param: str, code: str
) -> None:
    assert refusal(CompletionBody, parameters) == (param, code)


@pytest.mark.parametrize("part", ["input_audio", "file", "input_text", "video_url"])
def test_a_part_that_is_neither_text_nor_image_is_refused_by_name(part: str) -> None:
    message = {"role": "user", "content": [{"type": part, part: {"data": "x"}}]}
    with pytest.raises(InvalidRequestError, match=f"'{part}'") as error:
        make_request(ChatBody, messages=[message])
    assert error.value.param == "messages[0].content[0].type"


def test_the_refusal_of_storage_explains_itself() -> None:
    with pytest.raises(InvalidRequestError) as error:
        make_request(ChatBody, store=True)
    assert str(error.value) == (
        "Unsupported value for 'store'; this service does not store completions and responses."
        " Leave it out, or set it to false."
    )


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "m", "prompt": "\xff"}',
        b'{"model": "m", "prompt": ["\xff"]}',
        b'{"model": "m", "prompt": "\\ud800"}',
        b'{"model": "m", "prompt": "x", "suffix": "\xff"}',
        b'{"model": "m", "prompt": "x", "suffix": {"a": "\xff"}}',
        b'{"model": "m", "prompt": "x", "suffix": ' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"model": "m"}',
    ],
)
def test_invalid_json_in_prompts_and_unsupported_parameters_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        read_body(body, CompletionBody).requests()


def test_spaces_in_a_list_of_prompts_are_ignored() -> None:
    for prompt in (b'[ \n "a" ]', b"[ \n [ 1 ] ]", b"[ \n 1 ]"):
        body = read_body(b'{"model": "m", "prompt": ' + prompt + b"}", CompletionBody)
        assert [request["prompt"] for request in body.requests()] in (["a"], [[1]])


@pytest.mark.parametrize(
    ("type", "heading"),
    [
        (ChatBody, "Parameters of completions"),
        (CompletionBody, "Parameters of completions"),
        (ResponseBody, "The Responses API"),
    ],
)
def test_every_parameter_is_in_the_documentation(type: type[Any], heading: str) -> None:
    _, _, text = (DOCS / "serve.md").read_text("utf-8").partition(f"### {heading}\n")
    named = set(re.findall(r"`(\w+)", text.partition("\n### ")[0]))
    assert set(type.__struct_fields__) - {"model", "messages"} <= named
