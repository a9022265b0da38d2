"""Facts are data with source and date, and names are exact."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import msgspec
import pytest

from ftkit import UnknownNameError, UsageError
from ftkit.catalog import (
    Deadline,
    Figure,
    ImageCost,
    Model,
    Price,
    Provider,
    find_limits,
    known_messages,
    load_catalog,
)
from ftkit.dataset.formats import FORMATS, METHODS
from ftkit.tokens.encodings import OVERHEADS
from support.fixture_types import Write


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
    with pytest.raises(UnknownNameError, match="unknown model") as raised:
        find_limits("openai", model)
    assert hint in str(raised.value)


def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'azure'"):
        find_limits("azur")


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        (Model, {"encoding": "o200k_base", "formats": ["chat"], "tokens": 5}),
        (Model, {"encoding": "r50k_base", "formats": ["chat"]}),
        (Provider, {"title": "X", "formats": ["chat"], "file_byte": 5}),
        (Figure, {"value": 5, "source": "x"}),
    ],
)
def test_unknown_or_missing_keys_in_a_fact_are_refused(
    kind: type, entry: dict[str, object]
) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(entry, kind)


def facts_in(value: object) -> Iterator[Figure | Price | Deadline | ImageCost]:
    """All figures, prices and dates in a fact, however deep."""
    if isinstance(value, (Figure, Price, Deadline, ImageCost)):
        yield value
    elif isinstance(value, msgspec.Struct):
        yield from facts_in(msgspec.structs.astuple(value))
    elif isinstance(value, (dict, tuple)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from facts_in(inner)


def test_every_fact_has_a_source_and_a_date() -> None:
    facts = list(facts_in(load_catalog()))
    assert len(facts) > 100
    assert all(fact.source and fact.checked >= datetime.date(2026, 1, 1) for fact in facts)
    assert all(fact.value > 0 for fact in facts if isinstance(fact, Figure))
    assert all(
        fact.usd > 0 or fact.source == "your own machine"
        for fact in facts
        if isinstance(fact, Price)
    )
    assert all(saying.source and saying.do and saying.says for saying in known_messages().values())


def test_facts_name_only_formats_encodings_and_providers_that_exist() -> None:
    catalog = load_catalog()
    for model in catalog.models.values():
        assert set(model.formats) <= set(FORMATS)
        assert model.encoding in OVERHEADS
        assert set(model.providers) <= set(catalog.providers)
        assert not model.images or model.images in catalog.images
        for offer in model.providers.values():
            assert set(offer.methods) <= {METHODS[format] for format in model.formats}
    assert all(set(provider.formats) <= set(FORMATS) for provider in catalog.providers.values())


def test_facts_of_the_user_go_over_those_of_ftkit(write: Write) -> None:
    path = write(
        b"""
        [models."gpt-4o-mini-2024-07-18".providers.openai]
        training = [{ usd = 2.5, as_of = "2026-11", source = "our contract", checked = 2026-11-20 }]
        [models.house]
        encoding = "o200k_base"
        formats = ["chat"]
        [providers.house]
        title = "Our cluster"
        formats = ["chat"]
        """,
        "facts.toml",
    )
    catalog = load_catalog(str(path))
    offer = catalog.models["gpt-4o-mini-2024-07-18"].providers["openai"]
    assert offer.training[0].usd == 2.5
    assert (
        offer.served_until
        == load_catalog().models["gpt-4o-mini-2024-07-18"].providers["openai"].served_until
    )
    assert find_limits("house", "house", catalog).tokens == 4096


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[models.x]\nencoding = 'o200k_base'\nformats = []\nprice = 3", "unknown field `price`"),
        ("[model.x]", "unknown field `model`"),
        ("[models", "is not TOML"),
        ("[models.x]\nencoding = 'p50k_base'\nformats = []", "p50k_base"),
    ],
)
def test_facts_of_the_user_that_make_no_sense_are_refused_by_name(
    text: str, message: str, write: Write
) -> None:
    path = write(text.encode(), "facts.toml")
    with pytest.raises(UsageError, match=message) as raised:
        load_catalog(str(path))
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("provider", "day", "trainable"),
    [
        ("openai", "2026-11-22", {"chat": (65536,), "preference": (65536,), "completions": ()}),
        ("openai", "2026-09-01", {"chat": (4096, 8192, 16385, 65536), "completions": (16384,)}),
        ("openai", "2027-02-01", {"chat": ()}),
        ("azure", "2026-11-22", {"chat": (32768, 65536), "reinforcement": (65536,)}),
        ("local", "2026-11-22", {"chat": (2048, 262144)}),
        ("nebius", "2026-11-22", {"chat": ()}),
    ],
)
def test_the_default_limit_comes_with_those_of_the_models_that_can_be_trained(
    provider: str, day: str, trainable: dict[str, tuple[int, ...]]
) -> None:
    limits = find_limits(provider, None, None, datetime.date.fromisoformat(day))
    assert (limits.assumed_model, limits.tokens) == ("gpt-3.5-turbo", 4096)
    assert limits.trainable_tokens.items() >= trainable.items()
