"""Clean examples of training data."""

from __future__ import annotations

import json
from typing import Any


def chat_example(number: int, **more: Any) -> dict[str, Any]:
    """A clean chat example, different for each number."""
    messages = [
        {"role": "user", "content": f"What follows {number}?"},
        {"role": "assistant", "content": f"{number + 1} follows."},
    ]
    return {"messages": messages, **more}


def chat_lines(count: int, at: dict[int, Any] | None = None) -> list[bytes]:
    """Clean lines, with others instead at some places (from 1): bytes as they are, anything else as JSON."""
    values: list[Any] = [chat_example(number) for number in range(count)]
    for place, other in (at or {}).items():
        values[place - 1] = other
    return [
        line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode()
        for line in values
    ]
