"""Import layers, the places that may print, and the length of modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ftkit

ROOT = Path(ftkit.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.rglob("*.py")
}

MAY_IMPORT = {
    "errors": set(),
    "_version": set(),
    "ledger": set(),
    "summary": {"ledger"},
    "examples": set(),
    "facts": {"errors"},
    "tokens": {"errors"},
    "settings": {"errors"},
    "spelling": {"examples"},
    "formats": {"errors", "examples", "spelling"},
    "reading": set(),
    "detect": {"reading"},
    "rules": {"errors", "summary", "examples", "formats", "facts", "reading", "detect", "rules"},
    "screening": {"rules"},
    "shape": {"examples", "formats", "reading", "rules"},
    "checks": {"examples", "formats", "reading", "rules", "spelling", "summary"},
    "images": {"examples", "facts"},
    "counting": {"examples", "formats", "rules", "spelling", "tokens"},
    "metering": {"counting", "examples", "formats", "images", "ledger", "rules", "tokens"},
    "explain": {"checks", "examples", "formats", "reading", "rules", "shape", "summary"},
    "scan": {
        "checks",
        "counting",
        "detect",
        "errors",
        "examples",
        "explain",
        "formats",
        "metering",
        "reading",
        "rules",
        "screening",
        "spelling",
        "summary",
        "tokens",
    },
    "workers": {"errors", "scan", "summary"},
    "services": {"facts", "rules"},
    "validation": {"checks", "errors", "facts", "formats", "rules", "scan", "summary", "workers"},
    "estimation": {
        "checks",
        "counting",
        "detect",
        "errors",
        "facts",
        "formats",
        "ledger",
        "rules",
        "scan",
        "summary",
        "tokens",
        "workers",
    },
    "quote": {"detect", "errors", "estimation", "facts", "ledger", "scan", "workers"},
    "remote": set(),
    "keys": {"errors"},
    "aside": {"errors"},
    "providers": {"aside", "errors", "facts", "keys", "remote"},
    "connecting": {"errors", "facts", "keys", "local", "providers"},
    "journal": {"errors"},
    "order": {"errors", "facts"},
    "local": {"errors"},
    "migration": {
        "archive",
        "errors",
        "facts",
        "formats",
        "journal",
        "migration",
        "order",
        "providers",
        "quote",
        "remote",
        "submission",
        "uploads",
        "validation",
    },
    "export": {"errors", "providers", "server"},
    "server": {
        "errors",
        "estimation",
        "formats",
        "local",
        "rules",
        "server",
        "services",
        "summary",
        "validation",
    },
    "uploads": {"errors", "facts", "journal", "providers"},
    "submission": {"journal", "order", "providers", "remote", "uploads"},
    "watching": {"errors", "providers", "remote"},
    "metrics": {"errors", "providers", "remote"},
    "doctor": {
        "errors",
        "journal",
        "providers",
        "remote",
        "services",
        "summary",
        "uploads",
        "validation",
    },
    "compare": {"compare", "errors", "facts", "providers", "reading", "tokens"},
    "archive": {
        "_version",
        "archive",
        "compare",
        "errors",
        "facts",
        "metrics",
        "providers",
        "remote",
        "report",
        "watching",
    },
    "report": {
        "_version",
        "archive",
        "aside",
        "compare",
        "errors",
        "estimation",
        "facts",
        "metrics",
        "quote",
        "report",
        "rules",
        "summary",
    },
    "cli": {
        "_version",
        "archive",
        "aside",
        "cli",
        "compare",
        "connecting",
        "doctor",
        "errors",
        "estimation",
        "export",
        "facts",
        "formats",
        "journal",
        "keys",
        "local",
        "metrics",
        "migration",
        "order",
        "providers",
        "quote",
        "remote",
        "report",
        "rules",
        "server",
        "services",
        "settings",
        "submission",
        "summary",
        "uploads",
        "validation",
        "watching",
    },
    "__init__": {
        "_version",
        "connecting",
        "errors",
        "estimation",
        "journal",
        "order",
        "providers",
        "remote",
        "submission",
        "summary",
        "validation",
        "watching",
    },
    "__main__": {"cli"},
}


def imported(path: Path) -> Iterator[str]:
    """The parts of ftkit that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.split(".")[0] == "ftkit"
        ):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name.split(".")[1] for name in names)
        elif isinstance(node, ast.Import):
            yield from (
                alias.name.split(".")[1] for alias in node.names if alias.name.startswith("ftkit.")
            )


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_stands_below_it(module: str) -> None:
    assert set(imported(MODULES[module])) <= MAY_IMPORT[module.split(".")[0]]


@pytest.mark.parametrize("module", [module for module in MODULES if not module.startswith("cli")])
def test_only_the_command_line_prints_prompts_or_exits(module: str) -> None:
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8")))
        if isinstance(node, ast.Call)
    }
    assert not calls & {
        "print",
        "input",
        "click.echo",
        "sys.exit",
        "exit",
        "click.prompt",
        "click.confirm",
    }


@pytest.mark.parametrize("module", MODULES)
def test_a_module_does_one_thing_in_at_most_400_lines(module: str) -> None:
    assert len(MODULES[module].read_text("utf-8").splitlines()) <= 400
