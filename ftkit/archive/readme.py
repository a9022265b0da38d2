"""What there is to tell of an archived job: the figures behind its row in the index, and its README."""

from __future__ import annotations

import datetime
import posixpath
from typing import Any

from msgspec import Struct

from ftkit._text import money, printable
from ftkit.archive.layout import ANSWERS, ANSWERS_CHAT, CHECKPOINTS, EVENTS, JOB, PERMISSIONS
from ftkit.archive.read import ArchivedJob
from ftkit.catalog import Catalog, Offer, Price, base_model
from ftkit.jobs.metrics import TRAIN, VALID, Metrics, judge
from ftkit.report.metrics import render_metrics_text


class Story(Struct, frozen=True):
    """A job in figures. `cost` is in US dollars, None where it is not known; `cost_note` says where the price is from."""

    each: ArchivedJob
    metrics: Metrics
    train: list[tuple[int, float]]
    valid: list[tuple[int, float]]
    cost: float | None
    cost_note: str
    served_until: str
    served_note: str


def tell(each: ArchivedJob, catalog: Catalog) -> Story:
    """The story of a job; prices and dates are those of the catalog."""
    metrics = each.metrics()
    facts = catalog.models.get(base_model(each.job.model))
    offer = facts.providers.get(each.archive.provider, Offer()) if facts else Offer()
    cost, note = _cost(each, offer)
    until, source = _until(each, offer)
    return Story(
        each, metrics, metrics.series(TRAIN), metrics.series(VALID), cost, note, until, source
    )


def _cost(each: ArchivedJob, offer: Offer) -> tuple[float | None, str]:
    tokens, month = each.job.trained_tokens, day_of(each.job.created_at)[:7]
    if not isinstance(tokens, int) or not offer.training:
        return None, ""
    before: list[Price] = [price for price in offer.training if price.as_of <= month]
    price = before[0] if before else offer.training[-1]
    if price.per != "million tokens":
        return None, f"{money(price.usd)} an hour ({price.source}, {price.as_of})"
    later = "" if before else ", later than the job"
    return (
        tokens * price.usd / 1e6,
        f"{money(price.usd)} per million tokens ({price.source}, {price.as_of}{later})",
    )


def _until(each: ArchivedJob, offer: Offer) -> tuple[str, str]:
    model = each.archive.models.get(each.job.fine_tuned_model)
    if not each.job.fine_tuned_model:
        return "", ""
    if model and model.shutdown_date:
        return model.shutdown_date, "says the service"
    if offer.served_until:
        return f"{offer.served_until.date:%Y-%m-%d}", offer.served_until.source
    return "", ""


def day_of(seconds: int) -> str:
    """A time as a day in UTC; empty where there is none."""
    return (
        f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d}"
        if 0 < seconds < LAST
        else ""
    )


LAST = 253402300800
"""The first second that is in no year of four digits."""


def readme(story: Story) -> str:
    """The README of a job."""
    each, job = story.each, story.each.job
    parts = [f"# {_plain(job.id)}\n\n{_summary(story)}\n", _table(_facts(story))]
    if each.hyperparameters:
        rows = [
            (_plain(name), _value(value)) for name, value in sorted(each.hyperparameters.items())
        ]
        parts.append(f"## Hyperparameters\n\nAs the service resolved them.\n\n{_table(rows)}")
    if story.metrics.rows:
        shown = printable_lines(
            render_metrics_text(story.metrics, judge(story.metrics), "the result file")
        )
        parts.append(f"## Losses\n\n```text\n{shown}```\n")
    parts.append(f"## Files\n\n{_files(story)}")
    if each.missing:
        lines = "".join(
            f"- {one.what} `{_plain(one.id)}`: {one.reason} ({_plain(one.said)})\n"
            for one in each.missing
        )
        parts.append(f"## What could not be had\n\n{lines}")
    return "\n".join(parts)


def _summary(story: Story) -> str:
    job = story.each.job
    day = day_of(job.created_at)
    begun = f"Created{f' on {day}' if day else ''} on {_plain(job.model) or 'a model'}, by {_plain(story.each.method)} fine-tuning"
    if job.status == "succeeded":
        return f"{begun}. It succeeded."
    why = (
        f": {_plain(job.error)}{f' ({_plain(job.error_code)})' if job.error_code else ''}"
        if job.error
        else ""
    )
    return f"{begun}. Its status was {_plain(job.status)} when it was archived{why}."


def _facts(story: Story) -> list[tuple[str, str]]:
    each, job = story.each, story.each.job
    finished = job.raw.get("finished_at")
    tokens = f"{job.trained_tokens:,}" if isinstance(job.trained_tokens, int) else ""
    cost = (
        f"about {money(story.cost)}, at {story.cost_note}"
        if story.cost is not None
        else story.cost_note
    )
    until = f"{story.served_until} ({story.served_note})" if story.served_until else ""
    rows = [
        ("model", _plain(job.fine_tuned_model)),
        ("base", _plain(job.model)),
        ("status", _plain(job.status)),
        ("created", day_of(job.created_at)),
        ("finished", day_of(finished) if isinstance(finished, int) else ""),
        ("tokens billed", tokens),
        ("cost", cost),
        ("answers until", until),
        ("training data", _data(each, job.training_file)),
        ("validation data", _data(each, job.validation_file)),
        ("seed", _value(job.raw.get("seed"))),
        ("organization", _value(job.raw.get("organization_id"))),
        *((_plain(f"metadata {key}"), _value(value)) for key, value in job.metadata.items()),
    ]
    return [(name, value) for name, value in rows if value]


def _data(each: ArchivedJob, id: str) -> str:
    """A file of the job: a link to its content, its name and size."""
    if not id:
        return ""
    known, path = each.archive.files.get(id), each.archive.manifest.contents.get(id)
    size = (
        f", {each.archive.manifest.files[path].size:,} bytes"
        if path in each.archive.manifest.files
        else ""
    )
    told = f"{_plain(known.name)}{size}, " if known else ""
    link = f"[{_plain(id)}]({posixpath.relpath(path, each.path)})" if path else f"{_plain(id)}"
    here = "a part of it is here" if id in each.archive.missing else "here"
    return f"{link} ({told}{here if path else 'could not be had'})"


def _files(story: Story) -> str:
    each = story.each
    known = {
        JOB: "the job as the service sent it",
        EVENTS: "what happened, oldest first",
        CHECKPOINTS: "states of the model, with their losses",
        PERMISSIONS: "who may use the checkpoints",
        ANSWERS: "what the model answered, with prompts, parameters and usage",
        ANSWERS_CHAT: "the same as training data",
    }
    there = {name: text for name, text in known.items() if each.archive.has(f"{each.path}/{name}")}
    there |= {path.name: "the losses by step" for path in each.results}
    return _table([(f"[{name}]({name})", text) for name, text in there.items()])


def _table(rows: list[tuple[str, str]]) -> str:
    lines = "".join(
        f"| {name} | {value} |\n" for name, value in ((_cell(one), _cell(two)) for one, two in rows)
    )
    return f"| | |\n|---|---|\n{lines}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _value(value: Any) -> str:
    return "" if value is None else _plain(str(value))


def _plain(text: str) -> str:
    """Text from outside, on one line and without what Markdown or HTML would make something of."""
    shown = printable(" ".join(text.split()))[:500]
    return "".join(f"\\{char}" if char in "\\`*<>[]#" else char for char in shown)


def printable_lines(text: str) -> str:
    """The lines of a text without control characters, and without a fence that would end the block."""
    return "".join(f"{printable(line)}\n" for line in text.replace("```", "'''").splitlines())
