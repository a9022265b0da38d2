"""Kinds of personal data and secrets, and their places in a text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import NamedTuple

from ftkit.errors import check_choice
from ftkit.prepare.screen.numbers import (
    Span,
    check_region,
    iter_cards,
    iter_ibans,
    iter_national_phones,
    iter_phones,
)
from ftkit.rules.secrets import end_of_secret, iter_addresses, iter_keys


class Match(NamedTuple):
    """A value in a text."""

    label: str
    """Name of the value, such as "e-mail address"."""
    start: int
    end: int
    masked: str
    """A part of the value that says little about the rest."""


Find = Callable[[str], Iterator[Match]]
"""A function that yields the values of a kind in a text."""


def _numbers(
    label: str, iterate: Callable[[str], Iterator[Span]], first: int, last: int, text: str
) -> Iterator[Match]:
    """Yield numbers, of which some characters at the start and the end are shown."""
    for start, end in iterate(text):
        yield Match(label, start, end, f"{text[start : start + first]}…{text[end - last : end]}")


def _addresses(text: str) -> Iterator[Match]:
    for kind, start, end in iter_addresses(text):
        mailbox, _, domain = text[start:end].partition("@")
        shown = mailbox[: min(len(mailbox) // 2, 2)]
        yield Match(_without_article(kind), start, end, f"{shown}…@{domain[:40]}")


def _keys(text: str) -> Iterator[Match]:
    position = 0
    for kind, start, end in sorted(iter_keys(text), key=itemgetter(1)):
        if start >= position:
            position = end_of_secret(text, kind, end)
            yield Match(_without_article(kind), start, position, f"{text[start : start + 4]}…")


def _without_article(kind: str) -> str:
    return kind.partition(" ")[2]


KINDS: dict[str, Find] = {
    "card": partial(_numbers, "payment card number", iter_cards, 0, 4),
    "iban": partial(_numbers, "IBAN", iter_ibans, 2, 2),
    "phone": partial(_numbers, "telephone number", iter_phones, 3, 2),
    "email": _addresses,
    "key": _keys,
}
"""Functions that find the values of each kind, by the name of the kind."""

DESCRIPTIONS = {
    "card": "payment card numbers of a known issuer with a valid check digit",
    "iban": "international bank account numbers with valid check digits",
    "phone": "telephone numbers with `+` and a country calling code; others with `--region`",
    "email": "e-mail addresses, but not those at domains reserved for examples",
    "key": "API keys, tokens and private keys, as the rule `secret` finds them",
}
"""What is found of each kind, for the documentation."""


def finders(kinds: Sequence[str] = (), region: str | None = None) -> list[Find]:
    """Return the functions that find the values of some kinds.

    Args:
        kinds: Names in `KINDS`; all of them if empty.
        region: ISO 3166 code of the country whose national telephone numbers are found, too.

    Raises:
        UsageError: A kind or the region is unknown, or phonenumbers is not installed.
    """
    for kind in kinds:
        check_choice("kinds", kind, KINDS)
    chosen = [find for kind, find in KINDS.items() if not kinds or kind in kinds]
    if region is not None:
        check_region(region)
        iterate = partial(iter_national_phones, region=region)
        chosen.append(partial(_numbers, "telephone number", iterate, 0, 2))
    return chosen


def find_values(text: str, finders: Iterable[Find]) -> list[Match]:
    """Return the values in a text in order, where they do not overlap."""
    matches = [match for find in finders for match in find(text)]
    matches.sort(key=lambda match: (match.start, -match.end))
    chosen: list[Match] = []
    for match in matches:
        if not chosen or match.start >= chosen[-1].end:
            chosen.append(match)
        elif match.end > chosen[-1].end:
            chosen[-1] = chosen[-1]._replace(end=match.end)
    return chosen


_WORD_END = re.compile("[A-Za-z0-9_]*+")
_WORD_START = re.compile("[A-Za-z0-9_]")


def replace_values(text: str, matches: Iterable[Match]) -> str:
    """Return a text with a placeholder such as `[e-mail address]` for each value.

    The rest of a word that a value is part of goes, too. So no new values arise at the edges, and
    what was replaced once has nothing left to replace.
    """
    pieces, position = [], 0
    for match in matches:
        start = match.start
        if start < position:  # within the word that the value before it is part of
            position = max(position, _end_of_word(text, match.end))
            continue
        while start > position and _WORD_START.match(text[start - 1]):
            start -= 1
        pieces += [text[position:start], f"[{match.label}]"]
        position = _end_of_word(text, match.end)
    return "".join((*pieces, text[position:]))


def _end_of_word(text: str, end: int) -> int:
    word = _WORD_END.match(text, end)
    return word.end() if word else end
