"""The cases of a harness as a fixture, and the marker of all harnesses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.hostile import Cases

SHORT = 200
"""Number of cases of a harness in a short run, as in CI."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder, which one environment of tox runs."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.hostile)


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
