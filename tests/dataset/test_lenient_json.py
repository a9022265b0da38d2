"""Nesting of JSON values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ftkit.dataset.lenient_json import nesting_exceeds, nests_deeper


@pytest.mark.parametrize("value", [1, "[[", [], {}, [1], {"a": [1, {}]}, [[], {"a": {"b": []}}]])
@pytest.mark.parametrize("limit", range(5))
def test_values_and_their_texts_have_the_same_depth(value: Any, limit: int) -> None:
    assert nesting_exceeds(value, limit) == nests_deeper(json.dumps(value).encode(), limit)
