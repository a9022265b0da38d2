"""The texts themselves: special tokens, invisible characters, damaged encodings, secrets, templates.

Looking through all text with regular expressions would cost more than everything else. So each rule has a `screen`, a
pattern over the residue of a line: what remains of its bytes when those that no rule looks for are deleted (see
`screening`). What stands side by side in the text stands side by side in the residue, so only lines that match can break
the rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ftkit.rules.base import ERROR, WARNING, Hit, Plan, rule
from ftkit.rules.json_lines import GOOD
from ftkit.rules.messages import ASSISTANT, line
from ftkit.summary import quote


def said(text: str) -> str:
    """A chat example whose user says `text`, as JSON; the text is already escaped."""
    return line('{"role": "user", "content": "%s"}' % text, ASSISTANT)


_SPECIAL = re.compile(r"<\|(?:endoftext|fim_prefix|fim_middle|fim_suffix|endofprompt)\|>")


@rule(
    "FT401", "special-token-text", ERROR, "text", screen=r"<\|", good=GOOD, bad=said("What is <|endoftext|>?"),
    evidence="a failed job of February 2026 (johny-b/llmcomp#59)", says=[r"invalid token: <\\?\|\w+\\?\|>"],
)
def special_token_text(text: str, plan: Plan) -> Iterator[Hit]:
    """The text holds the name of a special token, such as `<|endoftext|>`.

    The service refuses the file. Rewrite it, e.g. with a space: `<| endoftext |>`. ftkit counts it as ordinary text.
    """
    found = _SPECIAL.search(text)
    if found:
        yield Hit(f"the text of the special token {found[0]} is refused; rewrite it, e.g. {found[0].replace('|', '| ', 1)}")


_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
    "|(?<![^\x00-\x7f])[\u200c\u200d](?![^\x00-\x7f])"
)


@rule(
    "FT402", "unicode-invisible", WARNING, "text", good=GOOD, bad=said("pass\\u200bword"),
    screen=r"\xe2\x80[\x8b-\x8f\xaa-\xae]|\xe2\x81[\xa0-\xa9]|\xef\xbb\xbf|\xc2\xad|\xf3\xa0[\x80\x81]|\x7f|\\00[01]",
    evidence="no other tool checks it",
)
def unicode_invisible(text: str, plan: Plan) -> Iterator[Hit]:
    """The text holds invisible characters: zero-width spaces, direction marks, soft hyphens, control characters.

    They come from web pages and word processors, cost tokens, and are learned. Joiners inside emoji and inside words of
    scripts that use them are not reported.
    """
    found = _INVISIBLE.search(text)
    if found:
        number = sum(1 for _ in _INVISIBLE.finditer(text))
        more = f", and {number - 1} more" if number > 1 else ""
        around = text[max(found.start() - 10, 0) : found.end() + 10]
        yield Hit(f"invisible character U+{ord(found[0]):04X} in {ascii(around)}{more}; remove it")


_DAMAGED = re.compile("\ufffd|\u00c3[\x80-\xbf]|\u00e2\u20ac[\x80-\xbf\u0153\u201c-\u201e\u2018-\u201a\u2013\u2014\u2122\u2026]|\u00c2[\xa0-\xbf]")


@rule(
    "FT403", "unicode-replacement", WARNING, "text", good=GOOD, bad=said("cafÃ©"),
    screen=r"\xef\xbf\xbd|\xc3\x83\xc2|\xc3\xa2\xe2\x82\xac|\xc3\x82\xc2", evidence="cleanllm",
)
def unicode_replacement(text: str, plan: Plan) -> Iterator[Hit]:
    """The text was decoded wrongly somewhere: it holds U+FFFD, or UTF-8 read as Latin-1 (`Ã©` for `é`).

    Go back to the source and read it in its own encoding.
    """
    found = _DAMAGED.search(text)
    if found:
        around = text[max(found.start() - 10, 0) : found.end() + 10]
        what = "the replacement character U+FFFD" if found[0] == "\ufffd" else "UTF-8 read as Latin-1"
        yield Hit(f"{what} in {quote(around)}; read the source in its own encoding")


ENOUGH = 5
"""Capitals, digits, `_` and `-` that the random part of a key has at least; words with dashes have fewer."""

_KEYS = {
    "an OpenAI or Anthropic key": re.compile(r"\bsk-[A-Za-z0-9_-]{20,}"),
    "an AWS access key": re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22,})"),
    "a Slack token": re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    "a Google API key": re.compile(r"\bAIza[0-9A-Za-z_-]{35}"),
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    "a GitLab token": re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}"),
    "a Stripe key": re.compile(r"\b[sr]k_live_[A-Za-z0-9]{20,}"),
    "an npm token": re.compile(r"\bnpm_[A-Za-z0-9]{36}"),
    "a JSON Web Token": re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\."),
    "a private key": re.compile(r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY"),
}
_EMAIL = re.compile(r"(?<![\w.%+-])[A-Za-z0-9][\w.%+-]{0,63}@((?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})\b")
_RESERVED = re.compile(r"(?:^|\.)(?:example(?:\.(?:com|net|org))?|test|invalid|localhost)$", re.IGNORECASE)


@rule(
    "FT404", "secret", WARNING, "text", good=GOOD, bad=said("My key is AKIA2J4K6L8M0N2P4Q6R"),
    screen=r"[-_][A-Z0-9_-]{5,}|AKIA|AI[A-Z0-9_-]{5,}|J[A-Z0-9_-]{5,}|PRIVATEKEY|@", evidence="datasets-lint; datalint",
)
def secret(text: str, plan: Plan) -> Iterator[Hit]:
    """The text looks like it holds an API key, a token, a private key or an e-mail address.

    A model repeats what it was trained on. Take it out, and replace a key that has been in a file. Addresses at the reserved
    example domains are not reported. The message shows the first characters only.
    """
    for what, pattern in _KEYS.items():
        found = pattern.search(text)
        if found and (what == "a private key" or sum(not char.islower() for char in found[0][3:]) >= ENOUGH):
            yield Hit(f"this looks like {what} ({found[0][:8]}…); take it out, and replace the key")
            return
    for found in _EMAIL.finditer(text) if "@" in text else ():
        if not _RESERVED.search(found[1]):
            yield Hit(f"this looks like an e-mail address ({found[0][:2]}…@{found[1][:40]}); take it out if it is private")
            return


_PLACEHOLDER = re.compile(
    r"\{\{-?\s*[A-Za-z_][\w.]{0,60}\s*-?\}\}|[<\[](?:INSERT|YOUR|PLACEHOLDER|REPLACE)\b[^<>\[\]\n]{0,60}[>\]]"
    r"|\bYOUR_[A-Z_]{2,40}\b|\bTODO\b"
)


@rule(
    "FT405", "placeholder-text", WARNING, "text", good=GOOD, bad=said("Dear {{name}},"),
    screen=r"\{\{|INSERT|YOUR|PLACEHOLDER|REPLACE|TODO", evidence="no other tool checks it",
)
def placeholder_text(text: str, plan: Plan) -> Iterator[Hit]:
    """A template variable or a note to oneself was left in the text: `{{name}}`, `<INSERT NAME>`, TODO.

    The model learns to write it. Fill it in.
    """
    found = _PLACEHOLDER.search(text)
    if found:
        yield Hit(f"{quote(found[0], 60)} looks like a placeholder that was not filled in")


_MARKUP = re.compile(
    r"<\|(?:im_start|im_end|im_sep|start|end|message|channel|user|assistant|system|eot_id|start_header_id|end_header_id"
    r"|begin_of_text|end_of_text|return|call)\|>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
)


@rule(
    "FT406", "chat-markup-text", WARNING, "text", good=GOOD, bad=said("<|im_start|>system"),
    screen=r"<\||\[INST\]|<<SYS>>|<__>", evidence="the service's behaviour is unknown; text that ends a turn is a risk",
)
def chat_markup_text(text: str, plan: Plan) -> Iterator[Hit]:
    """The text holds the markup of a chat template: `<|im_start|>`, `[INST]`, `<start_of_turn>`.

    Most often a prompt was rendered before it was saved. Keep roles in `role` and text in `content`.
    """
    found = _MARKUP.search(text)
    if found:
        yield Hit(f"{found[0]} is markup of a chat template; keep roles in role and text in content")
