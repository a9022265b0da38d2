"""Translation of a job at one provider into a job spec for another.

A pure function of the job and the facts about both providers: no requests, no files.
"""

from __future__ import annotations

import datetime
import json
import re
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from ftkit._text import is_encodable
from ftkit.catalog import (
    Api,
    Catalog,
    Figure,
    Offer,
    Provider,
    base_model,
    find_provider,
    load_catalog,
)
from ftkit.dataset.formats import METHODS
from ftkit.errors import UsageError
from ftkit.jobs.spec import METADATA_KEY, JobSpec, check
from ftkit.migration.source import SourceJob

MOVED_FROM = "ftkit_migrated_from"
"""Metadata key of the new job that holds the name of the old one, `PROVIDER/JOB`."""

OWN_METADATA = (METADATA_KEY, MOVED_FROM)
"""Metadata keys that ftkit sets itself."""

MAX_HYPERPARAMETER = 10**9
"""Larger values of hyperparameters count as not reported."""

T = TypeVar("T")


class Change(Struct, frozen=True):
    """A setting that differs between the old job and the new one.

    Attributes:
        what: Name of the setting.
        before: Its value in the old job.
        after: Its value in the new job, or "" if it is dropped.
        why: The reason.
    """

    what: str
    before: str
    after: str
    why: str


class Translation(Struct, frozen=True):
    """Result of a translation.

    Attributes:
        spec: The new job.
        changes: Settings that differ from the old job.
        obstacles: Reasons why the job cannot be created at the target.
    """

    spec: JobSpec
    changes: tuple[Change, ...]
    obstacles: tuple[str, ...]


def translate(
    old: SourceJob,
    to: str,
    model: str | None = None,
    *,
    suffix: str | None = None,
    epochs: int | None = None,
    catalog: Catalog | None = None,
    today: datetime.date | None = None,
) -> Translation:
    """Translate a job for another provider.

    Args:
        old: The job.
        to: Name of the target provider.
        model: Base model. Default: that of the job.
        suffix: Suffix of the new model's name. Default: that of the job.
        epochs: Number of epochs. Default: that of the job.
        catalog: Facts about providers and models. Default: the built-in catalog.
        today: Date on which deadlines are evaluated. Default: the current date.

    Raises:
        UnknownNameError: There is no such provider.
    """
    catalog = catalog or load_catalog()
    target = find_provider(to, catalog)
    if target.api is None:
        obstacle = f"the catalog has no API settings for {target.title}"
        return Translation(JobSpec(old.job.model, old.training), (), (obstacle,))
    translator = _Translator(old, target, target.api)
    base = translator.choose_base(to, model, catalog, today or datetime.date.today())
    spec = translator.build_spec(base, suffix, epochs, find_provider(old.provider, catalog).api)
    translator.check_spec(spec)
    return Translation(spec, tuple(translator.changes), tuple(translator.obstacles))


class _Translator:
    """Translates the settings of one job, and collects changes and obstacles."""

    def __init__(self, old: SourceJob, target: Provider, api: Api) -> None:
        self._old, self._target, self._api, self._title = old, target, api, target.title
        self.changes: list[Change] = []
        self.obstacles: list[str] = []

    def choose_base(
        self, to: str, model: str | None, catalog: Catalog, today: datetime.date
    ) -> str:
        """Return the base model of the new job."""
        before = self._old.job.model
        base = model or base_model(before)
        if base != before:
            why = "as requested" if model else "fine-tuned models cannot be transferred"
            self._change("model", before, base, why)
        offers = {
            name: model_facts.providers[to]
            for name, model_facts in catalog.models.items()
            if to in model_facts.providers
        }
        others = self._target.others
        # The local service can serve a base model under any name.
        is_custom = base not in catalog.models or self._api.embedded
        offer = offers.get(base, others.providers.get(to) if others and is_custom else None)
        if offer is None:
            if not is_custom or (offers and not others):
                self._reject_base(base, offers, today)
        elif self._old.method not in offer.methods:
            self.obstacles.append(
                f"{self._title} does not train {base} with the method '{self._old.method}'"
            )
        elif _has_ended(offer, today):
            deadline = offer.trainable_until
            assert deadline
            why = (
                f"according to the catalog, {self._title} does not train it after"
                f" {deadline.date} ({deadline.source})"
            )
            self._change("model", base, base, why)
        return base

    def _reject_base(self, base: str, offers: dict[str, Offer], today: datetime.date) -> None:
        names = [
            name
            for name, offer in offers.items()
            if self._old.method in offer.methods and not _has_ended(offer, today)
        ]
        choice = " or ".join(names) or "one of its base models"
        self.obstacles.append(f"{self._title} does not train {base}; set `model` to {choice}")

    def build_spec(
        self, base: str, suffix: str | None, epochs: int | None, source: Api | None
    ) -> JobSpec:
        """Return the new job."""
        old, raw = self._old, self._old.job.raw
        same_base = base == base_model(old.job.model)
        old_epochs = old.hyperparameters.get("n_epochs", "auto")
        suffix = self._override("suffix", _old_suffix(old), suffix)
        return JobSpec(
            model=base,
            training=old.training,
            validation=old.validation,
            method=old.method,
            suffix=self._suffix() if suffix is None else suffix,
            epochs=self._override("epochs", old_epochs, epochs)
            or self._count("n_epochs", "epochs", self._api.epochs),
            batch_size=self._count("batch_size", "batch size", self._api.batch_size),
            lr_multiplier=self._learning_rate(source, same_base),
            beta=_number(old.hyperparameters.get("beta")) if old.method == "dpo" else None,
            seed=_seed(raw.get("seed")),
            metadata=self._metadata(),
        )

    def check_spec(self, spec: JobSpec) -> None:
        """Add obstacles for what the provider does not support, and changes for what is dropped."""
        old, raw = self._old, self._old.job.raw
        if not is_encodable(json.dumps(msgspec.to_builtins(spec), ensure_ascii=False)):
            self.obstacles.append("its settings have characters that are not valid Unicode")
        if old.method not in {METHODS[format] for format in self._target.formats}:
            self.obstacles.append(f"{self._title} does not train with the method '{old.method}'")
        if old.job.validation_file and not old.validation:
            why = old.missing.get("validation", "it is missing")
            self._change("validation file", old.job.validation_file, None, why)
        integrations = raw.get("integrations")
        if isinstance(integrations, list) and integrations:
            self._change("integrations", len(integrations), None, "they belong to the old account")
        try:
            check(spec, self._api, self._title)
        except UsageError as error:
            self.obstacles.append(str(error))

    def _change(self, what: str, before: object, after: object, why: str) -> None:
        self.changes.append(Change(what, str(before), "" if after is None else str(after), why))

    def _override(self, what: str, before: object, after: T | None) -> T | None:
        """Return the requested value, and add a change if it differs."""
        if after is not None and after != before:
            self._change(what, before or "none", after, "as requested")
        return after

    def _suffix(self) -> str | None:
        """Return the suffix with the characters and the length that the target accepts."""
        api, before = self._api, _old_suffix(self._old)
        if not before and not api.suffix_needed:
            return None
        suffix = before or self._old.job.id
        if api.suffix_characters:
            suffix = re.sub(f"[^{api.suffix_characters}]", "-", suffix)
        if api.suffix:
            suffix = suffix[: api.suffix.value]
        if suffix != before:
            why = f"{self._title} {_suffix_limits(api) if before else 'requires a suffix'}"
            self._change("suffix", before or "none", suffix, why)
        return suffix

    def _count(self, field: str, what: str, limit: Figure | None) -> int | None:
        """Return a hyperparameter that is a whole number, cut to the target's limit."""
        before = self._old.hyperparameters.get(field, "auto")
        number = _number(before)
        if number is None or number < 1:
            why = "the old provider does not report its value; the target chooses one"
            self._change(what, before, None, why)
            return None
        count = min(round(number), limit.value) if limit else round(number)
        if count != number:
            maximum = f" up to {limit.value:,}" if limit else ""
            self._change(
                what, f"{number:g}", count, f"{self._title} accepts whole numbers{maximum}"
            )
        return count

    def _learning_rate(self, source: Api | None, same_base: bool) -> float | None:
        """Return the learning rate (multiplier) if it means the same at both providers."""
        rate = _number(self._old.hyperparameters.get("learning_rate_multiplier"))
        if rate is None:
            return None
        is_absolute = bool(source and source.rate_is_absolute)
        if is_absolute != self._api.rate_is_absolute:
            kinds = ("an absolute rate", "a multiplier")
            before, after = kinds if is_absolute else kinds[::-1]
            why = f"the old provider uses {before}, the target {after}; the target chooses one"
        elif not is_absolute and not same_base:
            why = "a multiplier applies to one base model only"
        else:
            return rate
        self._change("learning rate", f"{rate:g}", None, why)
        return None

    def _metadata(self) -> dict[str, str]:
        metadata = {
            key: value for key, value in self._old.job.metadata.items() if key not in OWN_METADATA
        }
        if "metadata" in self._api.lacks:
            if metadata:
                why = f"{self._title} does not support metadata"
                self._change("metadata", ", ".join(metadata), None, why)
            return {}
        limit = self._api.metadata_pairs
        room = limit.value - len(OWN_METADATA) if limit else len(metadata)
        for key in list(metadata)[room:]:
            why = f"{self._title} accepts {room + 2} pairs, and ftkit adds two"
            self._change(f"metadata {key}", metadata.pop(key), None, why)
        return {**metadata, MOVED_FROM: self._old.name}


def _has_ended(offer: Offer, today: datetime.date) -> bool:
    """Return True if the model cannot be trained any more."""
    return offer.trainable_until is not None and offer.trainable_until.date < today


def _old_suffix(old: SourceJob) -> str:
    parts = old.job.fine_tuned_model.split(":")
    return str(old.job.raw.get("user_provided_suffix") or (parts[3] if len(parts) == 5 else ""))


def _suffix_limits(api: Api) -> str:
    limits = [f"at most {api.suffix.value} characters"] if api.suffix else []
    limits += [f"only the characters {api.suffix_characters}"] if api.suffix_characters else []
    return f"accepts {' and '.join(limits)}"


def _number(value: Any) -> float | None:
    """Return a hyperparameter as a float, or None if it is no number or out of all proportion."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < MAX_HYPERPARAMETER else None


def _seed(value: Any) -> int | None:
    """Return a seed of at most 64 bits, or None."""
    return value if isinstance(value, int) and abs(value) < 2**63 else None
