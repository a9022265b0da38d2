"""Numbers that keep their digits when they are written again."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.dataset.exact_numbers import ExactNumber, dumps, encode, exact_numbers

INEXACT = (
    "0.1234567890123456789",
    "1e-400",
    "-1.5E-999",
    "12345678901234567890123.5",
    "2e-0400",
    "1e-99999999999999999999",
)
EXACT = ("0.1", "1.50", "-0.0", "1e22", "123456789012345678901234567890", "7", "5e-324")


def again(text: str) -> str:
    line = text.encode()
    return encode(exact_numbers(line, msgspec.json.decode(line))).decode()


@pytest.mark.parametrize("number", INEXACT)
def test_a_number_that_is_not_exact_keeps_its_text(number: str) -> None:
    assert again(f'{{"a":[{number},"x"]}}') == f'{{"a":[{number},"x"]}}'


@pytest.mark.parametrize("number", EXACT)
def test_an_exact_number_is_an_ordinary_one(number: str) -> None:
    line = f"[{number}]".encode()
    (value,) = exact_numbers(line, msgspec.json.decode(line))
    assert not isinstance(value, ExactNumber)
    assert Decimal(again(f"[{number}]")[1:-1]) == Decimal(number)


def test_dumps_writes_the_digits_and_no_string_is_taken_for_a_number() -> None:
    line = b'{"a":[0.1234567890123456789,{"b":1e-400}],"c":"\\u00e9 0.1234567890123456789"}'
    value = exact_numbers(line, None)
    assert dumps(value, ensure_ascii=True, separators=(",", ":")).encode() == line
    assert dumps({"x": 1.5}) == json.dumps({"x": 1.5})


NUMBERS = st.from_regex(
    r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True
)


@given(NUMBERS)
def test_any_number_keeps_its_value(number: str) -> None:
    try:
        msgspec.json.decode(number)
    except msgspec.ValidationError:
        return  # too large for a double
    assert Decimal(again(number)) == Decimal(number)
    assert Decimal(dumps(exact_numbers(number.encode(), msgspec.json.decode(number)))) == Decimal(
        number
    )
