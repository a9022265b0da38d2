"""The search for the lines that a rule on text may complain about."""

from __future__ import annotations

import msgspec
import pytest

from ftkit.rules import RULES
from ftkit.validation.prefilter import Prefilter

LINES = [b"", b"one", b" two", b"", b"x", b"two", b""]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("two", {2, 5}),
        ("[^a-z]two", {2}),
        ("(?:^|[^a-z])two", {2, 5}),
        (r"\s", {2}),
        ("[^a-z]", {2}),
        ("o", {1, 2, 5}),
        ("e", {1}),
        (r"\b[x]", {4}),
        ("none", set()),
    ],
)
def test_a_prefilter_suspects_the_lines_that_its_pattern_matches(
    pattern: str, expected: set[int]
) -> None:
    rule = msgspec.structs.replace(RULES["secret"], prefilter=(pattern,))
    suspects = Prefilter([rule]).suspects(LINES)
    assert {index for index, rules in suspects.items() if rules} == expected


@pytest.mark.parametrize("pattern", ["\n", "\n*", "x*", r"\b", "$"])
def test_a_pattern_that_matches_next_to_nothing_ends_the_search(pattern: str) -> None:
    rule = msgspec.structs.replace(RULES["secret"], prefilter=(pattern,))
    assert Prefilter([rule]).suspects(LINES).keys() <= set(range(len(LINES)))
