"""Profiles of Hypothesis: `ftkit`, and `brief` where another environment has run the full number."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

BRIEF = "brief"

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ftkit")
"""Name of the profile of this run."""

SHARE = 4
"""Divisor of the number of examples in the profile `brief`."""


def example_count(number: int) -> int:
    """Return the number of examples of a test whose full number is `number`."""
    return max(1, number // SHARE) if PROFILE == BRIEF else number


def load_profile() -> None:
    """Make the profile of this run the default of all tests."""
    for name in ("ftkit", BRIEF):
        settings.register_profile(
            name,
            deadline=None,
            derandomize=bool(os.environ.get("CI")),
            max_examples=example_count(100),
            suppress_health_check=[HealthCheck.too_slow],
        )
    settings.load_profile(PROFILE)
