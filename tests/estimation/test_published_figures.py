"""Estimates against published rules, bills and notebooks."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit import estimate, measure
from ftkit.catalog import load_catalog
from ftkit.estimation.estimate import auto_epochs
from ftkit.estimation.quote import quote
from ftkit.summary import Summary
from ftkit.tokens.stats import TokenStats
from support.estimates import TODAY, count_by_hand
from support.examples import chat_example, chat_lines
from support.fixture_types import Write
from support.models import GPT_35, MINI
from support.paths import SAMPLES


@pytest.mark.parametrize(
    ("examples", "epochs"),
    [
        (1, 25),
        (4, 25),
        (5, 20),
        (10, 10),
        (25, 4),
        (33, 3),
        (34, 3),
        (8_333, 3),
        (8_334, 2),
        (12_501, 1),
        (17_800, 1),
        (10**6, 1),
    ],
)
def test_epochs_are_those_of_the_published_rule(examples: int, epochs: int) -> None:
    assert auto_epochs(examples) == epochs


@given(st.integers(1, 100_000))
def test_more_examples_never_mean_more_epochs(examples: int) -> None:
    assert auto_epochs(examples) >= auto_epochs(examples + 1) >= 1


def measured(examples: int, messages: int, tokens: int) -> Summary:
    """A summary of examples with so many tokens in all, by the formula, whose messages hold `x` as often as it takes."""
    text = tokens - examples - 4 * messages
    return Summary(
        stats={
            "o200k_base tiles-mini": TokenStats(
                examples, {0: examples - 1, examples + 4 * messages + text: 1}
            )
        }
    )


@pytest.mark.parametrize(
    ("examples", "messages", "epochs", "billed"), [(25, 83, 4, 6_104), (10, 30, 10, 4_480)]
)
def test_a_job_is_billed_as_many_tokens_as_the_service_reported(
    examples: int, messages: int, epochs: int, billed: int
) -> None:
    estimated = estimate(measured(examples, messages, billed // epochs), MINI, today=TODAY)
    assert (estimated.epochs, estimated.billed_tokens, estimated.epochs_source) == (
        epochs,
        billed,
        "rule",
    )


def test_overheads_of_3_and_1_are_the_only_whole_ones_that_both_real_jobs_allow(
    write: Write,
) -> None:
    rows = [
        {
            "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]
            * turns
        }
        for turns in (1, 3)
    ]
    estimated = estimate(
        measure(write([json.dumps(row).encode() for row in rows]), [MINI]).summary,
        MINI,
        today=TODAY,
    )
    assert estimated.tokens_per_epoch == sum(count_by_hand(row["messages"]) for row in rows)
    assert estimated.exact


def test_the_launch_example_costs_2_40() -> None:
    summary = Summary(stats={"cl100k_base": TokenStats(1000, {100: 1000})})
    estimated = estimate(summary, GPT_35, epochs=3, today=TODAY)
    launch = load_catalog().models[GPT_35].providers["openai"].training[-1]
    assert (launch.as_of, launch.usd) == ("2023-08", 8.0)
    assert estimated.cost is not None
    assert estimated.cost.usd == 300_000 * launch.usd / 1e6 == 2.40


def test_counts_are_those_of_the_formula_on_every_sample_of_plain_messages() -> None:
    path = SAMPLES / "sports-headlines.jsonl"
    rows = [json.loads(line)["messages"] for line in path.read_text("utf-8").splitlines()]
    for model, encoding in ((MINI, "o200k_base"), (GPT_35, "cl100k_base")):
        estimated = estimate(measure(path, [model]).summary, model, today=TODAY)
        assert estimated.tokens_per_epoch == sum(count_by_hand(row, encoding) for row in rows)
        assert estimated.exact


def test_the_notebook_counts_2_tokens_an_example_more_in_its_own_encoding(write: Write) -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello there"},
    ]
    path = write([json.dumps({"messages": messages}).encode()] * 5)
    summary = measure(path, [MINI], counting="notebook").summary
    estimated = estimate(summary, MINI, counting="notebook", today=TODAY)
    assert estimated.tokens_per_epoch == 5 * (count_by_hand(messages, "cl100k_base") + 2)
    assert (estimated.encoding, estimated.epochs, estimated.exact) == ("cl100k_base", 20, False)


def test_the_notebook_cuts_at_4096(write: Write) -> None:
    rows = chat_lines(
        4,
        {
            4: {
                "messages": [
                    {"role": "user", "content": "x"},
                    {"role": "assistant", "content": "go on " * 5000},
                ]
            }
        },
    )
    result = quote(write(rows), [GPT_35], counting="notebook", today=TODAY)
    assert result.models[0].cut_examples == result.models[0].cut_trained_examples == 1
    assert (
        result.models[0].tokens_per_epoch
        - sum(count_by_hand(chat_example(n)["messages"], "cl100k_base") + 2 for n in range(3))
        == 4096
    )
