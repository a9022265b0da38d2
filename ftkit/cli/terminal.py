"""Standard output, standard error and prompts: the only module that writes to them.

Whatever is written is escaped here, so that a text from outside, such as the name of a file or a
message of a provider, cannot control the terminal. Only line feeds, tabs and ftkit's own colours
are left as they are.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TYPE_CHECKING, Any

import click

from ftkit._atomic import atomic_replace, check_writable
from ftkit._text import printable
from ftkit.errors import FileError, os_error_message

if TYPE_CHECKING:
    from rich.console import Console

MIN_SECRET = 8
"""Minimum length of a secret that is hidden; a shorter one could be part of any word."""

CONTROLS = (
    r"\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f"
    r"\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
)
"""Controls but for line feed, tab and escape; bidi controls, line separators, lone surrogates."""

UNSAFE = re.compile(rf"\x1b(?!\[(?:[0-2]|3[1-6])m)|[{CONTROLS}]")
"""Characters that are escaped in text: all but the escapes of `click.style`, as ftkit uses it."""

UNSAFE_ALWAYS = re.compile(rf"[\x1b{CONTROLS}]")
"""Characters that are escaped in text from outside and in JSON."""


NOT_ASCII = re.compile(r"[^\n\t\x20-\x7e]")
"""Characters that are escaped in JSON if the encoding of standard output may not have them."""

LOGGERS = ("ftkit", "httpx", "httpx2", "openai")
"""Loggers that are shown on request."""

_secrets: set[str] = set()


class Preferences:
    """Preferences of the user for the output of a command.

    Attributes:
        color: True for colours, False for none, or None to follow the environment.
        is_quiet: Print only results and problems.
        is_verbose: Print logs.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the preferences of an earlier command."""
        self.color: bool | None = None
        self.is_quiet = self.is_verbose = False


preferences = Preferences()


class OutputClosed(BaseException):
    """The reader of the output has closed it."""


@contextmanager
def output_file(path: str) -> Iterator[None]:
    """Send standard output to a file, which replaces that of the path when the block ends.

    Raises:
        FileError: The file cannot be written.
    """
    check_writable(path)
    with (
        atomic_replace(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file,
        redirect_stdout(file),
    ):
        yield
        file.flush()


def accept_any_text() -> None:
    """Escape characters that the encoding of a terminal or a file lacks instead of failing.

    This covers what click and rich write.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def hide(secret: str) -> None:
    """Replace a secret, such as an API key, in all text that is written from now on.

    A provider knows its key and can send it back.
    """
    if len(secret) >= MIN_SECRET:
        _secrets.add(secret)


def write(text: str) -> None:
    """Write text to standard output, in colour if `uses_color` says so."""
    _write_out(UNSAFE.sub(_escape, _without_secrets(text)))


def write_untrusted(text: str) -> None:
    """Write text from outside to standard output; even ftkit's own colours are escaped in it."""
    _write_out(UNSAFE_ALWAYS.sub(_escape, _without_secrets(text)))


class StreamWriter:
    """Writes text from outside that arrives in pieces; a secret is found across pieces, too."""

    def __init__(self) -> None:
        self._held = ""

    def write(self, piece: str, final: bool = False) -> None:
        """Write a piece. Its end is held back while it may be the start of a secret.

        Args:
            piece: Next piece of the text.
            final: Write what was held back, too, since no pieces follow.
        """
        text = _without_secrets(self._held + piece)
        end = len(text) if final else len(text) - _partial_secret(text)
        self._held = text[end:]
        write_untrusted(text[:end])


def _partial_secret(text: str) -> int:
    """Return the length of the longest start of a secret that ends the text."""
    lengths = (
        length
        for secret in _secrets
        for length in range(min(len(secret) - 1, len(text)), 0, -1)
        if text.endswith(secret[:length])
    )
    return max(lengths, default=0)


def write_json(text: str) -> None:
    """Write a JSON document to standard output; its characters are escaped as JSON does."""
    is_unicode = sys.stdout is None or sys.stdout.encoding.lower().startswith("utf")
    unsafe = UNSAFE_ALWAYS if is_unicode else NOT_ASCII
    _write_out(unsafe.sub(_escape_in_json, _without_secrets(text)))


def write_error(text: str) -> None:
    """Write text to standard error. A reader that has closed it changes nothing else."""
    safe = UNSAFE.sub(_escape, _without_secrets(text))
    try:
        click.echo(_encodable(safe, sys.stderr), nl=False, err=True, color=uses_color())
    except OSError:  # closed, or the disk is full: there is nowhere left to report it
        drop_output(sys.stderr)


def write_bytes(data: bytes) -> None:
    """Write the content of a file to standard output, escaped only on a terminal."""
    if is_terminal(sys.stdout):
        write(data.decode("utf-8", "backslashreplace"))
        return
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise OutputClosed from None


def clean(text: str, keep: str = "") -> str:
    """Return text without secrets, and escaped by `printable`: for prompts, logs and `console`."""
    return printable(_without_secrets(text), keep)


def confirm(question: str, default: bool = False) -> bool:
    """Ask a yes-or-no question on standard error."""
    with _asking():
        return click.confirm(clean(question), default=default, err=True)


def ask_secret(question: str) -> str:
    """Ask for a secret on standard error, without showing what is typed."""
    with _asking():
        answer: str = click.prompt(
            clean(question), hide_input=True, err=True, default="", show_default=False
        )
    return answer


@contextmanager
def _asking() -> Iterator[None]:
    """Raise `FileError` if a question cannot be asked; click would end the command with code 1."""
    try:
        yield
    except OSError as error:
        raise FileError(f"cannot ask for an answer: {os_error_message(error)}") from error


def console(err: bool = False) -> Console:
    """Return a console for live views and progress bars, whose texts must be from `clean`."""
    from rich.console import Console

    return Console(
        stderr=err,
        markup=False,
        emoji=False,
        highlight=False,
        color_system=None if uses_color() is False else "auto",  # `no_color` would keep bold
    )


def uses_color() -> bool | None:
    """Return True for colours, False for none, or None for colours on terminals only.

    See https://no-color.org and https://force-color.org.
    """
    if preferences.color is not None:
        return preferences.color
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return False if os.environ.get("TERM") == "dumb" else None


def is_terminal(stream: Any) -> bool:
    """Return True if a stream is a terminal. A service manager may start a command without any."""
    return stream is not None and stream.isatty()


def drop_output(stream: Any) -> None:
    """Send what a stream has not written to the null device, so that Python exits without a retry.

    Args:
        stream: `sys.stdout` or `sys.stderr`.
    """
    with suppress(OSError, AttributeError):  # no such stream, or one that is not a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def escape_logs() -> None:
    """Escape the messages of libraries, which log for example if `OPENAI_LOG` is set."""

    class Formatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return clean(super().format(record), keep="\n\t")

    handler = logging.StreamHandler()
    handler.setFormatter(Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler])


def show_logs() -> None:
    """Print logs of ftkit, of requests and of their retries."""
    escape_logs()
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)


def _write_out(text: str) -> None:
    if sys.stdout is None:  # the command was started without standard output
        return
    try:
        click.echo(_encodable(text, sys.stdout), nl=False, color=uses_color())
        sys.stdout.flush()
    except BrokenPipeError:
        raise OutputClosed from None


def _encodable(text: str, stream: Any) -> str:
    """Escape the characters that the encoding of a stream lacks.

    `click.echo` writes UTF-8 to a stream whose encoding is ASCII. While a progress bar is shown,
    rich replaces the streams by ones that have no encoding.
    """
    if stream is None or stream.encoding is None:
        return text
    encoded = text.encode(stream.encoding, "backslashreplace")
    return str(encoded.decode(stream.encoding))


def _without_secrets(text: str) -> str:
    for secret in _secrets:
        text = text.replace(secret, "(the key)")
    return text


def _escape(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]


def _escape_in_json(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}" if match[0] == "\x7f" else json.dumps(match[0])[1:-1]
