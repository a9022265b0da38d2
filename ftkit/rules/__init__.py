"""Every rule, by subject. Importing this package fills `RULES`; adding a rule touches one of its modules."""

from ftkit.rules import (
    completions,
    dataset,
    examples,
    files,
    json_lines,
    messages,
    parts,
    preference,
    reinforcement,
    roles,
    text,
    tool_definitions,
    tools,
    weights,
)
from ftkit.rules.base import RULES, Rule, ScanPlan, choose_rules, find_rule

SUBJECTS = (
    files,
    json_lines,
    examples,
    dataset,
    messages,
    roles,
    weights,
    text,
    tools,
    tool_definitions,
    parts,
    preference,
    reinforcement,
    completions,
)
"""The modules that hold the rules, in the order in which the documentation shows them."""

RULES.update(
    sorted({name: RULES.pop(name) for name in list(RULES)}.items(), key=lambda item: item[1].code)
)

__all__ = ["RULES", "SUBJECTS", "Rule", "ScanPlan", "choose_rules", "find_rule"]
