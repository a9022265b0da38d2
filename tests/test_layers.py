"""The architecture: imports only go down, without cycles; only `cli` prints; modules are short."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import ftkit

ROOT = Path(ftkit.__file__).parent

LAYERS = (
    "__main__",
    "cli",
    "dashboard",
    "migration",
    "archive",
    "report",
    "compare",
    "server",
    "jobs",
    "prepare",
    "client",
    "estimation",
    "validation",
    "rules",
    "summary",
    "tokens",
    "dataset",
    "catalog",
    "pages",
    "_local",
    "_atomic",
    "_private",
    "_text",
    "errors",
    "_version",
)
"""The packages and modules of `ftkit`; each imports only from those after it."""

NOT_FOR = {"server": {"client", "jobs"}}
"""Layers further down that a layer does without all the same."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py"}


def imports(path: Path) -> Iterator[str]:
    """Yield the modules of ftkit that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ftkit."):
            package = node.module.removeprefix("ftkit.")
            for alias in node.names:
                module = f"{package}.{alias.name}"
                yield module if module in MODULES else package
        elif isinstance(node, ast.ImportFrom) and node.module == "ftkit":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            names = (alias.name for alias in node.names)
            yield from (name.removeprefix("ftkit.") for name in names if name.startswith("ftkit."))


def layer(module: str) -> str:
    return module.partition(".")[0]


def test_every_module_belongs_to_a_layer() -> None:
    assert {layer(module) for module in MODULES} == set(LAYERS)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_layers_below_its_own(module: str) -> None:
    own = layer(module)
    below = set(LAYERS[LAYERS.index(own) :]) - NOT_FOR.get(own, set())
    assert {layer(imported) for imported in imports(MODULES[module])} <= below


def test_modules_do_not_import_each_other_in_cycles() -> None:
    graph = {module: set(imports(path)) - {module} for module, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize(
    "module", [module for module in MODULES if layer(module) not in ("cli", "__main__")]
)
def test_only_the_command_line_prints_prompts_or_exits(module: str) -> None:
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8")))
        if isinstance(node, ast.Call)
    }
    forbidden = {
        "print",
        "input",
        "click.echo",
        "sys.exit",
        "exit",
        "click.prompt",
        "click.confirm",
    }
    assert not calls & forbidden


@pytest.mark.parametrize(
    "module", [module for module in MODULES if layer(module) not in ("cli", "server")]
)
def test_errors_of_the_library_name_no_options(module: str) -> None:
    errors = [
        node
        for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8")))
        if isinstance(node, ast.Raise)
    ]
    texts = [
        node.value
        for error in errors
        for node in ast.walk(error)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not [text for text in texts if re.search(r"(?<![\w-])--[a-z]", text)]


WRITERS = {
    "__main__",  # before the command line is imported
    "cli.terminal",
    "server.probe",  # its standard output is read by the service
    "server.generation.process",  # its standard output is read by the service
}
"""Modules that write to the standard streams."""


@pytest.mark.parametrize("module", [module for module in MODULES if module not in WRITERS])
def test_one_module_writes_to_the_terminal(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    writers = re.compile(
        r"(rich\.)?print|input|(rich\.console\.)?Console|click\.(echo\w*|secho|confirm|prompt|pause)"
        r"|(sys|os)\.(__)?(stdout|stderr)(__)?\.(buffer\.)?write(lines)?|os\.write|warnings\.warn"
    )
    assert not set(filter(writers.fullmatch, calls))


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_at_most_400_lines(module: str) -> None:
    assert len(MODULES[module].read_text("utf-8").splitlines()) <= 400


SHARED = "prepare.row_formats.shared"


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith(SHARED)])
def test_parts_that_row_formats_share_import_no_format(module: str) -> None:
    formats = {name for name in imports(MODULES[module]) if name.startswith("prepare.row_formats")}
    others = {name for name in formats if not name.startswith(SHARED)}
    assert others <= {"prepare.row_formats.base"}
