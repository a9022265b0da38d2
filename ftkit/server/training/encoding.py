"""Examples as tokens, each with whether it is learned. What a service hides, this says: the base model's own chat template.

An assistant's turn is learned unless its weight is 0: all that the template writes between the prompt for that turn and the
turn's end. Where a template writes earlier turns differently once later ones follow (as those do that drop thoughts), each
turn that is learned becomes a sequence of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from jinja2 import TemplateError
from msgspec import Struct

from ftkit.errors import EncodingError

UNLEARNED = -100
"""The label of tokens that are not learned."""

Span = tuple[int, int]


class Sequence(Struct):
    """Tokens, and the labels that are learned from them: the token itself, or `UNLEARNED`."""

    input_ids: list[int]
    labels: list[int]


def encode(
    tokenizer: Any, examples: Iterable[dict[str, Any]], format: str, limit: int
) -> tuple[list[Sequence], int]:
    """The sequences of supervised examples, cut at `limit` tokens, and how many had nothing left to learn from."""
    found: list[Sequence] = []
    lost = 0
    for number, example in enumerate(examples, 1):
        try:
            texts = list(
                _chat(tokenizer, example) if format == "chat" else _completion(tokenizer, example)
            )
        except TemplateError as error:
            raise EncodingError(
                f"example {number} does not fit the chat template of the base model: {error}"
            ) from error
        except EncodingError as error:
            raise EncodingError(f"example {number}: {error}") from error
        for text, spans in texts:
            sequence = _tokens(tokenizer, text, spans, limit, special=format != "chat")
            if any(label != UNLEARNED for label in sequence.labels):
                found.append(sequence)
            else:
                lost += 1
    return found, lost


def _tokens(tokenizer: Any, text: str, spans: list[Span], limit: int, special: bool) -> Sequence:
    coded = tokenizer(
        text, add_special_tokens=special, return_offsets_mapping=True, truncation=False
    )
    ids, places = coded["input_ids"][:limit], coded["offset_mapping"][:limit]
    learned = [
        any(start <= first < end for start, end in spans) and last > first for first, last in places
    ]
    return Sequence(
        ids, [id if learn else UNLEARNED for id, learn in zip(ids, learned, strict=True)]
    )


def _completion(tokenizer: Any, example: dict[str, Any]) -> Iterator[tuple[str, list[Span]]]:
    prompt, completion = example["prompt"], example["completion"]
    text = f"{prompt}{completion}{tokenizer.eos_token or ''}"
    yield text, [(len(prompt), len(text))]


def _chat(tokenizer: Any, example: dict[str, Any]) -> Iterator[tuple[str, list[Span]]]:
    """The conversation as one text with the spans that are learned, or as a text for each of them."""
    messages = template_messages(example["messages"])
    tools = template_tools(example)
    whole, spans, alone = render(tokenizer, messages, tools), [], []
    for at, message in enumerate(example["messages"]):
        if message["role"] != "assistant" or message.get("weight") == 0:
            continue
        before = render(tokenizer, messages[:at], tools, prompting=True)
        after = render(tokenizer, messages[: at + 1], tools)
        begin = shared(before, after)
        if whole.startswith(after):
            spans.append((begin, len(after)))
        else:
            alone.append((after, [(begin, len(after))]))
    yield from alone
    if spans or not alone:
        yield whole, spans


def shared(one: str, two: str) -> int:
    """How many characters two texts begin with alike."""
    if two.startswith(one):
        return len(one)
    return next(at for at, (a, b) in enumerate(zip(one, f"{two}\0", strict=False)) if a != b)


def preferences(tokenizer: Any, examples: Iterable[dict[str, Any]]) -> list[dict[str, str]]:
    """Preference examples as the texts of prompt, chosen and rejected answer."""
    found = []
    for number, example in enumerate(examples, 1):
        given = template_messages(example["input"]["messages"])
        tools = template_tools(example["input"])
        try:
            prompt = render(tokenizer, given, tools, prompting=True)
            texts = {"prompt": prompt}
            for name, key in (("chosen", "preferred_output"), ("rejected", "non_preferred_output")):
                text = render(tokenizer, [*given, *template_messages(example[key])], tools)
                texts[name] = text[shared(prompt, text) :].rstrip("\n")
        except TemplateError as error:
            raise EncodingError(
                f"example {number} does not fit the chat template of the base model: {error}"
            ) from error
        found.append(texts)
    return found


def render(
    tokenizer: Any,
    messages: list[dict[str, Any]],
    tools: list[Any] | None = None,
    prompting: bool = False,
) -> str:
    """The text that the chat template makes of messages; with `prompting`, to the point where the assistant begins."""
    if not tokenizer.chat_template:
        raise EncodingError(
            "the base model has no chat template; train it on prompts and completions"
        )
    if not messages and prompting:
        return ""
    text: str = tokenizer.apply_chat_template(
        messages, tools=tools, add_generation_prompt=prompting, tokenize=False
    )
    return text


def template_tools(example: dict[str, Any]) -> list[Any] | None:
    """The tools of an example, as templates take them."""
    old = [
        {"type": "function", "function": function} for function in example.get("functions") or []
    ]
    return [*(example.get("tools") or []), *old] or None


def template_messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages as chat templates take them: texts whole, arguments as objects, the roles that templates know."""
    return [_message(message) for message in messages]


def _message(message: dict[str, Any]) -> dict[str, Any]:
    role = {"developer": "system", "function": "tool"}.get(message["role"], message["role"])
    made: dict[str, Any] = {
        "role": role,
        "content": _text(message.get("content")) or message.get("refusal") or "",
    }
    calls = [call["function"] for call in message.get("tool_calls") or []]
    calls += [message["function_call"]] if message.get("function_call") else []
    if calls:
        made["tool_calls"] = [{"type": "function", "function": _call(call)} for call in calls]
    if message.get("name"):
        made["name"] = message["name"]
    return made


def _text(content: Any) -> str:
    if not isinstance(content, list):
        return content or ""
    if any("image_url" in part for part in content):
        raise EncodingError("this service takes no images")
    return "".join(part.get("text") or part.get("refusal") or "" for part in content)


def _call(call: dict[str, Any]) -> dict[str, Any]:
    try:
        arguments = json.loads(call["arguments"])
    except ValueError:
        arguments = call["arguments"]
    return {"name": call["name"], "arguments": arguments}
