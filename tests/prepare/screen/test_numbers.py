"""Payment cards, bank accounts and telephone numbers, by published test numbers."""

from __future__ import annotations

import pytest

from ftkit.errors import UsageError
from ftkit.prepare.screen.kinds import Match, find_values, finders

CARDS = (
    "4242424242424242",
    "4111 1111 1111 1111",
    "4012-8888-8888-1881",
    "4222222222222",
    "5555555555554444",
    "5105105105105100",
    "2223003122003222",
    "378282246310005",
    "3714 496353 98431",
    "6011111111111117",
    "6011\u00a00009\u00a09013\u00a09424",
    "3056930009020004",
    "3622 720627 1667",
    "3566002020360505",
    "6200000000000005",
    "6304000000000000",
)
"""Test numbers of Stripe, PayPal and Adyen."""

NO_CARDS = (
    "4111111111111112",  # the check digit
    "0000000000000000",  # no issuer
    "79927398713",
    "411111111111111",  # 15 digits
    "41111111111111110",
    "x4111111111111111",
    "call_4111111111111111",
    "0.4111111111111111",
    "4111111111111111.5",
    "4111 1111-1111 1111",
    "41 11 11 11 11 11 11 11",
)

IBANS = (
    "DE89370400440532013000",
    "GB82 WEST 1234 5698 7654 32",
    "gb29nwbk60161331926819",
    "FR1420041010050500013M02606",
    "NO93 8601 1117 947",
    "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
    "BE68-5390-0754-7034",
    "SA0380000000608010167519",
)
"""Examples of the SWIFT registry and Wikipedia."""

NO_IBANS = (
    "DE89370400440532013001",
    "DE8937040044053201300",
    "XX89370400440532013000",
    "GB82 WEST 1234 5698 7654 33",
    "ADE89370400440532013000",
    "GB 82 WEST 1234 5698 7654 32",
)

PHONES = (
    "+1 201-555-0123",
    "+12015550123",
    "+44 20 7946 0958",
    "+49 (0)30 23125 000",
    "+33 1 99 00 12 34",
    "+81-3-1234-5678",
    "+49.30.23125.000",
    "+7 495 123-45-67",
)
"""Numbers reserved for fiction, and numbers of that form."""

NO_PHONES = (
    "+1 201 555",
    "+12015550",
    "+999 1234 5678",
    "+1234567890123456789",
    "2 + 2015550123",
    "a+12015550123",
    "201-555-0123",
)


def found(text: str, *kinds: str, region: str | None = None) -> list[str]:
    """Return the values of some kinds in a text."""
    matches = find_values(text, finders(kinds, region))
    return [text[match.start : match.end] for match in matches]


@pytest.mark.parametrize(
    ("kind", "number"),
    [("card", number) for number in CARDS]
    + [("iban", number) for number in IBANS]
    + [("phone", number) for number in PHONES],
)
@pytest.mark.parametrize("around", ["{}", "It is {}, right?", "号{}号", "({}).", "1 {} 20"])
def test_a_valid_number_is_found_in_a_text(kind: str, number: str, around: str) -> None:
    texts = found(around.format(number), kind)
    assert [text.startswith(number) for text in texts] == [True]


@pytest.mark.parametrize(
    ("kind", "number"),
    [("card", number) for number in NO_CARDS]
    + [("iban", number) for number in NO_IBANS]
    + [("phone", number) for number in NO_PHONES],
)
def test_another_number_is_not_found(kind: str, number: str) -> None:
    assert found(number, kind) == []


def test_a_card_is_found_within_a_row_of_digits_in_groups() -> None:
    assert found("0000 4111 1111 1111 1111 123", "card") == ["4111 1111 1111 1111"]


def test_national_telephone_numbers_are_found_for_a_region() -> None:
    pytest.importorskip("phonenumbers")
    text = "Call 030 23125000 or (201) 555-0123 on 2024-01-15."
    assert found(text, "phone") == []
    assert found(text, "phone", region="DE") == ["030 23125000"]
    with pytest.raises(UsageError, match="`region` must be an ISO 3166 code"):
        finders((), "Germany")


def test_a_region_without_phonenumbers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "phonenumbers", None)
    with pytest.raises(
        UsageError, match=r"phonenumbers; install it with pip install '\.\[screen\]'"
    ):
        finders((), "DE")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="`kinds` must be card or iban"):
        finders(["cards"])


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("4111 1111 1111 1111", "…1111"),
        ("DE89370400440532013000", "DE…00"),
        ("+12015550123", "+12…23"),
        ("jo.doe@acme.com", "jo…@acme.com"),
        ("a@acme.com", "…@acme.com"),
        ("AKIA2J4K6L8M0N2P4Q6R", "AKIA…"),
        (f"-----BEGIN PRIVATE KEY-----\n{'MII' * 9}\n-----END PRIVATE KEY-----", "----…"),
    ],
)
def test_only_a_part_of_a_value_is_shown(text: str, masked: str) -> None:
    (match,) = find_values(text, finders())
    assert match == Match(match.label, 0, len(text), masked)
