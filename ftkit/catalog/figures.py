"""Figures with a source and a date: numbers, prices and deadlines."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct


class Figure(Struct, frozen=True, forbid_unknown_fields=True):
    """A number.

    Attributes:
        source: Where it was published or observed.
        checked: Day of the last check.
    """

    value: int
    source: str
    checked: datetime.date


class Price(Struct, frozen=True, forbid_unknown_fields=True):
    """A price in US dollars.

    Attributes:
        as_of: Month in which the price was valid, as `YYYY-MM`.
        source: Where it was published.
        checked: Day of the last check.
        per: Unit that the price is for.
    """

    usd: float
    as_of: Annotated[str, Meta(pattern=r"^\d{4}-\d\d$")]
    source: str
    checked: datetime.date
    per: Literal["million tokens", "hour"] = "million tokens"


class Deadline(Struct, frozen=True, forbid_unknown_fields=True):
    """The last day on which something is offered.

    Attributes:
        source: Where it was published.
        checked: Day of the last check.
    """

    date: datetime.date
    source: str
    checked: datetime.date
