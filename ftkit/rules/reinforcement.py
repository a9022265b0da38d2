"""Reinforcement examples: prompts, and the fields that the grader reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from ftkit._text import excerpt, join_names
from ftkit.dataset.types import Graded
from ftkit.errors import did_you_mean
from ftkit.rules.base import ERROR, WARNING, Hit, ScanPlan, hit_lines, rule
from ftkit.rules.nodes import Dataset, Roles
from ftkit.rules.samples import REINFORCEMENT, REINFORCEMENT_FILE, SUM, reinforcement
from ftkit.rules.sources import (
    AZURE_DOCS,
    AZURE_MESSAGE,
    AZURE_SKILLS,
    OPENAI_RFT_GUIDE,
    OWN_CHECK,
)

REINFORCEMENT_ONLY = ("reinforcement",)
# Patterns that only graders need, so that they are not compiled on import.
BLOCK = r"(?s)\{\{.*?\}\}|\{%.*?%\}"
"""A block of a template."""
ITEM = r"""\bitem((?:\s*\.\s*[A-Za-z_]\w*|\[\s*(?:\d+|'[^']*'|"[^"]*")\s*\])+)"""
"""A reference to a field of the item, such as `item.answers[0]["text"]`."""
STEP = r"""\.\s*(\w+)|\[\s*(?:(\d+)|'([^']*)'|"([^"]*)")\s*\]"""
"""A key or an index in such a reference."""

SHOWN = 40
"""Maximum number of fields that are listed, or compared with a field that is missing."""

SHOWN_CHARACTERS = 80
"""Maximum characters of a list of fields."""

MISSPELT = ', "anwser": "5"'


@rule(
    "FT801",
    "rft-last-not-user",
    ERROR,
    Roles,
    formats=REINFORCEMENT_ONLY,
    parts=["reinforcement"],
    bad=reinforcement(SUM, '{"role": "assistant", "content": "5"}'),
    good=REINFORCEMENT,
    evidence=[OPENAI_RFT_GUIDE, AZURE_DOCS, AZURE_SKILLS],
)
def rft_last_not_user(roles: Roles, plan: ScanPlan) -> Iterator[Hit]:
    """The last message is not a user message.

    The model writes the answer during training, so the job fails if the example has one. Remove the
    answer, or move it to a field for the grader.
    """
    if roles and roles[-1] != "user":
        yield Hit(
            f"the example ends with a message of role {roles[-1]!r}; end it with a user message",
            f"[{len(roles) - 1}]",
        )


@rule(
    "FT802",
    "rft-no-reference",
    WARNING,
    Graded,
    formats=REINFORCEMENT_ONLY,
    bad=reinforcement(SUM, rest=""),
    good=REINFORCEMENT,
    evidence=[AZURE_SKILLS.with_detail("warns")],
)
def rft_no_reference(example: Graded, plan: ScanPlan) -> Iterator[Hit]:
    """The example has no field besides `messages`.

    The grader cannot compare the answer with anything. Add a reference answer, unless the grader
    needs none.
    """
    if not example.fields:
        yield Hit("no field besides `messages`; add what the grader compares the answer with")


@rule(
    "FT803",
    "rft-fields-differ",
    WARNING,
    Dataset,
    formats=REINFORCEMENT_ONLY,
    bad=REINFORCEMENT_FILE + reinforcement(SUM, rest=MISSPELT) + "\n",
    good=REINFORCEMENT_FILE,
    evidence=[AZURE_SKILLS],
)
def rft_fields_differ(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """An example has other fields than most examples.

    The grader reads an empty field there, and gives wrong rewards. Use the same fields in all
    examples.
    """
    by_fields = dataset.summary.fields
    if len(by_fields) < 2:
        return
    usual = max(by_fields, key=lambda names: (by_fields[names].count, names))
    expected = set(usual)
    for names, lines in by_fields.items():
        if names != usual:
            own = set(names)
            missing = (name for name in usual if name not in own)
            extra = (name for name in names if name not in expected)
            yield from hit_lines(
                lines, _difference(list(islice(missing, SHOWN)), list(islice(extra, SHOWN)))
            )


def _difference(missing: list[str], extra: list[str]) -> str:
    """Return a message about the fields of an example that differ from the usual ones."""
    problems = []
    if missing:
        shown = _names(missing)
        problems.append(f"lacks the field {shown} that most examples have")
    if extra:
        problems.append(f"has {_names(extra)}, which most examples do not have")
    hint = did_you_mean(extra[0], missing) if extra and missing else ""
    return f"the example {' and '.join(problems)}{hint}"


def _names(names: list[str]) -> str:
    return excerpt(join_names(names, SHOWN_CHARACTERS + 1), SHOWN_CHARACTERS)


@rule(
    "FT804",
    "rft-grader-field",
    ERROR,
    Graded,
    formats=REINFORCEMENT_ONLY,
    bad=reinforcement(SUM, rest=MISSPELT),
    good=REINFORCEMENT,
    context={"grader_fields": ("answer",)},
    evidence=[OPENAI_RFT_GUIDE.with_detail("item.<field>"), OWN_CHECK],
)
def rft_grader_field(example: Graded, plan: ScanPlan) -> Iterator[Hit]:
    """The grader reads a field, such as `{{item.answer}}`, that the example does not have.

    The grader fails, or compares with nothing. Add the field, or correct the grader. Checked only
    with `--grader`.
    """
    item = {**example.fields, "messages": [], "tools": []}
    for field in plan.grader_fields:
        first = field.partition(".")[0]
        if first not in ("messages", "tools") and not has_field(item, field):
            names = islice(example.fields, SHOWN)
            hint = "" if first in item else did_you_mean(first, names)
            yield Hit(f"the grader reads item.{field}, which the example does not have{hint}")


@rule(
    "FT805",
    "rft-system-role",
    ERROR,
    Roles,
    formats=REINFORCEMENT_ONLY,
    parts=["reinforcement"],
    bad=reinforcement('{"role": "system", "content": "Be brief."}', SUM),
    good=reinforcement('{"role": "developer", "content": "Be brief."}', SUM),
    evidence=[AZURE_MESSAGE],
    provider_messages=[r"not supported in 'reinforcement' examples"],
)
def rft_system_role(roles: Roles, plan: ScanPlan) -> Iterator[Hit]:
    """A reinforcement example has a system message.

    Reasoning models take developer messages instead, and the job fails. Use the role `developer`.
    """
    for index, role in enumerate(roles):
        if role == "system":
            yield Hit(
                "role 'system' is not allowed in reinforcement examples; use 'developer'",
                f"[{index}].role",
            )


def fields_read(grader: Any) -> tuple[str, ...]:
    """Return the fields of the item that a grader's templates read, as sorted dotted paths."""
    if isinstance(grader, str):
        references = (
            path for block in re.findall(BLOCK, grader) for path in re.findall(ITEM, block)
        )
        return tuple(sorted({".".join(_steps(path)) for path in references}))
    children = (
        grader.values() if isinstance(grader, dict) else grader if isinstance(grader, list) else ()
    )
    return tuple(sorted({field for value in children for field in fields_read(value)}))


def _steps(path: str) -> list[str]:
    """Return the keys and indices of a reference to a field."""
    return ["".join(groups) for groups in re.findall(STEP, path)]


def has_field(item: dict[str, Any], path: str) -> bool:
    """Return True if the item has the field at a dotted path of keys and array indices."""
    value: Any = item
    for step in path.split("."):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return False
    return True
