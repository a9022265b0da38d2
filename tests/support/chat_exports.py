"""Exported chats of people who do not exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ftkit.prepare.audit import Audit
from ftkit.prepare.convert.convert import convert
from ftkit.prepare.file_formats.base import ReadOptions
from ftkit.prepare.prepared import Prepared

ANN = ReadOptions(me="Ann")

WHATSAPP = """\
31.12.25, 23:50 - Messages and calls are end-to-end encrypted.
31.12.25, 23:51 - Bob: one
31.12.25, 23:52 - Bob: two
31.12.25, 23:53 - ~\u202fCléo M: three
31.12.25, 23:54 - Ann: four \u200e<This message was edited>
31.12.25, 23:55 - Bob: <Media omitted>
01.01.26, 05:00 - Bob: \u200eimage omitted
01.01.26, 05:01 - Bob: IMG-1.jpg (file attached)
a caption
01.01.26, 05:02 - Ann: five
01.01.26, 18:00 - Bob: six
02.01.26, 12:00 - Ann: seven
02.01.26, 12:01 - Bob: eight
02.01.26, 12:02 - Ann: nine
"""


def telegram(text: Any, author: str = "Bob", **more: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "type": "message",
        "date": "2026-01-01T10:00:00",
        "from": author,
        "from_id": f"user_{author}",
        "text": text,
        **more,
    }


MESSAGES = [
    {"id": 0, "type": "service", "date": "2026-01-01T09:00:00", "actor": "Bob", "text": ""},
    telegram(["see ", {"type": "bold", "text": "this"}, {"type": "link", "text": " x"}]),
    telegram([{"type": "text_link", "text": "here", "href": "https://x"}], photo="p.jpg"),
    telegram("fine", "Ann"),
    telegram("bye", date_unixtime="1900000000"),
]
CHAT = {"name": "Bob", "type": "personal_chat", "id": 7, "messages": MESSAGES}


def read(path: Path, options: ReadOptions = ANN, **arguments: Any) -> tuple[list[Any], Audit]:
    """Return the conversations of an export, as lists of roles and texts."""
    prepared: Prepared = convert(path, to="chat", reading=options, on_loss="allow", **arguments)
    examples = [
        [(message.get("name", message["role"]), message["content"]) for message in row["messages"]]
        for row in prepared
    ]
    assert prepared.audit.is_balanced
    return examples, prepared.audit


def effects(audit: Audit) -> list[tuple[str, str, str]]:
    """Return the entries, without those of rows that are read ahead among the others."""
    entries = [(entry.effect, entry.reason, entry.pointer) for entry in audit.entries]
    return sorted(entries, key=lambda entry: entry[0] == "dropped")
