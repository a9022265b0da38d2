"""ChatGPT exports (`conversations.json`): trees of messages, of which one path was shown last."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ftkit.prepare.audit import Audit
from ftkit.prepare.example import Example, Extra, ExtraKind, Message
from ftkit.prepare.paths import pointer_of
from ftkit.prepare.row_formats.base import Kind, RowError, RowFormat
from ftkit.prepare.rows import Row
from ftkit.rules.sources import Source

CHATGPT = Source(
    "mitkury/chatgpt-export-parser", "https://github.com/mitkury/chatgpt-export-parser"
)

TEXTS = frozenset(("text", "multimodal_text"))
"""Content types whose parts are what was written."""

TRANSCRIPT = "audio_transcription"
"""Content type of parts with the text of what was said."""

KINDS = {
    "user_editable_context": "custom instructions",
    "model_editable_context": "memory",
    "image_asset_pointer": "image",
    "code": "code for a tool of ChatGPT",
}
"""Kinds of content by its type. Others have that of their type."""

CITATION = "citation"

_CITATION = re.compile("\ue200[^\ue200\ue201]{0,4000}\ue201|【[0-9]+(?::[0-9]+)?†[^】\n]{0,200}】")
"""Mark in a text that ChatGPT shows as a link or a name."""


class Content(NamedTuple):
    """Content of a message."""

    text: str
    others: list[tuple[str, Any]]
    """Kind and value of what is no text, and is lost."""
    shown: list[str]
    """Marks in the place of which the text has what was shown."""


def assemble(rows: Iterable[Row], audit: Audit, holds: Kind) -> Iterator[Row]:
    """Leave out the conversations without an answer."""
    for row in rows:
        if recognizes(row.value) and not _has_answer(row.value):
            audit.drop("convert", "a conversation without an answer", row.origin)
        else:
            yield row


def recognizes(value: Any) -> bool:
    """Return True for a conversation of an export."""
    return (
        isinstance(value, dict) and isinstance(value.get("mapping"), dict)
    ) and "current_node" in value


def read(value: dict[str, Any]) -> Example:
    """Convert the path to the node that was shown last."""
    if not recognizes(value):
        raise RowError("no `mapping` and `current_node`")
    path = _path(value)
    reading = _read_path(path)
    if not reading.messages:
        raise RowError("a conversation without an answer")
    return Example(
        messages=reading.messages,
        places=reading.places,
        extras=[*reading.extras, *_branches(value, {id for id, _ in path})],
    )


def _has_answer(value: dict[str, Any]) -> bool:
    try:
        reading = _read_path(_path(value))
    except RowError:
        return True  # reported when it is read
    return bool(reading.messages)


def _read_path(path: list[tuple[str, dict[str, Any]]]) -> _Reading:
    reading = _Reading()
    for id, message in path:
        reading.add(pointer_of(("mapping", id, "message")), message)
    reading.end()
    return reading


def _path(value: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the ids and messages from the root to the current node."""
    mapping, id = value["mapping"], value["current_node"]
    if id is None and any(map(_message, mapping.values())):
        raise RowError("no current node", "/current_node")
    path: list[tuple[str, dict[str, Any]]] = []
    seen: set[str] = set()
    while id is not None:
        node = mapping.get(id) if isinstance(id, str) else None
        if not isinstance(node, dict) or id in seen:
            raise RowError("a node that is not there, or its own parent", "/mapping", str(id)[:40])
        seen.add(id)
        if message := _message(node):
            path.append((id, message))
        id = node.get("parent")
    return path[::-1]


def _branches(value: dict[str, Any], ids: set[str]) -> Iterator[Extra]:
    """Yield the messages of other paths, as notes: answers that were replaced by another."""
    for id, node in value["mapping"].items():
        message = _message(node)
        content = _content(message) if id not in ids and message else None
        if content and (content.text or content.others):
            pointer = pointer_of(("mapping", id, "message"))
            yield Extra(pointer, "message on another branch", None, is_loss=False)


def _message(node: Any) -> dict[str, Any]:
    """Return the message of a node, or an empty one."""
    message = node.get("message") if isinstance(node, dict) else None
    return message if isinstance(message, dict) else {}


def _role(message: dict[str, Any]) -> str:
    return str(_object(message.get("author")).get("role", ""))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _content(message: dict[str, Any]) -> Content:
    """Return the text of a message, and what it has besides."""
    content = message.get("content")
    fields = content if isinstance(content, dict) else {"content": content}
    kind = str(fields.get("content_type", "content"))
    rest = {key: value for key, value in fields.items() if key != "content_type" and value}
    parts = rest.pop("parts", None) if kind in TEXTS else None
    texts: list[str] = []
    others: list[tuple[str, Any]] = [(_kind(kind), rest)] if rest else []
    for part in parts if isinstance(parts, list) else [parts]:
        if isinstance(part, str):
            texts.append(part)
        elif _object(part).get("content_type") == TRANSCRIPT:
            texts.append(str(_object(part).get("text") or ""))
        elif part is not None:
            others.append((_kind(str(_object(part).get("content_type", "part"))), part))
    metadata = _object(message.get("metadata"))
    if metadata.get("attachments") and not others:
        others.append(("attachment", metadata["attachments"]))
    text = "\n".join(filter(str.strip, texts))
    if _role(message) != "assistant":
        return Content(text, others, [])
    text, lost, shown = _without_citations(text, metadata)
    return Content(text, others + [(CITATION, mark) for mark in lost], shown)


def _kind(content_type: str) -> str:
    return KINDS.get(content_type, content_type.replace("_", " "))


def _without_citations(text: str, metadata: dict[str, Any]) -> tuple[str, list[str], list[str]]:
    """Return a text with what was shown for its marks, the other marks, and those."""
    references = metadata.get("content_references")
    alternatives = {
        str(item.get("matched_text")): item.get("alt")
        for item in map(_object, references if isinstance(references, list) else [])
    }
    lost: list[str] = []
    shown: list[str] = []

    def replace(match: re.Match[str]) -> str:
        alternative = alternatives.get(match[0])
        (shown if isinstance(alternative, str) else lost).append(match[0])
        return alternative if isinstance(alternative, str) else ""

    return _CITATION.sub(replace, text), lost, shown


class _Reading:
    """Messages of a path, and what the example has no place for."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.places: list[str] = []
        self.extras: list[Extra] = []
        self._is_begun = self._is_asked = False

    def add(self, pointer: str, message: dict[str, Any]) -> None:
        """Add a message, which may be one to or of a tool, and hidden."""
        content, role = _content(message), _role(message)
        if not content.text and not content.others:
            return
        recipient = message.get("recipient")
        if role == "assistant" and recipient not in (None, "all"):
            self._lose(pointer, "call of a tool of ChatGPT", message.get("content"))
        elif role not in ("system", "user", "assistant"):
            self._lose(pointer, f"message of the role {role}", message.get("content"))
        else:
            self._add(pointer, role, content)
            if _object(message.get("metadata")).get("is_visually_hidden_from_conversation"):
                self._note(pointer, "hidden message", None)

    def _add(self, pointer: str, role: str, content: Content) -> None:
        """Add the text of a message, unless it is an answer to nothing that can be read."""
        is_last_user = bool(self.messages) and self.messages[-1]["role"] == "user"
        if role == "user":
            self._is_begun = True
            self._is_asked = bool(content.text) or (self._is_asked and is_last_user)
        if content.text and role == "assistant" and not self._is_begun:
            self._note(pointer, "message in front of a question", content.text)
        elif content.text and role == "assistant" and not self._is_asked:
            self._lose(pointer, ExtraKind.UNASKED, content.text)
        elif content.text and self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"] += f"\n\n{content.text}"
        elif content.text:
            self.messages.append({"role": role, "content": content.text})
            self.places.append(pointer)
        for kind, value in content.others:
            self._lose(pointer, kind, value)
        for mark in content.shown:
            self._note(pointer, CITATION, mark)

    def _lose(self, pointer: str, kind: str, value: Any) -> None:
        self.extras.append(Extra(pointer, kind, value, max(len(self.messages) - 1, 0)))

    def _note(self, pointer: str, kind: str, value: Any) -> None:
        self.extras.append(Extra(pointer, kind, value, is_loss=False))

    def end(self) -> None:
        """Leave out the messages behind the last answer."""
        while self.messages and self.messages[-1]["role"] != "assistant":
            message, pointer = self.messages.pop(), self.places.pop()
            self._note(pointer, "message without an answer", message["content"])


FORMATS = (
    RowFormat(
        name="chatgpt",
        group="Chats",
        title="ChatGPT export (conversations.json)",
        layout=(
            '{"title":"Sums","mapping":{"a":{"id":"a","message":null,"parent":null,'
            '"children":["b"]},"b":{"id":"b","message":{"author":{"role":"user"},"content":'
            '{"content_type":"text","parts":["1+1?"]}},"parent":"a","children":["c"]},"c":{"id":'
            '"c","message":{"author":{"role":"assistant"},"content":{"content_type":"text",'
            '"parts":["2"]}},"parent":"b","children":[]}},"current_node":"c"}'
        ),
        source=CHATGPT,
        recognizes=recognizes,
        assemble=assemble,
        read=read,
        losses=(
            "images and other files, and answers to messages without text",
            "reasoning, custom instructions and memory",
            "calls and answers of ChatGPT's tools",
            "marks of citations whose text is not in the export",
        ),
        notes=(
            "Transcripts of what was said are read, and hidden messages, which are noted.",
            "The path to `current_node` is read; answers on other branches are noted.",
            "Titles, dates, ids and models are not read.",
            "Successive messages of the same role are joined.",
        ),
    ),
)
