"""Hypothesis strategies for examples in neutral form, with all that a format may have no place for."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from ftkit.prepare.example import Example

Messages = list[dict[str, Any]]

TEXTS = st.text(
    st.characters(codec="utf-8") | st.sampled_from("\n\n\x00:\u2028"), max_size=12
) | st.sampled_from(["\n\nHuman: Hi", '{"name": "f", "arguments": {}}', "<image>", " "])
NAMES = st.sampled_from(["add", "find"])
ARGUMENTS = st.dictionaries(
    st.sampled_from(["a", "b"]), st.integers(-9, 9) | TEXTS | st.none(), max_size=2
).map(json.dumps) | st.sampled_from(["", "[]", '{"a": 1, "a": 2}', '{"a":  1e400}', "{"])
PARTS = st.lists(
    TEXTS.map(lambda text: {"type": "text", "text": text})
    | st.just({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}),
    min_size=1,
    max_size=2,
)
TOOLS = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.just("function"),
            "function": st.fixed_dictionaries(
                {"name": NAMES}, optional={"description": TEXTS, "parameters": st.just({})}
            ),
        }
    ),
    max_size=2,
)


def _message(draw: st.DrawFn, role: str, content: Any, *keys: str) -> dict[str, Any]:
    values: dict[str, Any] = {"name": NAMES, "weight": st.integers(0, 1), "refusal": TEXTS}
    optional = draw(st.fixed_dictionaries({}, optional={key: values[key] for key in keys}))
    return {"role": role, "content": draw(content), **optional}


@st.composite
def _calls(draw: st.DrawFn) -> Messages:
    """A message with tool calls, and mostly their results in order."""
    ids = draw(st.lists(st.sampled_from(["call_1", "x", "y"]), min_size=1, max_size=2, unique=True))
    calls = [
        {
            "id": id,
            "type": "function",
            "function": {"name": draw(NAMES), "arguments": draw(ARGUMENTS)},
        }
        for id in ids
    ]
    message = {"role": "assistant", "content": draw(st.none() | TEXTS), "tool_calls": calls}
    answered = draw(st.just(ids) | st.permutations(ids) | st.just([]))
    results = [{"role": "tool", "tool_call_id": id, "content": draw(TEXTS)} for id in answered]
    return [message, *results]


@st.composite
def _turns(draw: st.DrawFn, is_simple: bool) -> Messages:
    """A question and what follows it."""
    content = TEXTS if is_simple else TEXTS | PARTS
    user = _message(draw, "user", content, *() if is_simple else ("name",))
    calls = [] if is_simple else draw(st.just([]) | _calls())
    keys = ("weight",) if is_simple else ("name", "weight", "refusal")
    return [user, *calls, _message(draw, "assistant", TEXTS, *keys)]


@st.composite
def conversations(draw: st.DrawFn) -> Example:
    """A conversation: half of them have texts only."""
    is_simple = draw(st.booleans())
    roles = ["system"] if is_simple else ["system", "developer"]
    system = draw(st.lists(st.sampled_from(roles), max_size=1 if is_simple else 2))
    messages = [{"role": role, "content": draw(TEXTS)} for role in system]
    for turns in draw(st.lists(_turns(is_simple), min_size=1, max_size=2)):
        messages += turns
    if not is_simple and draw(st.booleans()):
        return Example(
            messages=messages, tools=draw(TOOLS), parallel_tool_calls=draw(st.booleans())
        )
    return Example(messages=messages)


@st.composite
def preferences(draw: st.DrawFn) -> Example:
    """A prompt with two answers."""
    example = draw(conversations())
    example.messages.pop()
    example.chosen = [_message(draw, "assistant", TEXTS, "name")]
    example.rejected = [_message(draw, "assistant", TEXTS, "weight")]
    return example


@st.composite
def prompts(draw: st.DrawFn) -> Example:
    """A prompt with fields for a grader."""
    example = draw(conversations())
    example.messages.pop()
    example.fields = draw(st.dictionaries(st.sampled_from(["answer", "a/b"]), TEXTS, max_size=2))
    return example


examples = conversations() | preferences() | prompts()
