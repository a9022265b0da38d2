"""Secrets and addresses."""

# For the prefilter, see `ftkit.rules.text`.

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from ftkit.rules.base import WARNING, Hit, ScanPlan, rule
from ftkit.rules.fixes import fix
from ftkit.rules.nodes import Text
from ftkit.rules.samples import user_says
from ftkit.rules.sources import DATALINT, DATASETS_LINT

ENOUGH = 9
"""Minimum number of capitals, digits, `_` and `-` in a key.

Ordinary words with dashes have fewer.
"""

_KEYS = (
    ("sk-", "an OpenAI or Anthropic key", "sk-", r"[A-Za-z0-9_-]{20,}"),
    ("AKIA", "an AWS access key", "AKIA", r"[0-9A-Z]{16}"),
    ("ASIA", "an AWS access key", "ASIA", r"[0-9A-Z]{16}"),
    ("SG.", "a SendGrid key", r"SG\.", r"[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}"),
    *((f"gh{kind}_", "a GitHub token", f"gh{kind}_", r"[A-Za-z0-9]{36}") for kind in "pousr"),
    ("github_pat_", "a GitHub token", "github_pat_", r"[A-Za-z0-9_]{22,}"),
    ("xox", "a Slack token", "xox[abeoprs]-", r"[A-Za-z0-9-]{10,}"),
    ("AIza", "a Google API key", "AIza", r"[0-9A-Za-z_-]{35}"),
    ("hf_", "a Hugging Face token", "hf_", r"[A-Za-z0-9]{30,}"),
    ("glpat-", "a GitLab token", "glpat-", r"[A-Za-z0-9_-]{20,}"),
    ("k_live_", "a Stripe key", "[sr]k_live_", r"[A-Za-z0-9]{20,}"),
    ("npm_", "an npm token", "npm_", r"[A-Za-z0-9]{36}"),
)
"""Kinds of keys: a text that all of them have, a name, and the patterns of their start and rest."""

_KEY_PATTERNS = [
    (part, kind, re.compile(rf"(?<![A-Za-z0-9]){start}{rest}")) for part, kind, start, rest in _KEYS
]
"""The same, compiled. A key does not begin in the middle of a word."""
_KEY_STARTS = "|".join(dict.fromkeys(start for _, _, start, _ in _KEYS))
_KEY_PREFILTER = (
    rf"(?:^|[^A-Za-z0-9]|\\[bfnrt]|\\u00[01][0-9a-f])(?:{_KEY_STARTS})[A-Za-z0-9_-]{{4}}"
)
"""RE2 pattern of a key, perhaps after an escaped control. Few characters, to need few states."""
_JWT_WORD = "[A-Za-z0-9_-]"
_JWT_PARTS = re.compile(rf"(?<!{_JWT_WORD})(?=({_JWT_WORD}++)(\.eyJ{_JWT_WORD}{{10,}}+\.))")
"""The word before `.eyJ`, and the second part of a JSON Web Token.

It begins where a word begins, since searching from each character of a long word takes quadratic
time.
"""
_JWT_START = re.compile(rf"(?<![A-Za-z0-9])eyJ{_JWT_WORD}{{10,}}")
"""The first part of a JSON Web Token."""
_PRIVATE_KEY_PART = "-----BEGIN"
"""Text that all private keys have."""
_PRIVATE_KEY = re.compile(rf"{_PRIVATE_KEY_PART} [A-Z ]{{0,20}}PRIVATE KEY")
"""First line of a private key in PEM format."""
_PRIVATE_KEY_END = re.compile(r"-----END [A-Z ]{0,20}PRIVATE KEY-----")
_JWT_SIGNATURE = re.compile(f"{_JWT_WORD}++")
_DOMAIN = re.compile(r"@((?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})\b")
"""The `@` and the domain of an e-mail address."""
_MAILBOX = re.compile(r"[A-Za-z0-9][\w.%+-]{0,63}\Z", re.ASCII)
"""The part of an e-mail address before the `@`."""
_RESERVED = re.compile(
    r"(?:^|\.)(?:example(?:\.(?:com|net|org))?|test|invalid|localhost)$", re.IGNORECASE
)
"""Domains that are reserved for examples and tests (RFC 2606)."""


Span = tuple[str, int, int]
"""What a secret is, with its article, and its first and last place in a text."""


def iter_keys(text: str) -> Iterator[Span]:
    """Yield each key in a text."""
    for part, kind, pattern in _KEY_PATTERNS:
        for match in pattern.finditer(text) if part in text else ():
            if _has_rare_characters(match[0]):
                yield kind, *match.span()
    for match in _JWT_PARTS.finditer(text) if ".eyJ" in text else ():
        start = _JWT_START.search(text, *match.span(1))
        if start and _has_rare_characters(start[0] + match[2]):
            yield "a JSON Web Token", start.start(), match.end(2)
    for match in _PRIVATE_KEY.finditer(text) if _PRIVATE_KEY_PART in text else ():
        yield "a private key", *match.span()


def _has_rare_characters(key: str) -> bool:
    """Return True if a key has a digit, a capital and enough characters that words do not have."""
    rare = [char for char in key if not char.islower()]
    return len(rare) >= ENOUGH and any(map(str.isdigit, rare)) and any(map(str.isupper, rare))


def iter_addresses(text: str) -> Iterator[Span]:
    """Yield each e-mail address in a text. Reserved example domains are left out."""
    for domain in _DOMAIN.finditer(text):
        mailbox = _MAILBOX.search(text, max(domain.start() - 64, 0), domain.start())
        if mailbox and not _RESERVED.search(domain[1]):
            yield "an e-mail address", mailbox.start(), domain.end()


@rule(
    "FT404",
    "secret",
    WARNING,
    Text,
    bad=user_says("My key is AKIA2J4K6L8M0N2P4Q6R"),
    good=user_says("My key is in the vault."),
    prefilter=[
        _KEY_PREFILTER,
        r"\.eyJ",
        _PRIVATE_KEY_PART,
        r"[\w.%+-]@[A-Za-z0-9-]+\.",
    ],
    evidence=[DATASETS_LINT, DATALINT],
)
def secret(text: Text, plan: ScanPlan) -> Iterator[Hit]:
    """The text seems to have an API key, a token, a private key or an e-mail address.

    A model can repeat what it was trained on. Remove it, and revoke a key that has been in a file.
    Addresses at domains that are reserved for examples are not reported. The message shows only the
    first characters.
    """
    kind, start, end = next(iter_keys(text), ("", 0, 0))
    if kind:
        shown = text[start : min(start + 8, end)]
        yield Hit(f"this looks like {kind} ({shown}…); remove it, and revoke the key")
        return
    for _, start, end in islice(iter_addresses(text), 1):
        mailbox, _, domain = text[start:end].partition("@")
        shown = f"{mailbox[:2]}…@{domain[:40]}"
        yield Hit(f"this looks like an e-mail address ({shown}); remove it if it is private")


@fix(secret, Text, "redaction", "replace it by what it is, such as `[e-mail address]`")
def _redact(text: Text) -> str | None:
    pieces, position = [], 0
    for kind, start, end in sorted(
        (*iter_keys(text), *iter_addresses(text)), key=lambda row: row[1]
    ):
        if start >= position:
            pieces += [text[position:start], f"[{kind.partition(' ')[2]}]"]
            position = end_of_secret(text, kind, end)
    return "".join((*pieces, text[position:])) if pieces else None


def end_of_secret(text: str, kind: str, end: int) -> int:
    """Return the end of a secret with the part of it that its pattern leaves out."""
    if kind == "a private key":
        last_line = _PRIVATE_KEY_END.search(text, end)
        return last_line.end() if last_line else len(text)
    signature = _JWT_SIGNATURE.match(text, end) if kind == "a JSON Web Token" else None
    return signature.end() if signature else end
