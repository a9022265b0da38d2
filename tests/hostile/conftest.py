"""The cases of a harness as a fixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from support.hostile import Cases

SHORT = 200
"""Number of cases of a harness in a short run, as in CI."""


@pytest.fixture
def hostile(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> Iterator[Cases]:
    """The cases of this test: a few, or as many as `--hostile` says."""
    options = request.config.option
    name = request.node.name.removeprefix("test_")
    cases = Cases(name, options.hostile_seed, options.hostile or SHORT, options.hostile_case)
    yield cases
    record_property("hostile", cases.summary())
