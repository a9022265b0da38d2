"""Texts that WhatsApp writes itself into a chat, as in the catalog's `whatsapp.toml`."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import msgspec
from msgspec import Struct

from ftkit.catalog.load import read_facts

MARK = "\u200e"
"""Left-to-right mark, with which WhatsApp begins what nobody typed."""

UNKNOWN = "image, file or notice"
"""Kind of a text that begins with `MARK` and is in no list."""

MAX_CHARS = 200
"""Characters that a notice has at most, with the name of an administrator."""

EDITED = "edited"
"""Name of the notices behind a text, which stays."""

_BRACKETED = re.compile(r"<([^<>\n]{1,60})>[ \t]*(.*)", re.DOTALL)
"""Stand-in for an image or another file on Android and the web, and its caption."""

_ATTACHED = re.compile(r"\S+\.\w{2,5} \([^()\n]{1,40}\)[ \t]*")
"""Name of a file that was exported beside the chat."""

_TAIL = re.compile(r"\s?\u200e(<?)([^<>\u200e\n]{1,60})>?$")
"""Notice behind a text."""

_EDIT = re.compile(r"\s?\u200e?<([^<>\n]{1,60})>$")


class Notice(Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of texts in the place of a message."""

    kind: str
    is_loss: bool
    """True if the message had content that is not in the chat."""
    texts: tuple[str, ...]
    source: str
    checked: datetime.date
    begins: tuple[str, ...] = ()


class Content(NamedTuple):
    """Content of a message."""

    text: str
    """Text that somebody typed, or ""."""
    kind: str = ""
    """Kind of what is there instead, or beside it."""
    is_loss: bool = False


@cache
def notices() -> Mapping[str, Notice]:
    """Return all notices by name."""
    return msgspec.convert(read_facts("whatsapp"), dict[str, Notice])


@cache
def _kinds() -> Mapping[str, Notice]:
    """Return the notice of each text in the place of a message."""
    return {
        text: notice
        for name, notice in notices().items()
        if name != EDITED
        for text in notice.texts
    }


def find_notice(text: str) -> Notice | None:
    """Return the notice that a text is, or None."""
    if len(text) > MAX_CHARS:
        return None
    plain = _plain(text)
    begun = (notice for notice in notices().values() if plain.startswith(notice.begins))
    return _kinds().get(plain) or next(begun, None)


def read_content(text: str) -> Content:
    """Return what somebody typed of a message, and what it has besides."""
    text = _without_edit(text)
    notice = find_notice(text)
    if notice:
        return Content("", notice.kind, notice.is_loss)
    file = notices()["file"].kind
    bracketed = _BRACKETED.fullmatch(text.lstrip(MARK))
    if bracketed and (notice := find_notice(bracketed[1])):
        return Content(bracketed[2].lstrip("\n"), notice.kind, notice.is_loss)
    if bracketed and bracketed[2][:1] in ("", "\n"):
        return Content(bracketed[2].lstrip("\n"), file, is_loss=True)
    first, _, rest = text.partition("\n")
    if _ATTACHED.fullmatch(first):
        return Content(rest, file, is_loss=True)
    if tail := _read_tail(text):
        return tail
    if text.startswith(MARK):
        notice = find_notice(first)
        return Content(rest, notice.kind if notice else UNKNOWN, is_loss=True)
    return Content(text)


def _read_tail(text: str) -> Content | None:
    """Return the text in front of a notice, such as the caption of an image, or None."""
    tail = _TAIL.search(text)
    caption = text[: tail.start()].lstrip(MARK) if tail else ""
    if not tail or not caption:
        return None
    notice = find_notice(tail[2])
    if notice:
        return Content(caption, notice.kind, notice.is_loss)
    if not tail[1]:
        return None
    has_name = ":" in tail[2]
    return Content(caption, notices()["file"].kind if has_name else UNKNOWN, is_loss=has_name)


def _without_edit(text: str) -> str:
    """Return a text without the notice behind it that it was edited."""
    match = _EDIT.search(text)
    is_edited = match and _plain(match[1]) in notices()[EDITED].texts
    return text[: match.start()] if match and is_edited else text


def _plain(text: str) -> str:
    marks = f"{MARK}\u200f\u202f\u00a0 \r\n\U0001f6ab\u231b\ufe0f"
    return text.strip(marks).rstrip(".。").casefold()
