"""`ftkit samples`."""

from __future__ import annotations

import os
import shutil
import tempfile
from itertools import count
from pathlib import Path

import click

import ftkit
from ftkit._text import shell_join
from ftkit.cli.command import Command
from ftkit.cli.options import output_option
from ftkit.cli.output import print_json, print_line
from ftkit.errors import FileError, UsageError, os_error_message


@click.command(cls=Command)
@click.argument("folder", metavar="[DIR]", default="samples")
@output_option
def samples(folder: str, output: str) -> None:
    """Copy the sample files to DIR, by default the folder samples.

    There is a clean file of each format, a file for each of many defects, recorded answers, and an
    archive. DIR must not exist.
    """
    if not folder:
        raise UsageError("DIR is empty; name a new folder, as in `ftkit samples samples`")
    if os.path.lexists(folder):
        other = shell_join(["ftkit", "samples", _unused(folder)])
        raise UsageError(f"{folder} exists; name another folder, as in `{other}`")
    _copy(_samples(), Path(folder))
    files = sorted(path.relative_to(folder).as_posix() for path in _files(Path(folder)))
    if output == "json":
        print_json({"folder": folder, "files": files})
    else:
        print_line(f"Copied {len(files)} files to {folder}.")


def _unused(folder: str) -> str:
    """Return the name of a folder that does not exist: with the first number from 2 on."""
    name = os.path.normpath(folder)
    if os.path.basename(name) in ("", os.curdir, os.pardir):
        name = "samples"
    if name.startswith("-"):
        name = os.path.join(os.curdir, name)  # not an option
    return next(f"{name}{n}" for n in count(2) if not os.path.lexists(f"{name}{n}"))


def _samples() -> Path:
    """Return the folder of the samples: part of an installed package, beside it in a checkout."""
    package = Path(ftkit.__file__).parent
    if (package.parent / "setup.py").is_file():
        return package.parent / "samples"
    return package / "samples"


def _copy(source: Path, target: Path) -> None:
    """Copy a folder atomically."""
    try:
        with tempfile.TemporaryDirectory(prefix=".ftkit-", dir=target.parent) as temporary:
            copy = os.path.join(temporary, "samples")
            shutil.copytree(source, copy, copy_function=shutil.copyfile)
            os.rename(copy, target)
    except OSError as error:
        reason = os_error_message(error)
        raise FileError(f"cannot copy the samples to {target}: {reason}") from error


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
