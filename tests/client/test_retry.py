"""Retries and backoff."""

from __future__ import annotations

import pytest

from ftkit.client.retry import Retry
from ftkit.errors import ProviderError, UnknownOutcomeError, UnreachableError


def test_the_service_says_how_long_to_wait() -> None:
    slept: list[float] = []
    waits = iter([7.0, 500.0, 0.0])

    def ask() -> str:
        for wait in waits:
            raise ProviderError("slow down", 429, wait=wait)
        return "done"

    assert Retry(slept.append)(ask) == "done"
    assert 7 in slept
    assert max(slept) <= 120


def test_a_service_that_stays_away_ends_the_run() -> None:
    calls = []

    def ask() -> None:
        calls.append(1)
        raise UnknownOutcomeError("no connection")

    retry = Retry(lambda seconds: None)
    for _ in range(3):
        with pytest.raises(UnknownOutcomeError):
            retry(ask)
    with pytest.raises(UnreachableError, match="run the same command again later"):
        retry(ask)
    assert len(calls) == 28
