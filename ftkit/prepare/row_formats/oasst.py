"""OASST: trees of messages, as one row for each message or each tree."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ftkit.prepare.audit import Audit
from ftkit.prepare.example import Example
from ftkit.prepare.grouping import group_rows
from ftkit.prepare.row_formats.base import Kind, RowError, RowFormat
from ftkit.prepare.row_formats.shared.draft import Draft
from ftkit.prepare.row_formats.shared.plain import text_parts
from ftkit.prepare.row_formats.shared.row_value import joined_values
from ftkit.prepare.rows import Row, join_rows
from ftkit.rules.sources import Source

OASST = Source("Card of oasst1", "https://huggingface.co/datasets/OpenAssistant/oasst1")

STEP = "convert"
ROLES = {"prompter": "user", "assistant": "assistant"}
STRUCTURE = {
    *("message_id", "parent_id", "message_tree_id", "role", "text", "rank", "deleted"),
    *("tree_state", "replies"),
}
"""Keys that say where a message belongs, and its text."""

METADATA = frozenset(
    [
        *("user_id", "created_date", "lang", "review_count", "review_result", "synthetic"),
        *("model_name", "detoxify", "emojis", "labels", "events"),
    ]
)
"""Keys that every row of the data set has beside them."""

MAX_MESSAGES = 1000
"""Maximum messages of a conversation. Without it, a tree could give any number of long ones."""


def assemble(rows: Iterable[Row], audit: Audit, holds: Kind) -> Iterator[Row]:
    """Make conversations, or pairs of answers, of the messages of each tree."""
    for group in group_rows(_flat(rows, audit), _tree_key):
        if not _is_message(group[0].value):
            yield from group
            continue
        tree = _Tree(group)
        yield from (_pairs if holds == "preference" else _threads)(tree, audit)
        tree.drop_others(audit)


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(key), str) for key in ("message_id", "message_tree_id", "role")
    )


def _is_tree(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("message_tree_id"), str)
        and isinstance(value.get("prompt"), dict)
    )


def _tree_key(row: Row) -> Any:
    return row.value["message_tree_id"] if _is_message(row.value) else [str(row.origin)]


def _flat(rows: Iterable[Row], audit: Audit) -> Iterator[Row]:
    """Yield rows, and a row for each message of a tree."""
    for row in rows:
        if not _is_tree(row.value):
            yield row
            continue
        for index, message in enumerate(_messages(row.exact_value())):
            if index:
                audit.add(STEP, "message of a tree", row.origin)
            yield Row(message, row.origins, row.steps)


def _messages(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the messages of a tree, each before its replies."""
    waiting: deque[tuple[Any, Any]] = deque([(tree["prompt"], None)])
    while waiting:
        message, parent = waiting.popleft()
        value = dict(message) if isinstance(message, dict) else {"message": message}
        replies = value.get("replies")
        if isinstance(replies, list):
            del value["replies"]
            parent_id = value.get("message_id", "")
            waiting.extend((reply, parent_id) for reply in replies)
        yield {**value, "message_tree_id": tree["message_tree_id"], "parent_id": parent}


class _Tree:
    """The messages of a tree, and which of them are part of an output row."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows
        self._used: set[int] = set()
        self._replies: dict[Any, list[Row]] = defaultdict(list)
        for row in rows:
            if not row.value.get("deleted"):
                self._replies[_parent(row)].append(row)
        for replies in self._replies.values():
            replies.sort(key=_rank)

    def replies(self, row: Row) -> list[Row]:
        """Return the replies to a message, the best ranked first."""
        return self._replies.get(row.value["message_id"], [])

    def paths(self, follow: Callable[[list[Row]], list[Row]]) -> Iterator[list[Row]]:
        """Yield the path to each message: the list is changed afterwards.

        Args:
            follow: Selects replies to follow.
        """
        path: list[Row] = []
        seen: set[str] = set()
        waiting = [(0, row) for row in self._replies.get(None, [])]
        while waiting:
            depth, row = waiting.pop()
            if row.value["message_id"] in seen or depth == MAX_MESSAGES:
                continue
            seen.add(row.value["message_id"])
            del path[depth:]
            path.append(row)
            yield path
            waiting += [(depth + 1, reply) for reply in reversed(follow(self.replies(row)))]

    def assemble(self, rows: list[Row], audit: Audit) -> Row:
        """Return a row that is made of others, and record that."""
        new = [row for row in rows if id(row) not in self._used]
        self._used.update(map(id, new))
        if rows[0] in new[:1]:
            del new[0]
        else:
            audit.add(STEP, "another conversation of the tree", rows[0].origin)
        for row in new:
            audit.merge(STEP, "message of a conversation", row.origin)
        return join_rows(rows, (*rows[0].steps, STEP))

    def drop_others(self, audit: Audit) -> None:
        """Record the messages that are in no output row."""
        for row in self._rows:
            if id(row) not in self._used:
                reason = "deleted" if row.value.get("deleted") else "not in an output row"
                audit.drop(STEP, reason, row.origin)


def _parent(row: Row) -> str | None:
    """Return the id of the parent of a message, or None for a root."""
    parent = row.value.get("parent_id")
    return parent if parent is None or isinstance(parent, str) else ""


def _rank(row: Row) -> float:
    rank = row.value.get("rank")
    return rank if isinstance(rank, int | float) else float("inf")


def _is_answer(row: Row) -> bool:
    return bool(row.value["role"] == "assistant")


def _best(replies: list[Row]) -> list[Row]:
    """Return the best ranked of answers, or all replies if they are not answers."""
    return replies[:1] if replies and _is_answer(replies[0]) else replies


def _threads(tree: _Tree, audit: Audit) -> Iterator[Row]:
    """Yield the conversations that follow the best ranked answers to their last one."""
    for path in tree.paths(_best):
        if _is_answer(path[-1]) and not any(map(tree.replies, _best(tree.replies(path[-1])))):
            yield tree.assemble(list(path), audit)


def _pairs(tree: _Tree, audit: Audit) -> Iterator[Row]:
    """Yield the best and the worst ranked answer to each prompt, behind what comes before."""
    for path in tree.paths(lambda replies: replies):
        ranked = [reply for reply in tree.replies(path[-1]) if _is_answer(reply)]
        ranked = [reply for reply in ranked if _rank(reply) != float("inf")]
        if ranked and _rank(ranked[0]) < _rank(ranked[-1]):
            yield tree.assemble([*path, ranked[0], ranked[-1]], audit)


def read(value: Any) -> Example:
    """Refuse a row that `assemble` did not join: it is no message of a tree."""
    raise RowError("not a message of a tree")


def read_joined(values: list[Any]) -> Example:
    """Convert the messages of a conversation, or of a prompt and two answers, to an example."""
    draft = Draft()
    for row in joined_values(values):
        role = row.need("role")
        if role.text() not in ROLES:
            role.fail("unknown role", repr(role.value))
        draft.lose_others(row, STRUCTURE, METADATA, draft.next)
        draft.add(row, ROLES[role.value], text_parts(row.need("text")))
    example = draft.example()
    if len(values) > 1 and values[-1].get("parent_id") == values[-2].get("parent_id"):
        *example.messages, chosen, rejected = example.messages
        example.chosen, example.rejected = [chosen], [rejected]
        example.chosen_place = f"{len(values) - 2}#"
        example.rejected_place = f"{len(values) - 1}#"
    return example


def _recognizes(value: dict[str, Any]) -> bool:
    return _is_tree(value) or (_is_message(value) and value["role"] in ROLES and "text" in value)


FORMATS = (
    RowFormat(
        name="oasst",
        bookkeeping=METADATA,
        title="OASST",
        layout='{"message_id": "m1", "parent_id": null, "message_tree_id": "m1", "role": '
        '"prompter", "text": "Hi", "rank": null, "deleted": false}',
        source=OASST,
        recognizes=_recognizes,
        assemble=assemble,
        read=read,
        read_joined=read_joined,
        notes=(
            "Rows are messages, or trees with `prompt` and `replies`.",
            "For a preference format, each prompt with ranked answers gives its best and its worst "
            "one. For other formats, conversations follow the best ranked answers.",
            "Messages that are deleted or in no output row are dropped; a conversation has at most "
            "1,000 messages.",
        ),
    ),
)
