"""Figures of an archived job for its README and its row in the index: losses, cost, dates."""

from __future__ import annotations

import datetime

from msgspec import Struct

from ftkit._text import money
from ftkit.archive.read import ArchivedJob
from ftkit.catalog import Catalog, Offer, Price, base_model
from ftkit.client.resources import Job
from ftkit.jobs.metrics import TRAIN, VALID, Metrics

MAX_TOKENS = 10**15
"""Number of billed tokens from which on no cost is shown, since no job has trained on as many."""


class JobFigures(Struct, frozen=True):
    """Figures of a job.

    Attributes:
        archived: The job.
        metrics: All metrics by step.
        train: Training losses by step.
        valid: Validation losses by step.
        cost: Cost of training in US dollars, or None if it is unknown.
        cost_note: Price that the cost is based on, with source and date.
        served_until: Last day on which the fine-tuned model is available, as YYYY-MM-DD, or "".
        served_until_source: Source of that date.
    """

    archived: ArchivedJob
    metrics: Metrics
    train: list[tuple[int, float]]
    valid: list[tuple[int, float]]
    cost: float | None
    cost_note: str
    served_until: str
    served_until_source: str


def figures_of(archived: ArchivedJob, catalog: Catalog) -> JobFigures:
    """Return the figures of a job, with the prices and dates of the catalog."""
    metrics = archived.metrics()
    provider = archived.archive.provider
    offer = _offer(archived.job, provider, catalog)
    cost, cost_note = cost_of(archived.job, provider, catalog)
    served_until, source = _served_until(archived, offer)
    return JobFigures(
        archived=archived,
        metrics=metrics,
        train=metrics.series(TRAIN),
        valid=metrics.series(VALID),
        cost=cost,
        cost_note=cost_note,
        served_until=served_until,
        served_until_source=source,
    )


def _offer(job: Job, provider: str, catalog: Catalog) -> Offer:
    model = catalog.models.get(base_model(job.model))
    return model.providers.get(provider, Offer()) if model else Offer()


def cost_of(job: Job, provider: str, catalog: Catalog) -> tuple[float | None, str]:
    """Return the cost of a job at the latest price before its creation, and a note on that price.

    Args:
        job: The job.
        provider: Name of its provider.
        catalog: Catalog with the prices.

    Returns:
        The cost in US dollars, or None if it is unknown; and the note, or "".
    """
    offer = _offer(job, provider, catalog)
    tokens, month = job.trained_tokens, day_of(job.created_at)[:7]
    if tokens is None or abs(tokens) >= MAX_TOKENS or not offer.training:
        return None, ""
    earlier: list[Price] = [price for price in offer.training if price.as_of <= month]
    price = earlier[0] if earlier else offer.training[-1]
    if price.per != "million tokens":
        return None, f"{money(price.usd)} per hour ({price.source}, {price.as_of})"
    later = "" if earlier else ", after the job"
    note = f"{money(price.usd)} per million tokens ({price.source}, {price.as_of}{later})"
    return tokens * price.usd / 1e6, note


def _served_until(archived: ArchivedJob, offer: Offer) -> tuple[str, str]:
    name = archived.job.fine_tuned_model
    model = archived.archive.models.get(name)
    if not name:
        return "", ""
    if model and model.shutdown_date:
        return model.shutdown_date, "reported by the provider"
    if offer.served_until:
        return f"{offer.served_until.date:%Y-%m-%d}", offer.served_until.source
    return "", ""


def day_of(time: datetime.datetime | None) -> str:
    """Return the day of a time as YYYY-MM-DD in UTC, or "" if the time is missing."""
    return f"{time:%Y-%m-%d}" if time else ""
