"""Two models, or their recorded answers, on the same prompts: measures, intervals, files, asking, the command and its page."""

from __future__ import annotations

import gzip
import json
import os
import pty
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from browser import HOSTILE, Tags, in_browser, needs_browser
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from service import Service as Fake
from service import error, running, seeded

from ftkit.catalog import load_catalog
from ftkit.compare.bootstrap import RESAMPLES, Interval, differences_to_rest, intervals
from ftkit.compare.comparison import Comparison, compare
from ftkit.compare.cost import request_cost
from ftkit.compare.measures import MEASURES, REPLY_MEASURES, distance, field_measure, token_measure
from ftkit.compare.recordings import (
    Prompt,
    Recording,
    RecordingFile,
    encode,
    match,
    read_prompts,
    read_recordings,
    value_at,
)
from ftkit.compare.replies import canonical, read_reply
from ftkit.errors import FileError, UsageError
from ftkit.report import compare_page
from ftkit.report.compare import Sides, cells_of, count_of, render_compare_json, render_compare_text
from ftkit.report.compare_page import render_compare_html

SAMPLES = ROOT / "samples" / "compare"
GOLDEN = ROOT / "tests" / "golden"
MINI = "gpt-4o-mini-2024-07-18"
TUNED = f"ft:{MINI}:me::abc123"


def said(content: Any = None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def calling(*calls: tuple[str, Any]) -> dict[str, Any]:
    made = [
        {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}
        for name, arguments in calls
    ]
    return said(tool_calls=made)


def prompt(number: int, reference: dict[str, Any] | None = None, **more: Any) -> Prompt:
    return Prompt(number, [{"role": "user", "content": f"q{number}"}], {}, reference, more)


HELD = [
    ("exact", said("a"), said("a"), 1),
    ("exact", said("a"), said("a "), 0),
    ("exact", said("a"), said([{"type": "text", "text": "a"}]), 1),
    ("exact", said(None), said(""), 1),
    ("exact", said(refusal="no"), said(""), 0),
    ("exact", calling(("f", '{"a": 1, "b": 2}')), calling(("f", '{"b":2,"a":1.0}')), 1),
    ("chrf", said("a cat"), said("a cat"), 100),
    ("chrf", said(""), said("a cat"), 0),
    ("chrf", said("a cat"), said(""), 0),
    ("chrf", said("a"), said("b"), 0),
    ("bleu", said("one two three four"), said("one two three four"), 100),
    ("bleu", said(""), said("one two"), 0),
    ("json_fields", said('{"a": 1, "b": 2}'), said('{"b": 2, "a": 1}'), 1),
    ("json_fields", said('{"a": 1}'), said('{"a": 1, "b": 2}'), 1 / 2),
    ("json_fields", said('{"a": 1, "c": 3}'), said('{"a": 1, "b": 2}'), 1 / 3),
    ("json_fields", said('{"a": {"x": [1, 2]}}'), said('{"a": {"x": [1, 3]}}'), 1 / 2),
    ("json_fields", said('{"a": true}'), said('{"a": 1}'), 0),
    ("json_fields", said('{"a": 1.0}'), said('{"a": 1}'), 1),
    ("json_fields", said('{"a": "1"}'), said('{"a": 1}'), 0),
    ("json_fields", said("{}"), said("{}"), 1),
    ("json_fields", said("[]"), said("{}"), 0),
    ("json_fields", said('```json\n{"a": 1}\n```'), said('{"a": 1}'), 0),
    ("tool_names", calling(("f", "{}"), ("g", "{}")), calling(("g", '{"a":1}'), ("f", "{}")), 1),
    ("tool_names", calling(("f", "{}")), calling(("f", "{}"), ("f", "{}")), 0),
    ("tool_names", said("f()"), calling(("f", "{}")), 0),
    ("tool_arguments", calling(("f", '{"a":[1,2]}')), calling(("f", '{"a": [1, 2]}')), 1),
    ("tool_arguments", calling(("f", '{"a":[2,1]}')), calling(("f", '{"a":[1,2]}')), 0),
    ("tool_arguments", calling(("f", "{oops")), calling(("f", "{oops")), 1),
    ("tool_arguments", calling(("f", "{oops")), calling(("f", "{}")), 0),
    (
        "tool_arguments",
        said(function_call={"name": "f", "arguments": "{}"}),
        calling(("f", "{}")),
        1,
    ),
]


@pytest.mark.parametrize(("name", "answer", "reference", "score"), HELD)
def test_a_measure_of_two_replies(
    name: str, answer: dict[str, Any], reference: dict[str, Any], score: float
) -> None:
    assert MEASURES[name].score(read_reply(answer), read_reply(reference)) == pytest.approx(score)


@pytest.mark.parametrize("name", ["chrf", "bleu"])
def test_a_closer_answer_scores_higher(name: str) -> None:
    reference = read_reply(said("the cat sat on the mat today"))
    scores = [
        MEASURES[name].score(read_reply(said(text)), reference)
        for text in ("a dog", "the cat ran", "the cat sat on the mat")
    ]
    assert 0 <= scores[0] < scores[1] < scores[2] < 100


def test_similarity_is_that_of_sacrebleu() -> None:
    import sacrebleu

    one, two = "the cat sat on a mat", "the cat is on the mat"
    a, b = read_reply(said(one)), read_reply(said(two))
    assert MEASURES["chrf"].score(a, b) == pytest.approx(sacrebleu.sentence_chrf(one, [two]).score)
    assert MEASURES["bleu"].score(a, b) == pytest.approx(sacrebleu.sentence_bleu(one, [two]).score)


@pytest.mark.parametrize(
    ("name", "message", "value"),
    [
        ("refusal", said(refusal="I will not"), 1),
        ("refusal", said([{"type": "refusal", "refusal": "no"}]), 1),
        ("refusal", said("I'm sorry, I cannot help with that."), 0),
        ("characters", said("Zoë 🎾"), 5),
        ("characters", said(None), 0),
        ("json_valid", said('{"a": NaN}'), 0),
        ("json_valid", said("12"), 0),
        ("json_valid", said(" [1] "), 1),
        ("json_valid", said("[" * 5000 + "]" * 5000), 0),
    ],
)
def test_a_trait_of_one_reply(name: str, message: dict[str, Any], value: float) -> None:
    assert REPLY_MEASURES[name].score(read_reply(message)) == value


def test_tokens_are_counted_in_the_encoding_of_the_model() -> None:
    assert token_measure("cl100k_base").score(read_reply(said("Hello world"))) == 2


def test_a_key_of_a_json_object_is_a_measure() -> None:
    measure = field_measure("team")
    one, two = (
        read_reply(said('{"team": {"a": 1, "b": 2}}')),
        read_reply(said('{"team": {"b": 2, "a": 1.0}, "x": 1}')),
    )
    assert measure.score(one, two) == 1
    assert measure.applies(two, one, one)
    assert not measure.applies(read_reply(said('{"x": 1}')), one, one)
    assert measure.score(read_reply(said("no")), two) == 0


JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-10, 10)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
TEXTS = st.text(max_size=40) | JSONS.map(json.dumps)
MESSAGES = st.builds(
    lambda content, refusal, calls: {**said(content, refusal=refusal), "tool_calls": calls},
    TEXTS | st.none() | JSONS,
    st.none() | TEXTS | JSONS,
    st.none()
    | JSONS
    | st.lists(
        st.builds(
            lambda name, text: {"function": {"name": name, "arguments": text}}, TEXTS, TEXTS | JSONS
        ),
        max_size=2,
    ),
)


@given(MESSAGES, MESSAGES)
def test_any_two_messages_can_be_measured(one: dict[str, Any], two: dict[str, Any]) -> None:
    a, b = read_reply(one), read_reply(two)
    for measure in MEASURES.values():
        assert 0 <= measure.score(a, b) <= (1 if measure.unit == "share" else 100)
    for trait in REPLY_MEASURES.values():
        assert trait.score(a) >= 0
    assert 0 <= distance(a, b, MEASURES["chrf"].score(a, b)) <= 100


@given(MESSAGES)
def test_a_reply_agrees_with_itself(message: dict[str, Any]) -> None:
    reply = read_reply(message)
    assert distance(reply, reply, 100) == 0
    for measure in MEASURES.values():
        if measure.applies(reply, reply, reply):
            assert measure.score(reply, reply) == (1 if measure.unit == "share" else 100)


@given(MESSAGES, MESSAGES)
def test_agreement_is_the_same_both_ways(one: dict[str, Any], two: dict[str, Any]) -> None:
    a, b = read_reply(one), read_reply(two)
    for name in ("exact", "json_fields", "tool_names", "tool_arguments"):
        assert MEASURES[name].score(a, b) == MEASURES[name].score(b, a)
        assert MEASURES[name].applies(None, a, b) == MEASURES[name].applies(None, b, a)


@given(JSONS)
def test_equal_json_has_one_canonical_form(value: Any) -> None:
    assert canonical(json.loads(json.dumps(value))) == canonical(json.loads(canonical(value)))


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40), st.integers(0, 1000))
def test_the_interval_holds_the_mean_and_lies_among_the_values(
    values: list[float], seed: int
) -> None:
    (found,) = intervals(np.array(values)[:, None], seed)
    slack = 1e-6
    assert found.n == len(values)
    assert found.mean == pytest.approx(np.mean(values), abs=slack)
    assert found.low is not None
    assert found.high is not None
    assert min(values) - slack <= found.low <= np.median(_resampled(values, seed)) + slack
    assert np.median(_resampled(values, seed)) - slack <= found.high <= max(values) + slack


def _resampled(values: list[float], seed: int) -> Any:
    chance = np.random.Generator(np.random.PCG64(seed))
    return np.array(values)[chance.integers(0, len(values), size=(RESAMPLES, len(values)))].mean(
        axis=1
    )


def test_the_interval_is_that_of_the_textbook() -> None:
    values = np.random.default_rng(5).normal(10, 2, 400)
    (found,) = intervals(values[:, None])
    error = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - error, abs=0.03)
    assert found.high == pytest.approx(values.mean() + error, abs=0.03)


def test_the_same_seed_gives_the_same_interval_whatever_stands_beside_it() -> None:
    values = np.random.default_rng(1).random((300, 3))
    together = intervals(values, 7)
    for column, found in enumerate(together):
        (alone,) = intervals(values[:, [column]], 7)
        assert (alone.mean, alone.low, alone.high) == pytest.approx(
            (found.mean, found.low, found.high)
        )
    assert intervals(values, 8) != together


def test_a_paired_difference_is_surer_than_its_parts() -> None:
    chance = np.random.default_rng(3)
    hard = chance.normal(0, 10, 200)
    columns = np.column_stack([hard + 0.1, hard])
    columns = np.column_stack([columns, columns[:, 0] - columns[:, 1]])
    a, b, difference = intervals(columns)
    assert a.low < b.high  # type: ignore[operator]
    assert b.low < a.high  # type: ignore[operator]
    assert difference == Interval(200, pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1))
    assert difference.excludes_zero


def test_one_value_alone_has_no_interval() -> None:
    one, many = np.array([[3.0]]), np.array([[1.0], [2.0]])
    assert intervals(one) == [Interval(1, 3, None, None)]
    assert differences_to_rest([one, many]) == [
        [Interval(1, 1.5, None, None)],
        [Interval(2, -1.5, None, None)],
    ]
    assert not intervals(one)[0].excludes_zero


def _covered(draw: Callable[[Any], Interval], true: float, runs: int) -> float:
    found = [draw(np.random.default_rng(seed)) for seed in range(runs)]
    return (
        sum(
            each.low <= true <= each.high
            for each in found
            if each.low is not None and each.high is not None
        )
        / runs
    )


@pytest.mark.parametrize(
    ("kind", "draw", "true"),
    [
        ("normal", lambda chance: intervals(chance.normal(5, 3, (60, 1)), 1)[0], 5),
        (
            "share",
            lambda chance: intervals((chance.random((80, 1)) < 0.3).astype(float), 2)[0],
            0.3,
        ),
        ("skewed", lambda chance: intervals(chance.exponential(2, (100, 1)), 3)[0], 2),
        (
            "groups",
            lambda chance: differences_to_rest(
                [chance.normal(1, 1, (50, 1)), chance.normal(0, 2, (70, 1))], 4
            )[0][0],
            1,
        ),
        (
            "three groups",
            lambda chance: differences_to_rest(
                [chance.normal(mean, 2, (40, 1)) for mean in (3, 1, 2)], 5
            )[0][0],
            1.5,
        ),
        (
            "a group against many of one",
            lambda chance: differences_to_rest(
                [chance.normal(1, 1, (n, 1)) for n in (90, *[1] * 40)], 6
            )[0][0],
            0,
        ),
        (
            "a group against many of two",
            lambda chance: differences_to_rest(
                [chance.normal(1, 1, (n, 1)) for n in (90, *[2] * 20)], 7
            )[0][0],
            0,
        ),
    ],
)
def test_the_interval_covers_the_truth_about_as_often_as_it_says(
    kind: str, draw: Callable[[Any], Interval], true: float
) -> None:
    assert 0.90 <= _covered(draw, true, 500) <= 0.99


def test_a_comparison_holds_both_against_the_reference_and_each_other() -> None:
    prompts = [
        prompt(1, said("x")),
        prompt(2, said("y")),
        prompt(3, said("z")),
        prompt(4, said("w")),
    ]
    found = compare(
        prompts,
        [said("x"), said("y"), said("z"), None],
        [said("x"), said("q"), said("r"), said("w")],
    )
    exact = next(row for row in found.rows if row.name == "exact")
    assert {name: figure.mean for name, figure in exact.figures.items()} == {
        "a": 1,
        "b": pytest.approx(1 / 3),
        "difference": pytest.approx(2 / 3),
        "between": pytest.approx(1 / 3),
    }
    assert found.left_out == (4,)
    assert [pair.prompt.number for pair in found.pairs] == [2, 3, 1]
    assert found.pairs[0].scores["exact"] == (1, 0)


def test_without_references_a_is_held_against_b_alone() -> None:
    found = compare(
        [prompt(1), prompt(2)], [said('{"a": 1}'), said("x")], [said('{"a": 2}'), said("x")]
    )
    rows = {row.name: row.figures for row in found.rows}
    assert found.references == 0
    assert set(rows["exact"]) == {"between"}
    assert rows["json_fields"]["between"] == Interval(1, 0, None, None)
    assert set(rows["characters"]) == {"a", "b", "difference"}
    assert rows["json_valid"]["a"].n == 1
    assert "compared with the reference" not in render_compare_text(found, Sides("a", "b", "p"))


def test_a_tool_called_for_nothing_counts_for_the_one_that_called_it() -> None:
    found = compare(
        [prompt(1, said("no tool")), prompt(2, said("x"))],
        [calling(("f", "{}")), said("x")],
        [said("no tool"), said("x")],
    )
    names = next(row for row in found.rows if row.name == "tool_names")
    assert [names.figures[side].mean for side in ("a", "b")] == [0, 1]
    assert names.figures["a"].n == 1


def test_a_group_is_compared_with_all_others() -> None:
    prompts = [
        prompt(number, said("x"), metadata={"kind": "hard" if number % 3 == 0 else "easy"})
        for number in range(1, 61)
    ]
    answers = [said("x" if number % 3 else "bad") for number in range(1, 61)]
    found = compare(prompts, answers, [said("x")] * 60, group_by="metadata.kind")
    easy, hard = found.groups
    assert [(group.value, group.prompts) for group in found.groups] == [("easy", 40), ("hard", 20)]
    row = next(row for row in hard.rows if row.name == "exact")
    assert row.figures["a"].mean == 0
    assert row.rest["a"] == Interval(20, -1, -1, -1)
    assert row.rest["b"] == Interval(20, 0, 0, 0)
    assert next(row for row in easy.rows if row.name == "exact").rest["a"].mean == 1


@pytest.mark.parametrize(
    ("path", "says"),
    [("nothing", "all prompts have the same value"), ("id", "have 101 different values")],
)
def test_one_group_alone_and_too_many_are_refused(path: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        compare(
            [prompt(number, id=number) for number in range(101)],
            [said("x")] * 101,
            [said("x")] * 101,
            group_by=path,
        )


def test_many_groups_are_listed_as_far_as_fits_and_in_full_in_json() -> None:
    prompts = [
        prompt(number, said("x"), topic=f"{number % 30:02}\x1b[31m" + "long" * 20)
        for number in range(1, 91)
    ]
    found = compare(prompts, [said("x")] * 90, [said("y")] * 90, group_by="topic")
    text = render_compare_text(found, Sides("a", "b", "p"))
    assert "the 20 largest of 30 groups" in text
    assert "\x1b[31m" not in text
    assert len(json.loads(render_compare_json(found, Sides("a", "b", "p")))["groups"]) == 30


@pytest.mark.parametrize(
    ("line", "path", "value"),
    [
        ({"metadata": {"a": {"b": "x"}}}, "metadata.a.b", "x"),
        ({"metadata": {"n": 3}}, "metadata.n", "3"),
        ({"metadata": "flat"}, "metadata.n", "(none)"),
        ({}, "n", "(none)"),
        ({"n": [1, "é"]}, "n", '[1, "é"]'),
    ],
)
def test_a_path_leads_into_a_line(line: dict[str, Any], path: str, value: str) -> None:
    assert value_at(line, path) == value


def jsonl(path: Path, *lines: Any) -> str:
    path.write_bytes(
        b"".join(
            (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n"
            for line in lines
        )
    )
    return str(path)


def chat(question: str, answer: str | None = None, **more: Any) -> dict[str, Any]:
    final = [] if answer is None else [{"role": "assistant", "content": answer, "weight": 1}]
    return {"messages": [{"role": "user", "content": question}, *final], **more}


def recorded(question: str, answer: str, model: str = "m", **more: Any) -> dict[str, Any]:
    return {
        **chat(question),
        "answer": said(answer),
        "model": model,
        "parameters": {},
        "usage": {},
        **more,
    }


def test_prompts_are_chat_examples_or_recorded_answers(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    path = jsonl(
        tmp_path / "p.jsonl",
        chat("a", "b", tools=tools),
        b"",
        chat("c"),
        recorded("d", "e", parameters={"tools": tools}),
    )
    found = read_prompts(path)
    assert [one.number for one in found] == [1, 3, 4]
    assert [one.messages[-1] for one in found] == [
        {"role": "user", "content": text} for text in "acd"
    ]
    assert [one.reference and one.reference["content"] for one in found] == ["b", None, "e"]
    assert found[0].reference == said("b")
    assert [one.options for one in found] == [{"tools": tools}, {}, {"tools": tools}]
    assert len(read_prompts(path, limit=2)) == 2


def test_a_system_message_is_for_prompts_without_one(tmp_path: Path) -> None:
    own = {"messages": [{"role": "system", "content": "mine"}, {"role": "user", "content": "b"}]}
    found = read_prompts(jsonl(tmp_path / "p.jsonl", chat("a", "x"), own), system="be brief")
    assert [one.messages[0]["content"] for one in found] == ["be brief", "mine"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "contains no prompts"),
        ([b"[1, 2]"], ":1: not a JSON object"),
        ([chat("a"), b'{"messages": ['], ":2: not a JSON object"),
        ([b"\xff\xfe{\x00"], ":1: not a JSON object"),
        ([{"prompt": "x"}], ":1: object missing required field `messages`"),
        ([{"messages": "x"}], r":1: expected `array`, got `str` - at `\$.messages`"),
        ([{"messages": []}], ":1: expected `array` of length >= 1"),
        ([{"messages": [said("x")]}], ":1: the example has an answer but no prompt"),
        ([{**chat("a"), "answer": "text"}], r":1: expected `object`, got `str` - at `\$.answer`"),
    ],
)
def test_bad_prompts_are_one_clear_line(tmp_path: Path, lines: list[Any], says: str) -> None:
    with pytest.raises(FileError, match=says) as caught:
        read_prompts(jsonl(tmp_path / "p.jsonl", *lines))
    assert "\n" not in str(caught.value)


def test_a_compressed_file_is_read_and_a_damaged_one_is_a_problem(tmp_path: Path) -> None:
    data = gzip.compress(json.dumps(chat("a")).encode() + b"\n")
    path = tmp_path / "p.jsonl.gz"
    path.write_bytes(data)
    assert len(read_prompts(str(path))) == 1
    for bad in (data[:-5], data[:14] + b"\xff\xff" + data[16:], b"no gzip"):
        path.write_bytes(bad)
        with pytest.raises(FileError, match="cannot read"):
            read_prompts(str(path))


def test_answers_are_matched_by_their_messages_and_repeated_prompts_take_them_in_order(
    tmp_path: Path,
) -> None:
    prompts = read_prompts(jsonl(tmp_path / "p.jsonl", chat("a"), chat("b"), chat("a"), chat("a")))
    answers = [recorded("a", "1"), recorded("z", "2"), recorded("a", "3"), recorded("b", "4")]
    answers[3]["messages"][0]["name"] = None
    found = match(prompts, read_recordings(jsonl(tmp_path / "r.jsonl", *answers)))
    assert [one.answer["content"] if one else None for one in found] == ["1", "4", "3", None]


def test_equal_messages_with_other_tools_keep_their_own_answers(tmp_path: Path) -> None:
    one, two = ([{"type": "function", "function": {"name": name}}] for name in ("f1", "f2"))
    prompts = read_prompts(
        jsonl(tmp_path / "p.jsonl", {**chat("a"), "tools": one}, {**chat("a"), "tools": two})
    )
    answers = [
        recorded("a", "of f2", parameters={"temperature": 0, "tools": two}),
        recorded("a", "of any"),
    ]
    found = match(prompts, read_recordings(jsonl(tmp_path / "r.jsonl", *answers)))
    assert [each.answer["content"] if each else None for each in found] == ["of any", "of f2"]


RECORDED = st.builds(
    Recording,
    st.lists(st.dictionaries(st.text(max_size=5), JSONS, max_size=3), min_size=1, max_size=2),
    st.dictionaries(st.text(max_size=5), JSONS, max_size=3),
    st.text(),
    st.dictionaries(st.text(max_size=5), JSONS, max_size=2),
    st.none() | st.just({"total_tokens": 3}),
    st.none() | JSONS,
)


@given(RECORDED)
def test_a_recorded_answer_survives_its_file(
    tmp_path_factory: pytest.TempPathFactory, one: Recording
) -> None:
    path = tmp_path_factory.mktemp("r") / "r.jsonl"
    path.write_bytes(encode(one))
    (found,) = read_recordings(str(path))
    assert (found.messages, found.answer, found.usage, found.metadata) == (
        one.messages,
        one.answer,
        one.usage,
        one.metadata,
    )


def test_what_was_kept_is_there_after_a_torn_write(tmp_path: Path) -> None:
    path = str(tmp_path / "a.jsonl")
    one, two, three = (Recording([{"role": "user", "content": text}], said(text)) for text in "123")
    keeper = RecordingFile(path)
    keeper.append(one)
    keeper.append(two)
    with open(f"{path}.part", "ab") as file:
        file.write(encode(three)[:20])
    again = RecordingFile(path)
    assert again.recordings == [one, two]
    again.append(three)
    again.finish([three])
    assert sorted(each.answer["content"] for each in read_recordings(path)) == ["1", "2", "3"]
    assert os.listdir(tmp_path) == ["a.jsonl"]


def test_equal_answers_to_a_repeated_prompt_are_all_kept_and_none_is_doubled_by_a_crash(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "a.jsonl")
    one, two = (Recording([{"role": "user", "content": "q"}], said("same")) for _ in range(2))
    keeper = RecordingFile(path)
    keeper.append(one)
    keeper.append(two)
    left = Path(f"{path}.part").read_bytes()
    keeper.finish([one, two])
    assert len(RecordingFile(path).recordings) == 2
    Path(f"{path}.part").write_bytes(left)
    again = RecordingFile(path)
    assert len(again.recordings) == 2
    again.finish(again.recordings[:1])
    assert len(RecordingFile(path).recordings) == 2


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot write"):
        RecordingFile(str(tmp_path / "none" / "a.jsonl")).append(Recording([{}], {}))
    with pytest.raises(FileError, match="cannot write"):
        RecordingFile(str(tmp_path / "none" / "a.jsonl")).finish([])


def test_the_cost_is_that_of_the_prompts_and_of_answers_as_long_as_the_references() -> None:
    catalog = load_catalog()
    prompts = [Prompt(1, [{"role": "user", "content": "Hello world"}], {}, said("Hi"), {})] * 1000
    told = request_cost(prompts, TUNED, "openai", catalog)
    assert (told.requests, told.input_tokens, told.output_tokens) == (
        1000,
        1000 * (3 + 1 + 2),
        1000,
    )
    offer = catalog.models[MINI].providers["openai"]
    assert offer.input
    assert offer.output
    assert told.usd == pytest.approx((6000 * offer.input.usd + 1000 * offer.output.usd) / 1e6)
    bare = [Prompt(1, [{"role": "user", "content": "Hello world"}], {}, None, {})]
    assert request_cost(bare, TUNED, "openai", catalog).usd is None
    assert request_cost(bare, TUNED, "openai", catalog, 50).output_tokens == 50
    assert request_cost(bare, "nobody-knows", "openai", catalog).input_tokens is None
    assert request_cost(bare, TUNED, "crusoe", catalog, 50).usd is None


def test_the_cost_counts_tools_and_calls_and_is_not_told_for_images() -> None:
    catalog, user = load_catalog(), {"role": "user", "content": "Hello world"}
    tools = [{"type": "function", "function": {"name": "f", "description": "word " * 500}}]
    plain = request_cost([Prompt(1, [user], {}, said("Hi"), {})], TUNED, "openai", catalog)
    calls = calling(("f", json.dumps({"text": "word " * 300})))
    told = request_cost(
        [Prompt(1, [user, calls, user], {"tools": tools}, calls, {})], TUNED, "openai", catalog
    )
    assert plain.input_tokens
    assert told.input_tokens
    assert told.output_tokens
    assert told.input_tokens > plain.input_tokens + 500 + 300
    assert told.output_tokens > 300
    image = {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}],
    }
    seen = request_cost([Prompt(1, [image], {}, said("Hi"), {})], TUNED, "openai", catalog)
    assert (seen.input_tokens, seen.usd) == (None, None)


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def url(fake: Fake) -> Iterator[str]:
    with running(fake) as address:
        yield address


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ftkit(url: str) -> Run:
    """Run `ftkit compare` against the service."""
    environment = {
        **os.environ,
        "OPENAI_API_KEY": "sk-test",
        "NEBIUS_API_KEY": "sk-test",
        "FTKIT_BASE_URL": url,
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ftkit", "compare", *arguments]
        return subprocess.run(
            command, input="", capture_output=True, text=True, check=False, env=environment
        )

    return run


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    return jsonl(
        tmp_path / "prompts.jsonl",
        *(
            chat(f"one {number}", f"{number} one", metadata={"odd": number % 2})
            for number in range(20)
        ),
    )


def test_two_models_are_asked_and_compared(fake: Fake, ftkit: Run, prompts: str) -> None:
    fake.on_chat = lambda body: {
        "content": " ".join(
            body["messages"][-1]["content"].split()[:: -1 if body["model"] == TUNED else 1]
        )
    }
    done = ftkit(
        TUNED,
        MINI,
        "--prompts",
        prompts,
        "--yes",
        "--output",
        "json",
        "--max-tokens",
        "9",
        "--group-by",
        "metadata.odd",
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    exact = told["measures"]["exact"]
    assert [exact[side]["mean"] for side in ("a", "b", "difference", "between")] == [1, 0, 1, 0]
    assert told["measures"]["tokens"]["a"]["n"] == 20
    assert [group["value"] for group in told["groups"]] == ["0", "1"]
    assert len(fake.requests) == 40
    assert all(
        body["temperature"] == 0 and body["max_tokens"] == 9 and "weight" not in body["messages"][0]
        for *_, body in fake.requests
    )
    assert f"  A  {TUNED} at OpenAI: 20 requests, about" in done.stderr
    assert "output tokens, about $" in done.stderr


def test_nothing_is_asked_without_consent(fake: Fake, ftkit: Run, prompts: str) -> None:
    done = ftkit(TUNED, "some-model", "--prompts", prompts)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert "some-model at OpenAI: 20 requests, cost unknown" in done.stderr
    assert not fake.requests


@pytest.mark.parametrize(("said_to_it", "code", "requests"), [(b"n\n", 2, 0), (b"y\n", 0, 40)])
def test_on_a_terminal_it_asks_and_shows_how_far_it_is(
    fake: Fake, url: str, prompts: str, said_to_it: bytes, code: int, requests: int
) -> None:
    main, side = pty.openpty()
    environment = {
        **os.environ,
        "OPENAI_API_KEY": "sk-test",
        "FTKIT_BASE_URL": url,
        "TERM": "xterm-256color",
        "COLUMNS": "100",
    }
    command = [sys.executable, "-m", "ftkit", "compare", "m", "n", "--prompts", prompts]
    with subprocess.Popen(
        command, stdin=side, stdout=subprocess.PIPE, stderr=side, env=environment
    ) as process:
        os.close(side)
        os.write(main, said_to_it)
        out, _ = process.communicate()
    shown = os.read(main, 65536)
    os.close(main)
    assert process.returncode == code
    assert len(fake.requests) == requests
    assert b"Send 40 requests?" in shown
    assert (b"asking m" in shown) == (code == 0)
    assert (b"nothing was sent" in shown) == (code == 2)
    assert (b"exact match" in out) == (code == 0)


def test_tools_and_temperature_are_sent_as_asked(fake: Fake, ftkit: Run, tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    path = jsonl(
        tmp_path / "p.jsonl",
        {"messages": [*chat("a")["messages"], calling(("f", '{"x": 1}'))], "tools": tools},
    )
    fake.on_chat = lambda body: calling(("f", '{"x":1.0}'))
    done = ftkit(
        "m",
        "n",
        "--prompts",
        path,
        "--yes",
        "--temperature",
        "none",
        "--output",
        "json",
        "--system",
        "be brief",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["measures"]["tool_arguments"]["a"] == {
        "n": 1,
        "mean": 1,
        "low": None,
        "high": None,
    }
    for *_, body in fake.requests:
        assert body["tools"] == tools
        assert "temperature" not in body
        assert body["messages"][0] == {"role": "system", "content": "be brief"}


def test_b_may_live_at_another_service(fake: Fake, ftkit: Run, prompts: str) -> None:
    other = Fake()
    with running(other) as address:
        done = ftkit(
            "m",
            "m",
            "--prompts",
            prompts,
            "--yes",
            "--provider-b",
            "nebius",
            "--base-url-b",
            address,
            "--limit",
            "3",
        )
    assert done.returncode == 0, done.stderr
    assert "m at Nebius Token Factory: 3 requests" in done.stderr
    assert (len(fake.requests), len(other.requests)) == (3, 3)


def test_kept_answers_are_never_asked_for_again(
    fake: Fake, ftkit: Run, prompts: str, tmp_path: Path
) -> None:
    kept = str(tmp_path / "a.jsonl")
    first = ftkit("m", "n", "--prompts", prompts, "--yes", "--limit", "5", "--save-a", kept)
    assert first.returncode == 0, first.stderr
    assert len(fake.requests) == 10
    line = json.loads(Path(kept).read_text("utf-8").splitlines()[0])
    assert line == {
        "messages": [{"role": "user", "content": "one 0"}],
        "answer": said("0 one"),
        "model": "m",
        "parameters": {"temperature": 0},
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
        "metadata": {"odd": 0},
        "service": line["service"],
    }
    more = ftkit("m", "n", "--prompts", prompts, "--yes", "--save-a", kept)
    assert more.returncode == 0, more.stderr
    assert len(fake.requests) == 10 + 15 + 20
    again = ftkit("m", kept, "--prompts", prompts, "--save-a", kept)
    assert again.returncode == 0, again.stderr
    assert len(fake.requests) == 45
    assert f"B        {kept} (m)" in again.stdout
    assert ftkit(kept, kept, "--prompts", kept).returncode == 0


def test_kept_answers_of_another_model_or_temperature_are_not_taken(
    fake: Fake, ftkit: Run, prompts: str, tmp_path: Path
) -> None:
    kept = jsonl(tmp_path / "a.jsonl", recorded("one 0", "x", "m", parameters={"temperature": 0}))
    for arguments in (["other"], ["m", "--temperature", "1"]):
        done = ftkit(
            arguments[0], "n", *arguments[1:], "--prompts", prompts, "--yes", "--save-a", kept
        )
        assert done.returncode == 2
        assert "use another file" in done.stderr
    assert not fake.requests


def test_answers_of_another_model_or_service_are_not_mixed_in(
    fake: Fake, ftkit: Run, prompts: str, tmp_path: Path
) -> None:
    kept, others = str(tmp_path / "a.jsonl"), jsonl(tmp_path / "others.jsonl", chat("else", "x"))
    assert (
        ftkit("m", "n", "--prompts", prompts, "--yes", "--limit", "2", "--save-a", kept).returncode
        == 0
    )
    before = len(fake.requests)
    for arguments in (
        ["m2", "n", "--prompts", others],
        ["m", "n", "--prompts", prompts, "--limit", "2", "--provider", "nebius"],
    ):
        done = ftkit(*arguments, "--yes", "--save-a", kept)
        assert done.returncode == 2
        assert f"{kept} contains answers of m at openai http" in done.stderr
        assert "use another file" in done.stderr
    assert len(fake.requests) == before


def test_a_model_is_asked_only_what_the_other_side_s_file_answers(
    fake: Fake, ftkit: Run, prompts: str, tmp_path: Path
) -> None:
    own = jsonl(tmp_path / "own.jsonl", recorded("one 3", "x"), recorded("one 5", "y"))
    done = ftkit(own, "n", "--prompts", prompts, "--yes", "--output", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["compared"], len(told["left_out"]), len(fake.requests)) == (2, 18, 2)
    other = jsonl(tmp_path / "other.jsonl", recorded("never asked", "x"))
    assert (
        "no prompt is answered by both" in ftkit(other, "n", "--prompts", prompts, "--yes").stderr
    )
    assert len(fake.requests) == 2


def test_what_is_written_never_replaces_what_is_read_or_paid_for(
    fake: Fake, ftkit: Run, prompts: str, tmp_path: Path
) -> None:
    own, kept = jsonl(tmp_path / "own.jsonl", recorded("one 1", "x")), str(tmp_path / "a.jsonl")
    for arguments, says in [
        (["m", "n", "--html", prompts], "--prompts and --html must be different files"),
        (["m", own, "--html", own], "B and --html must be different files"),
        (["m", "n", "--save-a", kept, "--html", kept], "--save-a and --html must be different files"),
        (
            ["m", "n", "--save-a", kept, "--html", f"{kept}.part"],
            "--save-a and --html must be different files",
        ),
        (["m", "n", "--save-a", prompts], "--prompts and --save-a must be different files"),
        (["m", "n", "--save-a", f"{kept}.gz"], "use a name without .gz"),
        (["m", "n", "--save-a", str(tmp_path / "none" / "a.jsonl")], "cannot write"),
    ]:
        done = ftkit(*arguments, "--prompts", prompts, "--yes")
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert says in done.stderr
    assert not fake.requests


def test_a_group_that_the_service_refuses_leaves_the_rest_to_be_compared(
    fake: Fake, ftkit: Run, prompts: str
) -> None:
    fake.on_chat = lambda body: (
        error("flagged")
        if int(body["messages"][-1]["content"].split()[-1]) % 2
        else {"content": "x"}
    )
    done = ftkit(
        "m", "n", "--prompts", prompts, "--yes", "--group-by", "metadata.odd", "--output", "json"
    )
    assert done.returncode == 0, done.stderr
    assert [group["value"] for group in json.loads(done.stdout)["groups"]] == ["0"]


def test_an_answer_that_cannot_be_read_is_left_out_like_a_refused_one(
    fake: Fake, ftkit: Run, prompts: str
) -> None:
    answer = fake.answer

    def filtered(method: str, path: str, query: Any, body: Any) -> Any:
        status, told = answer(method, path, query, body)
        return (
            (status, {**told, "choices": []})
            if body["messages"][-1]["content"].endswith(" 4")
            else (status, told)
        )

    fake.answer = filtered  # type: ignore[method-assign]
    done = ftkit("m", "n", "--prompts", prompts, "--yes")
    assert done.returncode == 0, done.stderr
    assert (
        "skipped the prompt on line 5: cannot ask m: OpenAI gave an answer that cannot be read"
        in done.stderr
    )


def test_answers_under_way_when_the_service_refuses_are_kept(
    fake: Fake, ftkit: Run, prompts: str, tmp_path: Path
) -> None:
    kept, begun = str(tmp_path / "a.jsonl"), threading.Barrier(4)
    first = threading.Lock()

    def one_is_refused(method: str, path: str) -> str:
        begun.wait(20)
        if first.acquire(blocking=False):
            fake.refuse["POST /chat/completions"] = (401, error("no")[1])
            return ""
        time.sleep(0.7)
        fake.refuse.clear()
        return ""

    fake.faults = one_is_refused
    done = ftkit(
        "m",
        "n",
        "--prompts",
        prompts,
        "--yes",
        "--save-a",
        kept,
        "--concurrency",
        "4",
        "--limit",
        "4",
    )
    assert done.returncode == 2
    assert len(read_recordings(f"{kept}.part")) == 3


def test_faults_on_the_way_change_no_answer(fake: Fake, ftkit: Run, prompts: str) -> None:
    fake.faults = seeded(3, 0.25)
    done = ftkit(
        "m",
        "n",
        "--prompts",
        prompts,
        "--yes",
        "--output",
        "json",
        "--limit",
        "12",
        "--concurrency",
        "12",
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["compared"] == 12
    assert told["measures"]["exact"]["between"]["mean"] == 1


def test_at_most_so_many_are_asked_at_once(fake: Fake, ftkit: Run, prompts: str) -> None:
    now, most, lock = 0, 0, threading.Lock()

    def slow(method: str, path: str) -> str:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        return ""

    fake.faults = slow
    assert ftkit("m", "n", "--prompts", prompts, "--yes", "--concurrency", "3").returncode == 0
    assert most == 3


def test_a_prompt_that_the_service_refuses_is_left_out_and_named(
    fake: Fake, ftkit: Run, prompts: str
) -> None:
    fake.on_chat = lambda body: (
        error("flagged by the filter")
        if body["messages"][-1]["content"].endswith("7")
        else {"content": "x"}
    )
    done = ftkit("m", "n", "--prompts", prompts, "--yes")
    assert done.returncode == 0, done.stderr
    assert "18 of" in done.stdout
    assert "2 skipped, not answered by both: lines 8, 18" in done.stdout
    assert (
        "skipped the prompt on line 8: cannot ask m: OpenAI said 400: flagged by the filter"
        in done.stderr
    )


def test_a_service_that_refuses_all_is_asked_a_few_times_only(
    fake: Fake, ftkit: Run, prompts: str
) -> None:
    fake.on_chat = lambda body: error("temperature does not go with this model")
    done = ftkit("m", "n", "--prompts", prompts, "--yes")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "ftkit: cannot ask m: OpenAI said 400: temperature"
    )
    assert len(fake.requests) < 20


def test_a_run_that_broke_off_goes_on_where_it_was(
    fake: Fake, ftkit: Run, prompts: str, tmp_path: Path
) -> None:
    kept = str(tmp_path / "a.jsonl")
    asked: list[str] = []

    def until_the_key_is_withdrawn(body: dict[str, Any]) -> dict[str, Any]:
        asked.append(body["messages"][-1]["content"])
        fake.key = "withdrawn" if len(asked) == 9 else fake.key
        return {"content": "x"}

    fake.on_chat = until_the_key_is_withdrawn
    done = ftkit("m", "n", "--prompts", prompts, "--yes", "--save-a", kept, "--concurrency", "2")
    assert done.returncode == 2
    assert "does not take the key" in done.stderr
    assert not os.path.exists(kept)
    there = {one.messages[0]["content"] for one in read_recordings(f"{kept}.part")}
    assert len(there) >= 8
    fake.key, fake.on_chat = (
        "sk-test",
        lambda body: asked.append(body["messages"][-1]["content"]) or {"content": "x"},
    )  # type: ignore[func-returns-value]
    asked.clear()
    done = ftkit(
        "m", prompts.replace("prompts", "none"), "--prompts", prompts, "--yes", "--save-a", kept
    )
    assert done.returncode == 2
    assert not asked
    done = ftkit(
        "m",
        "m",
        "--prompts",
        prompts,
        "--yes",
        "--save-a",
        kept,
        "--save-b",
        str(tmp_path / "b.jsonl"),
    )
    assert done.returncode == 0, done.stderr
    assert len(asked) == 20 - len(there) + 20
    assert len(read_recordings(kept)) == 20


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        {"choices": {"a": 1}},
        {"choices": [{}]},
        {"choices": [3]},
        [1],
        b"no JSON",
    ],
)
def test_an_answer_that_is_none_is_one_clear_line(
    fake: Fake, ftkit: Run, prompts: str, body: Any
) -> None:
    fake.refuse["POST /chat/completions"] = (200, body)
    done = ftkit("m", "n", "--prompts", prompts, "--yes")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "ftkit: cannot ask m: OpenAI gave an answer that cannot be read"
    )


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_has_kept_what_was_answered(
    fake: Fake, url: str, prompts: str, tmp_path: Path, how: signal.Signals
) -> None:
    kept, many = str(tmp_path / "a.jsonl"), threading.Event()

    def slowly(method: str, path: str) -> str:
        time.sleep(0.05)
        many.set() if len(fake.requests) >= 8 else None
        return ""

    fake.faults = slowly
    environment = {**os.environ, "OPENAI_API_KEY": "sk-test", "FTKIT_BASE_URL": url}
    command = [
        sys.executable,
        "-m",
        "ftkit",
        "compare",
        "m",
        "n",
        "--prompts",
        prompts,
        "--yes",
        "--save-a",
        kept,
        "--concurrency",
        "2",
    ]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as running_command:
        assert many.wait(30)
        running_command.send_signal(how)
    assert running_command.returncode == (130 if how == signal.SIGINT else -how)
    before = len(fake.requests)
    assert not os.path.exists(kept)
    assert len(read_recordings(f"{kept}.part")) >= before - 2 - 2
    done = subprocess.run(
        [*command, "--output", "json", "--save-b", f"{kept}.b"],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(read_recordings(kept)) == 20
    assert len(fake.requests) <= 40 + 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["m", "n", "--prompts", "none.jsonl"],
            "cannot read none.jsonl: no such file or directory",
        ),
        (["none.jsonl", "n", "--prompts", "PROMPTS"], "no such file: none.jsonl"),
        (["PROMPTS", "PROMPTS", "--prompts", "PROMPTS"], "missing required field `answer`"),
        (
            ["ANSWERS", "n", "--prompts", "PROMPTS", "--save-a", "x.jsonl"],
            "--save-a applies to a model",
        ),
        (["ANSWERS", "ANSWERS", "--prompts", "PROMPTS"], "no prompt is answered by both A and B"),
        (
            ["m", "n", "--prompts", "PROMPTS", "--save-a", "x", "--save-b", "./x"],
            "--save-a and --save-b must be different files",
        ),
        (
            ["m", "n", "--prompts", "PROMPTS", "--temperature", "3"],
            "'3' is not a number from 0 to 2, or none",
        ),
        (["m", "n", "--prompts", "PROMPTS", "--provider-b", "opena"], "did you mean 'openai'?"),
        (
            ["OWN", "OWN", "--prompts", "PROMPTS", "--max-tokens", "3"],
            "--max-tokens applies to models, but A and B are recorded answers",
        ),
        (
            ["OWN", "OWN", "--prompts", "PROMPTS", "--provider-b", "openai"],
            "--provider-b applies to models, but A and B are recorded answers",
        ),
        (
            ["OWN", "OWN", "--prompts", "PROMPTS", "--html", "none/page.html"],
            "cannot write none/page.html",
        ),
        (
            ["OWN", "OWN", "--prompts", "PROMPTS", "--group-by", "metadata.x"],
            "all prompts have the same value '(none)' at 'metadata.x'",
        ),
    ],
)
def test_a_mistake_is_one_clear_line(
    ftkit: Run, prompts: str, tmp_path: Path, arguments: list[str], says: str
) -> None:
    files = {
        "PROMPTS": prompts,
        "ANSWERS": jsonl(tmp_path / "answers.jsonl", recorded("other", "x")),
        "OWN": jsonl(tmp_path / "own.jsonl", recorded("one 1", "x")),
    }
    done = ftkit(*(files.get(argument, argument) for argument in arguments))
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_sacrebleu_one_line_says_what_to_install(prompts: str, tmp_path: Path) -> None:
    own = jsonl(tmp_path / "own.jsonl", recorded("one 1", "x"))
    other = jsonl(tmp_path / "other.jsonl", recorded("one 1", "y"))
    code = f"import sys; sys.modules['sacrebleu'] = None; from ftkit.cli import run; sys.exit(run({['compare', own, other, '--prompts', prompts]!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "ftkit: comparing needs sacrebleu; install it with: pip install '.[compare]'\n"


def sample() -> tuple[Comparison, Sides]:
    asked = read_prompts(str(SAMPLES / "prompts.jsonl"))
    answers = [
        match(asked, read_recordings(str(SAMPLES / f"{name}.jsonl"))) for name in ("tuned", "base")
    ]
    a, b = ([one.answer for one in side if one] for side in answers)
    return compare(asked, a, b, group_by="metadata.headline", encoding="o200k_base"), Sides(
        "tuned", "base", "prompts.jsonl"
    )


@pytest.mark.parametrize(
    ("name", "render"),
    [("compare.txt", render_compare_text), ("compare.json", render_compare_json)],
)
def test_the_sample_is_reported_as_before(name: str, render: Callable[..., str]) -> None:
    assert click.unstyle(render(*sample())) == (GOLDEN / name).read_text("utf-8")


def hostile() -> str:
    """A page about answers that would like to be more than text, everywhere that text comes from outside."""
    asked = [
        Prompt(
            number,
            [{"role": text, "content": text}, {"role": "user", "content": text}],
            {},
            said(text + "!"),
            {"topic": text},
        )
        for number, text in enumerate(HOSTILE, 1)
    ]
    a = [
        {**said(text), "tool_calls": [{"function": {"name": text, "arguments": text}}]}
        for text in HOSTILE
    ]
    b = [said(json.dumps({text: text}), refusal=text) for text in HOSTILE]
    return render_compare_html(
        compare(asked, a, b, group_by="topic"), Sides(HOSTILE[0], HOSTILE[1], HOSTILE[2])
    )


@pytest.mark.parametrize(
    "page", [lambda: render_compare_html(*sample()), hostile], ids=["sample", "hostile"]
)
def test_the_page_is_whole_and_needs_nothing_from_elsewhere(page: Callable[[], str]) -> None:
    found = Tags(page()).tags
    names = [name for name, _ in found]
    assert names.count("script") == names.count("style") == names.count("h1") == 1
    assert not {"img", "link", "iframe", "b"} & set(names)
    for _, attributes in found:
        assert not {"src", "href", "onload", "onerror"} & set(attributes)
    policy = next(
        attributes["content"]
        for name, attributes in found
        if name == "meta" and "http-equiv" in attributes
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=3))
def test_any_answers_make_a_page_with_one_script(texts: list[tuple[str, str]]) -> None:
    asked = [prompt(number) for number in range(len(texts))]
    found = compare(asked, [said(one) for one, _ in texts], [said(two) for _, two in texts])
    tags = [name for name, _ in Tags(render_compare_html(found, Sides("a", "b", "p"))).tags]
    assert tags.count("script") == 1
    assert tags.count("article") == sum(one != two for one, two in texts)


def test_a_page_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    compare_page.write_page(*sample(), str(path))
    assert path.read_text("utf-8") == render_compare_html(*sample())
    with pytest.raises(FileError, match="cannot write"):
        compare_page.write_page(*sample(), str(tmp_path))
    assert os.listdir(tmp_path) == ["page.html"]


def test_answers_too_long_to_be_marked_are_shown_unmarked() -> None:
    words = random.Random(1).choices(["one", "two"], k=5000)
    found = compare([prompt(1)], [said(" ".join(words))], [said(" ".join(reversed(words)))])
    page = render_compare_html(found, Sides("a", "b", "p"))
    assert "<mark>" not in page
    assert " ".join(words) in page


@needs_browser
@pytest.mark.parametrize(
    "page", [lambda: render_compare_html(*sample()), hostile], ids=["sample", "hostile"]
)
def test_nothing_in_the_page_runs_but_its_script(page: Callable[[], str], tmp_path: Path) -> None:
    shown = in_browser(page(), tmp_path)
    assert "<title>ftkit compare</title>" in shown
    assert Tags(shown).tags.count(("article", {})) == Tags(page()).tags.count(("article", {}))


@needs_browser
def test_pairs_are_found_by_their_text_in_a_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = "find.value = 'petra LINDQVALE'; find.dispatchEvent(new Event('input'));"
    monkeypatch.setattr(compare_page, "SCRIPT", compare_page.SCRIPT + typed)
    found = Tags(in_browser(render_compare_html(*sample()), tmp_path)).tags
    articles = [attributes for name, attributes in found if name == "article"]
    assert len(articles) == 16
    assert sum("hidden" not in attributes for attributes in articles) == 1


@pytest.mark.parametrize(
    ("a", "b", "far"),
    [
        (said("x"), said("x"), 0),
        (said("x"), said("y"), 60),
        (said("x"), said(refusal="no"), 100),
        (said(refusal="no"), said(refusal="never"), 0),
        (calling(("f", "{}")), calling(("f", "[]")), 100),
    ],
)
def test_the_distance_of_two_answers(a: dict[str, Any], b: dict[str, Any], far: float) -> None:
    similarity = 40.0 if a["content"] or b["content"] else float("nan")
    assert distance(read_reply(a), read_reply(b), similarity) == far


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--html", "nowhere/page.html"], "cannot write"),
        (["--html", "."], "cannot write"),
        (["--group-by", "no.such"], "the same value"),
    ],
)
def test_what_cannot_be_shown_is_told_before_anything_is_asked(
    fake: Fake, ftkit: Run, prompts: str, arguments: list[str], says: str
) -> None:
    told = ftkit("one", "two", "--prompts", prompts, "--yes", *arguments)
    assert told.returncode == 2
    assert says in told.stderr
    assert not fake.requests


def test_a_figure_over_other_prompts_than_its_row_says_so() -> None:
    asked = [prompt(number, None if number else said("0")) for number in range(3)]
    answers = [said(str(number)) for number in range(3)]
    found = compare(asked, answers, answers)
    exact = next(row for row in found.rows if row.name == "exact")
    assert count_of(exact.figures) == exact.figures["a"].n == 1
    assert list(cells_of(exact, ["a", "between"])) == ["100.0% [-]", "100.0% [100.0, 100.0] (n 3)"]


def test_the_page_holds_each_group_against_the_others() -> None:
    asked = [prompt(number, said("0"), metadata={"part": number % 2}) for number in range(8)]
    answers = [said(str(number % 2)) for number in range(8)]
    page = render_compare_html(
        compare(asked, answers, answers, group_by="metadata.part"), Sides("A", "B", "P")
    )
    assert "<th>vs. rest" in page
    assert "+100.0% [+100.0, +100.0]*" in page


def test_answers_that_go_round_in_circles_make_a_page_soon() -> None:
    started = time.perf_counter()
    for one, two in [
        ("!" * 1990, "!?" * 1000),
        ("yes no " * 990, "no yes yes " * 660),
        ("!" * 220, "!?" * 220),
    ]:
        compare_page._marked(one, two)
    assert time.perf_counter() - started < 5


def test_long_answers_without_a_common_word_make_a_page_soon() -> None:
    one, two = (" ".join(f"{letter}{number}" for number in range(950)) for letter in "ab")
    started = time.perf_counter()
    for _ in range(10):
        compare_page._marked(one, two)
    assert time.perf_counter() - started < 2
