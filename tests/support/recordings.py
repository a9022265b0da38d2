"""Prompts, replies and recorded answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from ftkit.compare.recordings import (
    Prompt,
)
from support.models import MINI

TUNED = f"ft:{MINI}:me::abc123"


def assistant_message(content: Any = None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def tool_call_message(*calls: tuple[str, Any]) -> dict[str, Any]:
    calls_made = [
        {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}
        for name, arguments in calls
    ]
    return assistant_message(tool_calls=calls_made)


def numbered_prompt(number: int, reference: dict[str, Any] | None = None, **more: Any) -> Prompt:
    return Prompt(number, [{"role": "user", "content": f"q{number}"}], {}, reference, more)


JSON_OBJECTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-10, 10)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def write_jsonl(path: Path, *lines: Any) -> str:
    path.write_bytes(
        b"".join(
            (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n"
            for line in lines
        )
    )
    return str(path)


def chat_row(question: str, answer: str | None = None, **more: Any) -> dict[str, Any]:
    final = [] if answer is None else [{"role": "assistant", "content": answer, "weight": 1}]
    return {"messages": [{"role": "user", "content": question}, *final], **more}


def recorded_row(question: str, answer: str, model: str = "m", **more: Any) -> dict[str, Any]:
    return {
        **chat_row(question),
        "answer": assistant_message(answer),
        "model": model,
        "parameters": {},
        "usage": {},
        **more,
    }
