"""OpenAI's SDK for JavaScript, which npm installs into a temporary folder."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.models import MINI
from support.training import CITY_DATA

pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(not (shutil.which("npm") and shutil.which("node")), reason="needs npm"),
]

SCRIPT = Path(__file__).with_name("script.mjs")

PACKAGE = "openai@>=6 <8"
"""npm selects the newest version for this Node: 7 needs Node 22."""


def run(*command: str, folder: Path) -> str:
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the SDK; skips the test if npm's registry cannot be reached."""
    folder = tmp_path_factory.mktemp("npm")
    (folder / "package.json").write_text("{}")
    shutil.copy(SCRIPT, folder)
    options = ("--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts")
    command = ["npm", "install", "--cache", str(folder / "cache"), *options, PACKAGE]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if process.returncode:
        pytest.skip(f"npm: {process.stderr.strip().splitlines()[-1]}")
    return folder


@pytest.fixture
def results(package: Path, tuned: str, tmp_path: Path) -> Any:
    """The results of the script."""
    path = tmp_path / "cities.jsonl"
    path.write_bytes(CITY_DATA)
    return json.loads(run("node", SCRIPT.name, str(path), MINI, tuned, folder=package))


def test_a_script_trains_and_uses_models(results: Any, tuned: str) -> None:
    trained = results["trained"]
    assert trained["file"]["bytes"] == len(CITY_DATA)
    assert trained["job"]["status"] == "succeeded"
    assert trained["job"]["fine_tuned_model"].startswith(f"ft:{MINI}:")
    assert trained["events"][-1].startswith("Created fine-tuning job")
    assert len(trained["events"]) > 2  # more than a page
    assert results["streamed"] == "oykoT"
    assert results["response"] == "amiL"
    assert results["call"]["name"] == "weather"
    for text in (results["call"]["arguments"], results["formatted"]):
        assert json.loads(text)["city"] in ("Lima", "Oslo")
    assert results["failure"] == ["NotFoundError", 404]
