"""Constants of ftkit that benchmarks change exist."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator

from support.paths import ROOT


def patched_names(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the module and the name of each `mock.patch.object(module, "NAME", …)`."""
    modules = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "mock.patch.object":
            module, name = node.args[:2]
            yield modules[ast.unparse(module)], ast.literal_eval(name)


def test_constants_that_benchmarks_change_exist() -> None:
    names = [
        pair
        for path in (ROOT / "benchmarks").glob("*.py")
        for pair in patched_names(ast.parse(path.read_text("utf-8")))
    ]
    assert ("ftkit.validation.ray_cluster", "TASK_BYTES") in names
    for module, name in names:
        assert hasattr(importlib.import_module(module), name), f"{module}.{name}"
