"""The command `ftkit catalog`."""

from __future__ import annotations

import json

from support.commands import run_ftkit
from support.models import MINI


def test_the_catalog_can_be_one_provider_as_json() -> None:
    output = json.loads(run_ftkit("catalog", "--provider", "azure", "--output", "json").stdout)
    assert set(output) == {"ftkit", "models", "providers", "images"}
    assert set(output["providers"]) == {"azure"}
    assert all(set(model["providers"]) == {"azure"} for model in output["models"].values())
    assert output["models"][MINI]["providers"]["azure"]["trainable_until"]["source"]


def test_the_catalog_refuses_a_provider_that_nobody_knows() -> None:
    assert run_ftkit("catalog", "--provider", "azur").returncode == 2
