"""Price quotes."""

from __future__ import annotations

import datetime

import pytest

from ftkit import UsageError, estimate, measure
from ftkit._text import money
from ftkit.catalog import load_catalog
from ftkit.estimation.estimate import candidates
from ftkit.estimation.quote import quote
from ftkit.estimation.usage import usage
from ftkit.report.estimate import render_estimate_text
from ftkit.summary import Summary
from ftkit.tokens.stats import TokenStats
from support.estimates import TODAY
from support.models import GPT_35, MINI, NANO
from support.paths import SAMPLES


def test_a_model_that_is_over_says_since_when_and_is_no_candidate() -> None:
    estimated = estimate(
        Summary(stats={"o200k_base patches-nano": TokenStats(10, {100: 10})}), NANO, today=TODAY
    )
    assert (estimated.trainable, estimated.trainable_until, estimated.served_days) == (
        False,
        datetime.date(2026, 10, 23),
        0,
    )
    assert NANO not in candidates("chat", "openai", TODAY, load_catalog())
    assert MINI in candidates("chat", "openai", TODAY, load_catalog())
    assert candidates("chat", "openai", datetime.date(2027, 1, 7), load_catalog()) == []


def test_a_model_that_is_not_trained_by_the_method_of_the_format_says_so_and_is_no_candidate() -> (
    None
):
    estimated = quote(SAMPLES / "preference.jsonl", [MINI], today=TODAY).models[0]
    message = (
        f"{MINI} is known to be trained at OpenAI by supervised only; preference files need dpo"
    )
    assert (estimated.trainable, estimated.trainable_note) == (False, message)
    assert MINI not in candidates("preference", "openai", TODAY, load_catalog())
    dpo = "gpt-4.1-2025-04-14"
    assert dpo in candidates("preference", "openai", TODAY, load_catalog())
    both = quote(SAMPLES / "preference.jsonl", [MINI, dpo], today=TODAY)
    for shown in (
        render_estimate_text(quote(SAMPLES / "preference.jsonl", [MINI], today=TODAY)),
        render_estimate_text(both),
    ):
        assert shown.count(message) == 1


def test_a_model_trained_today_is_served_for_55_days() -> None:
    assert quote(SAMPLES / "marv.jsonl", [MINI], today=TODAY).models[0].served_days == 55


@pytest.mark.parametrize(
    ("model", "provider", "message"),
    [
        (MINI, "azure", "publishes no price"),
        ("o4-mini-2025-04-16", "openai", "by the hour of training: $100.00"),
    ],
)
def test_no_figure_is_invented_where_none_is_published(
    model: str, provider: str, message: str
) -> None:
    file = "marv.jsonl" if model == MINI else "reinforcement.jsonl"
    (estimated,) = quote(SAMPLES / file, [model], provider=provider, today=TODAY).models
    assert estimated.cost is None
    assert message in estimated.cost_note
    (priced,) = quote(SAMPLES / file, [model], provider=provider, price=2.0, today=TODAY).models
    assert priced.cost is not None
    assert priced.cost.usd == priced.billed_tokens * 2 / 1e6
    assert priced.cost.source == "your own price"


def test_a_model_that_the_provider_does_not_offer_is_refused_with_who_does() -> None:
    with pytest.raises(UsageError, match="offered by openai"):
        quote(SAMPLES / "marv.jsonl", [GPT_35], provider="azure", today=TODAY)


def test_a_format_that_the_model_does_not_train_on_is_refused() -> None:
    with pytest.raises(UsageError, match="trains on chat files, and this is a preference file"):
        quote(SAMPLES / "preference.jsonl", [GPT_35], today=TODAY)


def test_a_summary_that_was_measured_for_another_model_is_refused() -> None:
    with pytest.raises(UsageError, match="not measured for"):
        estimate(measure(SAMPLES / "marv.jsonl", [GPT_35]).summary, MINI)


def test_using_the_model_is_priced_and_training_pays_for_itself_or_not() -> None:
    summary = Summary(stats={"o200k_base tiles-mini": TokenStats(10, {106: 10}, answers=200)})
    cost = estimate(summary, MINI, epochs=1, today=TODAY).cost
    dear = usage(summary, MINI, 1000, cost)
    assert dear is not None
    assert (dear.prompt_tokens, dear.answer_tokens) == (106 - 20 - 2, 20)
    assert dear.tuned_usd == pytest.approx(1000 * (84 * 0.30 + 20 * 1.20) / 1e6)
    assert dear.base_usd == pytest.approx(1000 * (84 * 0.15 + 20 * 0.60) / 1e6)
    assert dear.break_even_requests is None
    saved = usage(summary, MINI, 1000, cost, base_prompt=" word" * 10_000)
    assert saved is not None
    assert cost is not None
    saving = (saved.base_usd - saved.tuned_usd) / 1000
    assert saved.break_even_requests is not None
    assert (saved.break_even_requests - 1) * saving < cost.usd <= saved.break_even_requests * saving
    assert usage(summary, MINI, 1000, cost, provider="azure") is None


@pytest.mark.parametrize(
    ("usd", "shown"), [(0, "$0.00"), (0.0346, "$0.0346"), (0.29, "$0.29"), (1234.5, "$1,234.50")]
)
def test_money_is_shown_with_the_digits_that_matter(usd: float, shown: str) -> None:
    assert money(usd) == shown
