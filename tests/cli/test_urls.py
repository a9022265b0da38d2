"""URLs where a command takes local files only: one line, with what to do instead."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from ftkit.cli.urls import ACCEPTING, COPIED, takes_path
from support.command_tree import COMMAND_TREE, parse_command
from support.commands import run_ftkit
from support.paths import MARV

NO_PATHS = {
    *("A", "B", "ADDRESS", "BASE=URL", "CC", "CHAR", "COL", "DATE", "ENGINE", "EXPR", "FORMAT"),
    *("ID", "KEY=VALUE", "MB", "N", "N|auto", "N|none", "NAME", "NAME=BASE", "PATH", "PROVIDER"),
    *("ROLE=PATH", "RULES", "SIZE", "STATUS", "TEXT", "TEXT|COL", "URL", "USD", "X", "X,Y[,Z]"),
    *("HOURS", "X|none", "ray=URL"),
}
"""Metavars of values that are no files. PATH is a place in a row."""

NO_PATHS_BY_NAME = {"id", "message", "model", "name", "prompt", "provider", "base", "format"}
"""Names of arguments without a metavar that are no files."""

URL = "s3://bucket/data/train.jsonl"

PATHS = [
    (path, parameter)
    for path, context in COMMAND_TREE.items()
    for parameter in context.command.get_params(context)
    if takes_path(path, parameter)
]
"""All parameters that name files or folders, with the path of their command."""

REFUSING = [
    (path, parameter) for path, parameter in PATHS if parameter.name not in ACCEPTING.get(path, ())
]


def is_value(parameter: click.Parameter) -> bool:
    is_flag = isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count)
    return not is_flag and not isinstance(parameter.type, click.Choice)


def test_every_parameter_either_takes_a_path_or_is_listed_as_taking_none() -> None:
    unknown = [
        (path, parameter.name, parameter.metavar)
        for path, context in COMMAND_TREE.items()
        for parameter in context.command.get_params(context)
        if is_value(parameter)
        and not takes_path(path, parameter)
        and parameter.metavar not in NO_PATHS
        and not (parameter.metavar is None and parameter.name in NO_PATHS_BY_NAME)
    ]
    assert unknown == []


def test_the_tables_name_parameters_that_exist() -> None:
    known = {(path, parameter.name) for path, parameter in PATHS}
    named = {
        (path, name)
        for table in (ACCEPTING, COPIED)
        for path, names in table.items()
        for name in names
    }
    assert named <= known


@pytest.mark.parametrize(
    ("path", "parameter"),
    REFUSING,
    ids=[f"{path} {parameter.opts[0]}".replace(" ", "_") for path, parameter in REFUSING],
)
def test_a_url_is_refused_in_one_line(path: str, parameter: click.Parameter) -> None:
    command = COMMAND_TREE[path].command
    words = path.split()[1:]
    others = [item for item in command.params if isinstance(item, click.Argument)]
    for argument in others:
        words.append(URL if argument is parameter else MARV)
    if isinstance(parameter, click.Option):
        words += [parameter.opts[0], URL]
    words += required_options(command, words)
    done = run_ftkit(*words)
    assert (done.returncode, done.stdout) == (2, "")
    label = parameter.opts[0] if isinstance(parameter, click.Option) else parameter.name or ""
    match = re.fullmatch(
        r"ftkit: (\S+) must be a local (file|folder), not (\S+); (.*)\n", done.stderr
    )
    assert match, done.stderr
    assert (match[1].lower(), match[3]) == (label.lower(), URL)
    shown = re.search("`ftkit (.*)`", match[4])
    assert bool(shown) == (parameter.name in COPIED.get(path, ()))
    if shown:
        parse_command(shlex.split(shown[1]))


def required_options(command: click.Command, words: list[str]) -> list[str]:
    """Return the options that a command requires and that `words` lacks, with valid values."""
    values = {"--to": "chat", "--where": "turns", "--against": MARV, "--prompts": MARV}
    return [
        word
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.required
        if parameter.opts[0] not in words
        for word in (parameter.opts[0], values.get(parameter.opts[0], "gpt-4.1"))
    ]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://host/x.jsonl", "the scheme 'ftp' is not supported"),
        ("s3://key:secret@bucket/x.jsonl", "must not contain a user name or a password"),
        ("https://host/x.jsonl?X-Amz-Signature=secret", "query or a fragment"),
    ],
)
def test_a_url_with_a_secret_is_refused_without_showing_it(url: str, problem: str) -> None:
    for words in (("submit", url, "-m", "gpt-4.1"), ("sample", MARV, "-n", "1", "-o", url)):
        done = run_ftkit(*words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert problem in done.stderr
        assert "secret" not in done.stderr


OUTPUTS = {
    "https://host/x.jsonl": "cannot write https://host/x.jsonl: only s3://, gs:// and az:// URLs",
    "s3://bucket/*.jsonl": "it has wildcards",
    "s3://bucket/x.csv": "ftkit writes JSON Lines, or Parquet",
    "s3://bucket/x.jsonl.gz": "ftkit writes JSON Lines, or Parquet",
    "s3://bucket/": "names no file",
    "s3://bucket/a/../x.jsonl": "has an empty part or a dot",
}


@pytest.mark.parametrize("url", OUTPUTS)
def test_an_output_that_cannot_be_written_is_refused(url: str, tmp_path: Path) -> None:
    done = run_ftkit("sample", MARV, "-n", "1", "-o", url)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert OUTPUTS[url] in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_in_place_is_for_local_files() -> None:
    done = run_ftkit("dedupe", "s3://bucket/x.jsonl", "--in-place")
    assert done.returncode == 2
    assert done.stderr == ("ftkit: --in-place replaces local files only; use -o with another URL\n")


def test_outputs_must_be_different_objects() -> None:
    url = "s3://bucket/x.jsonl"
    done = run_ftkit("sample", MARV, "-n", "1", "-o", url, "--map", url)
    assert done.returncode == 2
    assert done.stderr == f"ftkit: {url} is named for two outputs; name another file\n"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("s3://bucket/data/train.jsonl.gz", "train.jsonl"),
        ("s3://bucket/data/*.jsonl", "rows.jsonl"),
        ("s3://bucket/-rf.csv", "./-rf.jsonl"),
        ("https://host/a*.jsonl", "'a*.jsonl'"),
    ],
)
def test_the_copy_of_a_url_has_a_name_for_the_next_command(url: str, name: str) -> None:
    done = run_ftkit("submit", url, "-m", "gpt-4.1")
    assert done.stderr.endswith(f" --fraction 1 -o {name}`\n")


def test_the_page_on_storage_lists_the_commands_that_take_copies() -> None:
    page = (Path(__file__).parents[2] / "docs" / "storage.md").read_text()
    section = page.partition("## What takes no URL")[2]
    assert [command for command in COPIED if f"`{command}`" not in section] == []
