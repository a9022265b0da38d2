"""Facts about models and services: data with source and date, read from the TOML files beside this module.

Code asks facts; it holds no names of models or services of its own. Unknown keys in the files are refused.
"""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from ftkit.errors import UnknownName, did_you_mean

DEFAULT_PROVIDER = "openai"
DEFAULT_TOKENS = 4096
"""Tokens an example may have when no model is named: the smallest limit that any model in the catalogue has."""
DEFAULT_ENCODING = "cl100k_base"


class Figure(Struct, frozen=True, forbid_unknown_fields=True):
    """A number, where it comes from, and when somebody last looked."""

    value: int
    source: str
    checked: datetime.date


class Differs(Struct, frozen=True, forbid_unknown_fields=True):
    """The figures of a model that are different at one provider."""

    tokens_per_example: Figure


class Model(Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a model. `tokens_per_example` is in tokens of its `encoding`."""

    encoding: Literal["cl100k_base", "o200k_base"]
    formats: tuple[str, ...]
    tokens_per_example: Figure | None = None
    note: str = ""
    providers: dict[str, Differs] = {}


class Provider(Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a service. Sizes are in bytes; a figure that is absent is not known to be limited."""

    title: str
    formats: tuple[str, ...]
    bom: Literal["unwanted", "wanted"] = "unwanted"
    min_examples: Figure | None = None
    advised_examples: Figure | None = None
    file_bytes: Figure | None = None
    upload_bytes: Figure | None = None
    images_per_example: Figure | None = None
    image_bytes: Figure | None = None
    image_examples: Figure | None = None
    reinforcement_examples: Figure | None = None
    reinforcement_validation_examples: Figure | None = None


class Saying(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that services say which is about no rule: words to know it by, what it means, what to do."""

    says: tuple[str, ...]
    means: str
    do: str
    source: str
    checked: datetime.date
    lines: str = ""


class Limits(Struct, frozen=True):
    """What the rules need to know of the provider and the model that a file is meant for."""

    provider: str
    title: str
    model: str | None
    encoding: str
    tokens: int
    tokens_note: str
    formats: tuple[str, ...]
    facts: Provider

    def figure(self, name: str) -> int | None:
        """The value of the provider's figure called `name`, or None where it has none."""
        found: Figure | None = getattr(self.facts, name)
        return found.value if found else None


T = TypeVar("T")


@cache
def models() -> Mapping[str, Model]:
    """All known models by their exact name."""
    return _load("models.toml", dict[str, Model])


@cache
def providers() -> Mapping[str, Provider]:
    """All known providers by name."""
    return _load("providers.toml", dict[str, Provider])


@cache
def sayings() -> Mapping[str, Saying]:
    """What services say that is about no rule."""
    return _load("messages.toml", dict[str, Saying])


def _load(file: str, type_: type[T]) -> T:
    data: Any = tomllib.loads(Path(__file__).with_name(file).read_text("utf-8"))
    return msgspec.convert(data, type_)


def base_model(name: str) -> str:
    """The base of a fine-tuned model's name (`ft:BASE:org:suffix:id`), or the name itself."""
    return name.split(":")[1] if name.startswith("ft:") and name.count(":") > 1 else name


def find_model(name: str) -> Model:
    """The facts of the model called `name`, or of its base; raises `UnknownName` with the nearest known names."""
    base = base_model(name)
    known = models()
    if base not in known:
        alike = [model for model in known if base and model.startswith(f"{base}-")]
        hint = f"; did you mean {' or '.join(map(repr, alike))}?" if alike else did_you_mean(base, known, n=3, otherwise=".")
        raise UnknownName(f"unknown model {name!r}{hint} Known models: {', '.join(known)}.")
    return known[base]


def find_provider(name: str) -> Provider:
    """The facts of the provider called `name`; raises `UnknownName`."""
    known = providers()
    if name not in known:
        raise UnknownName(
            f"unknown provider {name!r}{did_you_mean(name, known, otherwise='.')} Known providers: {', '.join(known)}."
        )
    return known[name]


def find_limits(provider: str = DEFAULT_PROVIDER, model: str | None = None) -> Limits:
    """The limits that hold for training `model` at `provider`; raises `UnknownName`.

    With no model, an example may have `DEFAULT_TOKENS` tokens and every format of the provider is allowed. A model whose
    limit nobody publishes has the default too, and the note says so.
    """
    service = find_provider(provider)
    if model is None:
        note = "no model named: --model sets its own limit"
        return Limits(provider, service.title, None, DEFAULT_ENCODING, DEFAULT_TOKENS, note, service.formats, service)
    found = find_model(model)
    differs = found.providers.get(provider)
    figure = differs.tokens_per_example if differs else found.tokens_per_example
    tokens, note = (figure.value, found.note) if figure else (DEFAULT_TOKENS, "its own limit is not published")
    return Limits(provider, service.title, model, found.encoding, tokens, note, found.formats, service)
