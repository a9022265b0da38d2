"""The pictures of the documentation are current: they show what the commands print today."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

pictures = pytest.importorskip("pictures", reason="recordings need a pseudo-terminal, as on Unix")

from support.local_server import LocalServer  # noqa: E402
from support.paths import ROOT  # noqa: E402

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = re.compile(
    r"```sh\n((?:[^`]|`(?!``))*?)```\n\n!\[([^]]*)\]\((?:docs/)?pictures/(\w+)\.svg\)"
)
RECORDINGS = pictures.RECORDINGS
QUICK = [name for name, recording in RECORDINGS.items() if not recording.trains]
LONG = [name for name, recording in RECORDINGS.items() if recording.trains]
RUN = pictures.run
MAX_BYTES = 100_000


@cache
def recorded(names: tuple[str, ...]) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "service", forked_service)
        return {name: pictures.plain(lines) for name, lines in pictures.record_all(set(names))}


@contextmanager
def forked_service(environment: dict[str, str], folder: Path) -> Iterator[None]:
    """Run the local service with workers that need not import PyTorch."""
    with LocalServer(folder / "data"):
        yield


def without_figures(text: str) -> str:
    """Return a text without the losses, which differ in the last digits between processors."""
    return re.sub(r"\s+", " ", re.sub(r"\d[\d.,]*", "0", re.sub("[▁-█]", "", text)))


def path(name: str) -> Path:
    found: Path = pictures.FOLDER / f"{name}.svg"
    return found


@pytest.mark.parametrize("name", QUICK)
def test_a_recording_is_current(name: str) -> None:
    assert pictures.described(path(name)) == recorded(tuple(QUICK))[name], (
        f"run python docs/pictures.py {name}"
    )


@pytest.mark.training
@pytest.mark.parametrize("name", LONG)
def test_a_recording_of_training_is_current(name: str) -> None:
    current = without_figures(recorded(tuple(LONG))[name])
    assert without_figures(pictures.described(path(name))) == current, (
        f"run python docs/pictures.py {name}"
    )


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_draws_the_text_that_it_describes(name: str) -> None:
    tree = ET.parse(path(name))
    drawn = "".join(
        "".join(text.itertext()) for text in tree.iter("{http://www.w3.org/2000/svg}text")
    )
    described = pictures.described(path(name))
    assert "".join(drawn.split()).removeprefix("ftkit") == "".join(described.split())


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_is_light_and_loads_nothing(name: str) -> None:
    text = path(name).read_text("utf-8")
    assert len(text.encode()) < MAX_BYTES
    assert "url(" not in text
    assert (
        text.count("http")
        == text.count("http://www.w3.org/2000/svg")
        + pictures.described(path(name)).count("http") * 2
    )


@pytest.mark.parametrize("name", pictures.PAGE_PICTURES)
def test_the_page_of_a_screenshot_is_current(name: str) -> None:
    pytest.importorskip("sacrebleu")
    prints = json.loads(pictures.PAGES.read_text("utf-8"))
    with pictures.workplace(False) as (folder, environment):
        page = pictures.write_page(pictures.PAGE_PICTURES[name], folder, environment)
        assert prints[name] == pictures.fingerprint(page), f"run python docs/pictures.py {name}"


def run_shortened(command: str, folder: Path, environment: dict[str, str]) -> str:
    """Run a command; one that trains does so for 2 epochs, as fingerprints have no figures."""
    if "submit" in command:
        command = re.sub(r" --epochs \d+", "", command) + " --epochs 2"
    shown: str = RUN(command, folder, environment)
    return shown


@cache
def dashboard_fingerprints() -> dict[str, str]:
    names = set(pictures.DASHBOARD_PICTURES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "service", forked_service)
        patch.setattr(pictures, "run", run_shortened)
        return {
            name: pictures.dashboard_fingerprint(pictures.DASHBOARD_PICTURES[name], address)
            for name, address in pictures.visit(names)
        }


@pytest.mark.training
@pytest.mark.parametrize("name", pictures.DASHBOARD_PICTURES)
def test_the_dashboard_of_a_screenshot_is_current(name: str) -> None:
    prints = json.loads(pictures.PAGES.read_text("utf-8"))
    assert prints[name] == dashboard_fingerprints()[name], f"run python docs/pictures.py {name}"


def shown() -> Iterator[tuple[str, str, str, list[str]]]:
    """Yield the pictures of the pages: page, name, alternative text, and the commands above it."""
    for page in PAGES:
        for block, text, name in SHOWN.findall(page.read_text("utf-8")):
            commands = re.sub(r"\\\n\s*", "", block).splitlines()
            yield page.name, name, text, commands


def test_the_commands_above_a_picture_are_those_that_it_shows() -> None:
    pictured = {(page, name): commands for page, name, _, commands in shown()}
    assert {name for _, name in pictured} == set(pictures.SESSIONS["tutorial"])
    for (page, name), commands in pictured.items():
        assert tuple(commands) == RECORDINGS[name].commands, page


def test_every_picture_has_an_alternative_text() -> None:
    for page in PAGES:
        assert "![](" not in page.read_text("utf-8"), page.name


def test_every_file_of_the_folder_is_a_picture_that_a_page_shows() -> None:
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    for file in pictures.FOLDER.iterdir():
        assert file == pictures.PAGES or f"pictures/{file.name}" in text, file.name
