"""Measures of one reply and of two."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.compare.measures import MEASURES, REPLY_MEASURES, distance, field_measure, token_measure
from ftkit.compare.replies import canonical, read_reply
from support.recordings import JSON_OBJECTS, assistant_message, tool_call_message

HELD = [
    ("exact", assistant_message("a"), assistant_message("a"), 1),
    ("exact", assistant_message("a"), assistant_message("a "), 0),
    ("exact", assistant_message("a"), assistant_message([{"type": "text", "text": "a"}]), 1),
    ("exact", assistant_message(None), assistant_message(""), 1),
    ("exact", assistant_message(refusal="no"), assistant_message(""), 0),
    (
        "exact",
        tool_call_message(("f", '{"a": 1, "b": 2}')),
        tool_call_message(("f", '{"b":2,"a":1.0}')),
        1,
    ),
    ("chrf", assistant_message("a cat"), assistant_message("a cat"), 100),
    ("chrf", assistant_message(""), assistant_message("a cat"), 0),
    ("chrf", assistant_message("a cat"), assistant_message(""), 0),
    ("chrf", assistant_message("a"), assistant_message("b"), 0),
    ("bleu", assistant_message("one two three four"), assistant_message("one two three four"), 100),
    ("bleu", assistant_message(""), assistant_message("one two"), 0),
    (
        "json_fields",
        assistant_message('{"a": 1, "b": 2}'),
        assistant_message('{"b": 2, "a": 1}'),
        1,
    ),
    ("json_fields", assistant_message('{"a": 1}'), assistant_message('{"a": 1, "b": 2}'), 1 / 2),
    (
        "json_fields",
        assistant_message('{"a": 1, "c": 3}'),
        assistant_message('{"a": 1, "b": 2}'),
        1 / 3,
    ),
    (
        "json_fields",
        assistant_message('{"a": {"x": [1, 2]}}'),
        assistant_message('{"a": {"x": [1, 3]}}'),
        1 / 2,
    ),
    ("json_fields", assistant_message('{"a": true}'), assistant_message('{"a": 1}'), 0),
    ("json_fields", assistant_message('{"a": 1.0}'), assistant_message('{"a": 1}'), 1),
    ("json_fields", assistant_message('{"a": "1"}'), assistant_message('{"a": 1}'), 0),
    ("json_fields", assistant_message("{}"), assistant_message("{}"), 1),
    ("json_fields", assistant_message("[]"), assistant_message("{}"), 0),
    ("json_fields", assistant_message('```json\n{"a": 1}\n```'), assistant_message('{"a": 1}'), 0),
    (
        "tool_names",
        tool_call_message(("f", "{}"), ("g", "{}")),
        tool_call_message(("g", '{"a":1}'), ("f", "{}")),
        1,
    ),
    ("tool_names", tool_call_message(("f", "{}")), tool_call_message(("f", "{}"), ("f", "{}")), 0),
    ("tool_names", assistant_message("f()"), tool_call_message(("f", "{}")), 0),
    (
        "tool_arguments",
        tool_call_message(("f", '{"a":[1,2]}')),
        tool_call_message(("f", '{"a": [1, 2]}')),
        1,
    ),
    (
        "tool_arguments",
        tool_call_message(("f", '{"a":[2,1]}')),
        tool_call_message(("f", '{"a":[1,2]}')),
        0,
    ),
    ("tool_arguments", tool_call_message(("f", "{oops")), tool_call_message(("f", "{oops")), 1),
    ("tool_arguments", tool_call_message(("f", "{oops")), tool_call_message(("f", "{}")), 0),
    (
        "tool_arguments",
        assistant_message(function_call={"name": "f", "arguments": "{}"}),
        tool_call_message(("f", "{}")),
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
    reference = read_reply(assistant_message("the cat sat on the mat today"))
    scores = [
        MEASURES[name].score(read_reply(assistant_message(text)), reference)
        for text in ("a dog", "the cat ran", "the cat sat on the mat")
    ]
    assert 0 <= scores[0] < scores[1] < scores[2] < 100


def test_similarity_is_that_of_sacrebleu() -> None:
    import sacrebleu

    one, two = "the cat sat on a mat", "the cat is on the mat"
    a, b = read_reply(assistant_message(one)), read_reply(assistant_message(two))
    assert MEASURES["chrf"].score(a, b) == pytest.approx(sacrebleu.sentence_chrf(one, [two]).score)
    assert MEASURES["bleu"].score(a, b) == pytest.approx(sacrebleu.sentence_bleu(one, [two]).score)


@pytest.mark.parametrize(
    ("name", "message", "value"),
    [
        ("refusal", assistant_message(refusal="I will not"), 1),
        ("refusal", assistant_message([{"type": "refusal", "refusal": "no"}]), 1),
        ("refusal", assistant_message("I'm sorry, I cannot help with that."), 0),
        ("characters", assistant_message("Zoë 🎾"), 5),
        ("characters", assistant_message(None), 0),
        ("json_valid", assistant_message('{"a": NaN}'), 0),
        ("json_valid", assistant_message("12"), 0),
        ("json_valid", assistant_message(" [1] "), 1),
        ("json_valid", assistant_message("[" * 5000 + "]" * 5000), 0),
    ],
)
def test_a_trait_of_one_reply(name: str, message: dict[str, Any], value: float) -> None:
    assert REPLY_MEASURES[name].score(read_reply(message)) == value


def test_tokens_are_counted_in_the_encoding_of_the_model() -> None:
    assert token_measure("cl100k_base").score(read_reply(assistant_message("Hello world"))) == 2


def test_a_key_of_a_json_object_is_a_measure() -> None:
    measure = field_measure("team")
    one, two = (
        read_reply(assistant_message('{"team": {"a": 1, "b": 2}}')),
        read_reply(assistant_message('{"team": {"b": 2, "a": 1.0}, "x": 1}')),
    )
    assert measure.score(one, two) == 1
    assert measure.applies(two, one, one)
    assert not measure.applies(read_reply(assistant_message('{"x": 1}')), one, one)
    assert measure.score(read_reply(assistant_message("no")), two) == 0


TEXTS = st.text(max_size=40) | JSON_OBJECTS.map(json.dumps)
MESSAGES = st.builds(
    lambda content, refusal, calls: {
        **assistant_message(content, refusal=refusal),
        "tool_calls": calls,
    },
    TEXTS | st.none() | JSON_OBJECTS,
    st.none() | TEXTS | JSON_OBJECTS,
    st.none()
    | JSON_OBJECTS
    | st.lists(
        st.builds(
            lambda name, text: {"function": {"name": name, "arguments": text}},
            TEXTS,
            TEXTS | JSON_OBJECTS,
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


@given(JSON_OBJECTS)
def test_equal_json_has_one_canonical_form(value: Any) -> None:
    assert canonical(json.loads(json.dumps(value))) == canonical(json.loads(canonical(value)))
