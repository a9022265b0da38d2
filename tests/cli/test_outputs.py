"""Files that commands write: never standard output's own, and never one that they read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from support.command_tree import COMMAND_TREE
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


CHAT = (
    b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hey"}]}\n'
)

REFUSED = "is an input|would replace an input|must be different files"

MAPPING = "user = 'q'\nassistant = 'a'\n"

PREPARING = ("--output-file", "--map", "--rejects")

COMMANDS = {
    "convert {in} --to chat --mapping {mapping}": PREPARING,
    "fix {in}": PREPARING,
    "split {in}": ("--lock", "--map", "--rejects"),
    "dedupe {in} --against {other}": (*PREPARING, "--duplicates"),
    "decontaminate {in} --against {other}": PREPARING,
    "mix {in}=1 {other}=1": PREPARING,
    "sample {in} -n 1": PREPARING,
    "filter {in} --where turns": PREPARING,
    "show {in}": ("--output-file",),
    "validate {in} --validation-file {other} --facts {facts} --grader {grader}": ("--output-file",),
    "estimate {in} --validation-file {other} --facts {facts} --base-prompt {text}": (
        "--output-file",
    ),
    "compare {in} {other} --prompts {prompts} --facts {facts}": ("--output-file", "--html"),
    "compare m {other} --prompts {prompts} --save-a {saved}": ("--output-file", "--html"),
    "compare m m --prompts {prompts} --facts {facts}": ("--save-a", "--save-b"),
    "serve check smoke {in} --recipe {recipe}": ("--output-file",),
}
"""Commands that read files, in braces, and their options that name a file to write."""

OTHER_READERS = {
    "--facts": "of most commands; see `validate`",
    "--prompts": "of `compare`, and of `archive save`, which writes to a new folder",
    "--grader": "of `validate`, and of `submit`",
    "--validation-file": "of `validate`, and of `submit`",
    "--recipe": "of `serve`, which writes no file",
    "--plot": "of `jobs metrics`, which reads no file but that of --facts",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_output_replaces_a_file_that_the_command_reads(command: str, tmp_path: Path) -> None:
    names = re.findall(r"\{(\w+)\}", command)
    for name in names:
        (tmp_path / name).write_bytes(MAPPING.encode() if name == "mapping" else CHAT)
    words = [word.format(**{name: name for name in names}) for word in command.split()]
    before = {name: (tmp_path / name).read_bytes() for name in names}
    for option in COMMANDS[command]:
        for name in names:
            done = run_ftkit(*words, option, f"./{name}")
            assert (done.returncode, done.stdout) == (2, ""), (option, name, done.stderr)
            assert re.search(REFUSED, done.stderr), done.stderr
            assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_all_options_that_name_files_are_tested() -> None:
    tested = {word for command in COMMANDS for word in command.split() if word.startswith("--")}
    tested |= {option for options in COMMANDS.values() for option in options}
    named = {
        option.opts[0]
        for context in COMMAND_TREE.values()
        for option in context.command.get_params(context)
        if isinstance(option, click.Option) and "FILE" in str(option.metavar)
    }
    assert named <= tested | OTHER_READERS.keys()
