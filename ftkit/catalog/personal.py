"""Numbers of persons, as in `personal.toml`: payment cards, bank accounts and telephones."""

from __future__ import annotations

import datetime
from functools import cache

import msgspec
from msgspec import Struct

from ftkit.catalog.load import read_facts


class Issuer(Struct, frozen=True, forbid_unknown_fields=True):
    """Numbers of the payment cards of an issuer."""

    name: str
    prefixes: tuple[tuple[int, int], ...]
    """First and last number of each range of first digits."""
    lengths: tuple[int, ...]


class Cards(Struct, frozen=True, forbid_unknown_fields=True):
    """Numbers of payment cards."""

    source: str
    checked: datetime.date
    issuers: tuple[Issuer, ...]
    groups: tuple[tuple[int, ...], ...]
    """Sizes of the groups of digits of a number that is written with separators."""


class Ibans(Struct, frozen=True, forbid_unknown_fields=True):
    """International bank account numbers."""

    source: str
    checked: datetime.date
    lengths: dict[str, int]
    """Number of characters by country."""


class Phones(Struct, frozen=True, forbid_unknown_fields=True):
    """International telephone numbers."""

    source: str
    checked: datetime.date
    codes: tuple[int, ...]
    """Country calling codes."""
    digits: tuple[int, int]
    """Minimum and maximum number of digits."""
    lengths: dict[str, int]
    """Number of digits for calling codes that have numbers of one length only."""


class PersonalNumbers(Struct, frozen=True, forbid_unknown_fields=True):
    """Facts about the numbers of persons."""

    cards: Cards
    ibans: Ibans
    phones: Phones


@cache
def personal_numbers() -> PersonalNumbers:
    """Return the facts about the numbers of persons."""
    return msgspec.convert(read_facts("personal"), PersonalNumbers)
