"""Texts of conversations, for formats that have plain texts only."""

from __future__ import annotations

from msgspec.structs import replace

from ftkit.prepare.example import Example, Message
from ftkit.prepare.row_formats.base import RowError
from ftkit.prepare.row_formats.shared.draft import Draft, Part, text_part
from ftkit.prepare.row_formats.shared.outgoing import SYSTEM, Outgoing, parts_of, role_of
from ftkit.prepare.row_formats.shared.row_value import RowValue


def add_text(draft: Draft, value: RowValue | None, role: str) -> None:
    """Add a message with a text, if there is one that is not empty."""
    if value is not None and value.text():
        draft.add(value, role, text_parts(value))


def text_parts(value: RowValue) -> list[Part]:
    """Return a text as the parts of a message."""
    return [text_part(value.text())]


def texts_of(outgoing: Outgoing, keys: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Return the role and the text of each message. Developer messages become system messages.

    Args:
        outgoing: The example.
        keys: Keys of a message that the format has, beside role and content.

    Raises:
        RowError: A message takes part in a tool call.
    """
    texts = []
    for index, message in outgoing.messages():
        outgoing.lose_keys(index, message, keys)
        role = role_of(message)
        texts.append(("system" if role in SYSTEM else role, text_of(outgoing, index, message)))
    return texts


def text_of(outgoing: Outgoing, index: int, message: RowValue) -> str:
    """Return the text of a message, and record what else it has.

    Raises:
        RowError: The message takes part in a tool call.
    """
    if role_of(message) == "tool" or message.get("tool_calls") is not None:
        message.fail("a tool call has no place in the format")
    texts = []
    for part in parts_of(message):
        if part.value["type"] == "text":
            texts.append(part.need("text").text())
        else:
            outgoing.lose(part, f"{part.value['type']} part", index)
    if len(texts) > 1:
        outgoing.lose(message.child("content"), "limits of text parts", index)
    return "".join(texts)


def lose_tools(outgoing: Outgoing) -> None:
    """Record the tools of an example, for a format without them."""
    for tool in outgoing.tools():
        outgoing.lose(tool, "tool")
    outgoing.lose_parallel_tool_calls()


def prompt_of(example: Example) -> Example:
    """Return a preference example without its outputs."""
    return replace(example, chosen=None, rejected=None)


def output_text(outgoing: Outgoing, messages: list[Message], pointer: str) -> str:
    """Return the text of an output of a preference example.

    Raises:
        RowError: It is not one message of the assistant.
    """
    if len(messages) != 1 or messages[0]["role"] != "assistant":
        raise RowError("an output that is not one message of the assistant", pointer)
    message = RowValue(messages[0], f"{pointer}/0")
    outgoing.lose_keys(-1, message)
    return text_of(outgoing, -1, message)
