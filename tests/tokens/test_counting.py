"""Tokens are counted without the network, and billed by the formula."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ftkit import FtkitError, validate
from ftkit.dataset.formats import FORMATS
from ftkit.tokens import encodings as tokens
from ftkit.tokens.counting import count
from ftkit.tokens.encodings import (
    ENCODINGS,
    PER_ROLE,
    TokenCounter,
    pair_counter,
    tiktoken_encoding,
    token_counter,
)
from ftkit.validation.runner import ROLES
from support.examples import chat_lines
from support.fixture_types import Write


@pytest.mark.parametrize("name", ENCODINGS)
def test_the_vocabulary_is_the_one_that_is_published(name: str) -> None:
    data = (Path(tokens.__file__).parent / "vocab" / f"{name}.tiktoken").read_bytes()
    assert hashlib.sha256(data).hexdigest() == ENCODINGS[name].sha256


def test_a_damaged_vocabulary_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(b"IQ== 0\n")
    monkeypatch.setattr(tokens, "vocabulary_path", lambda encoding: tmp_path / "damaged")
    for load in (tiktoken_encoding, pair_counter):
        load.cache_clear()
        with pytest.raises(FtkitError, match="vocabulary file for cl100k_base is damaged"):
            load("cl100k_base")
        load.cache_clear()


@pytest.mark.parametrize(
    ("encoding", "text", "number"),
    [
        ("cl100k_base", "hello world", 2),
        ("o200k_base", "hello world", 2),
        ("cl100k_base", "<|endoftext|>", 7),
        ("o200k_base", "<|endoftext|>", 7),
        ("cl100k_base", "日本語 テスト", 7),
        ("o200k_base", "日本語 テスト", 4),
        ("cl100k_base", "", 0),
    ],
)
def test_counts_are_those_of_tiktoken(encoding: str, text: str, number: int) -> None:
    assert token_counter(encoding).count([text]) == [number]


@pytest.mark.parametrize(
    "text",
    ["a" * 300, "漢" * 100, "\u0378", "word \U000e0001\U000effff", "'ſ", "9K", "x y " * 9, "🙂"],
    ids=ascii,
)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_long_words_and_odd_characters_are_counted_as_by_tiktoken(encoding: str, text: str) -> None:
    count = len(tiktoken_encoding(encoding).encode_ordinary(text))
    assert TokenCounter(encoding).count([text, f"so {text}"])[0] == count


def test_tiktoken_takes_over_from_python(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = TokenCounter("cl100k_base")
    monkeypatch.setattr(tokens, "FEW_CHARACTERS", 10)
    assert counter.count(["hello"]) == [1]
    monkeypatch.setattr(tokens, "pair_counter", None)
    assert counter.count(["hello world"]) == [2]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("role", sorted(set(ROLES.values())))
def test_each_role_costs_one_token(encoding: str, role: str) -> None:
    assert len(tiktoken_encoding(encoding).encode_ordinary(role)) == PER_ROLE


def test_an_example_costs_1_and_each_message_3_its_role_and_its_content() -> None:
    messages = [
        {"role": "user", "content": "hello world"},
        {"role": "assistant", "content": "hello", "weight": 0},
        {"role": "user", "content": [{"type": "text", "text": "hello world"}]},
        {"role": "assistant", "content": "hello world"},
    ]
    counted = count([FORMATS["chat"].build({"messages": messages})], FORMATS["chat"], "o200k_base")[
        0
    ]
    assert counted.tokens == 1 + 4 * (3 + 1) + 2 + 1 + 2 + 2
    assert counted.trained == (("$.messages[3]", 22, 24),)


def test_where_tokens_are_bytes_a_message_costs_2_and_its_bytes() -> None:
    messages = [{"role": "user", "content": "Où?"}, {"role": "assistant", "content": "日本"}]
    counted = count([FORMATS["chat"].build({"messages": messages})], FORMATS["chat"], "bytes")[0]
    assert counted.tokens == (2 + 4) + (2 + 6)
    assert counted.trained == (("$.messages[1]", 8, 14),)


def test_a_file_that_a_model_of_bytes_would_cut_is_warned_of_though_it_has_few_tokens(
    write: Write,
) -> None:
    words = "international understanding " * 500
    path = write(
        chat_lines(
            12,
            {
                n: {
                    "messages": [
                        {"role": "user", "content": words},
                        {"role": "assistant", "content": "x"},
                    ]
                }
                for n in (3, 5)
            },
        )
    )
    report = validate(path, model="ftkit/smoke", provider="local").files[0]
    assert (report.counts["example-too-long"], report.counts["example-trained-tokens-cut"]) == (
        2,
        2,
    )
    assert any(
        "14,005 tokens, 11,957 over the limit of 2,048 for ftkit/smoke" in finding.message
        for finding in report.findings
    )
    assert "example-too-long" not in validate(path, model="gpt-4o-mini-2024-07-18").files[0].counts


def test_a_preference_example_is_as_long_as_the_longer_of_its_conversations() -> None:
    def say(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    value = {
        "input": {"messages": [{"role": "user", "content": "hello"}]},
        "preferred_output": say("hello"),
        "non_preferred_output": say("hello hello hello"),
    }
    counted = count([FORMATS["preference"].build(value)], FORMATS["preference"], "o200k_base")[0]
    assert counted.tokens == 1 + (4 + 1) + (4 + 3)


def test_a_completions_example_costs_its_two_texts() -> None:
    value = {"prompt": "hello world", "completion": " hello"}
    counted = count([FORMATS["completions"].build(value)], FORMATS["completions"], "o200k_base")[0]
    assert (counted.tokens, counted.trained) == (3, (("$.completion", 2, 3),))


def too_long(first: int, last: int) -> bytes:
    words = " ".join(str(number) for number in range(3000))
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Go on.", "weight": first},
        {"role": "user", "content": words},
        {"role": "assistant", "content": "Thanks.", "weight": last},
    ]
    return json.dumps({"messages": messages}).encode()


@pytest.mark.parametrize("many", [1, 300])
def test_examples_that_are_too_long_are_found_however_many_there_are(
    many: int, write: Write
) -> None:
    rows = chat_lines(10 + many)
    rows[10:] = [too_long(1, 0).replace(b"Hi", b"Hi %d" % number) for number in range(many)]
    rows[5] = too_long(0, 1)
    report = validate(write(rows), model="gpt-3.5-turbo").files[0]
    assert report.counts["example-too-long"] == many + 1
    cut = [finding for finding in report.findings if finding.rule == "example-trained-tokens-cut"]
    assert [(finding.line, finding.path) for finding in cut] == [(6, "$.messages[3]")]
    assert "removes all 2 trained tokens" in cut[0].message
    assert "16,385" in next(
        finding.message for finding in report.findings if finding.rule == "example-too-long"
    )


def test_a_truncation_is_conditional_if_its_limit_is_assumed(write: Write) -> None:
    report = validate(write([*chat_lines(10), too_long(0, 1)])).files[0]
    cut = [finding for finding in report.findings if finding.rule == "example-trained-tokens-cut"]
    assert [finding.message for finding in cut] == [
        "truncation at 4,096 tokens (the limit assumed if no model is named) would remove all "
        "2 trained tokens; shorten the prompt or split the example"
    ]


def test_a_larger_model_takes_them(write: Write) -> None:
    report = validate(write([*chat_lines(10), too_long(1, 1)]), model="gpt-3.5-turbo-0125").files[0]
    assert "example-too-long" not in report.counts


def test_a_cut_that_removes_no_trained_token_is_not_reported(write: Write) -> None:
    words = " ".join(str(number) for number in range(3000))
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Go on."},
        {"role": "user", "content": words},
        {"role": "assistant", "content": ""},
    ]
    path = write(chat_lines(60, {3: {"messages": messages}}))
    counts = validate(path, model="gpt-3.5-turbo").files[0].counts
    assert counts == {"content-empty": 1, "example-too-long": 1}


@pytest.mark.parametrize(
    ("provider", "trainable"),
    [
        ("local", "the models trainable today take 2,048 to 262,144; "),
        ("nebius", "no model is known that Nebius Token Factory trains on chat files today; "),
    ],
)
def test_without_a_model_the_finding_states_the_limit_it_assumes(
    provider: str, trainable: str, write: Write
) -> None:
    path = write(chat_lines(60, {3: too_long(1, 1)}))
    report = validate(path, provider=provider, select=["example-too-long"]).files[0]
    (finding,) = report.findings
    assert finding.message == (
        "8,022 tokens: over gpt-3.5-turbo's 4,096, the limit assumed if no model is named; "
        f"{trainable}name the model, or shorten or split the example"
    )
