"""Chats that Telegram exported as JSON (`result.json`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from ftkit.dataset.lenient_json import MAX_LINE_BYTES
from ftkit.dataset.reader import Source
from ftkit.errors import FileError
from ftkit.prepare.audit import Audit, Origin
from ftkit.prepare.file_formats.base import FileFormat, ReadOptions, open_source, read_beginning
from ftkit.prepare.file_formats.shared.chats import Post, read_conversations, split_at_pauses
from ftkit.prepare.file_formats.shared.json_scan import Layout, split_json
from ftkit.prepare.rows import Row, decode_row

HEAD = 4000
"""Bytes of the beginning of a file by which an export is recognized."""

MEDIA = {"photo": "image"} | {
    key: key.replace("_", " ")
    for key in (
        *("file", "poll", "location_information", "contact_information", "game_title"),
        *("invoice_information", "live_location_period_seconds", "place_name", "todo_list"),
        *("giveaway_information", "giveaway_results", "paid_stars_amount"),
    )
}
"""Keys of what a message has besides its text, with their kinds."""

NOTES = {
    "forwarded_from": "author of a forwarded message",
    "reply_to_message_id": "reference to the message that is answered",
    "reactions": "reactions",
    "inline_bot_buttons": "buttons",
}
"""Keys of what is no part of a conversation, with their kinds."""

UNSUPPORTED = "unsupported"
"""Type of messages that Telegram does not export."""

_CHAT = re.compile(rb'"type"\s*+:\s*+"[a-z_]+",\s*+"id"\s*+:\s*+-?\d+,\s*+"messages"\s*+:\s*+\[')
"""Beginning of the only chat of an export."""

_ACCOUNT = re.compile(rb'\s*+\{\s*+"about"\s*+:.*?"(?:personal_information|chats)"\s*+:', re.DOTALL)
"""Beginning of the export of an account."""


def read_telegram(source: Source, audit: Audit, options: ReadOptions) -> Iterator[Row]:
    """Yield the conversations of one chat, or of all chats of an account.

    Raises:
        FileError: The file cannot be read.
        UsageError: `me` is not the name of an author.
    """
    is_account = _ACCOUNT.match(read_beginning(source)[:HEAD])
    chats = _of_account(source, audit) if is_account else iter([_streamed(source, audit)])
    groups = (group for chat in chats for group in split_at_pauses(chat, options.pause))
    yield from read_conversations(groups, source.path, audit, options)


def _streamed(source: Source, audit: Audit) -> Iterator[Post]:
    """Yield the messages of a chat, of which memory holds one."""
    with open_source(source) as stream:
        elements = split_json(stream, source.path, Layout.WRAPPED, b'"messages"')
        for index, element in enumerate(elements):
            origin = audit.origin(source.path, element.line, index + 1)
            place = f"/messages/{index}"
            yield from _post(_decode(element.data, origin), origin, place, audit)


def _of_account(source: Source, audit: Audit) -> Iterator[Iterator[Post]]:
    """Yield the chats of an account. Memory holds all of them.

    Raises:
        FileError: They are too large.
    """
    with open_source(source) as stream:
        data = stream.read(MAX_LINE_BYTES + 1)
    if len(data) > MAX_LINE_BYTES:
        raise FileError(
            f"{source.path} has more than {MAX_LINE_BYTES:,} bytes; export single chats, which may "
            "have any size"
        )
    origin = audit.origin(source.path, 1)
    account = _decode(data, origin)
    for key in ("chats", "left_chats"):
        for number, chat in enumerate(_list(_object(account.get(key)).get("list"))):
            place = f"/{key}/list/{number}/messages"
            yield (
                post
                for index, message in enumerate(_list(_object(chat).get("messages")))
                for post in _post(message, origin, f"{place}/{index}", audit)
            )


def _decode(data: bytes, origin: Origin) -> dict[str, Any]:
    row = decode_row(data, origin, Audit())
    if row is None or not isinstance(row.value, dict):
        raise FileError(f"{origin} is not a JSON object; export the chat again")
    return row.value


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _post(value: Any, origin: Origin, pointer: str, audit: Audit) -> Iterator[Post]:
    """Yield a message that a person wrote."""
    message = _object(value)
    kind = message.get("type")
    if kind not in ("message", UNSUPPORTED):
        audit.note("read", "message that nobody wrote", origin, pointer)
        return
    text, losses = _text(message.get("text"))
    losses += [kind for key, kind in MEDIA.items() if message.get(key)]
    if kind == UNSUPPORTED:
        losses.append("message that Telegram does not export")
    author_id = str(message.get("from_id") or "")
    author = message.get("from")
    yield Post(
        author=author if isinstance(author, str) else author_id,
        text=text,
        time=_time(message),
        origin=origin,
        pointer=pointer,
        author_id=author_id,
        losses=tuple(losses),
        notes=tuple(kind for key, kind in NOTES.items() if message.get(key)),
    )


def _text(value: Any) -> tuple[str, list[str]]:
    """Return a text, which may be a list of texts and formatted texts, and what it lacks."""
    pieces: list[str] = []
    losses: list[str] = []
    for item in value if isinstance(value, list) else [value]:
        text = item.get("text") if isinstance(item, dict) else item
        pieces.append(text if isinstance(text, str) else "")
        if isinstance(item, dict) and item.get("href"):
            losses.append("address of a link")
    return "".join(pieces), losses


def _time(message: dict[str, Any]) -> float:
    date = str(message.get("date_unixtime") or "")
    if date.isdecimal() and len(date) < 12:
        return float(date)
    try:
        moment = datetime.fromisoformat(str(message.get("date")))
    except ValueError:
        return 0.0
    return moment.replace(tzinfo=UTC).timestamp()


FORMATS = (
    FileFormat(
        name="telegram",
        title="Telegram chat (result.json)",
        read=read_telegram,
        recognizes=lambda path, beginning: bool(
            _CHAT.search(beginning[:HEAD]) or _ACCOUNT.match(beginning[:HEAD])
        ),
        priority=1,
        options=("me", "pause"),
        layout=(
            "An object with `name`, `type`, `id` and `messages`, as Telegram Desktop exports a "
            "chat, or with `chats`, as it exports an account of up to 64 MB. Needs `--me`."
        ),
        losses=(
            "images and other files",
            "addresses of links",
            "formatting",
            "service messages, replies and reactions (noted)",
            "answers to messages without text",
        ),
    ),
)
