"""Token counts of examples: each is laid out as sequences of parts, whose texts are counted.

    tokens(example) = 1 + sum over its messages of (3 + tokens(role) + tokens(content))

See `encodings.PER_MESSAGE` for the source, and `encodings.OVERHEADS` for models whose tokens are
bytes. The formula is exact for messages of a role and a text. How providers count anything else is
not published, so it is approximated; each part names the `APPROXIMATIONS` that it needs.

A preference example has two sequences, its prompt with each of the outputs. Any other example has
one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from msgspec import Struct

from ftkit.dataset.canonical import is_bare
from ftkit.dataset.formats import FORMATS, Conversation, Format, Text, message_texts
from ftkit.dataset.plain import placeholder
from ftkit.dataset.types import Answer, Assistant, FunctionCall, ImagePart, ImageUrl
from ftkit.tokens.encodings import OVERHEADS, chunks, token_counter, utf8_size

PIECE_LENGTH = 2_000
"""Characters that `may_exceed` counts before it checks the upper bound again."""

MAX_BYTES_PER_TOKEN = 5
"""Bytes per token of the limit above which `may_exceed` does not count: few examples stay below."""

PER_NAME = 1
"""Tokens of a participant's name, beside its text.

Source of this and the next ones: "How to count tokens with tiktoken" in the OpenAI cookbook. The
rule is for prompts; no published bill confirms it for training.
"""
PER_PROPERTIES = 3
"""Tokens of the properties of a tool."""
PER_PROPERTY = 3
"""Tokens of each property, beside its text."""
PER_ENUM = -3
"""Tokens of a list of allowed values."""
PER_ITEM = 3
"""Tokens of each allowed value, beside its text."""

APPROXIMATIONS = {
    "names": "the name of a participant is counted as its text and 1 token",
    "tools": "tool definitions are counted by the rule for prompts in the OpenAI cookbook",
    "tool calls": "the name and the arguments of a call are counted as text",
    "parts": "the text parts of a message are counted one by one",
    "refusals": "a refusal is counted as text",
    "weights": "a message of weight 0 is counted like any other, but not as trained",
    "images": "images are counted by size and detail, as in prompts",
    "remote images": "an image behind a URL is assumed to have 1,024 x 1,024 pixels",
    "completions": "a prompt and its completion are counted as text, without overhead",
    "preferences": "the prompt is counted with each of the two outputs",
    "cut": "tokens that are cut off are assumed not to be billed",
}
"""Reasons that a count may differ from the bill, each with the rule that is used."""


class TokenCount(Struct, frozen=True):
    """Tokens of the longest sequence of an example."""

    tokens: int
    trained: tuple[tuple[str, int, int], ...]
    """JSON path of each trained message, and the number of tokens before and through its text."""


class Part(NamedTuple):
    """A part of a sequence: a message, or something else that costs tokens."""

    path: str
    kind: str
    """Key of `encodings.OVERHEADS`."""
    texts: tuple[str, ...]
    trained: bool = False
    images: tuple[ImageUrl, ...] = ()
    extra_tokens: int = 0
    """Tokens beside those of the texts that do not depend on the encoding."""
    functions: int = 0
    """Number of functions that the part defines."""
    approximations: tuple[str, ...] = ()


def sequences(example: Any, format: Format) -> Iterator[list[Part]]:
    """Yield the parts of each sequence of an example."""
    conversations = format.conversations(example)
    opening = [Part("$", "example", ()), *_tools(conversations[0])] if conversations else []
    for turns in format.sequences(example):
        yield [*opening, *(_part(path, item, trainable) for path, item, trainable in turns)]


def _part(path: str, item: Any, trainable: bool) -> Part:
    """Return the part of a message or a `Text`."""
    if is_bare(item):
        trained = trainable and isinstance(item, Assistant) and item.weight != 0
        return Part(path, "message", (item.content,), trained)
    if isinstance(item, Text):
        approximations = ("completions",) if item.kind == "prompt" else ()
        return Part(path, item.kind, (item.text,), trainable, approximations=approximations)
    return _message(path, item, trainable)


def _message(path: str, message: Any, trainable: bool) -> Part:
    texts = [text for _, text in message_texts(path, message)]
    approximations: list[str] = []
    images: tuple[ImageUrl, ...] = ()
    if isinstance(message.content, list):
        images = tuple(part.image_url for part in message.content if isinstance(part, ImagePart))
        approximations.append("parts")
    if images:
        approximations.append("images")
    if any(not image.url.startswith("data:") for image in images):
        approximations.append("remote images")
    name = getattr(message, "name", None)
    if name:
        texts.append(name)
        approximations.append("names")
    if isinstance(message, Answer):
        names = _called_functions(message)
        texts += names
        approximations += ["tool calls"] if names else []
        approximations += ["refusals"] if message.refusal else []
    weight = getattr(message, "weight", None)
    if weight == 0:
        approximations.append("weights")
    return Part(
        path,
        "message",
        tuple(texts),
        trainable and isinstance(message, Assistant) and weight != 0,
        images,
        PER_NAME if name else 0,
        approximations=tuple(approximations),
    )


def _called_functions(message: Answer) -> list[str]:
    names = [call.function.name for call in message.tool_calls or ()]
    if isinstance(message.function_call, FunctionCall):
        names.append(message.function_call.name)
    return names


def _tools(conversation: Conversation) -> Iterator[Part]:
    """Yield the part of the tool definitions, if there are any."""
    definitions = [
        *(tool.function for tool in conversation.tools or ()),
        *(conversation.functions or ()),
    ]
    if not definitions:
        return
    extra_tokens, texts = 0, []
    for definition in definitions:
        texts.append(f"{definition.name}:{(definition.description or '').removesuffix('.')}")
        for tokens, text in _properties(definition.parameters):
            extra_tokens += tokens
            texts += [text] if text else []
    yield Part(
        "$.tools",
        "tools",
        tuple(texts),
        extra_tokens=extra_tokens,
        functions=len(definitions),
        approximations=("tools",),
    )


def _properties(schema: Any) -> Iterator[tuple[int, str]]:
    """Yield the tokens of each element of a JSON Schema, and its text, which costs more."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or not properties:
        return
    yield PER_PROPERTIES, ""
    for name, inner in properties.items():
        inner = inner if isinstance(inner, dict) else {}
        yield (
            PER_PROPERTY,
            f"{name}:{inner.get('type', '')}:{str(inner.get('description', '')).removesuffix('.')}",
        )
        values = inner.get("enum")
        if isinstance(values, list):
            yield PER_ENUM, ""
            yield from ((PER_ITEM, str(value)) for value in values)
        yield from _properties(inner)
        yield from _properties(inner.get("items"))


def overhead(part: Part, encoding: str) -> int:
    """Return the tokens of a part, except those of its texts and images."""
    tokens = OVERHEADS[encoding]
    return tokens[part.kind] + part.extra_tokens + part.functions * tokens["function"]


def count(examples: Sequence[Any], format: Format, encoding: str) -> list[TokenCount]:
    """Return the token count of each example, without images.

    All texts are counted in one call, which is faster.
    """
    layouts = [list(sequences(example, format)) for example in examples]
    texts = [
        text for layout in layouts for parts in layout for part in parts for text in part.texts
    ]
    counts = iter(token_counter(encoding).count(texts))
    return [
        max((_add_up(parts, counts, encoding) for parts in layout), key=_tokens)
        for layout in layouts
    ]


def count_plain(roles: bytes, tagged: bytes, limit: int, encoding: str) -> TokenCount | None:
    """Return the token count of a plain line, or None if it has at most `limit` tokens.

    Args:
        roles: Its roles, as bytes of `plain.ROLES`.
        tagged: Its tagged texts.
        limit: Maximum number of tokens.
        encoding: The encoding.
    """
    counts = token_counter(encoding).count_over(tagged, limit)
    if counts is None:
        return None
    (parts,) = sequences(placeholder(roles), FORMATS["chat"])
    counted = _add_up(parts, iter(counts), encoding)
    return counted if counted.tokens > limit else None


def _tokens(count: TokenCount) -> int:
    return count.tokens


def _add_up(parts: Iterable[Part], counts: Iterator[int], encoding: str) -> TokenCount:
    """Return the token count of a sequence, taking one of `counts` for each text."""
    end, trained = 0, []
    for part in parts:
        start = end + overhead(part, encoding)
        end = start + sum(islice(counts, len(part.texts)))
        if part.trained:
            trained.append((part.path, start, end))
    return TokenCount(end, tuple(trained))


def may_exceed(example: Any, format: Format, limit: int, encoding: str) -> bool:
    """Return False if an example certainly has at most `limit` tokens.

    A token has at least one byte, so the tokens counted so far plus the bytes of the rest are an
    upper bound. The texts are counted piece by piece until the bound is low enough. If the fast
    tokenizer is loaded, the result is always True, since counting everything is faster then.
    """
    if token_counter(encoding).is_fast:
        return True
    for parts in sequences(example, format):
        texts = [text for part in parts for text in part.texts]
        if _exceeds(texts, sum(overhead(part, encoding) for part in parts), limit, encoding):
            return True
    return False


def _exceeds(texts: Sequence[str], overhead: int, limit: int, encoding: str) -> bool:
    bound = overhead + sum(map(utf8_size, texts))
    if bound > MAX_BYTES_PER_TOKEN * limit:
        return True
    for text in sorted(texts, key=len, reverse=True):
        for piece in chunks(text, PIECE_LENGTH):
            if bound <= limit:
                return False
            bound -= utf8_size(piece) - token_counter(encoding).count((piece,))[0]
    return bound > limit
