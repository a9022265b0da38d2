"""Interpretation of a provider's error message: the rules it is about and the lines it names."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

from msgspec import Struct

from ftkit.catalog import KnownMessage, match_messages
from ftkit.rules import RULES, Rule

EXPLAINS = "`ftkit rule NAME` explains: "
"""Text before a comma-separated list of rule names in the messages of ftkit's own service."""

MESSAGE_LENGTH = 20_000
"""Maximum characters of a message that are interpreted."""

NEAREST = 3
"""Number of rules that are named for a message that is not known."""

COMMON = 8
"""A word that more than one in this many rules have does not tell them apart."""

_WORD = re.compile(r"[a-z]{3,}")

_NUMBER = r"\b\d{1,15}\b"
"""Regular expression of a line number. `int` refuses numbers of more than 4,300 digits."""

_LINE = re.compile(rf"\b(?:[Ee]xample|[Ll]ine|row)\s+({_NUMBER})(?! column)")


class Meaning(Struct, frozen=True):
    """Interpretation of a message."""

    rules: tuple[Rule, ...]
    known_messages: tuple[KnownMessage, ...]
    lines: tuple[int, ...]
    """Numbers of the lines that the message names. Examples are counted as lines, from 1."""

    @property
    def is_known(self) -> bool:
        """True if the message matches a rule or a known message."""
        return bool(self.rules or self.known_messages)


def interpret(message: str) -> Meaning:
    """Return the interpretation of a provider's message.

    Its rules are those that it names, or else those whose patterns it matches.
    """
    message = " ".join(message[:MESSAGE_LENGTH].split())
    rules = _named_rules(message) or tuple(
        rule
        for rule in RULES.values()
        if any(re.search(pattern, message, re.IGNORECASE) for pattern in rule.provider_messages)
    )
    known_messages = match_messages(message)
    lines = [int(number) for number in _LINE.findall(message)]
    for known_message in known_messages:
        match = re.search(known_message.lines, message) if known_message.lines else None
        lines += [int(number) for number in re.findall(_NUMBER, match[1])] if match else []
    return Meaning(rules, known_messages, tuple(dict.fromkeys(lines)))


def _named_rules(message: str) -> tuple[Rule, ...]:
    names = re.findall(r"[\w-]+", message.rpartition(EXPLAINS)[2]) if EXPLAINS in message else ()
    return tuple(RULES[name] for name in names if name in RULES)


def nearest_rules(message: str) -> tuple[Rule, ...]:
    """Return the rules that share the most telling words with a message, the nearest first.

    A word tells more the fewer rules have it (inverse document frequency). Words that more than one
    in `COMMON` rules have tell nothing.
    """
    words, by_rule = _words(message[:MESSAGE_LENGTH]), _words_by_rule()
    number = Counter(word for rule_words in by_rule.values() for word in rule_words)
    telling = {word for word in words if 0 < number[word] * COMMON <= len(by_rule)}
    scores = {
        name: sum(1 / number[word] for word in telling & rule_words)
        for name, rule_words in by_rule.items()
    }
    ranked = sorted((name for name in scores if scores[name]), key=lambda name: -scores[name])
    return tuple(RULES[name] for name in ranked[:NEAREST])


@cache
def _words_by_rule() -> dict[str, set[str]]:
    """Return the words of each rule's name, summary and provider messages."""
    return {
        rule.name: _words(" ".join((rule.name, rule.summary, *rule.provider_messages)))
        for rule in RULES.values()
    }


def _words(text: str) -> set[str]:
    """Return the words of a text, in the singular if they only add an s."""
    return {word.removesuffix("s") for word in _WORD.findall(text.lower())}
