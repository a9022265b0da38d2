"""Tokens to the digit, epochs by the published rule, money with its source."""

from __future__ import annotations

import base64
import datetime
import json
import os
import statistics
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Write, example, lines
from hypothesis import given
from hypothesis import strategies as st

from ftkit import UsageError, estimate, measure
from ftkit._text import money
from ftkit.catalog import find_limits, load_catalog
from ftkit.dataset.types import ImageUrl
from ftkit.estimation.estimate import auto_epochs, candidates
from ftkit.estimation.measure import counting_methods
from ftkit.estimation.quote import quote
from ftkit.estimation.usage import usage
from ftkit.report.catalog import render_catalog_text
from ftkit.report.estimate import render_estimate_text
from ftkit.rules.base import ScanPlan
from ftkit.summary import Summary
from ftkit.tokens.counting import APPROXIMATIONS
from ftkit.tokens.encodings import reference
from ftkit.tokens.images import ASSUMED, image_tokens, size
from ftkit.tokens.stats import Distribution, Histogram, TokenStats, above, distribution, total
from ftkit.validation.scan import Scanner

TODAY = datetime.date(2026, 11, 20)
MINI, NANO, OLD = "gpt-4o-mini-2024-07-18", "gpt-4.1-nano-2025-04-14", "gpt-3.5-turbo"
SAMPLES = ROOT / "samples"


def by_hand(messages: list[dict[str, Any]], encoding: str = "o200k_base") -> int:
    """The formula, written down once more."""
    count = reference(encoding).encode_ordinary
    return 1 + sum(
        3 + len(count(message["role"])) + len(count(message["content"])) for message in messages
    )


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
        ledgers={
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
    told = estimate(measured(examples, messages, billed // epochs), MINI, today=TODAY)
    assert (told.epochs, told.billed_tokens, told.epochs_source) == (epochs, billed, "rule")


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
    told = estimate(
        measure(write([json.dumps(row).encode() for row in rows]), [MINI]).summary,
        MINI,
        today=TODAY,
    )
    assert told.tokens_per_epoch == sum(by_hand(row["messages"]) for row in rows)
    assert told.exact


def test_the_launch_example_costs_2_40() -> None:
    summary = Summary(ledgers={"cl100k_base": TokenStats(1000, {100: 1000})})
    told = estimate(summary, OLD, epochs=3, today=TODAY)
    launch = load_catalog().models[OLD].providers["openai"].training[-1]
    assert (launch.as_of, launch.usd) == ("2023-08", 8.0)
    assert told.cost is not None
    assert told.cost.usd == 300_000 * launch.usd / 1e6 == 2.40


def test_counts_are_those_of_the_formula_on_every_sample_of_plain_messages() -> None:
    path = SAMPLES / "sports-headlines.jsonl"
    rows = [json.loads(line)["messages"] for line in path.read_text("utf-8").splitlines()]
    for model, encoding in ((MINI, "o200k_base"), (OLD, "cl100k_base")):
        told = estimate(measure(path, [model]).summary, model, today=TODAY)
        assert told.tokens_per_epoch == sum(by_hand(row, encoding) for row in rows)
        assert told.exact


def test_the_notebook_counts_2_tokens_an_example_more_in_its_own_encoding(write: Write) -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello there"},
    ]
    path = write([json.dumps({"messages": messages}).encode()] * 5)
    summary = measure(path, [MINI], counting="notebook").summary
    told = estimate(summary, MINI, counting="notebook", today=TODAY)
    assert told.tokens_per_epoch == 5 * (by_hand(messages, "cl100k_base") + 2)
    assert (told.encoding, told.epochs, told.exact) == ("cl100k_base", 20, False)


def test_the_notebook_cuts_at_4096(write: Write) -> None:
    rows = lines(
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
    told = quote(write(rows), [OLD], counting="notebook", today=TODAY)
    assert told.models[0].cut_examples == told.models[0].cut_trained_examples == 1
    assert (
        told.models[0].tokens_per_epoch
        - sum(by_hand(example(n)["messages"], "cl100k_base") + 2 for n in range(3))
        == 4096
    )


def test_only_what_the_assistant_says_with_weight_is_trained(write: Write) -> None:
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "not this", "weight": 0},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "but this", "weight": 1},
    ]
    told = estimate(
        measure(write([json.dumps({"messages": messages}).encode()]), [MINI]).summary,
        MINI,
        today=TODAY,
    )
    assert told.trained_tokens_per_epoch == len(reference("o200k_base").encode_ordinary("but this"))
    assert told.tokens_per_epoch == by_hand(messages)


@pytest.mark.parametrize(("before", "lost"), [(10, 910), (4_050, 1_000)])
def test_what_the_limit_cuts_is_counted_and_told_by_what_is_trained(
    before: int, lost: int, write: Write
) -> None:
    messages = [
        {"role": "user", "content": " go" * before},
        {"role": "assistant", "content": " yes" * 5000},
    ]
    tokens = by_hand(messages, "cl100k_base")
    told = estimate(
        measure(write([json.dumps({"messages": messages}).encode()]), [OLD]).summary,
        OLD,
        today=TODAY,
    )
    assert (told.tokens_per_epoch, told.cut_tokens, told.cut_examples) == (4096, tokens - 4096, 1)
    assert told.cut_trained_examples == 1
    assert told.trained_tokens_per_epoch == 4096 - (tokens - 5000)
    assert any("cut off" in why for why in told.approximations)


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
            len(reference("o200k_base").encode_ordinary(text))
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
    told = estimate(measure(write([json.dumps(value).encode()]), [MINI]).summary, MINI, today=TODAY)
    assert told.tokens_per_epoch == by_hand(row()["messages"]) + more
    assert not told.exact
    assert f"1 examples: {APPROXIMATIONS[kind]}" in told.approximations


def test_a_call_is_counted_as_its_text(write: Write) -> None:
    value = row(
        messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "tool_calls": [CALL]}]
    )
    told = estimate(measure(write([json.dumps(value).encode()]), [MINI]).summary, MINI, today=TODAY)
    text = sum(len(reference("o200k_base").encode_ordinary(each)) for each in ("f", '{"a": "x"}'))
    assert told.tokens_per_epoch == by_hand([{"role": "user", "content": "Hi"}]) + 4 + text
    assert told.trained_tokens_per_epoch == text


def test_a_preference_counts_the_input_with_each_output_and_trains_on_the_outputs() -> None:
    told = quote(SAMPLES / "preference.jsonl", ["gpt-4.1-mini-2025-04-14"], today=TODAY)
    count, tokens, trained = reference("o200k_base").encode_ordinary, 0, 0
    for line in (SAMPLES / "preference.jsonl").read_text("utf-8").splitlines():
        value = json.loads(line)
        for output in ("preferred_output", "non_preferred_output"):
            tokens += by_hand([*value["input"]["messages"], *value[output]])
            trained += sum(len(count(message["content"])) for message in value[output])
    assert (told.tokens, told.trained) == (tokens, trained)


def test_prompts_and_completions_are_counted_as_text() -> None:
    told = quote(SAMPLES / "completions.jsonl", ["davinci-002"], today=TODAY)
    count = reference("cl100k_base").encode_ordinary
    rows = [
        json.loads(line) for line in (SAMPLES / "completions.jsonl").read_text("utf-8").splitlines()
    ]
    assert told.tokens == sum(
        len(count(row["prompt"])) + len(count(row["completion"])) for row in rows
    )
    assert told.trained == sum(len(count(row["completion"])) for row in rows)
    assert not told.models[0].exact


def test_text_of_special_tokens_is_ordinary_text(write: Write) -> None:
    messages = [
        {"role": "user", "content": "<|endoftext|>"},
        {"role": "assistant", "content": "Ho"},
    ]
    told = estimate(
        measure(write([json.dumps({"messages": messages}).encode()]), [MINI]).summary,
        MINI,
        today=TODAY,
    )
    assert told.tokens_per_epoch == by_hand(messages) == 1 + 4 + 7 + 4 + 1


def test_lines_that_the_service_would_refuse_are_left_out_and_counted(write: Write) -> None:
    bad: dict[int, Any] = {
        2: b"oops",
        3: {"messages": []},
        4: {**example(3), "extra": 1},
        5: b"",
        6: {"messages": [{"role": "bot"}]},
    }
    found = measure(write(lines(12, bad)), [MINI])
    told = estimate(found.summary, MINI, today=TODAY)
    assert (told.examples, found.skipped) == (7, 4)


def test_a_byte_order_mark_and_crlf_do_not_cost_an_example(write: Write) -> None:
    rows = lines(12)
    found = measure(write(b"\xef\xbb\xbf" + b"\r\n".join(rows)), [MINI])
    assert estimate(found.summary, MINI, today=TODAY).examples == 12


def png(width: int, height: int) -> str:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )
    return "data:image/png;base64," + base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("family", "width", "height", "detail", "tokens"),
    [
        ("tiles", 1024, 1024, "high", 765),
        ("tiles", 2048, 4096, "high", 1105),
        ("tiles", 4096, 8192, "low", 85),
        ("tiles", 512, 512, "auto", 255),
        ("tiles-mini", 1024, 1024, "high", 25_501),
        ("patches-mini", 1024, 1024, "high", 1659),
        ("patches-mini", 1800, 2400, "high", 2353),
        ("patches-nano", 32, 32, "high", 3),
    ],
)
def test_an_image_costs_what_its_family_says(
    family: str, width: int, height: int, detail: Any, tokens: int
) -> None:
    image = ImageUrl(png(width, height), detail)
    assert size(image.url) == (width, height)
    assert image_tokens(image, load_catalog().images[family]) == tokens


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "data:image/png;base64,AAAA",
        "data:image/png;base64,!",
        "data:,",
        "",
    ],
)
def test_an_image_that_cannot_be_seen_has_the_size_that_is_told(url: str) -> None:
    assert size(url) == ASSUMED


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_an_image_never_costs_more_than_its_family_allows(width: int, height: int) -> None:
    image = ImageUrl(png(width, height), "high")
    assert 0 < image_tokens(image, load_catalog().images["patches-mini"]) <= 1536 * 1.62 + 1
    assert 255 <= image_tokens(image, load_catalog().images["tiles"]) <= 85 + 170 * 8


histograms: st.SearchStrategy[Histogram] = st.dictionaries(
    st.integers(0, 300), st.integers(1, 4), max_size=12
)


@given(histograms.filter(bool))
def test_a_distribution_is_that_of_numpy(numbers: Histogram) -> None:
    values = sorted(number for number, times in numbers.items() for _ in range(times))
    told = distribution(numbers)
    assert (told.min, told.max) == (values[0], values[-1])
    assert told.mean == pytest.approx(statistics.mean(values))
    assert told.median == pytest.approx(statistics.median(values))
    wanted = np.quantile(values, [0.05, 0.1, 0.9, 0.95])
    assert [told.p5, told.p10, told.p90, told.p95] == pytest.approx(wanted)


def test_the_distribution_of_nothing_is_zero() -> None:
    assert distribution({}) == Distribution()


@given(histograms, st.integers(0, 300))
def test_a_higher_limit_never_cuts_more(numbers: Histogram, limit: int) -> None:
    assert total(numbers, limit) <= total(numbers, limit + 1) <= total(numbers)
    assert above(numbers, limit) >= above(numbers, limit + 1) >= 0


@given(st.integers(1, 50))
def test_more_epochs_cost_more(epochs: int) -> None:
    summary = Summary(ledgers={"o200k_base tiles-mini": TokenStats(10, {100: 10})})
    one, two = (
        estimate(summary, MINI, epochs=number, today=TODAY).cost for number in (epochs, epochs + 1)
    )
    assert one is not None
    assert two is not None
    assert 0 < one.usd < two.usd


SHARDS = [json.dumps(value).encode() for _, value, _ in ODD] + lines(8) + [b"oops", b""]


@given(st.lists(st.sampled_from(SHARDS), min_size=1, max_size=20), st.data())
def test_ledgers_add_up_whatever_the_shards(rows: list[bytes], data: st.DataObject) -> None:
    asked = counting_methods([MINI, OLD], "openai", "billing", load_catalog())
    plan = ScanPlan(find_limits(), meters=asked, judges=False)

    def ledgers(some: list[bytes]) -> Summary:
        scanner = Scanner(plan)
        scanner.scan(some, sum(map(len, some)))
        return scanner.summary()

    at = data.draw(st.integers(0, len(rows)))
    assert (ledgers(rows[:at]) + ledgers(rows[at:])).ledgers == ledgers(rows).ledgers


def test_a_model_that_is_over_says_since_when_and_is_no_candidate() -> None:
    told = estimate(
        Summary(ledgers={"o200k_base patches-nano": TokenStats(10, {100: 10})}), NANO, today=TODAY
    )
    assert (told.trainable, told.trainable_until, told.served_days) == (
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
    told = quote(SAMPLES / "preference.jsonl", [MINI], today=TODAY).models[0]
    said = f"{MINI} is known to be trained at OpenAI by supervised only; preference files need dpo"
    assert (told.trainable, told.trainable_note) == (False, said)
    assert MINI not in candidates("preference", "openai", TODAY, load_catalog())
    dpo = "gpt-4.1-2025-04-14"
    assert dpo in candidates("preference", "openai", TODAY, load_catalog())
    both = quote(SAMPLES / "preference.jsonl", [MINI, dpo], today=TODAY)
    for shown in (
        render_estimate_text(quote(SAMPLES / "preference.jsonl", [MINI], today=TODAY)),
        render_estimate_text(both),
    ):
        assert shown.count(said) == 1


def test_a_model_trained_today_is_served_for_55_days() -> None:
    assert quote(SAMPLES / "marv.jsonl", [MINI], today=TODAY).models[0].served_days == 55


@pytest.mark.parametrize(
    ("model", "provider", "said"),
    [
        (MINI, "azure", "publishes no price"),
        ("o4-mini-2025-04-16", "openai", "by the hour of training: $100.00"),
    ],
)
def test_no_figure_is_invented_where_none_is_published(
    model: str, provider: str, said: str
) -> None:
    file = "marv.jsonl" if model == MINI else "reinforcement.jsonl"
    (told,) = quote(SAMPLES / file, [model], provider=provider, today=TODAY).models
    assert told.cost is None
    assert said in told.cost_note
    (priced,) = quote(SAMPLES / file, [model], provider=provider, price=2.0, today=TODAY).models
    assert priced.cost is not None
    assert priced.cost.usd == priced.billed_tokens * 2 / 1e6
    assert priced.cost.source == "your own price"


def test_a_model_that_the_provider_does_not_offer_is_refused_with_who_does() -> None:
    with pytest.raises(UsageError, match="offered by openai"):
        quote(SAMPLES / "marv.jsonl", [OLD], provider="azure", today=TODAY)


def test_a_format_that_the_model_does_not_train_on_is_refused() -> None:
    with pytest.raises(UsageError, match="trains on chat files, and this is a preference file"):
        quote(SAMPLES / "preference.jsonl", [OLD], today=TODAY)


def test_a_summary_that_was_measured_for_another_model_is_refused() -> None:
    with pytest.raises(UsageError, match="not measured for"):
        estimate(measure(SAMPLES / "marv.jsonl", [OLD]).summary, MINI)


def test_using_the_model_is_priced_and_training_pays_for_itself_or_not() -> None:
    summary = Summary(ledgers={"o200k_base tiles-mini": TokenStats(10, {106: 10}, answers=200)})
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
    each = (saved.base_usd - saved.tuned_usd) / 1000
    assert saved.break_even_requests is not None
    assert (saved.break_even_requests - 1) * each < cost.usd <= saved.break_even_requests * each
    assert usage(summary, MINI, 1000, cost, provider="azure") is None


@pytest.mark.parametrize(
    ("usd", "shown"), [(0, "$0.00"), (0.0346, "$0.0346"), (0.29, "$0.29"), (1234.5, "$1,234.50")]
)
def test_money_is_shown_with_the_digits_that_matter(usd: float, shown: str) -> None:
    assert money(usd) == shown


def ftkit(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ftkit", *arguments], capture_output=True, text=True, check=False
    )


MARV = str(SAMPLES / "marv.jsonl")
PROBLEMS = {
    "a file that is not there": ("no.jsonl", "no such file"),
    "an empty file": ("empty.jsonl", "is empty"),
    "a file that is something else": ("alpaca.jsonl", "Alpaca"),
    "a file without an example": ("bad.jsonl", "no example could be read"),
    "an unknown model": (f"{MARV} --model gpt-4o-mini", "did you mean 'gpt-4o-mini-2024-07-18'"),
    "an unknown provider": (f"{MARV} --provider azur", "did you mean 'azure'"),
    "a number of epochs that is none": (f"{MARV} --epochs 0", "not auto or a number from 1 to 50"),
    "a date that is none": (f"{MARV} --on tomorrow", "write it as YYYY-MM-DD"),
    "a prompt that is not there": (f"{MARV} --base-prompt no.txt", "cannot open no.txt"),
    "facts that are not there": (f"{MARV} --facts no.toml", "cannot open no.toml"),
    "no model that can be trained": (f"{MARV} --on 2027-02-01", "name one in "),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_problem_is_one_line_and_2(problem: str, write: Write) -> None:
    write(b"", "empty.jsonl")
    write([b'{"instruction": "a", "input": "", "output": "b"}'] * 12, "alpaca.jsonl")
    write([b'{"messages": 3}'] * 12, "bad.jsonl")
    arguments, said = PROBLEMS[problem]
    done = ftkit("estimate", *arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_max_cost_decides_the_exit_code() -> None:
    assert ftkit("estimate", MARV, "--model", MINI, "--max-cost", "0.04").returncode == 0
    done = ftkit("estimate", MARV, "--model", MINI, "--max-cost", "0.01")
    assert done.returncode == 1
    assert "more than $0.01" in done.stderr
    done = ftkit("estimate", MARV, "--model", MINI, "--max-cost", "1", "--provider", "azure")
    assert done.returncode == 2
    assert "--max-cost cannot be checked" in done.stderr


def test_the_json_has_the_keys_that_are_documented() -> None:
    arguments = (
        MARV,
        "--all",
        "--requests",
        "10",
        "--validation-file",
        str(SAMPLES / "sports-headlines.jsonl"),
    )
    told = json.loads(
        ftkit("estimate", *arguments, "--output", "json", "--on", "2026-11-20").stdout
    )
    page = (
        (ROOT / "docs" / "output.md")
        .read_text("utf-8")
        .partition("## The estimate as JSON")[2]
        .partition("\n## ")[0]
    )
    for value in (
        told,
        told["models"][0],
        told["usage"][MINI],
        told["validation"],
        told["distributions"]["tokens"],
    ):
        assert all(f"`{key}`" in page for key in value)
    assert told["models"][0]["model"] == MINI
    assert told["models"][0]["cost"] == {
        "usd": 0.03456,
        "price_per_million": 3.0,
        "source": "OpenAI pricing page (copy)",
        "as_of": "2025-07",
    }


def test_settings_of_the_project_hold_for_the_estimate(write: Write) -> None:
    write(
        b'[tool.ftkit]\nmodel = "gpt-4.1-2025-04-14"\noutput = "github"\nignore = ["FT1"]\n',
        "pyproject.toml",
    )
    shown = ftkit("estimate", MARV).stdout
    assert "gpt-4.1-2025-04-14 at openai" in shown
    assert MINI not in shown


def test_all_the_models_and_one_of_them_do_not_go_together_but_a_setting_gives_way(
    write: Write,
) -> None:
    done = ftkit("estimate", MARV, "--model", OLD, "--all")
    assert (done.returncode, done.stdout) == (2, "")
    assert "give one of the two" in done.stderr
    write(b'[tool.ftkit]\nmodel = "gpt-3.5-turbo"\n', "pyproject.toml")
    assert MINI in ftkit("estimate", MARV, "--all", "--on", "2026-11-20").stdout


@pytest.mark.parametrize(
    "options", [["--format", "chat"], ["--validation-file", MARV], ["--format", "reinforcement"]]
)
def test_a_file_of_another_format_than_was_asked_for_is_not_read_as_its_own(
    options: list[str],
) -> None:
    done = ftkit("estimate", str(SAMPLES / "preference.jsonl"), "--provider", "local", *options)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "format and cannot be read as" in done.stderr


REAL = {"marv": 13_271, "preference": 3_792, "completions": 2_002}
"""Samples, and the `trained_tokens` of real jobs of one epoch that trained ftkit/smoke on them."""


@pytest.mark.parametrize("name", REAL)
def test_the_tiny_model_is_estimated_to_train_as_many_tokens_as_its_jobs_tell(name: str) -> None:
    told = quote(
        SAMPLES / f"{name}.jsonl", ["ftkit/smoke"], provider="local", epochs=1, today=TODAY
    ).models[0]
    assert (told.encoding, told.billed_tokens) == ("bytes", REAL[name])


def test_a_file_that_may_be_of_two_formats_is_read_as_the_one_asked_for(write: Write) -> None:
    path = write([b'{"messages": [{"role": "user", "content": "Hi"}]}'] * 12)
    assert (
        quote(path, ["o4-mini-2025-04-16"], format="reinforcement", today=TODAY).format
        == "reinforcement"
    )
    assert quote(path, [MINI], format="chat", today=TODAY).format == "chat"


def test_standard_input_is_estimated_and_named() -> None:
    command = [sys.executable, "-m", "ftkit", "estimate", "-", "--model", MINI]
    done = subprocess.run(command, input=Path(MARV).read_bytes(), capture_output=True, check=True)
    assert done.stdout.startswith(b"-  chat")


GOLDEN = Path(__file__).parent / "golden"
PRINTED = {
    "estimate-one.txt": lambda: render_estimate_text(
        quote(MARV, [MINI], requests=1000, today=TODAY)
    ),
    "estimate-several.txt": lambda: render_estimate_text(
        quote(
            SAMPLES / "images.jsonl",
            [MINI, NANO, "gpt-4o-2024-08-06"],
            validation_file=MARV,
            today=TODAY,
        )
    ),
    "estimate-hour.txt": lambda: render_estimate_text(
        quote(SAMPLES / "reinforcement.jsonl", ["o4-mini-2025-04-16"], epochs=2, today=TODAY)
    ),
    "catalog.txt": lambda: render_catalog_text(load_catalog(), None, TODAY),
}


@pytest.mark.parametrize("name", PRINTED)
def test_what_is_printed_is_as_it_was_looked_at(name: str) -> None:
    shown = PRINTED[name]().replace(str(SAMPLES), "samples")
    if os.environ.get("UPDATE_GOLDEN"):
        (GOLDEN / name).write_text(shown, "utf-8")
    assert shown == (GOLDEN / name).read_text("utf-8")


def test_the_catalog_can_be_one_provider_as_json() -> None:
    told = json.loads(ftkit("catalog", "--provider", "azure", "--output", "json").stdout)
    assert set(told) == {"ftkit", "models", "providers", "images"}
    assert set(told["providers"]) == {"azure"}
    assert all(set(model["providers"]) == {"azure"} for model in told["models"].values())
    assert told["models"][MINI]["providers"]["azure"]["trainable_until"]["source"]


def test_the_catalog_refuses_a_provider_that_nobody_knows() -> None:
    assert ftkit("catalog", "--provider", "azur").returncode == 2
