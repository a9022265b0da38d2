"""Self-contained HTML pages that need no network.

The Content-Security-Policy of a page allows only its own script, identified by its SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from pathlib import Path
from string import Template

TEMPLATE = Template(Path(__file__).with_name("page.html").read_text("utf-8"))


def render_page(title: str, style: str, body: str, script: str) -> str:
    """Return an HTML page.

    Args:
        title: Title of the page, as plain text.
        style: CSS.
        body: HTML in which all text is escaped.
        script: JavaScript; the only script that the page may run.
    """
    digest = hashlib.sha256(script.encode()).digest()
    return TEMPLATE.substitute(
        title=escape(title),
        style=style,
        body=body,
        script=script,
        script_hash=base64.b64encode(digest).decode(),
    )
