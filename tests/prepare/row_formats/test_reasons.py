"""Reasons for which rows are rejected: one fault has the same reason in all formats."""

from __future__ import annotations

from typing import Any

import pytest

from ftkit.prepare.row_formats import row_formats
from ftkit.prepare.row_formats.base import RowError

LISTS = {
    **dict.fromkeys(("chat", "mistral", "trl-messages", "anthropic", "cohere"), "messages"),
    **dict.fromkeys(("sharegpt", "sharegpt-roles"), "conversations"),
    "reinforcement": "messages",
    "gemini": "contents",
    "bedrock-nova": "messages",
}
"""Key of the messages of a format."""

TEXTS = {
    **dict.fromkeys(("completions", "bedrock-titan", "trl-prompt-completion"), "completion"),
    "dolly": "response",
    "alpaca": "output",
    "question-answer": "answer",
    "trl-text": "text",
}
"""Key of a text of a format."""

ROW = {
    **dict.fromkeys(("prompt", "instruction", "question"), "x"),
    **dict.fromkeys(("completion", "response", "output", "answer", "text"), "x"),
}


def reason(name: str, row: Any) -> tuple[str, str]:
    read = row_formats()[name].read
    assert read
    with pytest.raises(RowError) as error:
        read(row)
    return error.value.reason, error.value.pointer


@pytest.mark.parametrize(("name", "key"), LISTS.items())
def test_faults_of_a_list_have_one_reason(name: str, key: str) -> None:
    assert reason(name, 1) == ("not an object", "")
    assert reason(name, {}) == (f"no `{key}`", "")
    assert reason(name, {key: "x"}) == ("not an array", f"/{key}")
    assert reason(name, {key: ["x"]}) == ("not an object", f"/{key}/0")


@pytest.mark.parametrize(("name", "key"), TEXTS.items())
def test_faults_of_a_text_have_one_reason(name: str, key: str) -> None:
    assert reason(name, {**ROW, key: None}) == (f"no `{key}`", "")
    wrong = reason(name, {**ROW, key: 7})
    assert wrong == ("not an array" if name.startswith("trl-prompt") else "not a string", f"/{key}")
