"""Loading of the catalog, and look-ups by name."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from ftkit.catalog.models import ImageCost, Model, base_model
from ftkit.catalog.providers import Provider, Unsupported
from ftkit.errors import FileError, UnknownNameError, UsageError, did_you_mean, os_error_message

T = TypeVar("T")


class Catalog(Struct, frozen=True, forbid_unknown_fields=True):
    """All models, providers and image costs by name."""

    models: dict[str, Model] = {}
    providers: dict[str, Provider] = {}
    images: dict[str, ImageCost] = {}


@cache
def load_catalog(path: str | None = None) -> Catalog:
    """Return the catalog, with the facts of a file merged in.

    Args:
        path: TOML file with tables `[models."NAME"]`, `[providers.NAME]` and `[images.NAME]`, with
            the keys of ftkit's own files. An entry that exists keeps its other keys.

    Raises:
        FileError: The file cannot be read.
        UsageError: The file is not TOML, or has unknown keys.
    """
    builtin = {name: read_facts(name) for name in Catalog.__struct_fields__}
    if path is None:
        return msgspec.convert(builtin, Catalog)
    return convert_facts(merged(builtin, read_toml(path)), Catalog, path)


def read_toml(path: str) -> dict[str, Any]:
    """Return the contents of a TOML file of the user.

    Raises:
        FileError: The file cannot be read.
        UsageError: The file is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise FileError(f"cannot open {path}: {os_error_message(error)}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    except RecursionError:
        raise UsageError(f"{path} is nested too deeply") from None


def convert_facts(facts: dict[str, Any], type: type[T], source: str) -> T:
    """Return facts as `type`.

    Args:
        facts: The facts, as TOML has them.
        type: A struct.
        source: Origin of the facts, for the message.

    Raises:
        UsageError: A value is missing, unknown or invalid.
    """
    try:
        return msgspec.convert(facts, type)
    except msgspec.ValidationError as error:
        raise UsageError(f"{source}: {str(error).replace('$.', '')}") from error


def read_facts(name: str) -> dict[str, Any]:
    """Return the contents of the TOML file of a name in this package."""
    return tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text("utf-8"))


def merged(old: Any, new: Any) -> Any:
    """Return facts with others that replace those of the same keys, in nested tables too."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**old, **{key: merged(old.get(key), value) for key, value in new.items()}}


def with_others(catalog: Catalog, provider: str, models: Iterable[str]) -> Catalog:
    """Return the catalog with models that it does not name, if the provider trains any model."""
    others = find_provider(provider, catalog).others
    added = {
        base_model(name): others
        for name in models
        if others and base_model(name) not in catalog.models
    }
    if not added:
        return catalog
    return msgspec.structs.replace(catalog, models={**catalog.models, **added})


def find_model(name: str, catalog: Catalog | None = None) -> Model:
    """Return the facts about a model, or about the base of a fine-tuned one.

    Raises:
        UnknownNameError: There is no such model. The message has the closest names.
    """
    base = base_model(name)
    models = (catalog or load_catalog()).models
    if base not in models:
        snapshots = [model for model in models if base and model.startswith(f"{base}-")]
        hint = (
            f"; did you mean {' or '.join(map(repr, snapshots))}?"
            if snapshots
            else did_you_mean(base, models, n=3, otherwise=".")
        )
        raise UnknownNameError(f"unknown model {name!r}{hint} Known models: {', '.join(models)}.")
    return models[base]


def find_provider(name: str, catalog: Catalog | None = None) -> Provider:
    """Return the facts about a provider.

    Raises:
        UnknownNameError: There is no such provider. The message has the closest name.
    """
    providers = (catalog or load_catalog()).providers
    if name not in providers:
        hint = did_you_mean(name, providers, otherwise=".")
        names = ", ".join(providers)
        raise UnknownNameError(f"unknown provider {name!r}{hint} Known providers: {names}.")
    return providers[name]


@cache
def unsupported() -> Mapping[str, Unsupported]:
    """Return the providers that ftkit does not support, by name."""
    return msgspec.convert(read_facts("unsupported"), dict[str, Unsupported])
