"""A job of one service as an order for another: what goes over as it is, what is changed, what is left behind, and why.

Nothing here asks a service or reads a file; it is arithmetic on the job and the facts of both services.
"""

from __future__ import annotations

import datetime
import re
from typing import Any, TypeVar

from msgspec import Struct

from ftkit.catalog import (
    Api,
    Catalog,
    Deadline,
    Figure,
    Offer,
    base_model,
    find_provider,
    load_catalog,
)
from ftkit.client.resources import Job
from ftkit.errors import UsageError
from ftkit.jobs.spec import METADATA_KEY, JobSpec, check

MOVED_FROM = "ftkit_migrated_from"
"""The key in the new job's metadata that names the old one, as `PROVIDER/JOB`."""


T = TypeVar("T")


class Change(Struct, frozen=True):
    """Something that does not go over as it is. `after` is empty where it is left behind."""

    what: str
    before: str
    after: str
    why: str


class Translation(Struct, frozen=True):
    """The order for the target, the changes on the way, and the obstacles; with any of these the job cannot go."""

    spec: JobSpec
    changes: tuple[Change, ...]
    obstacles: tuple[str, ...]


class Old(Struct, frozen=True):
    """A job that is to move: where it was, what it was, and its files on this machine.

    `lost` says why the `training` or the `validation` file of the job is not among them.
    """

    provider: str
    job: Job
    method: str
    hyperparameters: dict[str, Any]
    training: str
    validation: str | None
    lost: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The job's name across services."""
        return f"{self.provider}/{self.job.id}"


class _Moving:
    """Collects what happens on the way."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.obstacles: list[str] = []

    def change(self, what: str, before: object, after: object, why: str) -> None:
        self.changes.append(Change(what, str(before), "" if after is None else str(after), why))


def translate(
    old: Old,
    to: str,
    model: str | None = None,
    *,
    suffix: str | None = None,
    epochs: int | None = None,
    catalog: Catalog | None = None,
    today: datetime.date | None = None,
) -> Translation:
    """The job as an order for the provider `to`; on another base, with another suffix or other epochs where these are given.

    Raises `UnknownNameError` for a provider that nobody knows.
    """
    known = catalog or load_catalog()
    source, target = find_provider(old.provider, known), find_provider(to, known)
    moving = _Moving()
    api = target.api
    if api is None:
        moving.obstacles.append(f"nothing is known of how to reach {target.title}")
        return Translation(JobSpec(old.job.model, old.training), (), tuple(moving.obstacles))
    base = _base(old, model, to, known, today or datetime.date.today(), moving)
    same_base = base == base_model(old.job.model)
    spec = JobSpec(
        model=base,
        training=old.training,
        validation=old.validation,
        method=old.method,
        suffix=_as_asked("suffix", _old_suffix(old), suffix, moving)
        or _suffix(old, api, target.title, moving),
        epochs=_as_asked("epochs", old.hyperparameters.get("n_epochs", "auto"), epochs, moving)
        or _count(old, "n_epochs", "epochs", api.epochs, target.title, moving),
        batch_size=_count(old, "batch_size", "batch size", api.batch_size, target.title, moving),
        lr_multiplier=_rate(old, source.api, api, same_base, moving),
        beta=_number(old.hyperparameters.get("beta")) if old.method == "dpo" else None,
        seed=old.job.raw.get("seed") if isinstance(old.job.raw.get("seed"), int) else None,
        metadata=_metadata(old, api, target.title, moving),
    )
    _must_fit(old, spec, api, target.title, target.formats, moving)
    return Translation(spec, tuple(moving.changes), tuple(moving.obstacles))


def _base(
    old: Old, model: str | None, to: str, catalog: Catalog, today: datetime.date, moving: _Moving
) -> str:
    before, target = old.job.model, find_provider(to, catalog)
    base = model or base_model(before)
    if base != before:
        why = (
            "as asked"
            if model
            else "the job went on from a fine-tuned model, which stays where it is"
        )
        moving.change("model", before, base, why)
    offers = {
        name: each.providers[to] for name, each in catalog.models.items() if to in each.providers
    }
    own = base not in catalog.models or (
        target.api and target.api.embedded
    )  # where names can be made to stand for other bases
    offer = offers.get(base, target.others.providers.get(to) if target.others and own else None)
    if offer and old.method not in offer.methods:
        moving.obstacles.append(
            f"{target.title} does not train {base} with the method '{old.method}'"
        )
    elif offer is None and (not own or (offers and not target.others)):
        able = [
            name
            for name, each in offers.items()
            if old.method in each.methods and not _over(each, today)
        ]
        named = " or ".join(able) or "a base that it has"
        moving.obstacles.append(f"{target.title} does not train {base}; name {named} with --model")
    elif offer and (over := _over(offer, today)):
        why = f"{target.title} trains it no more since {over.date} ({over.source}), as far as ftkit knows"
        moving.change("model", base, base, why)
    return base


def _over(offer: Offer, today: datetime.date) -> Deadline | None:
    """The day after which the model can no longer be trained, if that is over."""
    until = offer.trainable_until
    return until if until and until.date < today else None


def _as_asked(what: str, before: object, after: T | None, moving: _Moving) -> T | None:
    """What was asked for, if anything was; told where it is other than before."""
    if after is not None and after != before:
        moving.change(what, before or "none", after, "as asked")
    return after


def _old_suffix(old: Old) -> str:
    parts = old.job.fine_tuned_model.split(":")
    return str(old.job.raw.get("user_provided_suffix") or (parts[3] if len(parts) == 5 else ""))


def _suffix(old: Old, api: Api, title: str, moving: _Moving) -> str | None:
    before = _old_suffix(old)
    if not before and not api.suffix_needed:
        return None
    after = before or old.job.id
    after = re.sub(f"[^{api.suffix_characters}]", "-", after) if api.suffix_characters else after
    after = after[: api.suffix.value] if api.suffix else after
    if after != before:
        moving.change(
            "suffix",
            before or "none",
            after,
            f"{title} takes {_taken(api)}" if before else f"{title} needs one",
        )
    return after


def _taken(api: Api) -> str:
    most = f"{api.suffix.value} characters at most" if api.suffix else ""
    return " and ".join(
        filter(None, (most, f"only {api.suffix_characters}" if api.suffix_characters else ""))
    )


def _number(value: Any) -> float | None:
    is_number = (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) < float("inf")
    )
    return float(value) if is_number else None


def _count(
    old: Old, name: str, called: str, limit: Figure | None, title: str, moving: _Moving
) -> int | None:
    given = old.hyperparameters.get(name, "auto")
    before = _number(given)
    if before is None or before < 1:
        moving.change(
            called, given, None, "the service never said what it chose; the new one chooses"
        )
        return None
    after = min(round(before), limit.value) if limit else round(before)
    if after != before:
        most = f", {limit.value:,} at most" if limit else ""
        moving.change(called, f"{before:g}", after, f"{title} takes whole numbers{most}")
    return after


def _rate(
    old: Old, source: Api | None, target: Api, same_base: bool, moving: _Moving
) -> float | None:
    """The learning rate, where the number means the same at both."""
    before = _number(old.hyperparameters.get("learning_rate_multiplier"))
    if before is None:
        return None
    absolute = bool(source and source.rate_is_absolute)
    if absolute != target.rate_is_absolute:
        kinds = ("a learning rate", "a factor of the model's own rate")
        was, is_ = kinds if absolute else kinds[::-1]
        moving.change(
            "learning rate",
            f"{before:g}",
            None,
            f"there it was {was}, here it would be {is_}; the service chooses",
        )
        return None
    if not absolute and not same_base:
        moving.change(
            "learning rate",
            f"{before:g}",
            None,
            "a factor of the old model's own rate says nothing of another model",
        )
        return None
    return before


def _metadata(old: Old, api: Api, title: str, moving: _Moving) -> dict[str, str]:
    ours = (METADATA_KEY, MOVED_FROM)
    kept = {key: value for key, value in old.job.metadata.items() if key not in ours}
    if "metadata" in api.lacks:
        if kept:
            moving.change("metadata", ", ".join(kept), None, f"{title} keeps none")
        return {}
    room = api.metadata_pairs.value - 2 if api.metadata_pairs else len(kept)
    for key in list(kept)[room:]:
        moving.change(
            f"metadata {key}",
            kept.pop(key),
            None,
            f"{title} keeps {room + 2} pairs, and ftkit needs two",
        )
    return {**kept, MOVED_FROM: old.name}


def _must_fit(
    old: Old, spec: JobSpec, api: Api, title: str, formats: tuple[str, ...], moving: _Moving
) -> None:
    from ftkit.dataset.formats import METHODS

    if old.method not in {METHODS[format] for format in formats}:
        moving.obstacles.append(f"{title} does not train with the method '{old.method}'")
    if old.job.validation_file and not old.validation:
        moving.change(
            "validation file",
            old.job.validation_file,
            None,
            old.lost.get("validation", "it could not be had"),
        )
    integrations = old.job.raw.get("integrations")
    if isinstance(integrations, list) and integrations:
        moving.change("integrations", len(integrations), None, "they belong to the old account")
    try:
        check(spec, api, title)
    except UsageError as problem:
        moving.obstacles.append(str(problem))
