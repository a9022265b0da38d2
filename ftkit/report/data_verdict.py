"""Verdicts of reports on data: one sentence that says what to do, and the reasons for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from ftkit._text import money, plural
from ftkit.estimation.estimate import Estimate
from ftkit.estimation.quote import Quote
from ftkit.report.fix_hint import fix_hint
from ftkit.summary import SEVERITIES, Report

Tone = Literal["good", "warning", "error"]


class Verdict(Struct, frozen=True):
    """A verdict: the title of its page, a sentence, more sentences, and its tone."""

    title: str
    headline: str
    details: tuple[str, ...]
    tone: Tone


def validation_verdict(report: Report, title: str, fix_options: str = "") -> Verdict:
    """Return the verdict of a validation.

    Args:
        report: The report.
        title: Title of the page.
        fix_options: Options of `ftkit fix`, as a shell reads them.
    """
    errors, warnings, infos = map(report.total, SEVERITIES)
    examples = plural(sum(file.examples for file in report.files), "example")
    others = [
        plural(count, name) for count, name in ((warnings, "warning"), (infos, "info")) if count
    ]
    if errors:
        headline = f"Not ready to train: {plural(errors, 'error')} to fix."
        affected = plural(sum(bool(file.errors) for file in report.files), "file")
        details = (
            [f"The errors are in {affected} with {examples}."] if len(report.files) > 1 else []
        )
        details += [f"Also {' and '.join(others)}."] if others else []
        tone: Tone = "error"
    elif not report.ok:
        headline = (
            f"Not ready to train: {plural(warnings, 'warning')}, and warnings count as failures."
        )
        details, tone = [], "error"
    elif warnings:
        checks = f"{plural(warnings, 'warning')} to look at"
        headline = f"Ready to train: no errors in {examples}, but {checks}."
        details, tone = [], "warning"
    else:
        remarks = plural(infos, "remark") if infos else "no findings"
        headline = f"All clear: {remarks} in {examples}."
        details, tone = [], "good"
    details += [f"Checked for {report.model or 'any model'} at {report.provider}."]
    hint = fix_hint(report, fix_options).strip()
    return Verdict(title, headline, tuple(filter(None, [*details, hint])), tone)


def estimate_verdict(quote: Quote, title: str) -> Verdict:
    """Return the verdict of an estimate."""
    details = []
    if quote.skipped:
        details.append(f"{plural(quote.skipped, 'invalid line')} left out; see the findings.")
    tone: Tone = "warning" if quote.skipped else "good"
    priced = [row for row in quote.models if row.cost]
    if len(priced) == 1 and len(quote.models) == 1:
        row = priced[0]
        about = "" if row.exact else "about "
        headline = f"Training {row.model} costs {about}{_cost(row)}."
        details.insert(0, _formula(row))
    elif priced:
        first, last = priced[0], priced[-1]
        headline = (
            f"Training costs from {_cost(first)} ({first.model}) to {_cost(last)} ({last.model})."
        )
        details.insert(0, f"{_formula(first)} The other models are below.")
    else:
        headline = f"The cost of training at {quote.provider} is unknown."
        notes: Sequence[str] = [row.cost_note for row in quote.models]
        if quote.without_model:
            notes = [quote.without_model.note]
        details = [f"{note}." for note in dict.fromkeys(notes) if note][:2] + details
        tone = "warning"
    return Verdict(title, headline, tuple(details), tone)


def _cost(estimate: Estimate) -> str:
    return money(estimate.cost.usd) if estimate.cost else "an unknown amount"


def _formula(estimate: Estimate) -> str:
    price = money(estimate.cost.price_per_million) if estimate.cost else ""
    return (
        f"{estimate.billed_tokens:,} billed tokens: {plural(estimate.epochs, 'epoch')} of"
        f" {estimate.tokens_per_epoch:,} tokens, at {price} per million."
    )
