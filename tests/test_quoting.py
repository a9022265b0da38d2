"""Commands in messages: they work when they are pasted, whatever the names of the files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ftkit._text import quote_argument, quote_path, shell_join
from support.commands import run_ftkit

NAMES = ["a b", "it's", "--x.csv", "-x.csv", "n\nl.csv", "tab\t'\\.csv", "zero\u200bwidth", "$(x)`"]
"""Names that a shell or a command would take for something else."""


def words(command: str) -> list[str]:
    """Return the words that bash reads, without running the command."""
    script = f"printf '%s\\0' {command}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    return done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]


def test_a_shell_reads_the_arguments_as_they_are() -> None:
    arguments = ["", *NAMES, "byte\udcff", "\x7f1", "\u00a0"]
    assert words(shell_join(arguments)) == arguments
    assert all(quote_argument(argument).isprintable() for argument in arguments)
    assert quote_argument("lone \ud800 surrogate").isprintable()


@pytest.mark.parametrize(
    ("path", "quoted"),
    [("x.csv", "x.csv"), ("-", "-"), ("-x", "./-x"), ("--a b", "'./--a b'"), ("n\n", r"$'n\012'")],
)
def test_a_path_is_not_an_option(path: str, quoted: str) -> None:
    assert quote_path(path) == quoted


TABLE = "Frage,Antwort\nWas?,Das.\n"
CHAT = "01/20/24, 1:00 AM - Ann: q\n01/20/24, 1:01 AM - Bob: a\n"
INVALID = '{"messages": [{"role": "User", "content": "Hi"}]}\n'

PRINTED = {
    "convert": (
        TABLE,
        "convert --to chat -- {}",
        "ftkit convert {} --user Frage --assistant Antwort --to chat",
    ),
    "sample": (CHAT, "sample -n 1 -- {}", "ftkit convert {} --to chat --me NAME -o chat.jsonl"),
    "show": (INVALID, "show -- {}", "`ftkit validate {}` says what is wrong"),
    "a table": (TABLE, "validate -- {}", "`ftkit convert {} --to chat`"),
    "a finding": (INVALID, "validate --select role-unknown -- {}", "ftkit fix {} -o "),
    "an array": ('[{"a": 1}, {}]', "validate -- {}", "jq -c '.[]' {} > "),
    "a fix": (INVALID, "fix -o {} in.jsonl", "`ftkit validate {}` shows them"),
    "a file as format": ("", "rules -o {}", "or: --output text > {}"),
}
"""Content of a file, a command that reads or names it, and what is printed with its name."""


@pytest.mark.parametrize("name", ["--x.txt", "-x.txt", "n\nl.txt", "it's.txt"])
@pytest.mark.parametrize("case", PRINTED)
def test_a_printed_command_names_a_file_as_a_shell_reads_it(case: str, name: str) -> None:
    content, command, printed = PRINTED[case]
    Path(name).write_text(content)
    Path("in.jsonl").write_text(content)
    done = run_ftkit(*(word.format(name) for word in command.split()))
    assert printed.replace("{}", quote_path(name)) in done.stdout + done.stderr
