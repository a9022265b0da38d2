"""An example as what is counted: its sequences, their parts, and the tokens of each.

    tokens(example) = 1 + the sum over its messages of (3 + tokens(role) + tokens(content))

Source: see `tokens.PER_MESSAGE`; models whose tokens are bytes have overheads of their own (`tokens.OVERHEADS`). That is exact
for messages of a role and a text. How services write out anything else is not published, so it is counted by a rule of thumb, which
`APPROXIMATIONS` names: a part says which of them it needs.

A preference example has two sequences, the input with each of its outputs; any other example has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from msgspec import Struct

from ftkit.dataset.canonical import is_plain
from ftkit.dataset.formats import Conversation, Format, message_texts
from ftkit.dataset.types import Answer, Assistant, Completions, FunctionCall, ImagePart, ImageUrl
from ftkit.tokens.encodings import OVERHEADS, chunks, counter, size

PIECE = 2_000
"""Characters that are counted before the bound is looked at again."""

CERTAIN = 5
"""Bytes for each token of the limit from which an example is counted as a whole at once: few are that far below it."""

PER_NAME = 1
PER_PROPERTIES = PER_PROPERTY = PER_ITEM = 3
PER_ENUM = -3
"""Tokens beside those of the texts: of a participant's name, of the properties of a tool, of each of them, of each value that
one may have, and of the list of these.

Source: OpenAI's cookbook, How to count tokens with tiktoken. The rule is for prompts; no bill was seen that proves it for training.
"""

APPROXIMATIONS = {
    "names": "the name of a participant is counted as its text and 1 token",
    "tools": "the definitions of tools are counted by the rule that OpenAI's cookbook gives for prompts",
    "tool calls": "the name and the arguments of a call are counted as text",
    "parts": "the texts of a content in parts are counted one by one",
    "refusals": "a refusal is counted as text",
    "weights": "a message of weight 0 is counted like any other, but not as trained",
    "images": "images are counted by size and detail as in prompts",
    "remote images": "an image behind a URL is taken to be 1,024 x 1,024 pixels",
    "completions": "a prompt and its completion are counted as text, with nothing around them",
    "preferences": "the input is counted with each of the two outputs",
    "cut": "what is cut off is taken not to be billed",
}
"""Why a count may differ from the bill, each with the rule used."""


class Counted(Struct, frozen=True):
    """The tokens of an example: all, and for each trained text its path and the tokens before and through its end."""

    tokens: int
    trained: tuple[tuple[str, int, int], ...]


class Part(NamedTuple):
    """Something in a sequence: which piece it is (a key of `tokens.OVERHEADS`), its texts, and whether these are trained.

    `more` are tokens that it costs in every encoding, `functions` is the number of functions that it defines, `kinds` the
    approximations that counting it needs.
    """

    path: str
    piece: str
    texts: tuple[str, ...]
    trained: bool = False
    images: tuple[ImageUrl, ...] = ()
    more: int = 0
    functions: int = 0
    kinds: tuple[str, ...] = ()


def sequences(example: Any, format: Format) -> Iterator[list[Part]]:
    """The sequences of an example, each as its parts in order."""
    if isinstance(example, Completions):
        completion = Part("$.completion", "completion", (example.completion,), True)
        yield [Part("$.prompt", "prompt", (example.prompt,), kinds=("completions",)), completion]
        return
    first = [Part("$", "example", ()), *_tools(format.conversations(example)[0])]
    for messages in format.sequences(example):
        yield [*first, *(_message(path, message) for path, message in messages)]


def _message(path: str, message: Any) -> Part:
    trained = (
        isinstance(message, Assistant) and message.weight != 0 and not path.startswith("$.input")
    )
    if is_plain(message):
        return Part(path, "message", (message.content,), trained)
    texts = [text for _, text in message_texts(path, message)]
    images = (
        tuple(part.image_url for part in message.content if isinstance(part, ImagePart))
        if _parts(message)
        else ()
    )
    kinds, more = [], 0
    if _parts(message):
        kinds.append("parts")
    if images:
        kinds += (
            ["images", "remote images"]
            if any(not image.url.startswith("data:") for image in images)
            else ["images"]
        )
    if getattr(message, "name", None):
        kinds.append("names")
        texts.append(message.name)
        more = PER_NAME
    if isinstance(message, Answer):
        calls = [call.function for call in message.tool_calls or ()]
        calls += [message.function_call] if isinstance(message.function_call, FunctionCall) else []
        texts += [call.name for call in calls]
        kinds += ["tool calls"] if calls else []
        kinds += ["refusals"] if message.refusal else []
    if getattr(message, "weight", None) == 0:
        kinds.append("weights")
    return Part(path, "message", tuple(texts), trained, images, more, kinds=tuple(kinds))


def _parts(message: Any) -> bool:
    return isinstance(message.content, list)


def _tools(conversation: Conversation) -> Iterator[Part]:
    """The definitions of a conversation's tools, if it has any."""
    definitions = [
        *(tool.function for tool in conversation.tools or ()),
        *(conversation.functions or ()),
    ]
    if not definitions:
        return
    more, texts = 0, []
    for definition in definitions:
        texts.append(f"{definition.name}:{(definition.description or '').removesuffix('.')}")
        for tokens, text in _properties(definition.parameters):
            more += tokens
            texts += [text] if text else []
    yield Part(
        "$.tools", "tools", tuple(texts), more=more, functions=len(definitions), kinds=("tools",)
    )


def _properties(schema: Any) -> Iterator[tuple[int, str]]:
    """What the properties of a JSON Schema cost: tokens, and text to be counted."""
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
    """The tokens that a part costs beside its texts and images."""
    per = OVERHEADS[encoding]
    return per[part.piece] + part.more + part.functions * per["function"]


def count(examples: Sequence[Any], format: Format, encoding: str) -> list[Counted]:
    """For each example the tokens of its longest sequence, and where those lie that are trained, images left out.

    All texts are counted in one call.
    """
    laid_out = [list(sequences(example, format)) for example in examples]
    texts = [text for each in laid_out for parts in each for part in parts for text in part.texts]
    counts = iter(counter(encoding).count(texts))
    return [
        max((_add_up(parts, counts, encoding) for parts in each), key=_tokens) for each in laid_out
    ]


def _tokens(counted: Counted) -> int:
    return counted.tokens


def _add_up(parts: Iterable[Part], counts: Iterator[int], encoding: str) -> Counted:
    at, trained = 0, []
    for part in parts:
        start = at + overhead(part, encoding)
        at = start + sum(islice(counts, len(part.texts)))
        if part.trained:
            trained.append((part.path, start, at))
    return Counted(at, tuple(trained))


def may_exceed(example: Any, format: Format, limit: int, encoding: str) -> bool:
    """Whether an example may have more than `limit` tokens. False is certain; most examples are told by a part of them.

    A token is at least one byte of UTF-8, so what has been counted plus the bytes of what has not is a bound from above. The
    texts are counted piece by piece until the bound is low enough, or all is counted. Once the fast tokenizer is loaded, it
    counts them all more quickly.
    """
    if counter(encoding).is_fast:
        return True
    for parts in sequences(example, format):
        texts = [text for part in parts for text in part.texts]
        if _exceeds(texts, sum(overhead(part, encoding) for part in parts), limit, encoding):
            return True
    return False


def _exceeds(texts: Sequence[str], overhead: int, limit: int, encoding: str) -> bool:
    bound = overhead + sum(map(size, texts))
    if bound > CERTAIN * limit:
        return True
    for text in sorted(texts, key=len, reverse=True):
        for piece in chunks(text, PIECE):
            if bound <= limit:
                return False
            bound -= size(piece) - counter(encoding).count((piece,))[0]
    return bound > limit
