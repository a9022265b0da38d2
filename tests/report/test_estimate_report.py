"""Estimates as text: what a reader learns about a file, and about a model."""

from __future__ import annotations

import json
from typing import Any

import click
import msgspec
import pytest

from ftkit.estimation.quote import Quote, quote
from ftkit.report.estimate import render_estimate_text
from support.estimates import TODAY
from support.examples import chat_example, chat_lines
from support.fixture_types import Write
from support.models import MINI
from support.paths import SAMPLES


def render(quoted: Quote, **changes: Any) -> str:
    """Return the text for a quote whose only estimate has other values."""
    model = msgspec.structs.replace(quoted.models[0], **changes)
    return click.unstyle(render_estimate_text(msgspec.structs.replace(quoted, models=(model,))))


@pytest.fixture(scope="module")
def quoted() -> Quote:
    return quote(SAMPLES / "marv.jsonl", [MINI], today=TODAY)


def test_lines_that_are_left_out_are_counted(write: Write) -> None:
    path = write([*chat_lines(12), b"{", b"["])
    text = click.unstyle(render_estimate_text(quote(path, [MINI], today=TODAY)))
    assert f"warning: skipped 2 invalid lines; run `ftkit validate {path}` for details\n" in text


def test_examples_with_extra_keys_are_counted_and_reported(write: Write) -> None:
    path = write([json.dumps(chat_example(number, id=number)).encode() for number in range(12)])
    text = click.unstyle(render_estimate_text(quote(path, [MINI], today=TODAY)))
    assert "  chat · 12 examples\n" in text
    assert (
        "warning: 12 examples with keys that the provider refuses, counted without them; "
        f"run `ftkit validate {path}` for details\n" in text
    )


def test_what_truncation_loses_is_stated(quoted: Quote, write: Write) -> None:
    assert "no example is longer than 65,536 tokens\n" in render(quoted)
    prompt = b'{"messages": [{"role": "user", "content": "%b"}, '
    answer = b'{"role": "assistant", "content": "b"}]}'
    line = prompt % (b"a b c d " * 20_000) + answer
    text = click.unstyle(render_estimate_text(quote(write([line] * 12), [MINI], today=TODAY)))
    assert "12 examples longer than 65,536 tokens; trained tokens are lost in 12 of them\n" in text


@pytest.mark.parametrize(
    ("name", "trained", "messages"),
    [
        ("marv", "assistant messages, except those of weight 0", True),
        ("completions", "the completions", False),
        ("preference", "the preferred and the non-preferred answers", True),
        ("reinforcement", None, True),
    ],
)
def test_the_tokens_and_messages_are_those_of_the_format(
    name: str, trained: str | None, messages: bool
) -> None:
    text = click.unstyle(render_estimate_text(quote(SAMPLES / f"{name}.jsonl", today=TODAY)))
    rows = {line[2:11].strip(): line.split(maxsplit=2) for line in text.splitlines() if line}
    assert rows.get("trained", ["", "", None])[2] == trained
    assert ("context" in rows) == ("trained t" in rows) == (trained is not None)
    assert ("messages" in rows) == ("without a system message" in text) == messages


def test_a_model_without_a_price_says_so(quoted: Quote) -> None:
    text = render(quoted, cost=None, cost_note="no price is published")
    assert [line.split(maxsplit=2) for line in text.splitlines() if "cost" in line] == [
        ["cost", "unknown", "no price is published"]
    ]


def test_the_dates_of_a_model_are_stated_as_far_as_they_are_published(quoted: Quote) -> None:
    assert "until 2027-01-06; a model trained today is served for 55 days, until" in render(quoted)
    assert "trainable" in render(quoted, served_days=None, served_until=None)
    assert "is served for" not in render(quoted, served_days=None, served_until=None)
    assert "no end date" in render(quoted, trainable_until=None, served_days=None)
    lines = render(quoted, trainable=False, trainable_note="it ended").splitlines()
    assert ["trainable", "no", "it ended"] in [line.split(maxsplit=2) for line in lines]


def test_an_approximation_gives_its_reasons(quoted: Quote) -> None:
    assert "exact: plain text messages" in render(quoted, exact=True, approximations=())
    text = render(quoted, exact=False, approximations=("images", "tools"))
    assert (
        "approximate: the provider does not publish how it counts these tokens\n"
        "    images\n    tools\n" in text
    )


def test_the_cost_of_use_says_when_training_pays_for_itself() -> None:
    path = SAMPLES / "marv.jsonl"
    instructions = "Answer sarcastically. " * 400
    cheaper = quote(path, [MINI], requests=1000, base_prompt=instructions, today=TODAY)
    text = click.unstyle(render_estimate_text(cheaper))
    assert "1,000 requests per month" in text
    assert "more prompt tokens; training pays for itself after" in text
    dearer = click.unstyle(render_estimate_text(quote(path, [MINI], requests=1000, today=TODAY)))
    assert "requests are not cheaper, so training never pays for itself" in dearer
    usage = msgspec.structs.replace(cheaper.usage[MINI], break_even_requests=None)
    unknown = msgspec.structs.replace(cheaper, usage={MINI: usage})
    assert "the price of training is unknown" in click.unstyle(render_estimate_text(unknown))
