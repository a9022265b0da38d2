"""Facts are data with source and date, and names are exact."""

from __future__ import annotations

import datetime

import msgspec
import pytest

from ftkit import UnknownName
from ftkit.facts import Figure, Model, Provider, find_limits, models, providers, sayings
from ftkit.formats import FORMATS
from ftkit.tokens import ENCODINGS


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        (None, 4096),
        ("gpt-3.5-turbo", 4096),
        ("gpt-3.5-turbo-0613", 4096),
        ("gpt-3.5-turbo-1106", 16385),
        ("gpt-3.5-turbo-0125", 16385),
        ("gpt-4o-mini-2024-07-18", 65536),
        ("ft:gpt-4.1-2025-04-14:acme::abc123", 65536),
    ],
)
def test_the_limit_of_an_example_is_that_of_the_model(model: str | None, tokens: int) -> None:
    assert find_limits("openai", model).tokens == tokens


def test_the_alias_says_what_its_snapshots_take() -> None:
    note = find_limits("openai", "gpt-3.5-turbo").tokens_note
    assert "16,385" in note
    assert "-1106" in note
    assert "-0125" in note


def test_a_provider_can_differ() -> None:
    assert find_limits("azure", "gpt-4.1-nano-2025-04-14").tokens == 32768
    assert find_limits("openai", "gpt-4.1-nano-2025-04-14").tokens == 65536
    assert find_limits("azure").figure("images_per_example") == 64
    assert find_limits("nebius").figure("min_examples") is None


def test_a_model_without_a_published_limit_has_the_default_and_says_so() -> None:
    limits = find_limits("azure", "gpt-5-2025-08-07")
    assert (limits.tokens, limits.tokens_note) == (4096, "its own limit is not published")


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("gpt-4o-mini", "did you mean 'gpt-4o-mini-2024-07-18'"),
        ("gpt-4.1-2025-04-41", "gpt-4.1-2025-04-14"),
        ("ft:nothing:acme::1", "Known models"),
        ("", "Known models"),
    ],
)
def test_an_unknown_model_gets_the_nearest_names_and_never_a_guess(model: str, hint: str) -> None:
    with pytest.raises(UnknownName, match="unknown model") as raised:
        find_limits("openai", model)
    assert hint in str(raised.value)


def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'azure'"):
        find_limits("azur")


@pytest.mark.parametrize(("kind", "entry"), [
    (Model, {"encoding": "o200k_base", "formats": ["chat"], "tokens": 5}),
    (Model, {"encoding": "r50k_base", "formats": ["chat"]}),
    (Provider, {"title": "X", "formats": ["chat"], "file_byte": 5}),
    (Figure, {"value": 5, "source": "x"}),
])  # fmt: skip
def test_unknown_or_missing_keys_in_a_fact_are_refused(kind: type, entry: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(entry, kind)


def test_every_fact_has_a_source_and_a_date() -> None:
    figures = [
        value
        for provider in providers().values()
        for value in msgspec.structs.astuple(provider)
        if isinstance(value, Figure)
    ]
    figures += [model.tokens_per_example for model in models().values() if model.tokens_per_example]
    figures += [differs.tokens_per_example for model in models().values() for differs in model.providers.values()]
    assert len(figures) > 25
    assert all(figure.source and figure.checked >= datetime.date(2026, 1, 1) and figure.value > 0 for figure in figures)
    assert all(saying.source and saying.do and saying.says for saying in sayings().values())


def test_facts_name_only_formats_encodings_and_providers_that_exist() -> None:
    for model in models().values():
        assert set(model.formats) <= set(FORMATS)
        assert model.encoding in ENCODINGS
        assert set(model.providers) <= set(providers())
    assert all(set(provider.formats) <= set(FORMATS) for provider in providers().values())
