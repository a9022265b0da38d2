"""Texts.

Special tokens, invisible characters, damaged encodings, placeholders and chat markup.
"""

# Searching all text with these regular expressions would cost more than everything else. So each
# rule has a prefilter: RE2 patterns that match every line that violates the rule, both as JSON
# without escapes such as \u00e9 (but for controls) and as unescaped texts. Only such lines are searched.

from __future__ import annotations

import re
from collections.abc import Iterator

from ftkit._text import excerpt
from ftkit.rules.base import ERROR, WARNING, Hit, ScanPlan, rule
from ftkit.rules.fixes import fix
from ftkit.rules.nodes import Text
from ftkit.rules.samples import user_says
from ftkit.rules.sources import (
    CLEANLLM,
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

_INVISIBLE_RUN = re.compile(f"(?:{_INVISIBLE.pattern})[\U000e0000-\U000e007f]*+")
"""An invisible character with the tags behind it, which would be invisible without it."""

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


@fix(unicode_invisible, Text, "unsafe", "remove the invisible characters")
def _remove_invisible(text: Text) -> str:
    return _INVISIBLE_RUN.sub("", text)


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

_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


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


@fix(unicode_replacement, Text, "unsafe", "read the text as UTF-8")
def _decode_again(text: Text) -> str | None:
    fixed = _NOT_ASCII.sub(_as_utf8, text)
    return None if fixed == text or _DAMAGED.search(fixed) else fixed


def _as_utf8(match: re.Match[str]) -> str:
    """Return UTF-8 that was read as Windows-1252 as it was meant, or the text as it is."""
    try:
        return b"".join(map(_cp1252_byte, match[0])).decode()
    except UnicodeError:
        return match[0]


def _cp1252_byte(character: str) -> bytes:
    is_control = "\x80" <= character <= "\x9f"  # five bytes are not in Windows-1252
    return character.encode("latin-1" if is_control else "cp1252")


@fix(unicode_replacement, Text, "unsafe", "remove the replacement characters U+FFFD")
def _remove_replacements(text: Text) -> str:
    return text.replace("\ufffd", "")


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
