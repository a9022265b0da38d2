"""Shapes of the rows of other systems, and how to convert them to a fine-tuning format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ftkit.dataset.formats import (
    OUTPUT_KEYS,
    PREFERENCE_KEYS,
    ends_with_assistant,
    has_own_keys,
)

Recognizer = Callable[[dict[str, Any], set[str]], bool]
"""Function that takes an object and its keys in lower case."""


class Shape(NamedTuple):
    """A well-known shape of rows that is not a fine-tuning format."""

    name: str
    """Name of such rows, in the plural."""
    conversion: str
    """How to convert them to a format, as an imperative."""
    recognizes: Recognizer
    """Return True if an object has this shape."""
    extends_format: bool = False
    """True if such rows can have the keys of a format, and others that change their meaning."""
    target: str = "chat"
    """Format that `ftkit convert` makes of such rows alone, or "" if they lack an answer."""


OWN_KEYS = {"messages", "completion", *PREFERENCE_KEYS}
"""Keys of the formats that few other systems have."""

GRADED_KEYS = {"solution", "ground_truth", "reference_answer", "reward_model"}
"""Keys of the rows of other reinforcement learning systems beside `prompt`."""


def are_messages(value: Any) -> bool:
    """Return True if a value is an array of objects with a role."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and "role" in item for item in value)
    )


def _has(*names: str) -> Recognizer:
    """Return a recognizer of objects with one of these keys and with no key of a format."""
    return lambda value, keys: not keys.isdisjoint(names) and not keys & OWN_KEYS


def _pairs(question: str, answer: str) -> Shape:
    """Return the shape of rows with a question and an answer under these keys."""

    def recognizes(value: dict[str, Any], keys: set[str]) -> bool:
        return (
            {question, answer} <= keys
            and not keys & OWN_KEYS
            and isinstance(value.get(question), (str, dict))
        )

    return Shape(
        f"pairs of `{question}` and `{answer}`",
        f"make `{question}` the user's message and `{answer}` the assistant's in `messages`, and "
        "leave out the other keys",
        recognizes,
    )


def _preferences(name: str, chosen: str, rejected: str) -> Shape:
    """Return the shape of preference rows with the two answers under these keys."""

    def recognizes(value: dict[str, Any], keys: set[str]) -> bool:
        is_input = isinstance(value.get("input"), dict)
        return {chosen, rejected} <= keys and not keys & OUTPUT_KEYS and not is_input

    return Shape(
        name,
        "put the prompt's messages in `input.messages`, "
        f"the answer of `{chosen}` in `preferred_output` and that of `{rejected}` in "
        "`non_preferred_output`, each as an array of messages, and leave out the other keys",
        recognizes,
        target="preference",
    )


def _is_bedrock(value: dict[str, Any], keys: set[str]) -> bool:
    """Return True if an object names Bedrock's schema, or has content blocks without a `type`."""
    if str(value.get("schemaVersion")).startswith("bedrock-"):
        return "messages" in keys
    messages = value.get("messages")
    blocks = [
        block
        for message in (messages if isinstance(messages, list) else ())
        if isinstance(message, dict) and isinstance(message.get("content"), list)
        for block in message["content"]
    ]
    bare = [block for block in blocks if isinstance(block, dict) and set(block) == {"text"}]
    return len(bare) > 1 and len(bare) == len(blocks)


def _is_batch(value: dict[str, Any], keys: set[str]) -> bool:
    return {"custom_id", "body"} <= keys and not keys & OWN_KEYS


def _is_gemini_batch(value: dict[str, Any], keys: set[str]) -> bool:
    request = value.get("request")
    return isinstance(request, dict) and "contents" in request


def _is_grpo(value: dict[str, Any], keys: set[str]) -> bool:
    if "prompt" not in keys or keys & OWN_KEYS or "response" in keys:
        return False
    return are_messages(value.get("prompt")) or not keys.isdisjoint(GRADED_KEYS)


def _is_kto(value: dict[str, Any], keys: set[str]) -> bool:
    is_labelled = {"prompt", "completion"} <= keys and isinstance(value.get("label"), bool)
    return is_labelled and keys & OWN_KEYS == {"completion"}


def _has_system(value: dict[str, Any], keys: set[str]) -> bool:
    is_system = isinstance(value.get("system"), (str, list))
    return is_system and keys <= {"system", "messages", "tools"} and ends_with_assistant(value)


def _is_evals(value: dict[str, Any], keys: set[str]) -> bool:
    return {"input", "ideal"} <= keys and not keys & OWN_KEYS


def _is_responses(value: dict[str, Any], keys: set[str]) -> bool:
    is_request = are_messages(value.get("input")) or "model" in keys
    return "input" in keys and is_request and not keys & OWN_KEYS


def _is_message(value: dict[str, Any], keys: set[str]) -> bool:
    has_content = not keys.isdisjoint(("content", "tool_calls"))
    return "role" in keys and has_content and not keys & OWN_KEYS


SHAPES: dict[str, Shape] = {
    "bedrock": Shape(
        "Amazon Bedrock examples",
        "turn `system` into a system message and the content blocks of each message into a "
        "string, and leave out `schemaVersion`",
        _is_bedrock,
        extends_format=True,
    ),
    "batch": Shape(
        "Batch API requests",
        "take `messages` out of `body`, add the assistant's answer to each, and leave out the "
        "other keys",
        _is_batch,
        target="",
    ),
    "gemini-batch": Shape(
        "Gemini batch requests",
        "turn `request.contents` into `messages`, role `model` into `assistant` and `parts` into "
        "content, add the assistant's answer to each, and leave out the other keys",
        _is_gemini_batch,
        target="",
    ),
    "trl-preference": _preferences("TRL preference rows", "chosen", "rejected"),
    "messages-preference": _preferences("preference rows", "chosen_messages", "rejected_messages"),
    "response-preference": _preferences("preference rows", "chosen_response", "rejected_response"),
    "grpo": Shape(
        "GRPO rows",
        "make `prompt` the array `messages`, which ends with the user's message, with `developer` "
        "in place of the role `system`, and keep the other fields for the grader",
        _is_grpo,
        target="reinforcement",
    ),
    "kto": Shape(
        "KTO rows",
        "keep the rows whose `label` is true, put the messages of `prompt` and `completion` in "
        "`messages`, and leave out the other keys",
        _is_kto,
        extends_format=True,
    ),
    "anthropic": Shape(
        "Anthropic examples (`system` beside `messages`)",
        "put `system` into `messages` as the first message, with the role `system`",
        _has_system,
        extends_format=True,
    ),
    "sharegpt": Shape(
        "ShareGPT conversations",
        "turn `conversations` into `messages`, each {from, value} into {role, content}, with the "
        "role `user` for `human` and `assistant` for `gpt`, and leave out the other keys",
        _has("conversations", "conversation"),
    ),
    "instruction-response": _pairs("instruction", "response"),
    "alpaca": Shape(
        "Alpaca rows",
        "make `instruction` and `input` the user's message and `output` the assistant's in "
        "`messages`, and leave out the other keys",
        _has("instruction"),
    ),
    "gemini": Shape(
        "Gemini (Vertex AI) examples",
        "turn `contents` into `messages`, role `model` into `assistant` and `parts` into content, "
        "and `systemInstruction` into a system message, and leave out the other keys",
        _has("contents"),
    ),
    "evals": Shape(
        "OpenAI Evals samples",
        "turn `input` into `messages`, add `ideal` as the assistant's message, and leave out the "
        "other keys",
        _is_evals,
    ),
    "input-output": _pairs("input", "output"),
    "question-answer": _pairs("question", "answer"),
    "prompt-response": _pairs("prompt", "response"),
    "prompt-answer": _pairs("prompt", "answer"),
    "query-response": _pairs("query", "response"),
    "input_text-output_text": _pairs("input_text", "output_text"),
    "responses": Shape(
        "Responses API requests",
        "turn `input` into `messages`, add the assistant's answer to each, and leave out the "
        "other keys",
        _is_responses,
        target="",
    ),
    "message": Shape(
        "single messages",
        'put the messages of each conversation on one line: {"messages": [...]}',
        _is_message,
        target="",
    ),
    "text": Shape(
        "rows of plain text (`text` only)",
        "split each text into `prompt` and `completion`, or into `messages`",
        lambda value, keys: keys == {"text"},
        target="completions",
    ),
    "array": Shape(
        "arrays of messages",
        'wrap each line as {"messages": [...]}',
        lambda value, keys: False,  # a line is an array, not an object
    ),
}
"""The shapes by id, in the order in which they are tried."""

ARRAY, MESSAGE, GRPO = "array", "message", "grpo"
"""Ids of the shapes of an array of messages, a message, and a reinforcement example of TRL."""


def find_shape(value: dict[str, Any], keys: set[str]) -> str | None:
    """Return the id of the shape of an object, given with its keys in lower case, or None."""
    is_own = has_own_keys(value, keys)
    for id, shape in SHAPES.items():
        if (shape.extends_format or not is_own) and shape.recognizes(value, keys):
            return id
    return None
