"""Rows that belong together: whatever they hold, every one of them is accounted for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from ftkit.prepare.convert.convert import convert
from support.fixture_types import Write

IDS = st.sampled_from(["a", "b", "c", "<examples>:1"])
ODD = st.sampled_from([None, 7, "x", [], {}, True])
MESSAGES = st.fixed_dictionaries(
    {
        "message_id": IDS | ODD,
        "parent_id": st.none() | IDS | ODD,
        "message_tree_id": st.just("t") | IDS | ODD,
        "role": st.sampled_from(["prompter", "assistant"]) | ODD,
        "text": st.text(max_size=2) | ODD,
    },
    optional={"rank": st.integers(0, 2) | ODD, "deleted": st.booleans()},
)
TREES = st.fixed_dictionaries(
    {
        "message_tree_id": IDS,
        "prompt": st.recursive(
            MESSAGES,
            lambda inner: st.builds(
                lambda message, replies: {**message, "replies": replies},
                MESSAGES,
                st.lists(inner | ODD, max_size=3) | ODD,
            ),
            max_leaves=5,
        ),
    }
)
LABELS = st.fixed_dictionaries(
    {
        "prompt": st.sampled_from(["p", "q", [{"role": "user", "content": "p"}]]) | ODD,
        "completion": st.text(max_size=2) | ODD,
    },
    optional={"label": st.booleans() | ODD, "tools": ODD},
)
REQUESTS = st.fixed_dictionaries(
    {"custom_id": IDS | ODD}, optional={"body": LABELS | ODD, "response": LABELS | ODD}
)
TARGETS = st.sampled_from(["chat", "preference", "reinforcement"])


def check(rows: list[Any], name: str, to: str) -> None:
    prepared = convert(rows, to=to, from_=name, on_loss="allow", prove=True)
    written = list(prepared)
    assert prepared.audit.is_balanced
    assert prepared.audit.read == len(rows)
    assert prepared.audit.written == len(written)


@given(st.lists(MESSAGES | TREES, min_size=1, max_size=6), TARGETS)
@example(
    [{"message_id": "a", "parent_id": "a", "message_tree_id": "a", "role": "prompter"}], "chat"
)
def test_messages_of_trees_are_accounted_for(rows: list[Any], to: str) -> None:
    check(rows, "oasst", to)


@given(st.lists(LABELS, min_size=1, max_size=6), TARGETS)
def test_labelled_completions_are_accounted_for(rows: list[Any], to: str) -> None:
    check(rows, "trl-kto", to)


@given(st.lists(REQUESTS, min_size=1, max_size=4), TARGETS)
def test_requests_and_responses_are_accounted_for(rows: list[Any], to: str) -> None:
    check(rows, "batch", to)


def batch(answer: str) -> list[bytes]:
    request = b'{"custom_id": "a","body":{"messages":[{"role":"user","content":"q"}]}}'
    choice = '{"message":{"role":"assistant","tool_calls":[{"id":"t","function":%s}]}}' % answer
    response = '{"custom_id":"a", "response":{"body":{"choices":[%s]}}}' % choice
    return [request, response.encode()]


def test_numbers_of_joined_rows_keep_their_digits(write: Write) -> None:
    lines = batch('{"name":"f","arguments":{"x":0.1234567890123456789}}')
    (row,) = convert(write(lines), to="chat")
    call = row["messages"][1]["tool_calls"][0]
    assert call["function"]["arguments"] == '{"x":0.1234567890123456789}'


def test_joined_rows_are_rejected_as_they_are_in_their_sources(
    write: Write, tmp_path: Path
) -> None:
    lines, rejects = batch('{"name":7,"arguments":"{}"}'), tmp_path / "rejects"
    prepared = convert(write(lines), to="chat")
    prepared.write(tmp_path / "out", rejects=rejects)
    assert rejects.read_bytes().splitlines() == lines
    (entry,) = (entry for entry in prepared.audit.entries if entry.effect == "rejected")
    assert entry.origin.line == 2
    assert entry.pointer.startswith("/response/body/choices/0")
