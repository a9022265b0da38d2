"""Rules that check fine-tuning data.

Importing the package imports all its modules, which register their rules in `RULES`. A new rule is
a new function in a module of this package, or a new module; nothing else changes.
"""

import importlib
import pkgutil

from ftkit.rules.base import RULES, Rule, ScanPlan, choose_rules, find_rule

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

_by_code = sorted(RULES.values(), key=lambda rule: rule.code)
RULES.clear()
RULES.update((rule.name, rule) for rule in _by_code)


def rules_by_subject() -> dict[str, list[Rule]]:
    """Return the rules by docstring of their module, all in the order of their codes."""
    subjects: dict[str, list[Rule]] = {}
    for rule in RULES.values():
        module = importlib.import_module(rule.module)
        subjects.setdefault(module.__doc__ or "", []).append(rule)
    return subjects


__all__ = ["RULES", "Rule", "ScanPlan", "choose_rules", "find_rule", "rules_by_subject"]
