"""Standard output, standard error and prompts: the only module that writes to them.

Whatever is written is escaped here, so that a text from outside, such as the name of a file or a
message of a provider, cannot control the terminal. Only line feeds, tabs and ftkit's own colours
are left as they are.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from ftkit._text import printable

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

_secrets: set[str] = set()


class OutputClosed(BaseException):
    """The reader of the output has closed it."""


def hide(secret: str) -> None:
    """Replace a secret, such as an API key, in all text that is written from now on.

    A provider knows its key and can send it back.
    """
    if len(secret) >= MIN_SECRET:
        _secrets.add(secret)


def write(text: str) -> None:
    """Write text to standard output, in colour on a terminal unless `NO_COLOR` is set."""
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
    """Write text to standard error."""
    click.echo(UNSAFE.sub(_escape, _without_secrets(text)), nl=False, err=True)


def write_bytes(data: bytes) -> None:
    """Write the content of a file to standard output, escaped only on a terminal."""
    if is_terminal(sys.stdout):
        write(data.decode("utf-8", "backslashreplace"))
    else:
        sys.stdout.buffer.write(data)


def clean(text: str, keep: str = "") -> str:
    """Return text without secrets, and escaped by `printable`: for prompts, logs and `console`."""
    return printable(_without_secrets(text), keep)


def confirm(question: str, default: bool = False) -> bool:
    """Ask a yes-or-no question on standard error."""
    return click.confirm(clean(question), default=default, err=True)


def ask_secret(question: str) -> str:
    """Ask for a secret on standard error, without showing what is typed."""
    answer: str = click.prompt(
        clean(question), hide_input=True, err=True, default="", show_default=False
    )
    return answer


def console(err: bool = False) -> Console:
    """Return a console for live views and progress bars, whose texts must be from `clean`."""
    from rich.console import Console

    return Console(stderr=err, markup=False, emoji=False, highlight=False)


def is_terminal(stream: Any) -> bool:
    """Return True if a stream is a terminal. A service manager may start a command without any."""
    return stream is not None and stream.isatty()


def drop_output() -> None:
    """Send unwritten output to the null device, so that Python does not retry when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def escape_logs() -> None:
    """Escape the messages of libraries, which log for example if `OPENAI_LOG` is set."""

    class Formatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return clean(super().format(record), keep="\n\t")

    handler = logging.StreamHandler()
    handler.setFormatter(Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler])


def _write_out(text: str) -> None:
    if sys.stdout is None:  # the command was started without standard output
        return
    is_plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    encodable = text.encode(sys.stdout.encoding, "backslashreplace").decode(sys.stdout.encoding)
    try:
        click.echo(encodable, nl=False, color=False if is_plain else None)
        sys.stdout.flush()
    except BrokenPipeError:
        raise OutputClosed from None


def _without_secrets(text: str) -> str:
    for secret in _secrets:
        text = text.replace(secret, "(the key)")
    return text


def _escape(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]


def _escape_in_json(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}" if match[0] == "\x7f" else json.dumps(match[0])[1:-1]
