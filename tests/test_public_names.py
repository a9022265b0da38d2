"""The public names of ftkit: listed once for type checkers and once for the lazy import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ftkit
from ftkit.archive.store import StoppedError
from ftkit.errors import FtkitError
from ftkit.server.errors import ServiceError


def names_for_type_checkers() -> set[str]:
    """Return the names that `ftkit/__init__.py` imports under TYPE_CHECKING."""
    tree = ast.parse(Path(ftkit.__file__).read_text("utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name for node in imports for alias in node.names}


def test_type_checkers_see_the_names_that_can_be_imported() -> None:
    assert names_for_type_checkers() | {"__version__"} == set(ftkit.__all__)


@pytest.mark.parametrize("name", ftkit.__all__)
def test_a_public_name_can_be_imported_and_completed(name: str) -> None:
    assert getattr(ftkit, name) is not None
    assert name in dir(ftkit)


@pytest.mark.parametrize(
    ("former", "name"),
    [
        ("FileProblem", "FileError"),
        ("LostAnswer", "UnknownOutcomeError"),
        ("Order", "JobSpec"),
        ("Service", "Client"),
        ("ServiceProblem", "ProviderError"),
        ("UnknownName", "UnknownNameError"),
        ("UsageProblem", "UsageError"),
    ],
)
def test_a_former_name_still_works_and_warns(former: str, name: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"ftkit.{former} is now ftkit.{name}"):
        assert getattr(ftkit, former) is getattr(ftkit, name)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'validat'"):
        ftkit.validat  # type: ignore[attr-defined] # noqa: B018


def test_every_exception_is_in_the_tree_drawn_in_errors() -> None:
    assert issubclass(StoppedError, FtkitError)
    drawing = ast.get_docstring(ast.parse(Path(ftkit.__file__).with_name("errors.py").read_text()))
    pending, errors = [FtkitError], set()
    while pending:
        error = pending.pop()
        pending += error.__subclasses__()
        errors.add(error)
    for error in errors - set(ServiceError.__subclasses__()):
        assert f"{error.__name__} " in f"{drawing} ".replace("\n", " \n")


def test_importing_ftkit_imports_none_of_its_dependencies() -> None:
    code = "import sys, ftkit; print(*(name.partition('.')[0] for name in sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"openai", "msgspec", "click", "numpy", "tiktoken", "jsonschema", "rich", "httpx"}
    assert not heavy & set(shown.stdout.split())
