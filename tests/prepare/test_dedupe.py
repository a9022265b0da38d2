"""Duplicates, near-duplicates and conflicting answers."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit.errors import FileError, UsageError
from ftkit.prepare.dedupe import dedupe
from ftkit.prepare.similarity.minhash import BATCH
from ftkit.prepare.similarity.near import BUCKET
from support.similarity import (
    similar_pairs,
    similar_texts,
    similarity,
    template_texts,
    text_of,
)

Row = dict[str, Any]


def chat(user: str, assistant: str = "Yes.", system: str = "", **more: Any) -> Row:
    messages = [{"role": "system", "content": system}] if system else []
    messages += [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    return {"messages": messages, **more}


def test_equal_rows_are_duplicates_whatever_their_spelling(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"a": 1, "b": "x"}\n{"b":"\\u0078","a":1}\n{"a": 2, "b": "x"}\n')
    prepared = dedupe(path)
    assert list(prepared) == [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}]
    (entry,) = prepared.audit.entries
    assert (entry.reason, entry.origin.line, entry.detail) == ("duplicate", 2, f"of {path}:1")
    assert prepared.audit.is_balanced


@pytest.mark.parametrize(
    ("options", "remaining"),
    [
        ({}, ["a1", "a2", "b1"]),
        ({"compare": "prompt"}, ["a1", "b1"]),
        ({"compare": "prompt", "keep": "longest"}, ["a2", "b1"]),
        ({"conflicts": "drop"}, ["b1"]),
        ({"compare": "prompt", "conflicts": "drop"}, ["b1"]),
    ],
)
def test_the_options_choose_what_remains(options: Row, remaining: list[str]) -> None:
    rows = [
        chat("a", "short", id="a1"),
        chat("a", "much longer", id="a2"),
        chat("b", "same", id="b1"),
    ]
    assert [row["id"] for row in dedupe(rows, **options)] == remaining


def test_equal_answers_are_no_conflict() -> None:
    rows = [chat("a", id=1), chat("a", id=2)]
    assert list(dedupe(rows, conflicts="drop")) == rows


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": "c"}),
        ({"instruction": "a", "input": "x", "output": "b"}, {"instruction": "a", "input": "x"}),
        (
            {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
            {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "c"}]},
        ),
        ({"contents": [{"role": "user"}, {"role": "model"}]}, {"contents": [{"role": "user"}]}),
        (
            {"input": {"messages": ["a"]}, "preferred_output": [1]},
            {"input": {"messages": ["a"]}, "preferred_output": [2]},
        ),
        ({"messages": [{"role": "user"}], "reference": 1}, {"messages": [{"role": "user"}]}),
    ],
)
def test_the_prompt_of_a_row_is_without_its_answer(one: Row, other: Row) -> None:
    assert list(dedupe([one, other], compare="prompt")) == [one]


@pytest.mark.parametrize(
    "rows",
    [
        [{"text": "a"}, {"text": "b"}],
        [{"prompt": "", "completion": "a"}, {"prompt": "", "completion": "b"}],
        [{"messages": [{"role": "assistant", "content": text}]} for text in "ab"],
        [
            {"messages": [{"role": "system", "content": "s"}, {"role": "assistant", "content": t}]}
            for t in "ab"
        ],
        [{"messages": []}, {"messages": {}}],
        [{"a": {}}, {"a": []}],
    ],
)
def test_a_row_without_a_prompt_counts_as_a_whole(rows: list[Row]) -> None:
    assert list(dedupe(rows, compare="prompt", conflicts="drop")) == rows


def test_values_that_are_no_objects_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'1\n"a"\n"a"\nnull\n[1, "text"]\n1\n')
    assert list(dedupe(path, compare="prompt", near=0.8)) == [1, "a", None, [1, "text"]]


def test_rows_that_nest_as_deeply_as_is_read_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    deep = b'{"text":' + b"[" * 940 + b'"x"' + b"]" * 940 + b"}"
    path.write_bytes(deep + b"\n" + deep + b"\n")
    assert len(list(dedupe(path, compare="prompt", near=0.8))) == 1


LONG = "The quick brown fox jumps over the lazy dog near the old river bank."


def test_rows_with_similar_texts_are_near_duplicates() -> None:
    rows = [chat(LONG), chat(LONG.replace("lazy", "lame")), chat("Something else entirely.")]
    prepared = dedupe(rows, near=0.8)
    assert list(prepared) == [rows[0], rows[2]]
    (entry,) = prepared.audit.entries
    exact = similarity(text_of(rows[0]), text_of(rows[1]))
    assert entry.reason == "near-duplicate"
    assert entry.detail == f"{exact:.3f} with <examples>:1"


def test_system_messages_and_tools_make_no_rows_similar() -> None:
    rows = [chat(text, text, system=LONG, tools=[LONG]) for text in ("Hello there", "Good bye")]
    assert list(dedupe(rows, near=0.8)) == rows


def test_a_row_is_never_dropped_for_one_that_is_dropped() -> None:
    texts = [
        LONG + end for end in ("", " It was a fine day.", " It was a fine day. Nobody saw it.")
    ]
    links = [similarity(texts[0], texts[1]), similarity(texts[1], texts[2])]
    assert min(links) >= 0.7 > similarity(texts[0], texts[2])
    prepared = dedupe([{"text": text} for text in texts], near=0.7)
    assert [row["text"] for row in prepared] == [texts[0], texts[2]]


def test_rows_of_other_files_are_dropped(tmp_path: Path) -> None:
    rows = [chat(LONG), chat(LONG.replace("lazy", "lame")), chat("New.")]
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps(rows[0]))
    prepared = dedupe(rows, against=other, near=0.8)
    assert list(prepared) == [rows[2]]
    assert sorted(entry.reason for entry in prepared.audit.entries) == [
        "duplicate of the other files",
        "near-duplicate of the other files",
    ]
    assert (prepared.audit.read, prepared.audit.is_balanced) == (3, True)
    other.write_text("not JSON")
    with pytest.raises(FileError, match=r"other\.jsonl:1 cannot be read: not JSON"):
        list(dedupe(rows, against=other))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"near": 0.5}, "`near` must be from 0.7 to 1, not 0.5"),
        ({"near": float("nan")}, "`near` must be"),
        ({"compare": "answer"}, "`compare` must be example or prompt, not 'answer'"),
        ({"keep": "last"}, "`keep` must be first or longest"),
    ],
)
def test_an_invalid_option_is_refused(options: Row, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dedupe([{}], **options)


@settings(max_examples=8)
@given(st.integers(0, 10**6), st.sampled_from([0.8, 0.9, 1.0]), st.booleans())
def test_no_two_remaining_rows_are_similar(seed: int, near: float, longest: bool) -> None:
    texts = similar_texts(seed, 80)
    rows = [{"text": text, "number": number} for number, text in enumerate(texts)]
    prepared = dedupe(rows, near=near, keep="longest" if longest else "first")
    remaining = list(prepared)
    assert similar_pairs([row["text"] for row in remaining], near) == set()
    by_line = dict(enumerate(texts, 1))
    for entry in prepared.audit.entries:
        score, _, place = entry.detail.partition(" with ")
        exact = similarity(by_line[entry.origin.line], by_line[int(place.rpartition(":")[2])])
        assert f"{exact:.3f}" == score
        assert exact >= near
    assert prepared.audit.is_balanced


@settings(max_examples=30)
@given(st.lists(st.text(max_size=12), max_size=20), st.sampled_from([None, 0.8]))
def test_odd_texts_are_compared_like_others(texts: list[str], near: float | None) -> None:
    rows = [{"text": text} for text in texts]
    if rows:
        remaining = [row["text"] for row in dedupe(rows, near=near)]
        assert len(set(remaining)) == len(remaining)
        assert near is None or similar_pairs(remaining, near) == set()


@pytest.mark.parametrize("length", [BATCH - 1, BATCH + 1, 3 * BATCH])
def test_long_texts_are_compared_in_parts(length: int) -> None:
    words = similar_texts(1, 2000)
    text = " ".join(words * (length // len(" ".join(words)) + 1))[:length]
    rows = [{"text": text}, {"text": f"{text}."}, {"text": text[: length // 2]}]
    remaining = list(dedupe(rows, near=0.9))
    assert rows[0] in remaining
    assert rows[1] not in remaining


def test_a_sample_of_very_long_texts_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("minhash", "near"):
        monkeypatch.setattr(f"ftkit.prepare.similarity.{module}.MAX_SHINGLES", 256)
    words = similar_texts(2, 600, words=5000)
    text = " ".join(dict.fromkeys(words))[:20_000]
    rows = [{"text": text}, {"text": text[:-200]}, {"text": text[:12_000]}]
    prepared = dedupe(rows, near=0.8)
    assert list(prepared) == [rows[0], rows[2]]
    score = float(prepared.audit.entries[0].detail.partition(" ")[0])
    assert abs(score - similarity(text, text[:-200])) < 0.02


def test_many_equal_rows_take_linear_time() -> None:
    row = chat(LONG)
    prepared = dedupe((row for _ in range(10_000)), near=0.8, compare="prompt")
    assert list(prepared) == [row]
    similar: Iterator[Row] = (chat(LONG, id=number) for number in range(2_000))
    assert len(list(dedupe(similar, near=0.8))) == 1


def test_near_duplicates_are_found_among_rows_that_share_most_of_their_text() -> None:
    rng = random.Random(1)
    shared, *ends = ("".join(rng.choices("etaoinshrdlu ", k=k)) for k in (120, *[20] * 160))
    texts = [f"{shared}{end}" for end in ends]
    copies = [f"{text[:-2]}!" for text in texts[::5]]
    assert 0.65 < similarity(*texts[:2]) < 0.75
    rows = [{"text": text} for text in [*texts, *copies]]
    links = similar_pairs([row["text"] for row in rows], 0.8)
    assert len(links) >= len(copies)
    remaining = [row["text"] for row in dedupe(rows, near=0.8)]
    assert similar_pairs(remaining, 0.8) == set()


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([0.7, 0.8, 0.85, 0.9]),
    st.sampled_from([2, 8, BUCKET]),
    st.booleans(),
)
def test_no_two_remaining_rows_of_a_template_are_similar(
    seed: int, near: float, bucket: int, longest: bool
) -> None:
    texts = template_texts(seed, 120)
    rows = [{"text": text, "number": number} for number, text in enumerate(texts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ftkit.prepare.similarity.near.BUCKET", bucket)
        prepared = dedupe(rows, near=near, keep="longest" if longest else "first")
        remaining = {row["number"] for row in prepared}
    pairs = similar_pairs(texts, near)
    assert not [pair for pair in pairs if remaining.issuperset(pair)]
    linked = {row for pair in pairs if remaining.intersection(pair) for row in pair}
    assert remaining | linked == set(range(len(texts)))
    assert not prepared.audit.has_findings


def numbered(count: int) -> list[Row]:
    return [{"text": f"{'Shared by all of them. ' * 3}{number:06}"} for number in range(count)]


def test_many_rows_of_a_template_are_compared_with_each_other() -> None:
    rows = numbered(3000)
    remaining = list(dedupe(rows, near=0.9))
    assert 100 < len(remaining) < 2000
    random.Random(1).shuffle(remaining)
    assert list(dedupe(remaining, near=0.9)) == remaining


@pytest.mark.parametrize(
    ("bound", "value"),
    [
        ("clusters.MAX_ELEMENTS", 300),
        ("clusters.MAX_COMPARED", 5),
        ("near.MAX_VERIFIED", 1),
    ],
)
def test_rows_that_a_bounded_search_did_not_compare_are_findings(
    bound: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bound == "near.MAX_VERIFIED":
        monkeypatch.setattr("ftkit.prepare.similarity.near.BUCKET", 1000)
    monkeypatch.setattr(f"ftkit.prepare.similarity.{bound}", value)
    prepared = dedupe(numbered(300), near=0.9)
    remaining = list(prepared)
    unchecked = prepared.audit.total("unchecked")
    assert 0 < unchecked <= len(remaining)
    assert prepared.audit.has_findings
    assert prepared.audit.is_balanced


@pytest.mark.parametrize(
    ("options", "unchecked"), [({}, 0), ({"compare": "prompt"}, 2), ({"conflicts": "drop"}, 2)]
)
def test_rows_whose_prompt_is_not_known_are_findings(options: Row, unchecked: int) -> None:
    prepared = dedupe([{"Frage": "Hi", "Antwort": answer} for answer in "ab"], **options)
    assert len(list(prepared)) == 2
    assert prepared.audit.total("unchecked") == unchecked
