"""A user who runs commands of ftkit, and pastes those that ftkit prints, in a terminal or a pipe."""

from __future__ import annotations

import contextlib
import re
import shlex
from dataclasses import dataclass
from typing import Literal

import click

from support.command_tree import parse_command
from support.commands import run_ftkit, run_ftkit_in_terminal

COLUMNS = 80
"""Width of the terminal."""

Mode = Literal["terminal", "pipe", "no color"]
MODES: tuple[Mode, ...] = ("terminal", "pipe", "no color")
"""A terminal, a pipe, and a terminal with `NO_COLOR`."""

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
STYLE = re.compile(r"\x1b\[[0-9;]*m")

COMMAND = re.compile(r"`(ftkit [^`\n]+)`|(?:(?:[Rr]un|it|with): |^ +)(ftkit .+)$", re.MULTILINE)
"""A printed command: in backticks, at the end of a line, or an indented line of its own."""

PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b")
"""A word for the user to replace, such as FILE."""

UNBROKEN = re.compile(
    r"https?://|\w/\w|\w\.(?:jsonl|csv)\b|\bftkit \w|\b(ft:|ftjob-|file-|gpt-|meta-llama)"
)
"""Paths, URLs, commands, ids and model names, which are printed in one piece on lines of any width."""


@dataclass(frozen=True)
class Screen:
    """Text that a command printed, without colours."""

    text: str

    @property
    def commands(self) -> list[str]:
        """The printed commands, without those that have a placeholder."""
        return [line for line in self.templates if not PLACEHOLDER.search(line)]

    @property
    def templates(self) -> list[str]:
        """All printed commands."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        return [quoted or plain for quoted, plain in COMMAND.findall(joined)]

    def command(self, start: str) -> str:
        """Return the first printed command that begins with these words."""
        matches = [line for line in self.templates if line.startswith(start)]
        assert matches, f"no command {start!r} is printed in:\n{self.text}"
        return matches[0]


class User:
    """Runs commands in one of `MODES` and checks the form of what they print."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode

    def run(self, line: str, code: int = 0, input: str = "", fits: bool = True) -> Screen:
        """Run a command line and return what it prints.

        Args:
            line: The command, as a user would paste it.
            code: The exit code that it must have.
            input: What is typed.
            fits: False for lines that are not wrapped, such as those of JSON.
        """
        words = shlex.split(line)
        assert words[0] == "ftkit"
        shown = self._run(words[1:], code, input)
        if self.mode == "pipe":
            assert "\x1b" not in shown
        elif self.mode == "no color":
            assert not STYLE.search(shown)
        text = ESCAPE.sub("", shown.replace("\r\n", "\n"))
        screen = Screen(text)
        if fits:
            self._check_width(text)
            for command in screen.commands:
                _check_command(command)
        return screen

    def _run(self, words: list[str], code: int, input: str) -> str:
        if self.mode == "pipe":
            done = run_ftkit(*words, input=input)
        else:
            env = {"NO_COLOR": "1"} if self.mode == "no color" else {}
            keys = input.encode() + b"\x04" if input else b""
            done = run_ftkit_in_terminal(*words, input=keys, columns=COLUMNS, env=env)
        shown = f"{done.stdout}{done.stderr or ''}"
        assert done.returncode == code, f"{shlex.join(words)}:\n{shown}"
        return shown

    def _check_width(self, text: str) -> None:
        if self.mode != "pipe":
            lines = re.split(r"[\r\n]", text)
            wide = [line for line in lines if len(line.rstrip()) > COLUMNS]
            broken = [line for line in wide if not UNBROKEN.search(line)]
            assert broken == [], "\n".join(broken)


def _check_command(line: str) -> None:
    """Check that a printed command exists and that its options do."""
    # `ftkit jobs watch` in a sentence names a command; its arguments are the user's.
    with contextlib.suppress(click.MissingParameter, click.exceptions.Exit):
        parse_command(shlex.split(line)[1:])
