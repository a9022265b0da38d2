"""Slack exports: a folder for each channel, in which each day has a JSON file."""

from __future__ import annotations

import html
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ftkit.dataset.lenient_json import MAX_DEPTH, MAX_LINE_BYTES, nests_deeper
from ftkit.dataset.reader import Source
from ftkit.errors import FileError, os_error_message
from ftkit.prepare.audit import Audit, Origin
from ftkit.prepare.file_formats.base import FileFormat, ReadOptions
from ftkit.prepare.file_formats.shared.chats import Post, read_conversations, split_at_pauses
from ftkit.prepare.grouping import group_rows
from ftkit.prepare.rows import Row

SERVICE = frozenset(
    (
        *("channel_join", "channel_leave", "channel_topic", "channel_purpose", "channel_name"),
        *("channel_archive", "channel_unarchive", "group_join", "group_leave", "pinned_item"),
        *("bot_add", "bot_remove", "reminder_add", "huddle_thread", "message_changed"),
    )
)
"""Subtypes of messages that nobody wrote, or that stand for the change of another."""

DELETED = frozenset(("tombstone", "message_deleted"))
"""Subtypes of what is in the place of deleted messages."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\.json")
_LINK = re.compile(r"<([@#!]?)([^<>|]*)(?:\|([^<>]*))?>")


def is_slack_export(path: str) -> bool:
    """Return True for the folder of an export, or that of a channel in it."""
    if not os.path.isdir(path):
        return False
    return os.path.isfile(os.path.join(path, "users.json")) or bool(_days(Path(path)))


def read_slack(source: Source, audit: Audit, options: ReadOptions) -> Iterator[Row]:
    """Yield the conversations of an export: each thread, and what pauses separate.

    Raises:
        FileError: A file cannot be read.
        UsageError: `me` is not the name of an author.
    """
    folder = Path(source.path)
    users_file = next(
        (path for path in (folder / "users.json", folder.parent / "users.json") if path.is_file()),
        None,
    )
    users = _users(_load(users_file)) if users_file else {}
    channels = [folder] if _days(folder) else sorted(filter(_days, _folders(folder)))
    groups = (
        group for channel in channels for group in _groups(channel, users, audit, options.pause)
    )
    yield from read_conversations(groups, source.path, audit, options)


def _groups(
    channel: Path, users: dict[str, str], audit: Audit, pause: float | None
) -> Iterator[list[Post]]:
    """Yield the conversations of a channel: first those outside of threads.

    The files are read twice, and what is left out is recorded in the audit once.
    """
    again = Audit()
    again.names = audit.names
    outside = (post for thread, post in _messages(channel, users, audit) if not thread)
    yield from split_at_pauses(outside, pause)
    inside = (
        Row({"thread": thread, "post": msgspec.to_builtins(post)}, (post.origin,))
        for thread, post in _messages(channel, users, again)
        if thread
    )
    for rows in group_rows(inside, lambda row: row.value["thread"]):
        messages = (msgspec.convert(row.value["post"], Post) for row in rows)
        yield from split_at_pauses(messages, math.inf)


def _messages(channel: Path, users: dict[str, str], audit: Audit) -> Iterator[tuple[str, Post]]:
    """Yield the messages of a channel in order, each with the id of its thread, or ""."""
    for path in _days(channel):
        for index, message in enumerate(_load(path)):
            origin = audit.origin(str(path), row=index + 1)
            is_message = isinstance(message, dict) and message.get("type") == "message"
            if not is_message or message.get("subtype") in SERVICE:
                audit.note("read", "message that nobody wrote", origin)
                continue
            thread = message.get("thread_ts")
            yield (thread if isinstance(thread, str) else ""), _post(message, users, origin)


def _post(message: dict[str, Any], users: dict[str, str], origin: Origin) -> Post:
    author_id = str(message.get("user") or message.get("bot_id") or "")
    name = users.get(author_id) or message.get("username") or author_id
    text = message.get("text")
    is_deleted = message.get("subtype") in DELETED
    losses, notes = _others(message)
    return Post(
        author=str(name),
        text=_plain(text, users) if isinstance(text, str) and not is_deleted else "",
        time=_seconds(message.get("ts")),
        origin=origin,
        pointer=f"/{origin.row - 1}",
        author_id=author_id,
        losses=losses,
        notes=("deleted message",) if is_deleted else notes,
    )


def _others(message: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the kinds of what a message has besides its text: losses, and notes."""
    losses = ["file"] * len(_list(message.get("files")))
    notes = ["reactions"] if message.get("reactions") else []
    for attachment in _list(message.get("attachments")):
        # Slack adds the beginning of a linked page, or of a linked message, to a message.
        is_preview = isinstance(attachment, dict) and attachment.get("from_url")
        (notes if is_preview else losses).append(
            "preview of a link" if is_preview else "attachment"
        )
    if message.get("blocks") and not message.get("text"):
        losses.append("blocks")
    return tuple(losses), tuple(notes)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _seconds(value: Any) -> float:
    text = str(value)
    return float(text) if re.fullmatch(r"\d{1,11}(\.\d{1,9})?", text) else 0.0


def _plain(text: str, users: dict[str, str]) -> str:
    """Return a text with the names of users and channels, and addresses, as Slack shows them."""

    def shown(match: re.Match[str]) -> str:
        kind, target, label = match.groups()
        if kind == "@":
            return f"@{label or users.get(target, target)}"
        if kind:
            return f"{kind.replace('!', '@')}{label or target}"
        return f"{label} ({target})" if label and label != target else target

    return html.unescape(_LINK.sub(shown, text)) if "<" in text or "&" in text else text


def _users(items: list[Any]) -> dict[str, str]:
    """Return the names of users by id: what they are called, or else their real name."""
    names: dict[str, str] = {}
    for user in items:
        if isinstance(user, dict) and isinstance(user.get("id"), str):
            profile = user.get("profile")
            fields = profile if isinstance(profile, dict) else {}
            candidates = (fields.get("display_name"), fields.get("real_name"), user.get("name"))
            names[user["id"]] = str(next(filter(None, candidates), user["id"]))
    return names


def _load(path: Path) -> list[Any]:
    """Return the JSON array in a file.

    Raises:
        FileError: The file cannot be read, or has something else.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LINE_BYTES + 1)
    except OSError as error:
        raise FileError(f"cannot read {path}: {os_error_message(error)}") from error
    if len(data) > MAX_LINE_BYTES or nests_deeper(data, MAX_DEPTH):
        raise FileError(f"{path} is not from a Slack export: it is too large, or nests too deeply")
    try:
        return msgspec.json.decode(data, type=list[Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{path} is not from a Slack export: {error}") from error


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_dir())


def _days(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _DAY.fullmatch(path.name))


FORMATS = (
    FileFormat(
        name="slack",
        title="Slack export (folder)",
        read=read_slack,
        recognizes=lambda path, beginning: is_slack_export(path),
        priority=1,
        options=("me", "pause"),
        layout=(
            "A folder for each channel, with a JSON file for each day, beside `users.json`; or the "
            "folder of a channel. Unpack the archive first. Needs `--me`."
        ),
        losses=(
            "files, attachments of apps, and blocks of messages without text",
            "former texts of edited messages",
            "messages that nobody wrote, deleted messages, reactions and link previews (noted)",
            "answers to messages without text",
        ),
    ),
)
