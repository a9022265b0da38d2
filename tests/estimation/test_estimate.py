"""Billed and trained tokens of a file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit import estimate, measure
from ftkit.catalog import find_limits, load_catalog
from ftkit.estimation.measure import counting_methods
from ftkit.estimation.quote import quote
from ftkit.rules.base import ScanPlan
from ftkit.summary import Summary
from ftkit.tokens.counting import APPROXIMATIONS
from ftkit.tokens.encodings import tiktoken_encoding
from ftkit.tokens.stats import Histogram, TokenStats, above, total
from ftkit.validation.scan import Scanner
from support.estimates import TODAY, count_by_hand, histograms
from support.examples import chat_example, chat_lines
from support.fixture_types import Write
from support.models import GPT_35, MINI
from support.paths import SAMPLES


def test_only_what_the_assistant_says_with_weight_is_trained(write: Write) -> None:
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "not this", "weight": 0},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "but this", "weight": 1},
    ]
    estimated = estimate(
        measure(write([json.dumps({"messages": messages}).encode()]), [MINI]).summary,
        MINI,
        today=TODAY,
    )
    assert estimated.trained_tokens_per_epoch == len(
        tiktoken_encoding("o200k_base").encode_ordinary("but this")
    )
    assert estimated.tokens_per_epoch == count_by_hand(messages)


@pytest.mark.parametrize(("before", "lost"), [(10, 910), (4_050, 1_000)])
def test_what_the_limit_cuts_is_counted_and_told_by_what_is_trained(
    before: int, lost: int, write: Write
) -> None:
    messages = [
        {"role": "user", "content": " go" * before},
        {"role": "assistant", "content": " yes" * 5000},
    ]
    tokens = count_by_hand(messages, "cl100k_base")
    estimated = estimate(
        measure(write([json.dumps({"messages": messages}).encode()]), [GPT_35]).summary,
        GPT_35,
        today=TODAY,
    )
    assert (estimated.tokens_per_epoch, estimated.cut_tokens, estimated.cut_examples) == (
        4096,
        tokens - 4096,
        1,
    )
    assert estimated.cut_trained_examples == 1
    assert estimated.trained_tokens_per_epoch == 4096 - (tokens - 5000)
    assert any("cut off" in why for why in estimated.approximations)


def row(**more: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}],
        **more,
    }


FUNCTION = {
    "name": "f",
    "description": "Do it.",
    "parameters": {
        "type": "object",
        "properties": {
            "a": {"type": "string", "description": "What.", "enum": ["x", "y"]},
            "b": {"type": "object", "properties": {"c": {}}},
        },
    },
}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": "x"}'}}
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def with_image(url: str, **more: Any) -> dict[str, Any]:
    return row(
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Hi"},
                    {"type": "image_url", "image_url": {"url": url, **more}},
                ],
            },
            {"role": "assistant", "content": "Ho"},
        ]
    )


def named(name: str) -> dict[str, Any]:
    return row(
        messages=[
            {"role": "user", "content": "Hi", "name": name},
            {"role": "assistant", "content": "Ho"},
        ]
    )


ODD = [
    ("names", named("ada"), 2),
    (
        "tools",
        row(tools=[{"type": "function", "function": FUNCTION}]),
        12
        + 7
        + 3
        + (3 - 3 + 3 + 3)
        + 3
        + (3 + 3)
        + sum(
            len(tiktoken_encoding("o200k_base").encode_ordinary(text))
            for text in ("f:Do it", "a:string:What", "x", "y", "b:object:", "c::")
        ),
    ),
    ("tools", row(functions=[{"name": "f"}]), 12 + 7 + 2),
    (
        "parts",
        row(
            messages=[
                {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
                {"role": "assistant", "content": "Ho"},
            ]
        ),
        0,
    ),
    (
        "refusals",
        row(messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "refusal": "Ho"}]),
        0,
    ),
    (
        "weights",
        row(
            messages=[
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Ho", "weight": 0},
            ]
        ),
        0,
    ),
    ("images", with_image(PIXEL), 2_833 + 5_667),
    ("images", with_image(PIXEL, detail="low"), 2_833),
    ("remote images", with_image("https://example.com/a.png"), 2_833 + 4 * 5_667),
]


@pytest.mark.parametrize(
    ("kind", "value", "more"), ODD, ids=[f"{kind}-{n}" for n, (kind, _, _) in enumerate(ODD)]
)
def test_what_is_not_published_is_counted_by_a_rule_that_is_told(
    kind: str, value: dict[str, Any], more: int, write: Write
) -> None:
    estimated = estimate(
        measure(write([json.dumps(value).encode()]), [MINI]).summary, MINI, today=TODAY
    )
    assert estimated.tokens_per_epoch == count_by_hand(row()["messages"]) + more
    assert not estimated.exact
    assert f"1 examples: {APPROXIMATIONS[kind]}" in estimated.approximations


def test_a_call_is_counted_as_its_text(write: Write) -> None:
    value = row(
        messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "tool_calls": [CALL]}]
    )
    estimated = estimate(
        measure(write([json.dumps(value).encode()]), [MINI]).summary, MINI, today=TODAY
    )
    text = sum(
        len(tiktoken_encoding("o200k_base").encode_ordinary(part)) for part in ("f", '{"a": "x"}')
    )
    assert (
        estimated.tokens_per_epoch == count_by_hand([{"role": "user", "content": "Hi"}]) + 4 + text
    )
    assert estimated.trained_tokens_per_epoch == text


def test_a_preference_counts_the_input_with_each_output_and_trains_on_the_outputs() -> None:
    result = quote(SAMPLES / "preference.jsonl", ["gpt-4.1-mini-2025-04-14"], today=TODAY)
    count, tokens, trained = tiktoken_encoding("o200k_base").encode_ordinary, 0, 0
    for line in (SAMPLES / "preference.jsonl").read_text("utf-8").splitlines():
        value = json.loads(line)
        for output in ("preferred_output", "non_preferred_output"):
            tokens += count_by_hand([*value["input"]["messages"], *value[output]])
            trained += sum(len(count(message["content"])) for message in value[output])
    assert (result.tokens, result.trained) == (tokens, trained)


def test_prompts_and_completions_are_counted_as_text() -> None:
    result = quote(SAMPLES / "completions.jsonl", ["davinci-002"], today=TODAY)
    count = tiktoken_encoding("cl100k_base").encode_ordinary
    rows = [
        json.loads(line) for line in (SAMPLES / "completions.jsonl").read_text("utf-8").splitlines()
    ]
    assert result.tokens == sum(
        len(count(row["prompt"])) + len(count(row["completion"])) for row in rows
    )
    assert result.trained == sum(len(count(row["completion"])) for row in rows)
    assert not result.models[0].exact


def test_text_of_special_tokens_is_ordinary_text(write: Write) -> None:
    messages = [
        {"role": "user", "content": "<|endoftext|>"},
        {"role": "assistant", "content": "Ho"},
    ]
    estimated = estimate(
        measure(write([json.dumps({"messages": messages}).encode()]), [MINI]).summary,
        MINI,
        today=TODAY,
    )
    assert estimated.tokens_per_epoch == count_by_hand(messages) == 1 + 4 + 7 + 4 + 1


def test_lines_that_the_service_would_refuse_are_left_out_and_counted(write: Write) -> None:
    bad: dict[int, Any] = {
        2: b"oops",
        3: {"messages": []},
        4: {**chat_example(3), "weight": 1, "tools": 5},
        5: b"",
        6: {"messages": [{"role": "bot"}]},
    }
    measured = measure(write(chat_lines(12, bad)), [MINI])
    estimated = estimate(measured.summary, MINI, today=TODAY)
    assert (estimated.examples, measured.skipped) == (7, 4)


def test_extra_keys_do_not_stop_the_estimate(write: Write) -> None:
    rows = [chat_example(number, id=number) for number in range(12)]
    rows[5]["messages"][0]["ts"] = 17
    rows[7]["messages"][0]["weight"] = "no"
    measured = measure(write([json.dumps(row).encode() for row in rows]), [MINI])
    estimated = estimate(measured.summary, MINI, today=TODAY)
    plain = [count_by_hand(row["messages"]) for row in map(chat_example, range(12))]
    assert (estimated.examples, measured.skipped) == (11, 1)
    assert estimated.tokens_per_epoch == sum(plain) - plain[7]
    assert measured.summary.stats["o200k_base tiles-mini"].extra_keys == 11


def test_a_byte_order_mark_and_crlf_do_not_cost_an_example(write: Write) -> None:
    rows = chat_lines(12)
    measured = measure(write(b"\xef\xbb\xbf" + b"\r\n".join(rows)), [MINI])
    assert estimate(measured.summary, MINI, today=TODAY).examples == 12


@given(histograms, st.integers(0, 300))
def test_a_higher_limit_never_cuts_more(numbers: Histogram, limit: int) -> None:
    assert total(numbers, limit) <= total(numbers, limit + 1) <= total(numbers)
    assert above(numbers, limit) >= above(numbers, limit + 1) >= 0


@given(st.integers(1, 50))
def test_more_epochs_cost_more(epochs: int) -> None:
    summary = Summary(stats={"o200k_base tiles-mini": TokenStats(10, {100: 10})})
    one, two = (
        estimate(summary, MINI, epochs=number, today=TODAY).cost for number in (epochs, epochs + 1)
    )
    assert one is not None
    assert two is not None
    assert 0 < one.usd < two.usd


SHARDS = [json.dumps(value).encode() for _, value, _ in ODD] + chat_lines(8) + [b"oops", b""]


@given(st.lists(st.sampled_from(SHARDS), min_size=1, max_size=20), st.data())
def test_ledgers_add_up_whatever_the_shards(rows: list[bytes], data: st.DataObject) -> None:
    asked = counting_methods([MINI, GPT_35], "openai", "billing", load_catalog())
    plan = ScanPlan(find_limits(), counting_methods=asked, applies_rules=False)

    def ledgers(some: list[bytes]) -> Summary:
        scanner = Scanner(plan)
        scanner.scan(some, sum(map(len, some)))
        return scanner.summary()

    at = data.draw(st.integers(0, len(rows)))
    assert (ledgers(rows[:at]) + ledgers(rows[at:])).stats == ledgers(rows).stats
