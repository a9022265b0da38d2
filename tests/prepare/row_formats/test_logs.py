"""Requests with their responses: batches, stored completions, Responses items, Evals and logs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from ftkit.prepare.convert.convert import convert
from ftkit.prepare.example import Example
from ftkit.prepare.row_formats import find_row_format
from ftkit.prepare.row_formats.base import RowError

USER = {"role": "user", "content": "Where is order 7?"}
ANSWER = {"role": "assistant", "content": "It was sent."}
CALL = {
    "id": "call_7",
    "type": "function",
    "function": {"name": "find_order", "arguments": '{"number":7}'},
}
TOOL = {"type": "function", "function": {"name": "find_order", "parameters": {"type": "object"}}}
EXPECTED = [
    USER,
    {"role": "assistant", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_7", "content": "sent"},
    ANSWER,
]


def read(name: str, row: Any) -> Example:
    format = find_row_format(name)
    return format.joined_example(list(row)) if isinstance(row, tuple) else format.example(row)


def losses(example: Example) -> list[str]:
    return [extra.pointer for extra in example.extras if extra.is_loss]


def completion(message: dict[str, Any], reason: str = "stop", **keys: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "choices": [choice],
    } | keys


def request(id: str, **body: Any) -> dict[str, Any]:
    return {
        "custom_id": id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "gpt-4.1", "messages": [USER]} | body,
    }


def response(id: str, body: Any = None, **keys: Any) -> dict[str, Any]:
    answer = {"status_code": 200, "request_id": "r", "body": body or completion(ANSWER)}
    return {"id": f"batch_req_{id}", "custom_id": id, "response": answer, "error": None} | keys


def write_lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_batches_are_joined_by_id_over_files_in_any_order(tmp_path: Path) -> None:
    requests = write_lines(tmp_path / "requests.jsonl", request("a"), request("b", tools=[TOOL]))
    answers = write_lines(
        tmp_path / "answers.jsonl",
        response("b"),
        response("a", completion(ANSWER | {"refusal": None, "annotations": []})),
    )
    prepared = convert([requests, answers], to="chat")
    rows = list(prepared.rows())
    assert [row.value for row in rows] == [
        {"messages": [USER, ANSWER]},
        {"messages": [USER, ANSWER], "tools": [TOOL]},
    ]
    assert [[(Path(origin.file).name, origin.line) for origin in row.origins] for row in rows] == [
        [("requests.jsonl", 1), ("answers.jsonl", 2)],
        [("requests.jsonl", 2), ("answers.jsonl", 1)],
    ]
    assert prepared.audit.is_balanced
    assert prepared.audit.total("loss") == 0


UNUSABLE = [
    ([request("a")], "no response"),
    ([response("a")], "no request"),
    ([request("a"), request("a"), response("a")], "second request"),
    ([request("a"), response("a", error={"code": "x"})], "failed"),
    (
        [request("a"), {"custom_id": "a", "response": {"status_code": 400, "body": {"error": {}}}}],
        "failed",
    ),
    ([request("a"), response("a", completion(ANSWER, "length"))], "cut off"),
    ([{"body": {"messages": [USER]}}], "no response"),
]


@pytest.mark.parametrize(("rows", "reason"), UNUSABLE)
def test_what_has_no_whole_answer_is_rejected(rows: list[Any], reason: str) -> None:
    prepared = convert(rows, to="chat", from_="batch")
    assert list(prepared) == []
    (entry,) = [entry for entry in prepared.audit.entries if entry.effect == "rejected"]
    assert reason in entry.reason
    assert prepared.audit.is_balanced


def test_further_answers_and_formats_of_answers_are_losses() -> None:
    body = completion(ANSWER)
    body["choices"].append({"index": 1, "message": ANSWER, "finish_reason": "stop"})
    rows = [request("a", response_format={"type": "json_object"}), response("a", body)]
    assert losses(read("batch", tuple(rows))) == [
        "0#/body/response_format",
        "1#/response/body/choices/1",
    ]


def test_batches_of_anthropic_are_read() -> None:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "It was sent."}],
        "stop_reason": "end_turn",
    }
    rows = [
        {
            "custom_id": "a",
            "params": {
                "model": "claude",
                "max_tokens": 9,
                "system": "Be brief.",
                "messages": [USER],
            },
        },
        {"custom_id": "a", "result": {"type": "succeeded", "message": message}},
    ]
    example = read("batch", tuple(rows))
    assert example.messages == [{"role": "system", "content": "Be brief."}, USER, ANSWER]
    assert losses(example) == []


GEMINI = {
    "candidates": [
        {"content": {"role": "model", "parts": [{"text": "It was sent."}]}, "finishReason": "STOP"}
    ],
    "usageMetadata": {},
}
GATEWAYS = [
    {
        "request": {
            "contents": [{"role": "user", "parts": [{"text": USER["content"]}]}],
            "generationConfig": {"temperature": 0},
        },
        "response": GEMINI,
    },
    {"request": {"messages": [USER]}, "response": completion(ANSWER), "latency": 3},
    {
        "request": {"body": {"messages": [USER]}},
        "response": {"status": 200, "body": completion(ANSWER)},
    },
    {
        "request_body": json.dumps({"messages": [USER]}),
        "response_body": json.dumps(completion(ANSWER)),
    },
    {
        "request": {"input": USER["content"]},
        "response": {
            "status": "completed",
            "output": [
                {
                    "type": "message",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": "It was sent.", "annotations": []}],
                }
            ],
        },
    },
    {
        "request": {"messages": [USER]},
        "response": {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": "It was sent."}],
        },
    },
]


@pytest.mark.parametrize("row", GATEWAYS)
def test_logs_of_gateways_are_read(row: dict[str, Any]) -> None:
    assert find_row_format("gateway").recognizes(row)
    assert read("gateway", row).messages == [USER, ANSWER]


def test_stored_completions_have_the_parts_of_their_messages() -> None:
    parts = [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]
    message = {
        "id": "chatcmpl-1-0",
        "role": "user",
        "content": "What?",
        "name": None,
        "content_parts": parts,
    }
    page = {"object": "list", "data": [message], "has_more": False}
    for messages in ([message], page):
        example = read(
            "stored-completion", completion(ANSWER, messages=messages, metadata={"a": "b"})
        )
        assert example.messages == [{"role": "user", "content": parts}, ANSWER]
        assert losses(example) == []
    with pytest.raises(RowError, match="not the last"):
        read("stored-completion", completion(ANSWER, messages=page | {"has_more": True}))
    with pytest.raises(RowError, match="no `messages`"):
        read("stored-completion", completion(ANSWER))


def test_the_fields_of_an_evals_item_are_for_the_grader() -> None:
    example = read(
        "evals", {"item": {"input": [USER], "expected": "sent"}, "sample": completion(ANSWER)}
    )
    assert (example.messages, example.fields) == ([USER, ANSWER], {"expected": "sent"})
    with pytest.raises(RowError, match="name the field"):
        read("evals", {"item": {"question": "2 + 2?", "input": "x"}})


ITEMS = [
    USER,
    {"type": "reasoning", "id": "rs_1", "summary": []},
    {
        "type": "function_call",
        "id": "fc_1",
        "status": "completed",
        "call_id": "call_7",
        "name": "find_order",
        "arguments": '{"number":7}',
    },
    {
        "type": "function_call_output",
        "call_id": "call_7",
        "output": [{"type": "input_text", "text": "sent"}],
    },
    {
        "type": "message",
        "id": "msg_1",
        "status": "completed",
        "role": "assistant",
        "content": [
            {"type": "output_text", "text": "It was sent.", "annotations": [], "logprobs": []}
        ],
    },
]


def test_items_of_responses_become_messages_and_reasoning_is_lost() -> None:
    example = read(
        "responses",
        {
            "input": ITEMS[:4],
            "output": ITEMS[4:],
            "previous_response_id": "resp_0",
            "tools": [{"type": "web_search"}],
        },
    )
    assert example.messages == EXPECTED
    assert losses(example) == ["/input/1", "/tools/0", "/previous_response_id"]
    assert read("responses", {"items": ITEMS}).messages == EXPECTED


def test_calls_of_responses_belong_to_the_message_before_them() -> None:
    text = {"type": "message", "role": "assistant", "content": "I look."}
    calls = [ITEMS[2], ITEMS[2] | {"call_id": "call_8"}]
    example = read("responses", {"input": [USER, text, *calls]})
    assert len(example.messages) == 2
    assert [call["id"] for call in example.messages[1]["tool_calls"]] == ["call_7", "call_8"]
    assert example.messages[1]["content"] == "I look."


def otel(*, made: bool = False) -> dict[str, Any]:
    id = {} if made else {"id": "call_7"}
    messages = [
        {"role": "user", "parts": [{"type": "text", "content": "Where is order 7?"}]},
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "name": "find_order", "arguments": {"number": 7}} | id],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "response": "sent"} | id]},
    ]
    output = [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "Hm"},
                {"type": "text", "content": "It was sent."},
            ],
            "finish_reason": "stop",
        }
    ]
    tools = [{"type": "function", "name": "find_order", "parameters": {"type": "object"}}]
    return {
        "gen_ai.input.messages": messages,
        "gen_ai.output.messages": output,
        "gen_ai.tool.definitions": tools,
    }


def test_spans_of_opentelemetry_are_read_in_all_their_forms() -> None:
    attributes = otel()
    texts = {key: json.dumps(value) for key, value in attributes.items()}
    otlp = [{"key": key, "value": {"stringValue": text}} for key, text in texts.items()]
    for row in (
        attributes,
        {"attributes": attributes},
        {"attributes": texts},
        {"name": "chat", "attributes": otlp},
    ):
        example = read("opentelemetry", row)
        assert (example.messages, example.tools) == (EXPECTED, [TOOL])
        assert find_row_format("opentelemetry").recognizes(row)
        assert len(losses(example)) == 1


def test_calls_of_opentelemetry_without_an_id_get_one() -> None:
    messages = read("opentelemetry", otel(made=True)).messages
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"] == "call_1"


def constructor(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "schema", "messages", f"{kind}Message"],
        "kwargs": kwargs,
    }


LANGCHAIN = [
    constructor("Human", content="Where is order 7?", additional_kwargs={}),
    constructor(
        "AI",
        content="",
        tool_calls=[
            {"name": "find_order", "args": {"number": 7}, "id": "call_7", "type": "tool_call"}
        ],
        additional_kwargs={"tool_calls": [CALL]},
        response_metadata={"a": 1},
    ),
    constructor("Tool", content="sent", tool_call_id="call_7", status="success"),
    constructor(
        "AIMessageChunk".removesuffix("MessageChunk"), content="It was sent.", invalid_tool_calls=[]
    ),
]
SHORT = [
    {"type": "human", "content": "Where is order 7?"},
    {"type": "ai", "data": {"content": "", "additional_kwargs": {"tool_calls": [CALL]}}},
    {"type": "tool", "content": "sent", "tool_call_id": "call_7"},
    {"type": "ai", "content": [{"type": "text", "text": "It was sent."}]},
]
RUNS = [
    (
        {"messages": [LANGCHAIN[:3]]},
        {"generations": [[{"text": "It was sent.", "message": LANGCHAIN[3]}]], "llm_output": {}},
    ),
    ({"messages": LANGCHAIN[:3]}, {"output": LANGCHAIN[3]}),
    ({"messages": SHORT[:3]}, SHORT[3]),
    ({"messages": EXPECTED[:3], "model": "gpt-4.1"}, completion(ANSWER)),
    ({"messages": EXPECTED[:3]}, {"messages": [ANSWER]}),
    ({"input": ITEMS[:4]}, {"output": ITEMS[4:]}),
]


@pytest.mark.parametrize(("inputs", "outputs"), RUNS)
def test_runs_of_langsmith_are_read(inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
    row = {
        "run_id": "r",
        "run_type": "llm",
        "trace_id": "t",
        "inputs": inputs,
        "outputs": outputs,
        "extra": {"invocation_params": {"tools": [TOOL]}},
    }
    assert find_row_format("langsmith").recognizes(row)
    example = read("langsmith", row)
    assert (example.messages, example.tools) == (EXPECTED, [TOOL])
    assert [pointer for pointer in losses(example) if "/input/1" not in pointer] == []


OBSERVATIONS = [
    (EXPECTED[:3], ANSWER),
    (json.dumps(EXPECTED[:3]), json.dumps(ANSWER)),
    ({"messages": EXPECTED[:3]}, "It was sent."),
    ({"messages": EXPECTED[:3]}, completion(ANSWER)),
]


@pytest.mark.parametrize(("input", "output"), OBSERVATIONS)
def test_observations_of_langfuse_are_read(input: Any, output: Any) -> None:
    example = read(
        "langfuse",
        {"id": "o", "traceId": "t", "type": "GENERATION", "input": input, "output": output},
    )
    assert (example.messages, losses(example)) == (EXPECTED, [])


@pytest.mark.parametrize("text", ['{"state": "sent"}', "[7]", "{", '[{"a": 1}]'])
def test_an_answer_that_is_json_stays_a_text(text: str) -> None:
    example = read("langfuse", {"traceId": "t", "input": "{{greeting}}", "output": text})
    assert [message["content"] for message in example.messages] == ["{{greeting}}", text]


@pytest.mark.parametrize("output", [None, ""])
def test_what_a_download_left_out_is_refused(output: str | None) -> None:
    with pytest.raises(RowError, match="left it out"):
        read("langfuse", {"traceId": "t", "input": [USER], "output": output})


def test_a_table_of_observations_is_read(tmp_path: Path) -> None:
    table = tmp_path / "observations.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "traceId", "type", "input", "output"])
        writer.writerow(["o", "t", "GENERATION", json.dumps([USER]), json.dumps(ANSWER)])
        writer.writerow(["p", "t", "GENERATION", json.dumps([USER]), '{"state": "sent"}'])
    answers = [row["messages"][1]["content"] for row in convert(table, to="chat")]
    assert answers == ["It was sent.", '{"state": "sent"}']


def test_runs_of_several_prompts_and_failed_runs_are_refused() -> None:
    row = {"run_type": "llm", "inputs": {"messages": [LANGCHAIN[:1], LANGCHAIN[:1]]}, "outputs": {}}
    for damaged in (row, row | {"error": "timeout"}):
        with pytest.raises(RowError):
            read("langsmith", damaged)
