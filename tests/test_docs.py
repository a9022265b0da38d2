"""The documentation is true: pages are current, commands are documented, examples print what they say."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner

from ftkit.cli import COMMANDS, cli
from support.paths import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), ROOT / "samples" / "README.md"]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["rules.md", "limits.md"])
def test_a_page_made_from_the_code_is_current(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == generator().PAGES[name](), (
        "run python docs/generate.py"
    )


def test_the_readme_shows_the_help_of_validate() -> None:
    shown = (
        CliRunner()
        .invoke(
            cli,
            ["validate", "--help"],
            prog_name="ftkit",
            terminal_width=100,
            max_content_width=100,
        )
        .output
    )
    assert shown in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    page = (DOCS / "commands.md").read_text("utf-8")
    section = page.partition(f"## ftkit {name}\n")[2].partition("\n## ")[0]
    assert section
    command: click.Command = getattr(importlib.import_module(COMMANDS[name][0]), name)
    for parameter in command.params:
        assert (
            not isinstance(parameter, click.Option)
            or parameter.hidden
            or f"`{parameter.opts[0]}" in section
        )


def test_the_map_in_the_readme_names_every_module() -> None:
    named = set(
        re.findall(
            r"^\| `(ftkit/[\w/]+\.py)` \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE
        )
    )
    assert named == {path.relative_to(ROOT).as_posix() for path in (ROOT / "ftkit").rglob("*.py")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


def blocks(page: Path, language: str) -> Iterator[str]:
    yield from re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


CONSOLE = [(page.name, block) for page in PAGES for block in blocks(page, "console")]
PYTHON = [(page.name, block) for page in PAGES for block in blocks(page, "python")]


@pytest.fixture
def beside_the_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("beside_the_samples")
@pytest.mark.parametrize(
    ("page", "block"), CONSOLE, ids=[f"{page}-{n}" for n, (page, _) in enumerate(CONSOLE)]
)
def test_a_command_in_the_documentation_prints_what_stands_below_it(page: str, block: str) -> None:
    for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
        program, *arguments = shlex.split(command)
        assert program == "ftkit"
        done = subprocess.run(
            [sys.executable, "-m", "ftkit", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.stdout.decode() == shown


@pytest.mark.usefixtures("beside_the_samples")
@pytest.mark.parametrize(
    ("page", "block"), PYTHON, ids=[f"{page}-{n}" for n, (page, _) in enumerate(PYTHON)]
)
def test_python_in_the_documentation_runs(page: str, block: str) -> None:
    exec(compile(block, page, "exec"), {})


def test_the_documentation_has_examples_that_run() -> None:
    assert len(CONSOLE) >= 8
    assert len(PYTHON) >= 2
