"""What a service's message means: the rules that it is about, and the lines that it names."""

from __future__ import annotations

import re

from msgspec import Struct

from ftkit.catalog import KnownMessage, match_messages
from ftkit.rules import RULES, Rule

EXPLAINS = "`ftkit rule NAME` explains: "
"""The words before the names of rules, separated by commas, in a message of the service that comes with ftkit."""

_NAMED = re.compile(r"\b(?:[Ee]xample|[Ll]ine|row)\s+(\d+)\b(?! column)")


class Meaning(Struct, frozen=True):
    """What a message is about. `lines` are those that it names; examples are counted as lines, from 1."""

    rules: tuple[Rule, ...]
    known_messages: tuple[KnownMessage, ...]
    lines: tuple[int, ...]

    @property
    def known(self) -> bool:
        return bool(self.rules or self.known_messages)


def meaning(message: str) -> Meaning:
    """The rules that the message names, or else those whose words it has, what else is known of it, and the lines that it names."""
    rules = _named(message) or tuple(
        rule
        for rule in RULES.values()
        if any(re.search(said, message, re.IGNORECASE) for said in rule.says)
    )
    known = match_messages(message)
    lines = [int(number) for number in _NAMED.findall(message)]
    for saying in known:
        found = re.search(saying.lines, message) if saying.lines else None
        lines += [int(number) for number in re.findall(r"\d+", found[1])] if found else []
    return Meaning(rules, known, tuple(dict.fromkeys(lines)))


def _named(message: str) -> tuple[Rule, ...]:
    names = re.findall(r"[\w-]+", message.rpartition(EXPLAINS)[2]) if EXPLAINS in message else ()
    return tuple(RULES[name] for name in names if name in RULES)
