"""A page of HTML that needs no network. Its own policy lets nothing run but its script, known by its hash."""

from __future__ import annotations

import base64
import hashlib
from html import escape


def render_page(title: str, style: str, body: str, script: str) -> str:
    """The page; `body` is HTML in which all text is escaped."""
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n{body}<script>{script}</script>\n</html>\n"
    )
