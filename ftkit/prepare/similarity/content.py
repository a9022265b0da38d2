"""Parts of a row that are compared: its prompt, its answer and its texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

CONVERSATIONS = ("messages", "conversations", "contents")
"""Keys of a conversation, which ends with the answer."""

MODEL_ROLES = frozenset(("assistant", "gpt", "model", "Chatbot", "bot"))
"""Roles of the author of an answer."""

SYSTEM_ROLES = frozenset(("system", "developer", "System"))

PROMPTS = ("prompt", "instruction", "input", "question")
"""Keys of a prompt that is not a conversation."""

PROMPT_DETAILS = (
    *("system", "systemInstruction", "system_instruction", "context", "history"),
    *("tools", "functions", "parallel_tool_calls"),
)
"""Keys of values that belong to the prompt, if there is one."""

ANSWERS = (
    *("completion", "output", "response", "answer", "chosen", "rejected", "label"),
    *("preferred_output", "non_preferred_output"),
)
"""Keys of an answer that is not the end of a conversation."""

NOT_TEXT = frozenset(("role", "from", "type", "id", "tool_call_id", "call_id"))
"""Keys of strings that are not text."""

BOILERPLATE = frozenset(("system", "systemInstruction", "system_instruction", "tools", "functions"))
"""Keys of what many rows of a file share."""


def split_answer(value: Any) -> tuple[Any, Any]:
    """Return the prompt of a row and its answer, as JSON values.

    The prompt is the conversation before the answer, or the keys in `PROMPTS`, with the tools. A
    row without a known prompt, or with one that has no text besides system messages, is a prompt as
    a whole, and its answer is None.
    """
    if not isinstance(value, dict):
        return value, None
    prompt = {key: value[key] for key in (*PROMPTS, *PROMPT_DETAILS) if key in value}
    answer = {key: value[key] for key in ANSWERS if key in value and key not in prompt}
    for key in CONVERSATIONS:
        messages = value.get(key)
        if isinstance(messages, list) and messages:
            is_answered = _role(messages[-1]) in MODEL_ROLES
            prompt[key] = messages[:-1] if is_answered else messages
            answer |= {key: messages[-1]} if is_answered else {}
    if not any(_has_text(prompt[key]) for key in (*PROMPTS, *CONVERSATIONS) if key in prompt):
        return value, None
    if not answer:
        answer = {key: item for key, item in value.items() if key not in prompt}
    return prompt, answer


def has_unknown_prompt(value: Any) -> bool:
    """Return True if no key of a row is known to hold its prompt, so that it counts as a whole.

    The prompt of an example that trains on a text alone is known: it is empty.
    """
    if split_answer(value)[1] is not None:
        return False
    if not isinstance(value, dict):
        return True
    if any(key in value for key in PROMPTS):
        return not any(key in value for key in ANSWERS)
    ends = (value[key][-1:] for key in CONVERSATIONS if isinstance(value.get(key), list))
    return not any(_role(end) in MODEL_ROLES for last in ends for end in last)


def _role(message: Any) -> Any:
    if not isinstance(message, dict):
        return None
    role = message.get("role", message.get("from"))
    return role if isinstance(role, str) else None


def _has_text(value: Any) -> bool:
    if isinstance(value, list):
        return any(not _is_system(item) for item in value)
    return bool(value)


def _is_system(message: Any) -> bool:
    return _role(message) in SYSTEM_ROLES


def texts(value: Any, with_shared: bool = False) -> Iterator[str]:
    """Yield the texts of a row or of a part of it, in order.

    Args:
        value: The row, or the part.
        with_shared: Include system messages and tools. Many rows share those, so that they would
            make all of them similar.
    """
    stack: list[Any] = [value]  # values may nest more deeply than Python's stack allows
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, list):
            stack.extend(reversed(item))
        elif isinstance(item, dict) and (with_shared or not _is_system(item)):
            skipped = NOT_TEXT if with_shared else NOT_TEXT | BOILERPLATE
            keys = [key for key in item if key not in skipped]
            stack.extend(item[key] for key in reversed(keys))


def compared_text(value: Any) -> str:
    """Return the texts of a row or of a part of it as one."""
    return "\n".join(texts(value))
