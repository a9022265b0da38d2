"""Self-contained HTML pages that need no network.

Templates escape every value. The Content-Security-Policy of a page allows only its own styles and
scripts, identified by their SHA-256.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit._atomic import atomic_replace
from ftkit._text import format_minute, format_size, money, plural, printable, ranges
from ftkit._version import __version__
from ftkit.errors import FileError, os_error_message

if TYPE_CHECKING:
    from jinja2 import Environment, Template

FOLDER = Path(__file__).parent

STYLE = "ftkit.css"
"""The style sheet of all pages."""

LISTS = "lists.js"
"""Script for lists that are sorted, filtered and paged."""

CHARTS = ("vendor/uPlot.js", "charts.js")
"""Scripts for charts; they need `CHART_STYLE`."""

CHART_STYLE = "vendor/uPlot.css"

POLICY = (
    "default-src 'none'; img-src data:; style-src {styles}; script-src {scripts}; "
    "base-uri 'none'; form-action 'none'"
)

KEEP = "\n\t\u00a0\u200c\u200d\u3000"
"""Characters that are shown as they are, though they are not printable: spaces and joiners."""


def render_page(
    template: str | Template, scripts: Sequence[str] = (), styles: Sequence[str] = (), **values: Any
) -> str:
    """Return a self-contained page.

    Args:
        template: A template, or the name of one in `templates/`.
        scripts: Scripts of the page, such as `LISTS`.
        styles: Style sheets besides `STYLE`.
        **values: Values for the template. Texts are escaped, and made printable.
    """
    from markupsafe import Markup

    style_texts, script_texts = [read(name) for name in (STYLE, *styles)], list(map(read, scripts))
    page = environment().get_template(template)
    return page.render(
        policy=Markup(page_policy(scripts, styles)),  # noqa: S704 # it consists of hashes
        styles=list(map(Markup, style_texts)),  # files of the package, like the scripts
        scripts=list(map(Markup, script_texts)),
        version=__version__,
        **values,
    )


def page_policy(scripts: Sequence[str] = (), styles: Sequence[str] = ()) -> str:
    """Return the Content-Security-Policy of a self-contained page; see `render_page`."""
    return POLICY.format(
        styles=" ".join(_hash(read(name)) for name in (STYLE, *styles)),
        scripts=" ".join(_hash(read(name)) for name in scripts) or "'none'",
    )


def write_html(path: str | os.PathLike[str], page: str) -> None:
    """Write a page to a file, atomically.

    Raises:
        FileError: The file cannot be written.
    """
    try:
        with atomic_replace(path) as temporary:
            temporary.write_text(page, "utf-8", errors="replace")
    except OSError as error:
        raise FileError(f"cannot write {path}: {os_error_message(error)}") from error


@cache
def read(name: str) -> str:
    """Return a style sheet or a script of the package."""
    return (FOLDER / name).read_text("utf-8")


def _hash(text: str) -> str:
    """Return the source expression of an inline style sheet or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def environment() -> Environment:
    """Return the environment of the templates: it escapes texts and makes them printable."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "code": _code,
        "count": "{:,}".format,
        "data": _data,
        "minute": _minute,
        "money": money,
        "plural": plural,
        "ranges": ranges,
        "size": format_size,
        "value": _value,
    }
    return templates


def compile_templates() -> None:
    """Compile all templates, which otherwise takes place when each is rendered first."""
    templates = environment()
    for name in templates.list_templates():
        templates.get_template(name)


def _finalize(value: Any) -> Any:
    """Return a value for the page: a text without characters that are not printable."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return visible(value)
    return value


def _value(text: str) -> Any:
    """Return a text as the value of a field: escaped, with all of its characters."""
    from markupsafe import escape

    return escape(text)


def visible(text: str) -> str:
    """Return a text in which control and bidirectional characters are escapes, as in Python."""
    return text if text.isprintable() else printable(text, keep=KEEP)


def _code(text: str) -> Any:
    """Return a text in which what is in backticks is marked up as code."""
    from markupsafe import Markup, escape

    parts = str(escape(visible(text))).split("`")
    if len(parts) % 2 == 0:
        return visible(text)
    pieces = (f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
    return Markup("".join(pieces))  # noqa: S704 # it is escaped


def _minute(time: int) -> str:
    """Return a Unix time in seconds as UTC, to the minute."""
    return f"{format_minute(datetime.datetime.fromtimestamp(time, datetime.UTC))} UTC"


def _data(value: Any) -> Any:
    """Return a value as JSON for a data block, without characters that could end the block."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    safe = re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04x}", text)
    return Markup(safe)  # noqa: S704 # no character of it is markup
