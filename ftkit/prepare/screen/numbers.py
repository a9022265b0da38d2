"""Numbers of persons in texts: payment cards, bank accounts and telephones.

Each pattern has a bounded length, and each check is linear in it. Only ASCII letters and digits
bound a number, since other scripts write none between words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple

from ftkit.catalog.personal import personal_numbers
from ftkit.errors import UsageError, install_command

SPACE = " \u00a0\u202f"
"""Spaces within numbers: the ordinary one, and two that allow no line break."""

_START = r"(?<![A-Za-z0-9_.])"
_END = r"(?![A-Za-z0-9_]|\.[0-9])"

_PLAIN_CARD = re.compile(rf"{_START}[0-9]{{12,19}}{_END}")
_GROUPED_CARDS = [
    re.compile(
        rf"{_START}(?=([0-9]{{{first}}}([{SPACE}-])"
        + r"\2".join(f"[0-9]{{{size}}}" for size in others)
        + f"){_END})"
    )
    for first, *others in personal_numbers().cards.groups
]
"""Numbers in groups, as on cards. A number may begin in each group of a longer row of digits."""

_MAYBE_CARD = re.compile("[0-9]{12}")
_MAYBE_GROUPED_CARD = re.compile(f"[0-9]{{4}}[{SPACE}-][0-9]{{4}}")
_MAYBE_IBAN = re.compile(f"[0-9]{{2}}[A-Za-z0-9{SPACE}-]{{11}}")
"""Cheap necessary conditions, since a pattern that begins with digits is searched for quickly."""

_IBAN = re.compile(
    r"(?<![A-Za-z0-9_])(?:[A-Za-z]{2}[0-9]{2}[A-Za-z0-9]{11,30}"
    rf"|[A-Z]{{2}}[0-9]{{2}}(?:[{SPACE}-][A-Z0-9]{{4}}){{2,7}}(?:[{SPACE}-][A-Z0-9]{{1,3}})?)"
    r"(?![A-Za-z0-9_])"
)
_PHONE_SEPARATORS = rf"[{SPACE}./()-]{{0,3}}"
_PHONE = re.compile(
    rf"(?<![A-Za-z0-9_+])\+[0-9](?:{_PHONE_SEPARATORS}[0-9]){{6,18}}(?![A-Za-z0-9_])"
)
_LAST_GROUP = re.compile(rf"[{SPACE}./()-]+[0-9]+\Z")
_NATIONAL = re.compile(rf"{_START}(?<!\+)\(?[0-9](?:{_PHONE_SEPARATORS}[0-9]){{5,14}}{_END}")
_OTHER = re.compile("[^A-Za-z0-9]+")


class Span(NamedTuple):
    """Place of a number in a text."""

    start: int
    end: int


def has_luhn_digit(digits: str) -> bool:
    """Return True if the last digit is the check digit of the others (ISO/IEC 7812-1)."""
    values = list(map(int, reversed(digits)))
    doubled = (value * 2 - 9 * (value > 4) for value in values[1::2])
    return (sum(values[::2]) + sum(doubled)) % 10 == 0


def is_card(digits: str) -> bool:
    """Return True if digits are the number of a payment card of a known issuer."""
    return has_luhn_digit(digits) and any(
        len(digits) in issuer.lengths
        and any(first <= int(digits[: len(str(first))]) <= last for first, last in issuer.prefixes)
        for issuer in personal_numbers().cards.issuers
    )


def is_iban(characters: str) -> bool:
    """Return True if letters and digits are an IBAN: country, length, check digits (ISO 7064)."""
    characters = characters.upper()
    if personal_numbers().ibans.lengths.get(characters[:2]) != len(characters):
        return False
    number = "".join(str(int(char, 36)) for char in characters[4:] + characters[:4])
    return int(number) % 97 == 1


def is_phone(digits: str) -> bool:
    """Return True if digits can be an international telephone number, without the `+`."""
    phones = personal_numbers().phones
    codes = {digits[:length] for length in (1, 2, 3)} & _calling_codes()
    shortest, longest = phones.digits
    return any(
        len(digits) == phones.lengths.get(code, len(digits)) and shortest <= len(digits) <= longest
        for code in codes
    )


@cache
def _calling_codes() -> frozenset[str]:
    return frozenset(map(str, personal_numbers().phones.codes))


def iter_cards(text: str) -> Iterator[Span]:
    """Yield the numbers of payment cards in a text."""
    for match in _PLAIN_CARD.finditer(text) if _MAYBE_CARD.search(text) else ():
        if is_card(match[0]):
            yield Span(*match.span())
    for pattern in _GROUPED_CARDS if _MAYBE_GROUPED_CARD.search(text) else ():
        for match in pattern.finditer(text):
            if is_card(_OTHER.sub("", match[1])):
                yield Span(*match.span(1))


def iter_ibans(text: str) -> Iterator[Span]:
    """Yield the international bank account numbers in a text."""
    for match in _IBAN.finditer(text) if _MAYBE_IBAN.search(text) else ():
        length = personal_numbers().ibans.lengths.get(match[0][:2].upper(), 0)
        counts = accumulate(char not in f"{SPACE}-" for char in match[0])
        ends = (index for index, count in enumerate(counts, 1) if count == length)
        end = next(ends, 0)  # what follows an IBAN in groups may look like another group
        candidate = match[0][:end]
        if end and not match[0][end : end + 1].isalnum() and is_iban(_OTHER.sub("", candidate)):
            yield Span(match.start(), match.start() + end)


def iter_phones(text: str) -> Iterator[Span]:
    """Yield the telephone numbers in a text that begin with `+` and a country calling code."""
    for match in _PHONE.finditer(text) if "+" in text else ():
        number = match[0]
        while number and not is_phone(_OTHER.sub("", number)):
            last = _LAST_GROUP.search(number)  # what follows a number may look like a part of it
            number = number[: last.start()] if last else ""
        if number:
            yield Span(match.start(), match.start() + len(number))


def check_region(region: str) -> None:
    """Raise `UsageError` if phonenumbers is not installed, or does not know the region."""
    if region not in _phonenumbers().SUPPORTED_REGIONS:
        raise UsageError(
            f"`region` must be an ISO 3166 code of a country, such as DE, not {region!r:.20}"
        )


def iter_national_phones(text: str, region: str) -> Iterator[Span]:
    """Yield the telephone numbers in a text as they are written within a country.

    Args:
        text: The text.
        region: ISO 3166 code of the country.
    """
    phonenumbers = _phonenumbers()
    for candidate in _NATIONAL.finditer(text):
        for match in phonenumbers.PhoneNumberMatcher(candidate[0], region):
            yield Span(candidate.start() + match.start, candidate.start() + match.end)


def _phonenumbers() -> Any:
    try:
        import phonenumbers
    except ImportError as error:
        raise UsageError(
            f"`region` needs the package phonenumbers; install it with {install_command('screen')}"
        ) from error
    return phonenumbers
