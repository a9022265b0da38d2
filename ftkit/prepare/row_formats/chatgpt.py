"""ChatGPT exports (`conversations.json`): trees of messages, of which one path was shown last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ftkit.prepare.audit import Audit
from ftkit.prepare.example import Example, Extra, Message
from ftkit.prepare.paths import pointer_of
from ftkit.prepare.row_formats.base import Kind, RowError, RowFormat
from ftkit.prepare.rows import Row
from ftkit.rules.sources import Source

CHATGPT = Source(
    "mitkury/chatgpt-export-parser", "https://github.com/mitkury/chatgpt-export-parser"
)

TEXTS = frozenset(("text", "multimodal_text"))
"""Content types whose parts are what was written."""


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
    reading = _Reading()
    for id, message in path:
        reading.add(pointer_of(("mapping", id, "message")), message)
    reading.end()
    return Example(
        messages=reading.messages,
        places=reading.places,
        extras=[*reading.extras, *_branches(value, {id for id, _ in path})],
    )


def _has_answer(value: dict[str, Any]) -> bool:
    try:
        path = _path(value)
    except RowError:
        return True  # reported when it is read
    roles = [_role(message) for _, message in path if _text(message)[0]]
    return "user" in roles and "assistant" in roles[roles.index("user") :]


def _path(value: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the ids and messages from the root to the current node."""
    mapping, id = value["mapping"], value["current_node"]
    path: list[tuple[str, dict[str, Any]]] = []
    seen: set[str] = set()
    while id is not None:
        node = mapping.get(id) if isinstance(id, str) else None
        if not isinstance(node, dict) or id in seen:
            raise RowError("a node that is not there, or its own parent", "/mapping", str(id)[:40])
        seen.add(id)
        message = node.get("message")
        if isinstance(message, dict):
            path.append((id, message))
        id = node.get("parent")
    return path[::-1]


def _branches(value: dict[str, Any], ids: set[str]) -> Iterator[Extra]:
    """Yield the messages of other paths, as notes: answers that were replaced by another."""
    for id, node in value["mapping"].items():
        message = node.get("message") if isinstance(node, dict) else None
        if id not in ids and isinstance(message, dict) and _text(message)[0]:
            pointer = pointer_of(("mapping", id, "message"))
            yield Extra(pointer, "message on another branch", None, is_loss=False)


def _role(message: dict[str, Any]) -> str:
    author = message.get("author")
    return str(author.get("role")) if isinstance(author, dict) else ""


def _text(message: dict[str, Any]) -> tuple[str, list[tuple[str, Any]]]:
    """Return the text of a message, and the kind and value of each part that is none."""
    content = message.get("content")
    content = content if isinstance(content, dict) else {}
    kind = str(content.get("content_type"))
    if kind not in TEXTS:
        others = {key: part for key, part in content.items() if key != "content_type" and part}
        return "", [(kind.replace("_", " "), others)] if others else []
    texts: list[str] = []
    lost: list[tuple[str, Any]] = []
    parts = content.get("parts")
    for part in parts if isinstance(parts, list) else []:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            lost.append((str(part.get("content_type")).replace("_", " "), part))
    return "\n".join(filter(None, texts)), lost


class _Reading:
    """Messages of a path, and what the example has no place for."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.places: list[str] = []
        self.extras: list[Extra] = []

    def add(self, pointer: str, message: dict[str, Any]) -> None:
        """Add a message, which may be one to or of a tool, and hidden."""
        text, lost = _text(message)
        role = _role(message)
        index = len(self.messages)
        recipient = message.get("recipient")
        if role == "assistant" and recipient not in (None, "all"):
            self._lose(pointer, "call of a tool of ChatGPT", message, bool(text or lost))
            return
        if role not in ("system", "user", "assistant"):
            self._lose(pointer, f"message of the role {role}", message, bool(text or lost))
            return
        self.extras += [Extra(pointer, kind, value, index) for kind, value in lost]
        if not text:
            return
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"] += f"\n\n{text}"
        else:
            self.messages.append({"role": role, "content": text})
            self.places.append(pointer)

    def _lose(self, pointer: str, kind: str, message: dict[str, Any], has_content: bool) -> None:
        if has_content:
            self.extras.append(Extra(pointer, kind, message.get("content"), len(self.messages)))

    def end(self) -> None:
        """Leave out the messages behind the last answer."""
        while self.messages and self.messages[-1]["role"] != "assistant":
            message, pointer = self.messages.pop(), self.places.pop()
            kind = "message without an answer"
            self.extras.append(Extra(pointer, kind, message["content"], is_loss=False))
        if not self.messages:
            raise RowError("a conversation without an answer")


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
        losses=("pictures and other files", "reasoning", "calls and answers of ChatGPT's tools"),
        notes=(
            "The path to `current_node` is read; answers on other branches are noted.",
            "Titles, dates, ids and models are not read.",
            "Successive messages of the same role are joined.",
        ),
    ),
)
