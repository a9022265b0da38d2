"""What a service's message means: the rules that it is about, and the lines that it names."""

from __future__ import annotations

import re

from msgspec import Struct

from ftkit.facts import Saying, known_sayings
from ftkit.rules import RULES, Rule

_NAMED = re.compile(r"\b(?:[Ee]xample|[Ll]ine|row)\s+(\d+)\b(?! column)")


class Meaning(Struct, frozen=True):
    """What a message is about. `lines` are those that it names; examples are counted as lines, from 1."""

    rules: tuple[Rule, ...]
    sayings: tuple[Saying, ...]
    lines: tuple[int, ...]

    @property
    def known(self) -> bool:
        return bool(self.rules or self.sayings)


def meaning(message: str) -> Meaning:
    """The rules whose words the message has, what else is known of it, and the lines that it names."""
    rules = tuple(rule for rule in RULES.values() if any(re.search(said, message, re.IGNORECASE) for said in rule.says))
    known = known_sayings(message)
    lines = [int(number) for number in _NAMED.findall(message)]
    for saying in known:
        found = re.search(saying.lines, message) if saying.lines else None
        lines += [int(number) for number in re.findall(r"\d+", found[1])] if found else []
    return Meaning(rules, known, tuple(dict.fromkeys(lines)))
