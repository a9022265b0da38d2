"""Counting the tokens of the lines of a file that a provider would train on."""

from __future__ import annotations

from typing import Any

import msgspec

from ftkit.dataset.formats import FORMATS
from ftkit.dataset.lenient_json import Reading
from ftkit.dataset.plain import PlainLine
from ftkit.rules import RULES
from ftkit.rules.base import ScanPlan
from ftkit.rules.nodes import SchemaError
from ftkit.summary import Summary
from ftkit.tokens.tally import Tally
from ftkit.validation.runner import Checks
from ftkit.validation.slow_path import Explanation, explain

REFUSED = frozenset(
    rule.name
    for rule in RULES.values()
    if rule.severity == "error" and (Reading in rule.checks or SchemaError in rule.checks)
)
"""Rules whose violation makes a provider refuse a line."""

EXTRA_KEYS = frozenset({"example-unknown-key", "message-unknown-key"})
"""Those of them that do not change what would be trained on once the line is fixed."""


class Measurer:
    """Counts the tokens of the examples, in each of the plan's ways.

    The rules of the plan make no difference: a line that the decoder refused is counted if it
    breaks no `REFUSED` rule but those on `EXTRA_KEYS`, whose keys are left out.
    """

    def __init__(self, plan: ScanPlan, at_start: bool = True) -> None:
        self._format = FORMATS[plan.format]
        self._at_start = at_start
        self._checks = Checks(msgspec.structs.replace(plan, rules=REFUSED))
        self._tally = Tally(plan.counting_methods, self._format)

    def add(self, number: int, line: bytes, example: Any) -> None:
        """Count a decoded line."""
        self._tally.add(example, len(line))

    def add_plain(self, number: int, line: bytes, plain: PlainLine) -> None:
        """Count a plain line."""
        self._tally.add_plain(plain, len(line))

    def add_undecoded(self, number: int, line: bytes, is_last: bool) -> Explanation:
        """Count a line that the decoder refused, if it can be trained on."""
        is_first = self._at_start and number == 1
        explanation = explain(line, self._format, self._checks, number, is_last, is_first)
        broken = {row.rule for row in explanation.findings if row.severity == "error"}
        if explanation.example is not None and broken <= EXTRA_KEYS:
            self._tally.add(explanation.example, len(line), has_extra_keys=bool(broken))
        return explanation

    def end_block(self) -> None:
        """Do nothing: tokens are counted in larger batches than blocks."""

    def add_to(self, summary: Summary) -> Summary:
        """Return the summary with the token statistics."""
        self._tally.flush()
        return msgspec.structs.replace(summary, stats=self._tally.stats)
