"""Conversations of chats between people, one of whom becomes the assistant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from msgspec import Struct

from ftkit._text import excerpt
from ftkit.errors import UsageError
from ftkit.prepare.audit import Audit, Origin
from ftkit.prepare.example import Example, Extra, ExtraKind, Message
from ftkit.prepare.file_formats.base import MissingOptionError, ReadOptions
from ftkit.prepare.rows import ExampleRow, Row

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
    """Kinds of what the message has besides its text, such as "image"."""
    notes: tuple[str, ...] = ()
    """Kinds of what is no part of the conversation, such as "reactions", or not in the source."""

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
        MissingOptionError: Nobody is named.
        UsageError: Nobody in the chats has that name.
    """
    if options.me is None:
        posts = [post for group in islice(conversations, FIRST) for post in group]
        problem = "the file is a chat, and one person's messages become the assistant's"
        advice = f"set `me` to the name of that person; its authors are {_authors(posts)}"
        author = posts[0].author if posts else ""
        raise MissingOptionError(path, problem, "me", author, advice)
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
            yield ExampleRow(None, tuple(post.origin for post in group), example=example)
        else:
            audit.drop("read", f"no answer of {excerpt(options.me, 40)}", group[0].origin)
    if others and not is_there:
        names = _authors(others.values())
        raise UsageError(f"`me`: {path} has no message of {options.me!r:.60}, but of {names}")


def _authors(posts: Iterable[Post]) -> str:
    names = dict.fromkeys(post.author for post in posts)
    return ", ".join(excerpt(name, 40) for name in islice(names, SHOWN))


def _example(group: list[Post], me: str) -> Example | None:
    """Return an example from the first text of another to the last answer, or None."""
    questions = [index for index, post in enumerate(group) if post.text and not post.is_by(me)]
    answers = [index for index, post in enumerate(group) if post.text and post.is_by(me)]
    start = questions[0] if questions else len(group)
    end = answers[-1] + 1 if answers else 0
    if start >= end:
        return None
    conversation = _Conversation(_Names(group, me), me)
    for index, post in enumerate(group):
        place = f"{index}#{post.pointer}"
        if index < start:
            conversation.leave_out(post, place, "message in front of a question")
        elif index < end:
            conversation.add(post, place)
        else:
            conversation.leave_out(post, place, "message behind an answer")
    return conversation.example


class _Conversation:
    """Conversation in the making, which begins with a text of another.

    Attributes:
        example: The example.
    """

    def __init__(self, names: _Names, me: str) -> None:
        self._places: list[str] = []
        self.example = Example(messages=[], places=self._places)
        self._names, self._me = names, me
        self._is_asked = False

    def add(self, post: Post, place: str) -> None:
        """Add a message, and record what it has besides its text."""
        messages = self.example.messages
        losses = post.losses
        if not post.text and not losses and not post.notes:
            losses = ("message without text",)
        if not post.is_by(self._me):
            is_open = self._is_asked and messages[-1]["role"] == "user"
            self._is_asked = bool(post.text) or is_open
        elif post.text and not self._is_asked:
            losses = (ExtraKind.UNASKED, *losses)
        if post.text and ExtraKind.UNASKED not in losses:
            _add(messages, self._places, self._names.message(post), place)
        self._record(place, losses, len(messages) - 1, is_loss=True)
        self._record(place, post.notes, len(messages) - 1, is_loss=False)

    def leave_out(self, post: Post, place: str, kind: str) -> None:
        """Record a message that is no part of the example."""
        kinds = [*([kind] if post.text else []), *post.losses, *post.notes]
        self._record(place, kinds, -1, is_loss=False)

    def _record(self, place: str, kinds: Iterable[str], message: int, *, is_loss: bool) -> None:
        extras = self.example.extras
        extras.extend(Extra(place, kind, None, message, is_loss) for kind in kinds)


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
