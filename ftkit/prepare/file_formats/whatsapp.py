"""Chats that WhatsApp exported as text."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from itertools import chain, islice, pairwise

from msgspec import Struct

from ftkit.dataset.reader import Source
from ftkit.errors import FileError
from ftkit.prepare.audit import Audit
from ftkit.prepare.file_formats.base import MAX_ROW_CHARS, FileFormat, ReadOptions
from ftkit.prepare.file_formats.shared.chats import Post, read_conversations, split_at_pauses
from ftkit.prepare.file_formats.shared.text_files import Lines, find_encoding, open_text
from ftkit.prepare.file_formats.shared.whatsapp_notices import MARK, read_content
from ftkit.prepare.rows import Row

FIRST_MESSAGES = 2000
"""Number of messages from which the order of day and month is found."""

LINE_OVERHEAD = 60
"""Characters that a line counts in addition to its own, for the memory that it takes."""

_OPENING = re.compile(
    r"(?P<mark>\u200e?)(?P<bracket>\[?)"
    r"(?P<date>\d{1,4}(?P<separator>[./-])\d{1,2}(?P=separator)\d{1,4}),?[ \u202f\u00a0]"
    r"(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2}))?"
    r"(?:[ \u202f\u00a0]?(?P<half>[AaPp])\.?[ \u202f\u00a0]?[Mm]\.?)?"
    r"(?(bracket)(?:\](?=[ ]))?)(?:[ ]-)?[ ](?P<rest>.*)",
    re.DOTALL,
)
"""First line of a message."""

_AUTHOR = re.compile(r"(?P<author>[^:\n]{1,100}?): ?(?P<text>.*)", re.DOTALL)


class _Message(Struct):
    """A message as it is in the file. Without an author, nobody wrote it."""

    line: int
    date: tuple[int, int, int]
    seconds: int
    is_dotted: bool
    has_half: bool
    author: str
    pieces: list[str]


def recognizes_whatsapp(path: str, beginning: bytes) -> bool:
    """Return True for a text whose first lines begin with a date and a time, and one an author."""
    text = beginning.decode(find_encoding(beginning), errors="replace")[:4000]
    lines = [line for line in text.splitlines() if line.strip()][:10]
    messages = [_parse(line, 0) for line in lines]
    return bool(messages[:1] and messages[0]) and any(
        message and message.author for message in messages
    )


def read_whatsapp(source: Source, audit: Audit, options: ReadOptions) -> Iterator[Row]:
    """Yield the conversations of a chat.

    Raises:
        FileError: The file cannot be read.
        UsageError: `me` is not the name of an author.
    """
    with open_text(source, options.encoding) as text:
        messages = _posts(Lines(source.path, text), audit)
        groups = split_at_pauses(messages, options.pause)
        yield from read_conversations(groups, source.path, audit, options)


def _posts(lines: Lines, audit: Audit) -> Iterator[Post]:
    messages = _messages(lines, audit)
    first = list(_first(messages))
    order = find_order(first)
    for message in chain(first, messages):
        origin = audit.origin(lines.path, message.line)
        if not message.author:
            audit.note("read", "message that nobody wrote", origin)
            continue
        content = read_content("".join(message.pieces).rstrip("\r\n"))
        kinds = (content.kind,) if content.kind else ()
        yield Post(
            message.author,
            content.text,
            _time(message, order),
            origin,
            losses=kinds if content.is_loss else (),
            notes=() if content.is_loss else kinds,
        )


def _first(messages: Iterator[_Message]) -> Iterator[_Message]:
    """Yield the first messages, which are held in memory."""
    chars = 0
    for message in islice(messages, FIRST_MESSAGES):
        yield message
        chars += sum(map(len, message.pieces))
        if chars > MAX_ROW_CHARS:
            return


def _messages(lines: Lines, audit: Audit) -> Iterator[_Message]:
    """Yield the messages, each with the lines that follow it."""
    last: _Message | None = None
    chars = 0
    for line in lines:
        lines.take()
        message = _parse(line, lines.number)
        if message is None and last:
            last.pieces.append(line)
            chars += len(line) + LINE_OVERHEAD
            if chars > MAX_ROW_CHARS:
                raise FileError(f"{lines.path}:{last.line}: a message has too many characters")
        elif message:
            if last:
                yield last
            last, chars = message, len(line)
        elif line.strip():
            origin = audit.origin(lines.path, lines.number)
            audit.note("read", "text in front of the first message", origin)
    if last:
        yield last


def _parse(line: str, number: int) -> _Message | None:
    match = _OPENING.match(line)
    if not match:
        return None
    hour = int(match["hour"])
    if match["half"]:
        hour = hour % 12 + (12 if match["half"] in "Pp" else 0)
    seconds = hour * 3600 + int(match["minute"]) * 60 + int(match["second"] or 0)
    authored = _AUTHOR.fullmatch(match["rest"])
    one, two, three = map(int, match["date"].split(match["separator"]))
    return _Message(
        line=number,
        date=(one, two, three),
        seconds=seconds,
        is_dotted=match["separator"] == ".",
        has_half=bool(match["half"]),
        author=authored["author"].strip(f"{MARK}\u202a\u202c ~\u202f\u00a0") if authored else "",
        pieces=[authored["text"] if authored else ""],
    )


def find_order(messages: list[_Message]) -> str:
    """Return the order of day, month and year that the dates allow: "YMD", "DMY" or "MDY".

    If they allow both of the last two, it is the one in which no message is older than the one
    before it, or else that of the countries that write dates in this way.
    """
    if messages and messages[0].date[0] > 99:
        return "YMD"
    possible = [order for order in ("DMY", "MDY") if _are_dates(messages, order)]
    sorted_ = [order for order in possible if _are_sorted(messages, order)] or possible
    usual = "MDY" if any(item.has_half and not item.is_dotted for item in messages) else "DMY"
    return sorted_[0] if len(sorted_) == 1 else usual


def _are_dates(messages: list[_Message], order: str) -> bool:
    month = order.index("M")
    return all(message.date[month] <= 12 for message in messages)


def _are_sorted(messages: list[_Message], order: str) -> bool:
    times = [_time(message, order) for message in messages]
    return all(earlier <= later for earlier, later in pairwise(times))


def _time(message: _Message, order: str) -> float:
    parts = dict(zip(order, message.date, strict=True))
    year = parts["Y"] + (2000 if parts["Y"] < 100 else 0)
    try:
        day = datetime.date(year, parts["M"], parts["D"]).toordinal()
    except ValueError:
        day = 0
    return day * 86_400.0 + message.seconds


FORMATS = (
    FileFormat(
        name="whatsapp",
        title="WhatsApp chat (.txt)",
        read=read_whatsapp,
        recognizes=recognizes_whatsapp,
        priority=1,
        options=("encoding", "me", "pause"),
        layout=(
            "Lines such as `31.12.25, 23:59 - Name: text`, as WhatsApp exports a chat in any "
            "language. Needs `--me`."
        ),
        losses=(
            "images and other files",
            "messages that nobody wrote, such as changed groups, and deleted messages (noted)",
            "answers to messages without text",
        ),
    ),
)
