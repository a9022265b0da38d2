"""Formats of open data sets: a small file of each, and rows that they do not take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftkit import validate
from ftkit.prepare.convert.convert import convert
from ftkit.prepare.row_formats import find_row_format, row_formats
from support.paths import SAMPLES

DATA = Path(__file__).with_name("data")
FILES = {
    DATA / "alpaca.jsonl": ("alpaca", "chat", 3),
    DATA / "alpaca-preference.jsonl": ("alpaca", "preference", 2),
    DATA / "dolly.jsonl": ("dolly", "chat", 2),
    DATA / "hh-rlhf.jsonl": ("hh-rlhf", "preference", 2),
    DATA / "ms-swift.jsonl": ("ms-swift", "chat", 2),
    DATA / "oasst.jsonl": ("oasst", "chat", 2),
    DATA / "oasst-trees.jsonl": ("oasst", "preference", 1),
    DATA / "trl-kto.jsonl": ("trl-kto", "preference", 2),
    DATA / "trl-messages.jsonl": ("trl-messages", "chat", 1),
    DATA / "trl-preference.jsonl": ("trl-preference", "preference", 3),
    DATA / "trl-prompt.jsonl": ("trl-prompt", "reinforcement", 1),
    DATA / "trl-prompt-completion.jsonl": ("trl-prompt-completion", "chat", 1),
    DATA / "trl-text.jsonl": ("trl-text", "completions", 1),
    SAMPLES / "convert" / "sharegpt.jsonl": ("sharegpt", "chat", 3),
    SAMPLES / "convert" / "ultrafeedback.jsonl": ("ultrafeedback", "preference", 3),
}
SMALL_FILE = {"examples-few", "examples-too-few", "completion-style", "prompt-style"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_detected_and_becomes_a_valid_one(path: Path, tmp_path: Path) -> None:
    name, to, count = FILES[path]
    out = tmp_path / "out.jsonl"
    prepared = convert(path, to=to, on_loss="allow", prove=True)
    assert prepared.write(out)
    assert prepared.audit.is_balanced
    assert prepared.audit.written == count
    assert not any("differs" in entry.reason for entry in prepared.audit.entries)
    assert list(convert(path, to=to, from_=name, on_loss="allow")) == list(lines(out))
    findings = validate(out, format=to)
    assert [finding.rule for finding in findings if finding.severity == "error"] in (
        [],
        ["examples-too-few"],
    )


def lines(path: Path) -> Iterator[Any]:
    return map(json.loads, path.read_text("utf-8").splitlines())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alpaca", "Translate.\nBonjour"),
        ("alpaca-fastchat", "Translate.\nInput:\nBonjour"),
        ("alpaca-stanford", "### Instruction:\nTranslate.\n\n### Input:\nBonjour\n\n### Response:"),
    ],
)
def test_instruction_and_input_are_joined_as_the_format_says(name: str, expected: str) -> None:
    row = {"instruction": "Translate.", "input": "Bonjour", "output": "Hello"}
    (converted,) = convert([row], to="chat", from_=name)
    assert converted["messages"][0]["content"].endswith(expected)


def test_labels_are_paired_by_prompt_and_the_map_names_both_rows(tmp_path: Path) -> None:
    map = tmp_path / "map"
    convert(DATA / "trl-kto.jsonl", to="preference").write(tmp_path / "out", map)
    assert [[source["line"] for source in line["sources"]] for line in lines(map)] == [
        [1, 3],
        [4, 2],
    ]


def test_a_tree_gives_the_best_answers_and_accounts_for_the_others() -> None:
    prepared = convert(DATA / "oasst.jsonl", to="chat")
    first, second = prepared
    assert [message["content"][:10] for message in first["messages"]] == [
        *("How do I t", "Make a loo", "Which way ", "Behind it."),
    ]
    assert len(second["messages"]) == 2
    assert prepared.audit.total("merged") == 4
    assert prepared.audit.total("dropped") == 5


def test_losses_of_an_assembled_row_are_those_of_its_rows() -> None:
    rows = [
        {"prompt": "p", "completion": "good", "label": True},
        {"prompt": "p", "completion": "bad", "label": False, "rater": 4},
    ]
    prepared = convert(rows, to="preference", on_loss="allow")
    assert len(list(prepared)) == 1
    (loss,) = [entry for entry in prepared.audit.entries if entry.effect == "loss"]
    assert (loss.origin.line, loss.pointer) == (2, "/rater")


def test_the_rows_of_a_rejected_pair_are_all_among_the_rejects(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "completion": text, "label": bool(text)} for text in (1, 0)]
    prepared = convert(rows, to="preference")
    assert prepared.write(tmp_path / "out", rejects=tmp_path / "rejects")
    assert list(lines(tmp_path / "rejects")) == rows
    assert prepared.audit.is_balanced


def test_an_id_that_is_made_is_not_one_of_the_row() -> None:
    calls = [
        {**id, "type": "function", "function": {"name": "f", "arguments": {}}}
        for id in ({}, {"id": "call_1"})
    ]
    row = {
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "tool_calls": calls}]
    }
    (converted,) = convert([row], to="chat")
    assert [call["id"] for call in converted["messages"][1]["tool_calls"]] == ["call_2", "call_1"]


def test_messages_under_conversations_are_read() -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    (row,) = convert([{"id": 1, "system": "Be brief.", "conversations": messages}], to="chat")
    assert row["messages"] == [{"role": "system", "content": "Be brief."}, *messages]


def test_a_deep_tree_takes_linear_time() -> None:
    rows = [
        {
            "message_id": str(n),
            "parent_id": str(n - 1) if n else None,
            "message_tree_id": "t",
            "role": ("prompter", "assistant")[n % 2],
            "text": "x",
        }
        for n in range(20_000)
    ]
    prepared = convert(rows, to="chat")
    assert list(prepared) == []
    assert prepared.audit.total("dropped") == 20_000


BAD = [
    ("sharegpt", {"conversations": [{"from": "bot", "value": "x"}]}, "/conversations/0/from"),
    ("sharegpt", {"conversations": [{"from": "observation", "value": "x"}]}, "/conversations/0"),
    (
        "sharegpt",
        {"conversations": [{"from": "function_call", "value": "f()"}]},
        "/conversations/0/value",
    ),
    ("sharegpt", {"conversations": [{"from": "human", "value": "x"}], "tools": "{"}, "/tools"),
    ("ms-swift", {"conversation": [{"human": "x"}]}, "/conversation/0"),
    ("alpaca", {"instruction": "x", "output": "y", "history": [["a"]]}, "/history/0"),
    ("alpaca", {"instruction": "x", "chosen": "y"}, ""),
    ("hh-rlhf", {"chosen": "Human: x", "rejected": "\n\nHuman: x"}, "/chosen"),
    ("ultrafeedback", {"prompt": "x", "chosen": [], "rejected": []}, "/chosen"),
    ("trl-messages", {"messages": [{"role": "tool", "content": "x"}]}, "/messages/0"),
    ("trl-messages", {"messages": [], "tools": 5}, "/messages"),
    ("oasst", {"message_id": "a", "message_tree_id": "a", "role": "x", "text": "t"}, ""),
]


@pytest.mark.parametrize(("name", "row", "pointer"), BAD)
def test_a_row_that_is_not_as_the_format_says_is_rejected(
    name: str, row: dict[str, Any], pointer: str
) -> None:
    prepared = convert([row], to="chat", from_=name, on_loss="allow")
    assert list(prepared) == []
    assert prepared.audit.is_balanced
    if prepared.audit.total("rejected"):
        assert prepared.audit.entries[-1].pointer == pointer
    else:
        assert prepared.audit.total("dropped") == 1


@pytest.mark.parametrize("name", [name for name, item in row_formats().items() if item.read])
def test_the_layout_of_a_format_is_a_row_of_it(name: str) -> None:
    format = find_row_format(name)
    row = json.loads(format.layout)
    if format.assemble is None:
        assert format.read
        assert format.read(row).messages
