"""The texts themselves: special tokens, invisible characters, damaged encodings, secrets, templates.

Looking through all text with regular expressions would cost more than everything else. So each rule has a `screen`, some
patterns over the residue of a line: what remains of its bytes when those that no rule looks for are deleted (see
`screening`). What stands side by side in the text stands side by side in the residue, so only lines that match one of them
can break the rule. `confirm` adds to a pattern that other text often matches what the line itself must match then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ftkit._text import excerpt
from ftkit.rules.base import ERROR, WARNING, Hit, ScanPlan, rule
from ftkit.rules.json_lines import GOOD
from ftkit.rules.messages import ASSISTANT, line


def said(text: str) -> str:
    """A chat example whose user says `text`, as JSON; the text is already escaped."""
    return line('{"role": "user", "content": "%s"}' % text, ASSISTANT)


_SPECIAL = re.compile(r"<\|(?:endoftext|fim_prefix|fim_middle|fim_suffix|endofprompt)\|>")


@rule(
    "FT401",
    "special-token-text",
    ERROR,
    "text",
    screen=[r"<\|"],
    good=GOOD,
    bad=said("What is <|endoftext|>?"),
    evidence="a failed job of February 2026 (johny-b/llmcomp#59)",
    says=[r"invalid token: <\\?\|\w+\\?\|>"],
)
def special_token_text(text: str, plan: ScanPlan) -> Iterator[Hit]:
    """The text holds the name of a special token, such as `<|endoftext|>`.

    The service refuses the file. Rewrite it, e.g. with a space: `<| endoftext |>`. ftkit counts it as ordinary text.
    """
    found = _SPECIAL.search(text)
    if found:
        yield Hit(
            f"the text of the special token {found[0]} is refused; rewrite it, e.g. {found[0].replace('|', '| ', 1)}"
        )


_INVISIBLE = re.compile(
    "[\x00-\x07\x0e-\x1f\x7f\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\u3164\ufeff]"
    "|(?<![\U0001f3f4\U000e0020-\U000e007e])[\U000e0000-\U000e007f]"  # tags, but not in the flags of regions
    "|(?<![^\x00-\x7f])[\u200c\u200d](?![^\x00-\x7f])"
)


_ORDINARY = bytes(set(range(0x20, 0x7F)) | set(b"\t\n\v\f\r"))


def find_invisible(text: str) -> list[re.Match[str]]:
    """The invisible characters of the text."""
    if text.isascii() and not text.encode().translate(None, _ORDINARY):
        return []
    return list(_INVISIBLE.finditer(text))


@rule(
    "FT402",
    "unicode-invisible",
    WARNING,
    "text",
    good=GOOD,
    bad=said("pass\\u200bword"),
    screen=[
        r"\xe2(?:\x80[\x8b-\x8f\xaa-\xae]|\x81[\xa0-\xa9])",
        r"\xef\xbb\xbf",
        r"\xc2\xad",
        r"\xf3\xa0[\x80\x81]",
        r"\x7f",
        r"\xe1\xa0\x8e",
        r"\xe3\x85\xa4",
        r"\\00[01]",
    ],
    confirm={r"\\00[01]": r"\\u00[01]"},
    evidence="no other tool checks it",
)
def unicode_invisible(text: str, plan: ScanPlan) -> Iterator[Hit]:
    """The text holds invisible characters: zero-width spaces, direction marks, soft hyphens, control characters.

    They come from web pages and word processors, cost tokens, and are learned. Joiners inside emoji and inside words of
    scripts that use them are not reported.
    """
    found = find_invisible(text)
    if found:
        first, number = found[0], len(found)
        more = f", and {number - 1} more" if number > 1 else ""
        around = text[max(first.start() - 10, 0) : first.end() + 10]
        yield Hit(f"invisible character U+{ord(first[0]):04X} in {around!a}{more}; remove it")


_CP1252 = "\u20ac\u201a\u0192\u201e\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u017d\u2022\u02dc\u2122\u0161\u203a\u0153\u017e\u0178"
"""What Windows-1252 has where Latin-1 has control characters, but for quotation marks and dashes, which follow any letter."""

_DAMAGED = re.compile(
    f"\ufffd|\u00c3[\x80-\xbf{_CP1252}]|\u00c2[\xa0-\xbf]|\u00f0\u0178"
    "|\u00e2\u20ac[\x80-\xbf\u0153\u201c-\u201e\u2018-\u201a\u2013\u2014\u2122\u2026]"
    f"|(?:[\u00d0\u00d1][\x80-\xbf{_CP1252}]){{2}}"
)


@rule(
    "FT403",
    "unicode-replacement",
    WARNING,
    "text",
    good=GOOD,
    bad=said("cafÃ©"),
    screen=[
        r"\xef\xbf\xbd",
        r"\xc3(?:[\x83\x90\x91][\xc2\xc5\xc6\xcb\xe2]|\xa2\xe2\x82\xac|\x82\xc2|\xb0\xc5\xb8)",
    ],
    evidence="cleanllm",
)
def unicode_replacement(text: str, plan: ScanPlan) -> Iterator[Hit]:
    """The text was decoded wrongly somewhere: it holds U+FFFD, or UTF-8 read as Latin-1 (`Ã©` for `é`).

    Go back to the source and read it in its own encoding.
    """
    found = _DAMAGED.search(text)
    if found:
        around = text[max(found.start() - 10, 0) : found.end() + 10]
        what = (
            "the replacement character U+FFFD" if found[0] == "\ufffd" else "UTF-8 read as Latin-1"
        )
        yield Hit(f"{what} in {excerpt(around)}; read the source in its own encoding")


ENOUGH = 9
"""Capitals, digits, `_` and `-` that a key has at least, a digit and a capital among them; words with dashes have fewer."""

_KEYS = (
    ("sk-", "an OpenAI or Anthropic key", r"sk-[A-Za-z0-9_-]{20,}"),
    ("AKIA", "an AWS access key", r"AKIA[0-9A-Z]{16}"),
    ("ASIA", "an AWS access key", r"ASIA[0-9A-Z]{16}"),
    ("SG.", "a SendGrid key", r"SG\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}"),
    *((f"gh{kind}_", "a GitHub token", rf"gh{kind}_[A-Za-z0-9]{{36}}") for kind in "pousr"),
    ("github_pat_", "a GitHub token", r"github_pat_[A-Za-z0-9_]{22,}"),
    ("xox", "a Slack token", r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("AIza", "a Google API key", r"AIza[0-9A-Za-z_-]{35}"),
    ("hf_", "a Hugging Face token", r"hf_[A-Za-z0-9]{30,}"),
    ("glpat-", "a GitLab token", r"glpat-[A-Za-z0-9_-]{20,}"),
    ("k_live_", "a Stripe key", r"[sr]k_live_[A-Za-z0-9]{20,}"),
    ("npm_", "an npm token", r"npm_[A-Za-z0-9]{36}"),
    ("eyJ", "a JSON Web Token", r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\."),
)
"""Kinds of keys: text that each of them holds, what it is, and its pattern."""

_KEY_PATTERNS = [
    (part, what, re.compile(rf"(?<![A-Za-z0-9]){pattern}")) for part, what, pattern in _KEYS
]
_AFTER_DASH, _AFTER_UNDERSCORE, _AFTER_J = (
    rf"{mark}(?=[A-Z0-9_-]{{8}})(?=[0-9_-]*[A-Z])[A-Z_-]*[0-9]" for mark in "-_J"
)
_PRIVATE_KEY_PART = "-----BEGIN"
_PRIVATE_KEY = re.compile(rf"{_PRIVATE_KEY_PART} [A-Z ]{{0,20}}PRIVATE KEY")
_DOMAIN = re.compile(r"@((?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})\b")
_MAILBOX = re.compile(r"[A-Za-z0-9][\w.%+-]{0,63}$", re.ASCII)
_RESERVED = re.compile(
    r"(?:^|\.)(?:example(?:\.(?:com|net|org))?|test|invalid|localhost)$", re.IGNORECASE
)


def find_key(text: str) -> tuple[str, str] | None:
    """What kind of key the text holds, and the key."""
    for part, what, pattern in _KEY_PATTERNS:
        if part not in text:
            continue
        for found in pattern.finditer(text):
            odd = [char for char in found[0] if not char.islower()]
            if len(odd) >= ENOUGH and any(map(str.isdigit, odd)) and any(map(str.isupper, odd)):
                return what, found[0]
    found_private = _PRIVATE_KEY.search(text) if _PRIVATE_KEY_PART in text else None
    return ("a private key", found_private[0]) if found_private else None


def find_address(text: str) -> str | None:
    """The first e-mail address of the text that is not at a reserved example domain."""
    for domain in _DOMAIN.finditer(text):
        mailbox = _MAILBOX.search(text, max(domain.start() - 64, 0), domain.start())
        if mailbox and not _RESERVED.search(domain[1]):
            return mailbox[0] + domain[0]
    return None


@rule(
    "FT404",
    "secret",
    WARNING,
    "text",
    good=GOOD,
    bad=said("My key is AKIA2J4K6L8M0N2P4Q6R"),
    screen=[
        _AFTER_DASH,
        _AFTER_UNDERSCORE,
        _AFTER_J,
        r"AKIA",
        r"ASIA",
        r"SG",
        r"AI",
        r"PRIVATEKEY",
        r"@[A-Z0-9_-]*\.",
    ],
    confirm={
        _AFTER_DASH: r"-(?:(?<=sk-)|(?<=xox[abeoprs]-)|(?<=glpat-))[A-Za-z0-9_-]{10}",
        _AFTER_UNDERSCORE: r"_(?:(?<=gh[pousr]_)|(?<=_pat_)|(?<=hf_)|(?<=k_live_)|(?<=npm_))[A-Za-z0-9_]{20}",
        r"SG": r"SG\.[A-Za-z0-9_-]{20}",
        r"AI": r"AIza[A-Za-z0-9_-]{35}",
    },
    evidence="datasets-lint; datalint",
)
def secret(text: str, plan: ScanPlan) -> Iterator[Hit]:
    """The text looks like it holds an API key, a token, a private key or an e-mail address.

    A model repeats what it was trained on. Take it out, and replace a key that has been in a file. Addresses at the reserved
    example domains are not reported. The message shows the first characters only.
    """
    key = find_key(text)
    address = None if key else find_address(text)
    if key:
        yield Hit(f"this looks like {key[0]} ({key[1][:8]}…); take it out, and replace the key")
    if address:
        mailbox, _, domain = address.partition("@")
        yield Hit(
            f"this looks like an e-mail address ({mailbox[:2]}…@{domain[:40]}); take it out if it is private"
        )


_PLACEHOLDER_PARTS = ("{{", "INSERT", "YOUR", "PLACEHOLDER", "REPLACE", "TODO")
_PLACEHOLDER = re.compile(
    r"\{\{-?\s*[A-Za-z_][\w.]{0,60}\s*(?:\|[^{}\n]{1,40})?-?\}\}|[<\[](?:INSERT|YOUR|PLACEHOLDER|REPLACE)\b[^<>\[\]\n]{0,60}[>\]]"
    r"|\bYOUR_[A-Z_]{2,40}\b|\bTODO\b"
)


@rule(
    "FT405",
    "placeholder-text",
    WARNING,
    "text",
    good=GOOD,
    bad=said("Dear {{name}},"),
    screen=[r"\{\{", r"INSERT", r"YOUR", r"PLACEHOLDER", r"REPLACE", r"TODO"],
    confirm={r"\{\{": r"\{\{"},
    evidence="no other tool checks it",
)
def placeholder_text(text: str, plan: ScanPlan) -> Iterator[Hit]:
    """A template variable or a note to oneself was left in the text: `{{name}}`, `<INSERT NAME>`, TODO.

    The model learns to write it. Fill it in.
    """
    found = _PLACEHOLDER.search(text) if any(part in text for part in _PLACEHOLDER_PARTS) else None
    if found:
        yield Hit(f"{excerpt(found[0], 60)} looks like a placeholder that was not filled in")


_MARKUP = re.compile(
    r"<\|(?:im_start|im_end|im_sep|start|end|message|channel|user|assistant|system|eot_id|start_header_id|end_header_id"
    r"|begin_of_text|end_of_text|return|call)\|>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
)


@rule(
    "FT406",
    "chat-markup-text",
    WARNING,
    "text",
    good=GOOD,
    bad=said("<|im_start|>system"),
    screen=[r"<\|", r"\[INST\]", r"<<SYS>>", r"<__>"],
    evidence="the service's behaviour is unknown; text that ends a turn is a risk",
)
def chat_markup_text(text: str, plan: ScanPlan) -> Iterator[Hit]:
    """The text holds the markup of a chat template: `<|im_start|>`, `[INST]`, `<start_of_turn>`.

    Most often a prompt was rendered before it was saved. Keep roles in `role` and text in `content`.
    """
    found = _MARKUP.search(text)
    if found:
        yield Hit(
            f"{found[0]} is markup of a chat template; keep roles in role and text in content"
        )
