"""URLs as arguments: the parameters that accept them, and errors for all others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from ftkit._text import quote_argument
from ftkit.dataset.object_location import is_pattern, is_url, parse_url
from ftkit.errors import UsageError

PREPARED = ("files", "output_file", "map", "rejects")
"""Parameters of the commands that write one prepared file."""

ACCEPTING: dict[str, tuple[str, ...]] = {
    "ftkit validate": ("files", "validation_file"),
    "ftkit estimate": ("file", "validation_file"),
    "ftkit convert": PREPARED,
    "ftkit fix": PREPARED,
    "ftkit split": ("files", "output_prefix", "map", "rejects"),
    "ftkit dedupe": (*PREPARED, "against", "duplicates"),
    "ftkit decontaminate": (*PREPARED, "against"),
    "ftkit mix": ("sources", "output_file", "map", "rejects"),
    "ftkit sample": PREPARED,
    "ftkit filter": PREPARED,
    "ftkit show": ("file",),
    "ftkit screen": PREPARED,
}
"""Parameters that accept URLs, by command."""

COPIED: dict[str, tuple[str, ...]] = {
    "ftkit submit": ("file", "validation_file"),
    "ftkit files upload": ("path",),
    "ftkit compare": ("a", "b", "prompts"),
    "ftkit archive save": ("prompts",),
    "ftkit explain": ("file",),
    "ftkit serve check": ("file",),
}
"""Parameters for local datasets, which `ftkit sample` can copy from a URL, by command."""

OUTPUTS = ("output_file", "page", "plot", "save_a", "save_b")
"""Parameters for local files that are written."""

PATH_METAVARS = ("FILE", "DIR", "PREFIX", "RECIPE", "ARCHIVE")
"""Words in the metavars of parameters for files and folders."""


def takes_path(command: str, parameter: click.Parameter) -> bool:
    """Return True if a parameter names a file or a folder, or may do so.

    Args:
        command: Path of the command, such as "ftkit jobs list".
        parameter: A parameter of the command.
    """
    is_listed = parameter.name in COPIED.get(command, ()) or parameter.name == "path"
    return is_listed or any(word in (parameter.metavar or "") for word in PATH_METAVARS)


def refuse_urls(context: click.Context, output: str | None = None) -> None:
    """Raise `UsageError` for a URL where a command accepts local files only.

    Args:
        context: Context with the values of the parameters.
        output: Value of the shared option `--output-file`, which click does not keep in
            `context.params`, since no function of a command takes it.
    """
    command = context.command_path
    for parameter in context.command.get_params(context):
        name = parameter.name or ""
        if name in ACCEPTING.get(command, ()) or not takes_path(command, parameter):
            continue
        shared = output if name == "output_file" else None
        for url in filter(is_url, _strings(context.params.get(name, shared))):
            raise UsageError(_refusal(command, parameter, url))


def _strings(value: Any) -> Iterator[str]:
    """Yield a value that is a string, or the strings in a tuple."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        yield from (item for item in value if isinstance(item, str))


def _refusal(command: str, parameter: click.Parameter, url: str) -> str:
    """Return the message that refuses a URL and says what to do instead."""
    key = parse_url(url).key  # an invalid URL, which may hold a secret, is refused here
    is_option = isinstance(parameter, click.Option)
    label = parameter.opts[0] if is_option else (parameter.name or "").upper()
    kind = "folder" if "DIR" in (parameter.metavar or "") else "file"
    problem = f"{label} must be a local {kind}, not {url}"
    if parameter.name in COPIED.get(command, ()):
        return f"{problem}; copy it first: `{copy_command(url, key)}`"
    if parameter.name in OUTPUTS or kind == "folder":
        return f"{problem}; name one on this machine"
    return f"{problem}; download it and name the copy"


def copy_command(url: str, key: str) -> str:
    """Return the command that copies the rows at a URL to a local file of the same name.

    Rows of the objects that a pattern matches are copied to `rows.jsonl`.
    """
    name = key.rpartition("/")[2].removesuffix(".gz")
    stem = name.rpartition(".")[0] or name
    if is_pattern(url):
        stem = "rows"
    stem = f"./{stem}" if stem.startswith("-") else stem
    return f"ftkit sample {quote_argument(url)} --fraction 1 -o {quote_argument(f'{stem}.jsonl')}"
