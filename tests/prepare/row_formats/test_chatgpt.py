"""Conversations of ChatGPT exports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ftkit
from ftkit.prepare.convert.convert import convert
from ftkit.prepare.file_formats.base import ReadOptions
from support.chat_exports import effects, read


def node(id: str, parent: str | None, role: str = "", *parts: Any, **more: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": list(parts)}
    message = {"author": {"role": role}, "content": content, **more}
    return {"id": id, "parent": parent, "message": message if role else None, "children": []}


def chatgpt(*nodes: dict[str, Any], current: str | None = None) -> dict[str, Any]:
    mapping = {item["id"]: item for item in nodes}
    return {"title": "t", "mapping": mapping, "current_node": current or nodes[-1]["id"]}


PICTURE = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
THOUGHTS = {"content_type": "thoughts", "thoughts": [{"content": "hm"}]}


def test_chatgpt_conversations_follow_the_path_that_was_shown(tmp_path: Path) -> None:
    tree = chatgpt(
        node("root", None),
        node("s", "root", "system", ""),
        node("u", "s", "user", "1+1?", PICTURE),
        node("old", "u", "assistant", "3"),
        node("t", "u", "assistant", content=THOUGHTS),
        node("c", "t", "assistant", "print(2)", recipient="python"),
        node("r", "c", "tool", "2"),
        node("a", "r", "assistant", "2", recipient="all"),
        node("u2", "a", "user", "thanks"),
    )
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([tree, chatgpt(node("root", None))]))
    examples, audit = read(path, ReadOptions())
    assert examples == [[("user", "1+1?"), ("assistant", "2")]]
    assert effects(audit) == [
        ("loss", "image: no place in chat", "/mapping/u/message"),
        ("loss", "thoughts: no place in chat", "/mapping/t/message"),
        ("loss", "call of a tool of ChatGPT: no place in chat", "/mapping/c/message"),
        ("loss", "message of the role tool: no place in chat", "/mapping/r/message"),
        ("note", "message without an answer", "/mapping/u2/message"),
        ("note", "message on another branch", "/mapping/old/message"),
        ("dropped", "a conversation without an answer", ""),
    ]


def path_of(*messages: tuple[Any, ...], **more: dict[str, Any]) -> dict[str, Any]:
    """Return a conversation without branches. `more` has further keys of messages by number."""
    nodes = [
        node(f"n{index}", f"n{index - 1}", *message, **more.get(f"n{index}", {}))
        for index, message in enumerate(messages, 1)
    ]
    return chatgpt(node("n0", None), *nodes)


SPOKEN = {"content_type": "audio_transcription", "text": "1+1?", "direction": "in"}
RULES = {"content_type": "user_editable_context", "user_instructions": "Be brief."}
EMPTY = {"content_type": "model_editable_context", "model_set_context": ""}
CITED = "\ue200cite\ue202turn0search0\ue201"
REFERENCE = {"matched_text": CITED, "alt": "([x](https://x))", "type": "webpage"}


@pytest.mark.parametrize(
    ("tree", "texts", "entries"),
    [
        (
            path_of(("assistant", "Hello!"), ("user", "q"), ("assistant", "a")),
            ["q", "a"],
            [("note", "message in front of a question")],
        ),
        (
            path_of(
                ("user", PICTURE), ("assistant", "nice"), ("user", "q"), ("assistant", "a")
            ),
            ["q", "a"],
            [("loss", "image"), ("loss", "answer to a message without text")],
        ),
        (
            path_of(
                ("user", "q"), ("assistant", "a"), ("user", PICTURE), ("assistant", "nice")
            ),
            ["q", "a"],
            [("loss", "image"), ("loss", "answer to a message without text")],
        ),
        (path_of(("user", SPOKEN), ("assistant", "2")), ["1+1?", "2"], []),
        (
            path_of(
                ("user",), ("assistant",), ("user", "q"), ("assistant", "a"),
                n1={"content": RULES}, n2={"content": EMPTY},
            ),
            ["q", "a"],
            [("loss", "custom instructions")],
        ),
        (
            path_of(("system", "s"), ("user", "q"), ("assistant", "a"), n1={
                "metadata": {"is_visually_hidden_from_conversation": True}
            }),
            ["s", "q", "a"],
            [("note", "hidden message")],
        ),
        (
            path_of(("user", "q"), ("assistant", f"a {CITED}【3†x】"), n2={
                "metadata": {"content_references": [REFERENCE]}
            }),
            ["q", "a ([x](https://x))"],
            [("loss", "citation"), ("note", "citation")],
        ),
        (
            path_of(("user", "q"), ("assistant", "a"), n1={
                "metadata": {"attachments": [{"name": "a.pdf"}]}
            }),
            ["q", "a"],
            [("loss", "attachment")],
        ),
        (
            path_of(("user", 7, None, " "), ("user", "q"), ("assistant", "a")),
            ["q", "a"],
            [("loss", "part")],
        ),
        (
            path_of(("user", "q"), ("assistant",), ("assistant", "a"), n2={
                "content": {"content_type": "text", "text": "x"}
            }),
            ["q", "a"],
            [("loss", "text")],
        ),
    ],
)  # fmt: skip
def test_what_chatgpt_adds_to_a_conversation_is_reported(
    tmp_path: Path, tree: Any, texts: list[str], entries: list[tuple[str, str]]
) -> None:
    path, out = tmp_path / "conversations.json", tmp_path / "out.jsonl"
    path.write_text(json.dumps([tree]))
    [example], audit = read(path, ReadOptions())
    assert [text for _, text in example] == texts
    assert [(entry.effect, entry.reason.partition(":")[0]) for entry in audit.entries] == entries
    assert convert(path, to="chat", on_loss="allow").write(out)
    assert ftkit.validate(out, ignore=["examples-too-few"], fail_on="warning").ok


@pytest.mark.parametrize(
    "messages",
    [(("user", PICTURE), ("assistant", "nice")), (("assistant", "a"),), (("user", "q"),)],
)
def test_chatgpt_conversations_without_a_question_or_answer_are_dropped(
    tmp_path: Path, messages: Any
) -> None:
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([path_of(*messages)]))
    examples, audit = read(path, ReadOptions())
    assert examples == []
    assert effects(audit) == [("dropped", "a conversation without an answer", "")]


@pytest.mark.parametrize(
    "tree",
    [
        {"mapping": path_of(("user", "q"))["mapping"], "current_node": None},
        chatgpt(node("a", "b", "user", "x"), node("b", "a", "assistant", "y")),
        chatgpt(node("a", "gone", "assistant", "x")),
        {"mapping": {"a": 7}, "current_node": "a"},
        {"mapping": {}, "current_node": {"a": 1}},
    ],
)
def test_broken_chatgpt_trees_are_rejected(tmp_path: Path, tree: Any) -> None:
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([tree]))
    examples, audit = read(path, ReadOptions(), from_="chatgpt")
    assert examples == []
    assert audit.total("rejected") == 1
