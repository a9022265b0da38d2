"""Proof of a conversion: the output is read back and compared with the example it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ftkit.dataset.exact_numbers import encode, encode_sorted, exact_numbers
from ftkit.prepare.example import Example, Extra, ExtraKind, Message
from ftkit.prepare.paths import child
from ftkit.prepare.row_formats.base import RowError, RowFormat
from ftkit.prepare.row_formats.shared.values import parse_json


def canonical_example(example: Example) -> bytes:
    """Return one spelling of an example, the same for examples that mean the same.

    A null and a weight of 1 are as an absent key, a content of one text is as that text, and
    arguments of calls are compared as values.
    """
    return encode_sorted(_neutral(example))


def differences(
    example: Example, row: dict[str, Any], format: RowFormat, lost: list[Extra]
) -> Iterator[Extra]:
    """Yield what differs in an example that is read back from the row it was written as.

    Args:
        example: The example.
        row: The row.
        format: Format of the row.
        lost: What the row is known to lack: the messages they belong to are not compared.
    """
    if format.read is None:
        raise TypeError(f"{format.name} cannot be read")
    try:
        back = _neutral(format.read(_read_back(row)))
    except RowError as error:
        yield Extra("", ExtraKind.DIFFERENCE, f"{error.reason} at {error.pointer or 'the row'}")
        return
    before = _neutral(example)
    damaged = {extra.message for extra in lost}
    reported = {extra.pointer for extra in lost}
    for name in before:
        if name == "messages":
            yield from _different_messages(example, before[name], back[name], damaged)
        elif name == "fields":
            for extra in _different_fields(before[name], back[name]):
                if extra.pointer not in reported:
                    yield extra
        elif -1 not in damaged and not _equal(before[name], back[name]):
            yield Extra(f"/{name}", ExtraKind.DIFFERENCE, before[name])


def _different_fields(before: dict[str, Any], back: dict[str, Any]) -> Iterator[Extra]:
    for name, value in before.items():
        if name not in back or not _equal(value, back[name]):
            yield Extra(child("", name), ExtraKind.DIFFERENCE, value)


def _different_messages(
    example: Example, before: list[Any], back: list[Any], damaged: set[int]
) -> Iterator[Extra]:
    if len(before) != len(back) and not damaged:
        yield Extra("/messages", ExtraKind.DIFFERENCE, before)
        return
    if damaged:  # the others may have other indexes
        yield from _missing_messages(example, before, back, damaged)
        return
    for index, (one, other) in enumerate(zip(before, back, strict=True)):
        if not _equal(one, other):
            yield example.extra_of(ExtraKind.DIFFERENCE, index, "", one)


def _missing_messages(
    example: Example, before: list[Any], back: list[Any], damaged: set[int]
) -> Iterator[Extra]:
    """Yield the first message that is not damaged and not among those read back, in order."""
    remaining = iter(back)
    for index, one in enumerate(before):
        if index not in damaged and not any(_equal(one, other) for other in remaining):
            yield example.extra_of(ExtraKind.DIFFERENCE, index, "", one)
            return


def _read_back(row: dict[str, Any]) -> Any:
    line = encode(row)
    return exact_numbers(line, msgspec.json.decode(line))


def _equal(one: Any, other: Any) -> bool:
    return encode_sorted(one) == encode_sorted(other)


def _neutral(example: Example) -> dict[str, Any]:
    return {
        "messages": [_message(message) for message in example.messages],
        "chosen": example.chosen and [_message(message) for message in example.chosen],
        "rejected": example.rejected and [_message(message) for message in example.rejected],
        "tools": example.tools or None,
        "parallel_tool_calls": example.parallel_tool_calls,
        "fields": example.fields,
    }


def _message(message: Message) -> Message:
    values = {key: value for key, value in message.items() if value is not None}
    if values.get("weight") == 1:
        del values["weight"]
    content = values.get("content")
    if isinstance(content, list) and len(content) == 1 and content[0].get("type") == "text":
        values["content"] = content[0]["text"]
    if "tool_calls" in values:
        values["tool_calls"] = [
            {**call, "function": _call(call["function"])} for call in values["tool_calls"]
        ]
    if "function_call" in values:
        values["function_call"] = _call(values["function_call"])
    return values


def _call(call: dict[str, Any]) -> dict[str, Any]:
    try:
        return {**call, "arguments": parse_json(call["arguments"], "")}
    except RowError:
        return call
