"""Conversations of chats between people, one of whom becomes the assistant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from msgspec import Struct

from ftkit._text import excerpt
from ftkit.errors import UsageError
from ftkit.prepare.audit import Audit, Origin
from ftkit.prepare.example import Example, Extra, Message
from ftkit.prepare.file_formats.base import ReadOptions
from ftkit.prepare.rows import Row

PAUSE = 6.0
"""Hours without a message after which another conversation begins, by default."""

MAX_MESSAGES = 2000
"""Maximum messages of a conversation, which is held in memory."""

MAX_CHARS = 1_000_000
"""Characters after which another conversation begins: more than any model is trained on."""

FIRST = 50
"""Number of conversations whose authors an error message names."""

SHOWN = 10
"""Number of authors that an error message names."""

NAME_CHARS = 64
"""Maximum characters of the `name` of a message at OpenAI."""


class Post(Struct, frozen=True):
    """A message of a chat."""

    author: str
    text: str
    time: float
    """Seconds since any moment, the same for all messages of a chat."""
    origin: Origin
    pointer: str = ""
    """JSON pointer to the message in its file."""
    author_id: str = ""
    losses: tuple[str, ...] = ()
    """Kinds of what the message has besides its text, such as "photo"."""

    def is_by(self, name: str | None) -> bool:
        """Return True if a person of that name, or id, wrote the message."""
        return name in (self.author, self.author_id)


def split_at_pauses(messages: Iterable[Post], hours: float | None) -> Iterator[list[Post]]:
    """Yield the conversations of a chat, which pauses separate."""
    pause = 3600 * (PAUSE if hours is None else hours)
    conversation: list[Post] = []
    chars = 0
    for post in messages:
        is_new = conversation and post.time - conversation[-1].time > pause
        if is_new or len(conversation) >= MAX_MESSAGES or chars > MAX_CHARS:
            yield conversation
            conversation, chars = [], 0
        conversation.append(post)
        chars += len(post.text)
    if conversation:
        yield conversation


def read_conversations(
    conversations: Iterable[list[Post]], path: str, audit: Audit, options: ReadOptions
) -> Iterator[Row]:
    """Yield an example for each conversation in which a person answers another.

    Args:
        conversations: The messages of each conversation, at least one.
        path: The file, for error messages.
        audit: Records the conversations without an answer.
        options: `me` is the name of the person whose messages are the assistant's.

    Raises:
        UsageError: Nobody is named, or nobody in the chats has that name.
    """
    if options.me is None:
        names = _authors(post for group in islice(conversations, FIRST) for post in group)
        raise UsageError(
            f"{path} is a chat: set `me` to the name of the person whose messages become the "
            f"assistant's; its authors are {names}"
        )
    others: dict[str, Post] = {}
    is_there = False
    for group in conversations:
        for post in group:
            is_there = is_there or post.is_by(options.me)
            if len(others) < SHOWN:
                others.setdefault(post.author, post)
        audit.read += 1
        example = _example(group, options.me)
        if example:
            yield Row(example, tuple(post.origin for post in group))
        else:
            audit.drop("read", f"no answer of {excerpt(options.me, 40)}", group[0].origin)
    if others and not is_there:
        names = _authors(others.values())
        raise UsageError(f"`me`: {path} has no message of {options.me!r:.60}, but of {names}")


def _authors(posts: Iterable[Post]) -> str:
    names = dict.fromkeys(post.author for post in posts)
    return ", ".join(excerpt(name, 40) for name in islice(names, SHOWN))


def _example(group: list[Post], me: str) -> Example | None:
    """Return an example from the first message of another to the last answer, or None."""
    indices = [index for index, post in enumerate(group) if post.is_by(me) and post.text]
    start = next((index for index, post in enumerate(group) if not post.is_by(me)), len(group))
    end = indices[-1] + 1 if indices else 0
    names = _Names(group, me)
    messages: list[Message] = []
    places: list[str] = []
    extras: list[Extra] = []
    for index, post in enumerate(group):
        place = f"/{index}{post.pointer}"
        is_left_out = not start <= index < end
        if is_left_out and post.text:
            kind = "message in front of a question" if index < start else "message behind an answer"
            extras.append(Extra(place, kind, post.text, is_loss=False))
        if is_left_out:
            continue
        if post.text:
            _add(messages, places, names.message(post), place)
        extras += [Extra(place, kind, None, len(messages) - 1) for kind in post.losses]
    if not messages or messages[0]["role"] == "assistant":
        return None
    return Example(messages=messages, places=places, extras=extras)


def _add(messages: list[Message], places: list[str], message: Message, place: str) -> None:
    """Add a message, or its text to the last one if that is by the same person."""
    content = message.pop("content")
    if messages and {**messages[-1], "content": ""} == {**message, "content": ""}:
        messages[-1]["content"] += f"\n{content}"
    else:
        messages.append({**message, "content": content})
        places.append(place)


class _Names:
    """Names of the authors of a conversation, if several of them are not the assistant."""

    def __init__(self, group: list[Post], me: str) -> None:
        self._me = me
        self._names: dict[str, str] = {}
        for post in group:
            if not post.is_by(me) and post.author not in self._names:
                self._names[post.author] = self._unused(post.author)

    def message(self, post: Post) -> Message:
        """Return a message in OpenAI's chat format."""
        if post.is_by(self._me):
            return {"role": "assistant", "content": post.text}
        name = {"name": self._names[post.author]} if len(self._names) > 1 else {}
        return {"role": "user", **name, "content": post.text}

    def _unused(self, author: str) -> str:
        """Return a name that OpenAI allows and no other author has."""
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", author).strip("_")[:NAME_CHARS]
        taken = set(self._names.values())
        if not name or name in taken:
            name = f"{name[: NAME_CHARS - 8] or 'user'}_{len(taken) + 1}"
        return name
