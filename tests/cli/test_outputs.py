"""Files that commands write: never standard output's own, and never one that they read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import run_ftkit
from support.paths import MARV

SAMPLE = ("sample", str(MARV), "-n", "1")


@pytest.mark.parametrize("command", [(*SAMPLE, "-o"), ("rules", "--output-file")])
def test_dev_stdout_is_standard_output(command: tuple[str, ...], tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("kept\n")
    arguments = [sys.executable, "-m", "ftkit", *command, "/dev/stdout"]
    with log.open("ab") as file:
        subprocess.run(arguments, stdout=file, stderr=subprocess.DEVNULL, check=True)
        assert os.path.samestat(os.fstat(file.fileno()), log.stat())
    first, *rest = log.read_text().splitlines()
    assert (first, bool(rest)) == ("kept", True)


DESCRIPTORS = ("/dev/fd/1", "/proc/self/fd/1", "/dev/stderr")

WRITERS = {
    "output of rules": ("rules", "--output-file"),
    "data": (*SAMPLE, "-o"),
    "map": (*SAMPLE, "--map"),
    "rejects": (*SAMPLE, "--rejects"),
    "duplicates": ("dedupe", str(MARV), "--duplicates"),
    "lock": ("split", str(MARV), "--lock"),
    "page": ("compare", str(MARV), str(MARV), "--prompts", str(MARV), "--html"),
}
"""Commands and their options that name a file to write."""


@pytest.mark.parametrize("path", DESCRIPTORS)
@pytest.mark.parametrize("writer", WRITERS)
def test_other_descriptors_are_refused(writer: str, path: str, tmp_path: Path) -> None:
    done = run_ftkit(*WRITERS[writer], path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"cannot write {path}: it is a file descriptor; name a file\n")
    assert list(tmp_path.iterdir()) == []
