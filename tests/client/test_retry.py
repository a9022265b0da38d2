"""Retries and backoff."""

from __future__ import annotations

import pytest

from ftkit.archive.patience import OutOfReach, Patience
from ftkit.providers import LostAnswer, ServiceProblem


def test_the_service_says_how_long_to_wait() -> None:
    slept: list[float] = []
    waits = iter([7.0, 500.0, 0.0])

    def ask() -> str:
        for wait in waits:
            raise ServiceProblem("slow down", 429, wait=wait)
        return "done"

    assert Patience(slept.append)(ask) == "done"
    assert 7 in slept
    assert max(slept) <= 120


def test_a_service_that_stays_away_ends_the_run() -> None:
    calls = []

    def ask() -> None:
        calls.append(1)
        raise LostAnswer("no connection")

    patience = Patience(lambda seconds: None)
    for _ in range(3):
        with pytest.raises(LostAnswer):
            patience(ask)
    with pytest.raises(OutOfReach, match="run the same again later"):
        patience(ask)
    assert len(calls) == 28
