"""The documentation is true: generated pages are current, and examples print what they show."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
from errors_page import sample

from ftkit.cli import COMMANDS
from ftkit.prepare.file_formats import file_formats
from ftkit.prepare.row_formats import row_formats
from ftkit.rules import RULES
from ftkit.validation.provider_messages import interpret
from support.commands import run_ftkit
from support.local_server import LocalServer
from support.paths import ROOT

DOCS = ROOT / "docs"


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()
PAGES: list[Path] = GENERATOR.pages_with_examples()


@pytest.mark.parametrize("name", GENERATOR.PAGES)
def test_a_generated_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == GENERATOR.PAGES[name](), (
        "run python docs/generate.py"
    )


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 250


def test_the_map_names_every_module() -> None:
    layer, named = "", set()
    for line in (
        (DOCS / "design.md").read_text("utf-8").partition(GENERATOR.MAP_START)[2].splitlines()
    ):
        if heading := re.fullmatch(r"### `([\w/.]+)`", line):
            layer = heading[1]
            named.add(f"{layer}__init__.py" if layer.endswith("/") else layer)
        elif module := re.match(r"\| `([\w/.]+)` \|", line):
            named.add(layer + module[1])
    folder = ROOT / "ftkit"
    modules = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}
    assert named == modules - {"__init__.py"}


def test_each_format_has_a_section_in_that_of_its_group() -> None:
    sections = (DOCS / "formats.md").read_text("utf-8").split("\n## ")[1:]
    headings = {part.partition("\n")[0]: re.findall(r"\n### (.*)", part) for part in sections}
    expected: dict[str, list[str]] = {"Files": sorted(file_formats())}
    for name, format in sorted(row_formats().items()):
        expected.setdefault(format.group, []).append(name)
    assert headings == expected


@pytest.mark.parametrize(
    ("rule", "pattern"),
    [(rule, pattern) for rule in RULES for pattern in RULES[rule].provider_messages],
)
def test_explain_finds_the_rule_of_a_message_on_the_page_of_error_messages(
    rule: str, pattern: str
) -> None:
    message = sample(pattern)
    assert f"`{message}`" in (DOCS / "errors.md").read_text("utf-8").partition(f"### {rule}\n")[2]
    assert RULES[rule] in interpret(message.replace("…", "x")).rules


def options(command: click.Command) -> Iterator[click.Option]:
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            yield parameter
    if isinstance(command, click.Group):
        for subcommand in command.commands.values():
            yield from options(subcommand)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    page = (DOCS / "commands.md").read_text("utf-8")
    section = page.partition(f"## ftkit {name}\n")[2].partition("\n## ")[0]
    assert section
    command: click.Command = getattr(importlib.import_module(COMMANDS[name][0]), name)
    for option in options(command):
        assert re.search(rf"^  (-\w, )?{option.opts[0]}\b", section, re.MULTILINE), option.opts[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


def blocks(page: Path, language: str) -> Iterator[str]:
    yield from re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


CONSOLE = [
    (page.name, first, block)
    for page in PAGES
    for first, block in GENERATOR.CONSOLE.findall(page.read_text("utf-8"))
]
PYTHON = [(page.name, block) for page in PAGES for block in blocks(page, "python")]


@pytest.mark.parametrize(
    ("first", "block"),
    [example[1:] for example in CONSOLE],
    ids=[f"{example[0]}-{n}" for n, example in enumerate(CONSOLE)],
)
def test_a_command_in_the_documentation_prints_what_stands_below_it(first: str, block: str) -> None:
    assert GENERATOR.run_block(block, first) == block, "run python docs/generate.py"


@pytest.fixture
def beside_the_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("beside_the_samples")
@pytest.mark.parametrize(
    ("page", "block"), PYTHON, ids=[f"{page}-{n}" for n, (page, _) in enumerate(PYTHON)]
)
def test_python_in_the_documentation_runs(page: str, block: str) -> None:
    exec(compile(block, page, "exec"), {})


@pytest.mark.training
@pytest.mark.usefixtures("beside_the_samples")
def test_the_model_of_the_tutorial_answers_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (DOCS / "prepare.md").read_text("utf-8")
    tutorial = page.partition("## Tutorial")[2].partition("\n## ")[0]
    commands = re.findall(r"^(?:\$ )?(ftkit .*)$", tutorial.replace("\\\n", ""), re.MULTILINE)
    (answer,) = re.findall(r"^```text\n(.*?)^```", tutorial, re.MULTILINE | re.DOTALL)
    answers = []
    with LocalServer(tmp_path / "data") as server:
        monkeypatch.setenv("FTKIT_DATA_DIR", str(server.folder))
        monkeypatch.setenv("FTKIT_STATE_DIR", str(tmp_path / "state"))
        for command in commands:
            done = run_ftkit(*shlex.split(command)[1:])
            assert done.returncode < 2, done.stderr
            answers += [done.stdout] if command.startswith("ftkit chat") else []
    assert answers == [answer]


def test_the_documentation_has_examples_that_run() -> None:
    assert len(CONSOLE) >= 8
    assert len(PYTHON) >= 2
