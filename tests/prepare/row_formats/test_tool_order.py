"""Tool calls that any reader gives: what is written without a report is valid."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit import validate
from ftkit.prepare.convert.convert import convert
from ftkit.rules import RULES

RULES_ON_TOOLS = [
    rule.name
    for rule in RULES.values()
    if rule.severity == "error" and not {"tool", "tool_calls"}.isdisjoint(rule.needs)
]

INPUT = {"a": 1}
TEXT = st.sampled_from(["x", "y"])
IDS = st.sampled_from(["t1", "t2"])

Turn = tuple[str, list[tuple[str, str]]]
"""A role, and the kind (text, call, result) and the text or id of each of its parts."""


def turns() -> st.SearchStrategy[list[Turn]]:
    text = st.tuples(st.just("text"), TEXT)
    asked = st.lists(text | st.tuples(st.just("result"), IDS), min_size=1, max_size=4)
    said = st.lists(text | st.tuples(st.just("call"), IDS), min_size=1, max_size=3)
    user, assistant = st.tuples(st.just("user"), asked), st.tuples(st.just("assistant"), said)
    return st.lists(user | assistant, min_size=1, max_size=5)


def anthropic(turns: list[Turn]) -> dict[str, Any]:
    blocks = {
        "text": lambda text: {"type": "text", "text": text},
        "call": lambda call: {"type": "tool_use", "id": call, "name": "f", "input": INPUT},
        "result": lambda call: {"type": "tool_result", "tool_use_id": call, "content": "1"},
    }
    return {
        "messages": [
            {"role": role, "content": [blocks[kind](text) for kind, text in parts]}
            for role, parts in turns
        ]
    }


def bedrock(turns: list[Turn]) -> dict[str, Any]:
    blocks = {
        "text": lambda text: {"text": text},
        "call": lambda call: {"toolUse": {"toolUseId": call, "name": "f", "input": INPUT}},
        "result": lambda call: {"toolResult": {"toolUseId": call, "content": [{"text": "1"}]}},
    }
    messages = [
        {"role": role, "content": [blocks[kind](text) for kind, text in parts]}
        for role, parts in turns
    ]
    return {"schemaVersion": "bedrock-conversation-2024", "messages": messages}


def gemini(turns: list[Turn]) -> dict[str, Any]:
    blocks = {
        "text": lambda text: {"text": text},
        "call": lambda call: {"functionCall": {"id": call, "name": "f", "args": INPUT}},
        "result": lambda call: {
            "functionResponse": {"id": call, "name": "f", "response": {"output": "1"}}
        },
    }
    return {
        "contents": [
            {
                "role": {"assistant": "model"}.get(role, role),
                "parts": [blocks[kind](text) for kind, text in parts],
            }
            for role, parts in turns
        ]
    }


def opentelemetry(turns: list[Turn]) -> dict[str, Any]:
    blocks = {
        "text": lambda text: {"type": "text", "content": text},
        "call": lambda call: {"type": "tool_call", "id": call, "name": "f", "arguments": INPUT},
        "result": lambda call: {"type": "tool_call_response", "id": call, "response": "1"},
    }
    messages = [
        {"role": role, "parts": [blocks[kind](text) for kind, text in parts]}
        for role, parts in turns
    ]
    return {"gen_ai.input.messages": messages}


def _messages(turns: list[Turn], arguments: Any) -> list[dict[str, Any]]:
    """Return messages as in OpenAI's format, with a message for each part."""
    messages: list[dict[str, Any]] = []
    for role, parts in turns:
        for kind, text in parts:
            function = {"name": "f", "arguments": arguments}
            call = {"id": text, "type": "function", "function": function}
            messages.append(
                {
                    "text": {"role": role, "content": text},
                    "call": {"role": role, "tool_calls": [call]},
                    "result": {"role": "tool", "tool_call_id": text, "content": "1"},
                }[kind]
            )
    return messages


def trl(turns: list[Turn]) -> dict[str, Any]:
    return {"messages": _messages(turns, INPUT)}


def mistral(turns: list[Turn]) -> dict[str, Any]:
    return {"messages": _messages(turns, json.dumps(INPUT)), "extra": 1}


def gateway(turns: list[Turn]) -> dict[str, Any]:
    *messages, last = _messages(turns, json.dumps(INPUT))
    return {"request": {"messages": messages}, "response": {"choices": [{"message": last}]}}


def responses(turns: list[Turn]) -> dict[str, Any]:
    items = {
        "call": lambda call: {
            "type": "function_call",
            "call_id": call,
            "name": "f",
            "arguments": "{}",
        },
        "result": lambda call: {"type": "function_call_output", "call_id": call, "output": "1"},
    }
    return {
        "input": [
            items[kind](text) if kind in items else {"role": role, "content": text}
            for role, parts in turns
            for kind, text in parts
        ]
    }


def sharegpt(turns: list[Turn]) -> dict[str, Any]:
    names = {"call": "function_call", "result": "observation"}
    roles = {"user": "human", "assistant": "gpt"}
    values = {"call": '{"name": "f", "arguments": {}}', "result": "1"}
    return {
        "conversations": [
            {"from": names.get(kind, roles[role]), "value": values.get(kind, text)}
            for role, parts in turns
            for kind, text in parts
        ]
    }


ROWS = {
    "anthropic": anthropic, "bedrock-nova": bedrock, "gemini": gemini,
    "opentelemetry": opentelemetry, "trl-messages": trl, "mistral": mistral,
    "gateway": gateway, "responses": responses, "sharegpt": sharegpt,
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
@settings(max_examples=30)
@given(turns=turns())
def test_tool_calls_that_are_written_are_valid(name: str, turns: list[Turn]) -> None:
    row = ROWS[name](turns)
    prepared = convert([row], to="chat", from_=name, on_loss="allow")
    rows = list(prepared)
    assert prepared.audit.is_balanced
    if rows != [row]:  # what is in the target format already is written as it is
        for file in validate(rows, select=RULES_ON_TOOLS).files if rows else ():
            assert not file.findings
