"""Texts.

Special tokens, invisible characters, damaged encodings, secrets, placeholders and chat markup.
"""

# Searching all text with these regular expressions would cost more than everything else. So each
# rule has a prefilter: RE2 patterns that match every line that violates the rule, both as JSON
# without escapes such as \u00e9 (but for controls) and as unescaped texts. Only such lines are searched.

from __future__ import annotations

import re
from collections.abc import Iterator

from ftkit._text import excerpt
from ftkit.rules.base import ERROR, WARNING, Hit, ScanPlan, rule
from ftkit.rules.nodes import Text
from ftkit.rules.samples import user_says
from ftkit.rules.sources import (
    CLEANLLM,
    DATALINT,
    DATASETS_LINT,
    LLMCOMP_59,
    OWN_CHECK,
)

CONTEXT = 10
"""Number of characters to show on each side of a character."""


def _around(text: str, match: re.Match[str]) -> str:
    """Return a match with the characters on each side of it."""
    return text[max(match.start() - CONTEXT, 0) : match.end() + CONTEXT]


_SPECIAL = re.compile(r"<\|(?:endoftext|fim_prefix|fim_middle|fim_suffix|endofprompt)\|>")
"""Special tokens of the OpenAI encodings."""


@rule(
    "FT401",
    "special-token-text",
    ERROR,
    Text,
    prefilter=[r"<\|"],
    bad=user_says("What is <|endoftext|>?"),
    good=user_says("What is <| endoftext |>?"),
    evidence=[LLMCOMP_59.with_detail("job error message")],
    provider_messages=[r"invalid token: <\\?\|\w+\\?\|>"],
)
def special_token_text(text: Text, plan: ScanPlan) -> Iterator[Hit]:
    """The text has a special token of the encoding, such as `<|endoftext|>`.

    OpenAI refuses the file. Change the text, for example to `<| endoftext |>`. ftkit counts it as
    ordinary text.
    """
    match = _SPECIAL.search(text)
    if match:
        safe = match[0].replace("|", "| ", 1)
        yield Hit(f"special token {match[0]} in the text; write it differently, e.g. {safe}")


_INVISIBLE = re.compile(
    "[\x00-\x07\x0e-\x1f\x7f\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\u3164\ufeff]"
    "|(?<![\U0001f3f4\U000e0020-\U000e007e])[\U000e0000-\U000e007f]"  # tags, but not in the flags of regions
    "|(?<![^\x00-\x7f])[\u200c\u200d](?![^\x00-\x7f])"
)
"""Invisible characters: controls, zero-width characters, direction marks, tags, lone joiners."""

_ORDINARY = bytes(set(range(0x20, 0x7F)) | set(b"\t\n\v\f\r"))
"""ASCII characters that are visible or white space."""


def find_invisible(text: str) -> tuple[re.Match[str] | None, int]:
    """Return the match of the first invisible character, and the number of all."""
    if text.isascii() and not text.encode().translate(None, _ORDINARY):
        return None, 0
    matches = _INVISIBLE.finditer(text)
    first = next(matches, None)
    return first, sum(1 for _ in matches) + (first is not None)


@rule(
    "FT402",
    "unicode-invisible",
    WARNING,
    Text,
    bad=user_says("pass\\u200bword"),
    good=user_says("password"),
    prefilter=[
        r"\xe2(?:\x80[\x8b-\x8f\xaa-\xae]|\x81[\xa0-\xa9])",
        r"\xef\xbb\xbf",
        r"\xc2\xad",
        r"\xf3\xa0[\x80\x81]",
        r"\x7f",
        r"\xe1\xa0\x8e",
        r"\xe3\x85\xa4",
        r"\\u00[01]",
    ],
    evidence=[OWN_CHECK],
)
def unicode_invisible(text: Text, plan: ScanPlan) -> Iterator[Hit]:
    """The text has invisible characters.

    Zero-width spaces, direction marks, soft hyphens and control characters come from web pages and
    word processors. They cost tokens, and the model learns to write them. Remove them. Joiners
    inside emoji and inside words of scripts that use them are not reported.
    """
    first, number = find_invisible(text)
    if first:
        more = f", and {number - 1} more" if number > 1 else ""
        shown = f"U+{ord(first[0]):04X} in {_around(text, first)!a}"
        yield Hit(f"invisible character {shown}{more}; remove it")


_CP1252 = "\u20ac\u201a\u0192\u201e\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u017d\u2022\u02dc\u2122\u0161\u203a\u0153\u017e\u0178"
"""Windows-1252 characters where Latin-1 has controls.

Quotation marks and dashes are left out, since they follow any letter.
"""

_DAMAGED = re.compile(
    f"\ufffd|\u00c3[\x80-\xbf{_CP1252}]|\u00c2[\xa0-\xbf]|\u00f0\u0178"
    "|\u00e2\u20ac[\x80-\xbf\u0153\u201c-\u201e\u2018-\u201a\u2013\u2014\u2122\u2026]"
    f"|(?:[\u00d0\u00d1][\x80-\xbf{_CP1252}]){{2}}"
)
"""The replacement character, and UTF-8 that was decoded as Latin-1 or Windows-1252."""


@rule(
    "FT403",
    "unicode-replacement",
    WARNING,
    Text,
    bad=user_says("cafÃ©"),
    good=user_says("café"),
    prefilter=[
        r"\xef\xbf\xbd",
        r"\xc3(?:[\x83\x90\x91][\xc2\xc5\xc6\xcb\xe2]|\xa2\xe2\x82\xac|\x82\xc2|\xb0\xc5\xb8)",
    ],
    evidence=[CLEANLLM],
)
def unicode_replacement(text: Text, plan: ScanPlan) -> Iterator[Hit]:
    """The text was decoded with the wrong encoding.

    It has the replacement character U+FFFD, or UTF-8 that was read as Latin-1, such as `Ã©` for
    `é`. The model learns to write it. Read the source again, in its own encoding.
    """
    match = _DAMAGED.search(text)
    if match:
        damage = "replacement character U+FFFD" if match[0] == "\ufffd" else "UTF-8 read as Latin-1"
        yield Hit(
            f"{damage} in {excerpt(_around(text, match))}; read the source in its own encoding"
        )


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
_DOMAIN = re.compile(r"@((?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})\b")
"""The `@` and the domain of an e-mail address."""
_MAILBOX = re.compile(r"[A-Za-z0-9][\w.%+-]{0,63}\Z", re.ASCII)
"""The part of an e-mail address before the `@`."""
_RESERVED = re.compile(
    r"(?:^|\.)(?:example(?:\.(?:com|net|org))?|test|invalid|localhost)$", re.IGNORECASE
)
"""Domains that are reserved for examples and tests (RFC 2606)."""


def find_key(text: str) -> tuple[str, str] | None:
    """Return the kind and the text of the first key, or None."""
    for part, kind, pattern in _KEY_PATTERNS:
        if part in text:
            for match in pattern.finditer(text):
                if _has_rare_characters(match[0]):
                    return kind, match[0]
    token = next(filter(_has_rare_characters, _web_tokens(text)), None)
    if token:
        return "a JSON Web Token", token
    private_key = _PRIVATE_KEY.search(text) if _PRIVATE_KEY_PART in text else None
    return ("a private key", private_key[0]) if private_key else None


def _web_tokens(text: str) -> Iterator[str]:
    """Yield what looks like the first two parts of a JSON Web Token."""
    for match in _JWT_PARTS.finditer(text) if ".eyJ" in text else ():
        start = _JWT_START.search(text, *match.span(1))
        if start:
            yield start[0] + match[2]


def _has_rare_characters(key: str) -> bool:
    """Return True if a key has a digit, a capital and enough characters that words do not have."""
    rare = [char for char in key if not char.islower()]
    return len(rare) >= ENOUGH and any(map(str.isdigit, rare)) and any(map(str.isupper, rare))


def find_address(text: str) -> str | None:
    """Return the first e-mail address, or None. Reserved example domains are left out."""
    for domain in _DOMAIN.finditer(text):
        mailbox = _MAILBOX.search(text, max(domain.start() - 64, 0), domain.start())
        if mailbox and not _RESERVED.search(domain[1]):
            return mailbox[0] + domain[0]
    return None


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
    key = find_key(text)
    address = None if key else find_address(text)
    if key:
        yield Hit(f"this looks like {key[0]} ({key[1][:8]}…); remove it, and revoke the key")
    if address:
        mailbox, _, domain = address.partition("@")
        shown = f"{mailbox[:2]}…@{domain[:40]}"
        yield Hit(f"this looks like an e-mail address ({shown}); remove it if it is private")


_PLACEHOLDER_PARTS = ("{{", "INSERT", "YOUR", "PLACEHOLDER", "REPLACE", "TODO")
"""Texts one of which every placeholder has."""
_PLACEHOLDER = re.compile(
    r"\{\{-?\s*[A-Za-z_][\w.]{0,60}\s*(?:\|[^{}\n]{1,40})?-?\}\}|[<\[](?:INSERT|YOUR|PLACEHOLDER|REPLACE)\b[^<>\[\]\n]{0,60}[>\]]"
)
"""Template variables, and instructions in brackets."""
_ALONE = re.compile(r"\W{0,20}(?:TODO|PLACEHOLDER|YOUR_[A-Z_]{2,40})\W{0,20}")
"""A text that is nothing but a placeholder."""


def find_placeholder(text: str) -> str | None:
    """Return the first placeholder, or None."""
    if not any(part in text for part in _PLACEHOLDER_PARTS):
        return None
    match = _PLACEHOLDER.search(text) or _ALONE.fullmatch(text)
    return match[0] if match else None


@rule(
    "FT405",
    "placeholder-text",
    WARNING,
    Text,
    bad=user_says("Dear {{name}},"),
    good=user_says("Dear Ms Lovelace,"),
    prefilter=[re.escape(part) for part in _PLACEHOLDER_PARTS],
    evidence=[OWN_CHECK],
)
def placeholder_text(text: Text, plan: ScanPlan) -> Iterator[Hit]:
    """The text has a template variable, such as `{{name}}` or `<INSERT NAME>`, or is only `TODO`.

    It was not filled in, and the model learns to write it. Fill it in. The word TODO and names such
    as `YOUR_API_KEY` are reported only where they are the whole text.
    """
    placeholder = find_placeholder(text)
    if placeholder:
        yield Hit(f"{excerpt(placeholder, 60)} looks like a placeholder; fill it in")


_MARKUP = re.compile(
    r"<\|(?:im_start|im_end|im_sep|start|end|message|channel|user|assistant|system|eot_id|start_header_id|end_header_id"
    r"|begin_of_text|end_of_text|return|call)\|>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
)
"""Markup of the chat templates of ChatML, Harmony, Llama, Mistral and Gemma."""


@rule(
    "FT406",
    "chat-markup-text",
    WARNING,
    Text,
    bad=user_says("<|im_start|>system"),
    good=user_says("You are a system."),
    prefilter=[r"<\|", r"\[\\?/?INST\]", r"<<\\?/?SYS>>", r"<(?:start|end)_of_turn>"],
    evidence=[OWN_CHECK],
)
def chat_markup_text(text: Text, plan: ScanPlan) -> Iterator[Hit]:
    """The text has the markup of a chat template, such as `<|im_start|>`, `[INST]` or `<start_of_turn>`.

    Usually a prompt was rendered before it was saved. The markup is then applied twice, or ends the
    turn. Write the role in `role`, and only the text in `content`.
    """
    match = _MARKUP.search(text)
    if match:
        yield Hit(f"chat template markup {match[0]} in the text; write only the text in `content`")
