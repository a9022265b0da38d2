"""Rows that share text with the data of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.errors import FileError, UsageError
from ftkit.prepare import decontaminate as module
from ftkit.prepare.decontaminate import decontaminate

EIGHT = "one two three four five six seven eight"


def remaining(texts: list[str], against: list[Any], **options: Any) -> list[str]:
    prepared = decontaminate([{"text": text} for text in texts], against=against, **options)
    result = [row["text"] for row in prepared]
    assert prepared.audit.is_balanced
    return result


@pytest.mark.parametrize(
    ("text", "prompt", "is_shared"),
    [
        (f"zero {EIGHT} nine", f"{EIGHT} ten", True),
        ("One, TWO: three (four) five-six... seven_eight!", EIGHT, True),
        ("one two three four five six seven nine eight", EIGHT, False),
        (f"zero {EIGHT}", "four five six", False),  # shorter texts are compared as a whole
        ("Four! Five, six?", "four five six", True),
        ("four five", "four five six", False),
        ("", "", False),
        ("...", "!", False),
        ("我們今天去北京看朋友", "他們說我們今天去北京看朋友了", True),
    ],
)
def test_a_text_is_shared_if_enough_words_in_a_row_are(
    text: str, prompt: str, is_shared: bool
) -> None:
    texts = [text.encode("utf-8", "replace").decode()]
    assert remaining(texts, [{"prompt": prompt, "completion": "x"}]) == ([] if is_shared else texts)


def test_the_report_has_the_words_and_their_place(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text(f'{{"question": "a b"}}\n{{"question": "{EIGHT.upper()} nine"}}\n')
    prepared = decontaminate([{"text": "x"}, {"text": f"And {EIGHT} nine!"}], against=path)
    assert list(prepared) == [{"text": "x"}]
    (entry,) = prepared.audit.entries
    assert (entry.reason, entry.origin.line) == ("shares text", 2)
    assert entry.detail == f"{path}:2: {EIGHT}"


def test_answers_and_system_messages_of_the_evaluation_are_not_compared() -> None:
    system = {"role": "system", "content": "You are kind."}
    messages = [system, {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "No"}]
    against = [{"messages": messages}]
    assert remaining(["You are kind.", "No", "why"], against) == ["You are kind.", "No"]


def test_all_messages_of_the_examples_are_compared() -> None:
    row = {"messages": [{"role": "system", "content": f"For example: {EIGHT}"}]}
    assert list(decontaminate([row], against=[{"prompt": EIGHT}])) == []


@given(st.lists(st.sampled_from("abcd"), max_size=30), st.integers(1, 6), st.integers(1, 9))
def test_long_texts_are_compared_in_parts(words: list[str], ngram: int, part: int) -> None:
    prompt = ["a", "b", "a", "a", "c", "b"][:ngram]
    runs = [words[start : start + ngram] for start in range(max(len(words) - ngram, 0) + 1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PART", max(part, ngram))
        result = remaining([" ".join(words)], [{"prompt": " ".join(prompt)}], ngram=ngram)
    assert (result == []) == (prompt in runs)


def test_what_cannot_be_compared_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text("not JSON")
    with pytest.raises(
        FileError, match=r"test\.jsonl:1 cannot be read: not JSON; fix or remove the row"
    ):
        list(decontaminate([{"text": "x"}], against=path))
    with pytest.raises(UsageError, match="`ngram` must be from 1 to 100, not 0"):
        decontaminate([{}], against=path, ngram=0)
    path.write_text("")
    assert len(list(decontaminate([{"text": "x"}], against=path))) == 1


def test_deep_and_odd_values_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    deep = "[" * 900 + json.dumps(EIGHT) + "]" * 900
    path.write_text(f'{deep}\n1\n"{EIGHT} nine"\nnull\n')
    assert list(decontaminate(path, against=[{"a": EIGHT}])) == [1, None]


def test_rows_of_the_evaluation_without_a_known_prompt_are_noted() -> None:
    prepared = decontaminate([{"text": "x"}], against=[{"Frage": "Why?"}, {"question": "Why?"}])
    assert len(list(prepared)) == prepared.audit.total("note") == 1
