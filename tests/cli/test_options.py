"""The table of options in docs/design.md holds for all commands."""

from __future__ import annotations

import re

import click
import pytest

from support.command_tree import COMMAND_TREE
from support.paths import ROOT

START = "<!-- options: held to the commands by tests/cli/test_options.py -->"

PAGE = (ROOT / "docs" / "design.md").read_text().partition(START)[2].partition("\n## ")[0]

ROWS = re.findall(r"^\| `(.+)` \| (.*?) ?\| (.+) \| .+ \|$", PAGE, re.MULTILINE)
"""Names, value and commands of each option."""

PREPARING = [
    path
    for path, context in COMMAND_TREE.items()
    if {"--map", "--rejects"} <= {name for item in context.command.params for name in item.opts}
]
"""Commands that write data and report on it."""


def options(path: str) -> list[click.Option]:
    """Return the options of a command, without those of all commands."""
    return [item for item in COMMAND_TREE[path].command.params if isinstance(item, click.Option)]


def value(option: click.Option) -> str:
    if option.is_flag:
        return ""
    return "format" if isinstance(option.type, click.Choice) else str(option.metavar)


@pytest.mark.parametrize(("names", "kind", "commands"), ROWS)
def test_an_option_has_its_meaning_in_the_commands_of_the_table(
    names: str, kind: str, commands: str
) -> None:
    short, _, long = names.rpartition("`, `")
    is_shared = commands == "all others"
    found = {
        path.removeprefix("ftkit "): option
        for path in (COMMAND_TREE if is_shared or long != "--map" else PREPARING)
        for option in options(path)
        if long in option.opts
    }
    assert {value(option) for option in found.values()} == {kind}
    assert {short in option.opts for option in found.values() if short} <= {True}
    if is_shared:
        assert len(found) > 1
    else:
        assert sorted(found) == sorted(commands.split(", "))


def test_no_short_option_has_a_meaning_beside_the_table() -> None:
    known = {tuple(names.split("`, `")) for names, *_ in ROWS}
    for path in COMMAND_TREE:
        for option in options(path):
            names = tuple(sorted(option.opts, key=len))
            assert names[0] not in ("-o", "-n") or names in known, path


def test_commands_that_prepare_data_share_their_options() -> None:
    expected = {"--report", "--map", "--rejects", "-o"}
    assert len(PREPARING) >= 8
    for path in PREPARING:
        assert expected <= {name for option in options(path) for name in option.opts}, path
