"""The distribution: extras, version, and the commands that install it."""

from __future__ import annotations

import re
from configparser import ConfigParser

import pytest

from ftkit._version import __version__
from ftkit.errors import install_command
from support.paths import ROOT


def extras() -> dict[str, str]:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    return dict(config["options.extras_require"])


def test_the_extra_all_has_every_extra_but_that_of_the_tests() -> None:
    names = re.fullmatch(r"\s*ftkit\[([\w,]+)\]\s*", extras()["all"])
    assert names
    assert set(names[1].split(",")) == extras().keys() - {"all", "test"}


def test_one_function_makes_the_commands_that_install_extras() -> None:
    assert install_command("compare") == "pip install '.[compare]'"
    modules = (ROOT / "ftkit").rglob("*.py")
    assert [path.name for path in modules if "pip install" in path.read_text("utf-8")] == [
        "errors.py"
    ]


def test_every_extra_that_a_message_names_exists() -> None:
    named = {
        extra
        for path in (ROOT / "ftkit").rglob("*.py")
        for extra in re.findall(r"install_command\([\"'](\w+)[\"']\)", path.read_text("utf-8"))
    }
    assert {"compare", "local", "plot"} <= named <= extras().keys()


def test_the_changelog_begins_with_the_version() -> None:
    first = re.search("^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert first
    assert re.fullmatch(re.escape(__version__) + r" \((unreleased|\d{4}-\d\d-\d\d)\)", first[1])


@pytest.mark.parametrize("page", ["README.md", "docs/pre-commit.md"])
def test_the_pre_commit_hook_is_shown_at_the_version(page: str) -> None:
    assert re.findall(r"rev: v(\S+)", (ROOT / page).read_text("utf-8")) == [__version__]


def test_every_data_file_is_in_the_distribution() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    patterns = config["options.package_data"]["ftkit"].split()
    package = ROOT / "ftkit"
    packed = {path for pattern in patterns for path in package.glob(pattern)}
    compiled = {".py", ".pyc", ".c", ".h", ".so", ".pyd"}
    present = {
        path for path in package.rglob("*") if path.is_file() and path.suffix not in compiled
    }
    assert present == {path for path in packed if path.is_file()}


def test_the_licences_of_vendored_scripts_are_in_the_distribution() -> None:
    vendored = ROOT / "ftkit" / "pages" / "vendor"
    names = {path.stem for path in vendored.iterdir() if path.suffix in (".js", ".css")}
    assert names == {"uPlot", "htmx"}
    assert all((vendored / f"{name}.LICENSE").stat().st_size for name in names)


def test_every_module_is_measured_by_one_environment() -> None:
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", "utf-8")
    modules = "{[measured_separately]modules}"
    assert f"UNMEASURED_MODULES = {modules}" in tox["testenv:newest"]["set_env"]
    assert f"\nMEASURED_MODULES = {modules}" in tox["testenv:coverage"]["set_env"]
    patterns = re.findall(r"\*/([^\s,\\]+)", tox["measured_separately"]["modules"])
    assert patterns
    assert [pattern for pattern in patterns if not list(ROOT.glob(pattern))] == []
