"""Facts about models and services: data with source and date, read from the TOML files beside this module.

Code asks facts; it holds no names of models or services of its own. Unknown keys in the files are refused.
"""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from ftkit.errors import FileError, UnknownNameError, UsageError, did_you_mean, os_error_message

DEFAULT_PROVIDER = "openai"
DEFAULT_TOKENS = 4096
"""Tokens an example may have when no model is named: the smallest limit that any model in the catalogue has."""
DEFAULT_ENCODING = "cl100k_base"


class Figure(Struct, frozen=True, forbid_unknown_fields=True):
    """A number, where it comes from, and when somebody last looked."""

    value: int
    source: str
    checked: datetime.date


class Price(Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars for a million tokens or an hour. `as_of` is the month that the price was valid in, as `YYYY-MM`."""

    usd: float
    as_of: Annotated[str, Meta(pattern=r"^\d{4}-\d\d$")]
    source: str
    checked: datetime.date
    per: Literal["million tokens", "hour"] = "million tokens"


class Deadline(Struct, frozen=True, forbid_unknown_fields=True):
    """The last day of something."""

    date: datetime.date
    source: str
    checked: datetime.date


class Offer(Struct, frozen=True, forbid_unknown_fields=True):
    """What one provider offers of a model. A price or a date that is absent is not published.

    `training` holds the price for training, the newest first; `input`, `cached_input` and `output` are those of the fine-tuned
    model, `base_input` and `base_output` those of the model itself. `epochs` are those that are chosen where a job names none,
    if not by the published rule.
    """

    methods: tuple[Literal["supervised", "dpo", "reinforcement"], ...] = ()
    tokens_per_example: Figure | None = None
    training: tuple[Price, ...] = ()
    input: Price | None = None
    cached_input: Price | None = None
    output: Price | None = None
    base_input: Price | None = None
    base_output: Price | None = None
    trainable_until: Deadline | None = None
    served_until: Deadline | None = None
    epochs: Figure | None = None


class Model(Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a model. `tokens_per_example` is in tokens of its `encoding`; `images` names how images are counted.

    `borrowed` says why the encoding is not the model's own, where it is not.
    """

    encoding: Literal["cl100k_base", "o200k_base", "bytes"]
    formats: tuple[str, ...]
    images: str = ""
    tokens_per_example: Figure | None = None
    note: str = ""
    borrowed: str = ""
    providers: dict[str, Offer] = {}

    def limit(self, provider: str) -> Figure | None:
        """The tokens that an example may have at the provider."""
        offer = self.providers.get(provider)
        return (offer.tokens_per_example if offer else None) or self.tokens_per_example


class ImageCost(Struct, frozen=True, forbid_unknown_fields=True):
    """How a family of models counts images; see `images.toml`. `each` and `base` are tokens, `most` is a number of patches."""

    kind: Literal["tiles", "patches"]
    source: str
    checked: datetime.date
    base: int = 0
    each: int = 0
    factor: float = 0
    most: int = 0


class Api(Struct, frozen=True, forbid_unknown_fields=True):
    """How to speak to a service. `address` shows what a base URL looks like where each user has another.

    `keys` are the variables that may hold the key. `lacks` are the features that it has not; `closing` is what is known of its
    end. `training_types` are where and at which price it trains, the first if nothing is said. `hyperparameters` says where they
    stand in the request: by the method's type, in the method, or on their own. A service that is `embedded` comes with ftkit, and
    is started where it is needed; one with `adapters` gives them away.
    """

    source: str
    checked: datetime.date
    keys: tuple[str, ...]
    base_url: str = ""
    address: str = ""
    suffix: Figure | None = None
    suffix_characters: str = ""
    suffix_needed: bool = False
    metadata_pairs: Figure | None = None
    epochs: Figure | None = None
    batch_size: Figure | None = None
    hyperparameters: Literal["method", "flat method", "flat"] = "method"
    auto: bool = True
    rate_is_absolute: bool = False
    file_status: bool = True
    cancel_with_body: bool = False
    training_types: tuple[str, ...] = ()
    embedded: bool = False
    key_needed: bool = True
    adapters: bool = False
    lacks: tuple[
        Literal[
            "events",
            "checkpoints",
            "pause",
            "large uploads",
            "metadata",
            "permissions",
            "integrations",
        ],
        ...,
    ] = ()
    closing: str = ""


class Unsupported(Struct, frozen=True, forbid_unknown_fields=True):
    """A service that does not speak the protocol, and why."""

    title: str
    why: str
    source: str
    checked: datetime.date


class Provider(Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a service. Sizes are in bytes; a figure that is absent is not known to be limited.

    Files of more than `direct_bytes`, or else `file_bytes`, go in parts. `others` is what holds for models that the catalog does
    not name, where the service trains any.
    """

    title: str
    formats: tuple[str, ...]
    api: Api | None = None
    bills_validation: bool = False
    bom: Literal["unwanted", "wanted"] = "unwanted"
    min_examples: Figure | None = None
    advised_examples: Figure | None = None
    file_bytes: Figure | None = None
    direct_bytes: Figure | None = None
    upload_bytes: Figure | None = None
    images_per_example: Figure | None = None
    image_bytes: Figure | None = None
    image_examples: Figure | None = None
    reinforcement_examples: Figure | None = None
    reinforcement_validation_examples: Figure | None = None
    others: Model | None = None


class KnownMessage(Struct, frozen=True, forbid_unknown_fields=True):
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


class Catalog(Struct, frozen=True, forbid_unknown_fields=True):
    """All models and providers by name, and how images are counted."""

    models: dict[str, Model] = {}
    providers: dict[str, Provider] = {}
    images: dict[str, ImageCost] = {}


@cache
def load_catalog(path: str | None = None) -> Catalog:
    """The facts that come with ftkit, with those of the TOML file at `path` over them.

    The file has tables `[models."NAME"]`, `[providers.NAME]` and `[images.NAME]` with the keys of the files here; of an entry
    that exists, only the keys given change. Raises `FileError` where it cannot be read, `UsageError` for unknown keys.
    """
    known = {
        name: _read(Path(__file__).with_name(f"{name}.toml")) for name in Catalog.__struct_fields__
    }
    if path is None:
        return msgspec.convert(known, Catalog)
    try:
        return msgspec.convert(_merged(known, _read(Path(path))), Catalog)
    except OSError as error:
        raise FileError(f"cannot open {path}: {os_error_message(error)}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {str(error).replace('$.', '')}") from error


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8"))


def _merged(one: Any, two: Any) -> Any:
    if not isinstance(one, dict) or not isinstance(two, dict):
        return two
    return {**one, **{key: _merged(one.get(key), value) for key, value in two.items()}}


def with_others(catalog: Catalog, provider: str, models: Iterable[str]) -> Catalog:
    """The catalog with those of the models that it does not name, where the provider trains any."""
    others = find_provider(provider, catalog).others
    more = {
        base_model(name): others
        for name in models
        if others and base_model(name) not in catalog.models
    }
    return msgspec.structs.replace(catalog, models={**catalog.models, **more}) if more else catalog


@cache
def known_messages() -> Mapping[str, KnownMessage]:
    """What services say that is about no rule."""
    return msgspec.convert(
        _read(Path(__file__).with_name("messages.toml")), dict[str, KnownMessage]
    )


def match_messages(message: str) -> tuple[KnownMessage, ...]:
    """The known_messages whose words the message has."""
    return tuple(
        saying
        for saying in known_messages().values()
        if any(said.lower() in message.lower() for said in saying.says)
    )


@cache
def unsupported() -> Mapping[str, Unsupported]:
    """Services that do not speak the protocol."""
    return msgspec.convert(
        _read(Path(__file__).with_name("unsupported.toml")), dict[str, Unsupported]
    )


def base_model(name: str) -> str:
    """The base of a fine-tuned model's name (`ft:BASE:org:suffix:id`), or the name itself."""
    return name.split(":")[1] if name.startswith("ft:") and name.count(":") > 1 else name


def find_model(name: str, catalog: Catalog | None = None) -> Model:
    """The facts of the model called `name`, or of its base; raises `UnknownNameError` with the nearest known names."""
    base = base_model(name)
    known = (catalog or load_catalog()).models
    if base not in known:
        alike = [model for model in known if base and model.startswith(f"{base}-")]
        hint = (
            f"; did you mean {' or '.join(map(repr, alike))}?"
            if alike
            else did_you_mean(base, known, n=3, otherwise=".")
        )
        raise UnknownNameError(f"unknown model {name!r}{hint} Known models: {', '.join(known)}.")
    return known[base]


def find_provider(name: str, catalog: Catalog | None = None) -> Provider:
    """The facts of the provider called `name`; raises `UnknownNameError`."""
    known = (catalog or load_catalog()).providers
    if name not in known:
        raise UnknownNameError(
            f"unknown provider {name!r}{did_you_mean(name, known, otherwise='.')} Known providers: {', '.join(known)}."
        )
    return known[name]


def find_limits(
    provider: str = DEFAULT_PROVIDER, model: str | None = None, catalog: Catalog | None = None
) -> Limits:
    """The limits that hold for training `model` at `provider`; raises `UnknownNameError`.

    With no model, an example may have `DEFAULT_TOKENS` tokens and every format of the provider is allowed. A model whose
    limit nobody publishes has the default too, and the note says so.
    """
    service = find_provider(provider, catalog)
    if model is None:
        note = "no model named: --model sets its own limit"
        return Limits(
            provider,
            service.title,
            None,
            DEFAULT_ENCODING,
            DEFAULT_TOKENS,
            note,
            service.formats,
            service,
        )
    found = find_model(model, catalog)
    figure = found.limit(provider)
    tokens, note = (
        (figure.value, found.note) if figure else (DEFAULT_TOKENS, "its own limit is not published")
    )
    return Limits(
        provider, service.title, model, found.encoding, tokens, note, found.formats, service
    )
