"""Reinforcement examples: prompts, and the fields that the grader reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ftkit._text import excerpt
from ftkit.dataset.types import Graded
from ftkit.errors import did_you_mean
from ftkit.rules.base import ERROR, WARNING, Dataset, Hit, ScanPlan, listed, rule

ONLY = ["reinforcement"]
BLOCK = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
ITEM = re.compile(r"""\bitem((?:\s*\.\s*[A-Za-z_]\w*|\[\s*(?:\d+|'[^']*'|"[^"]*")\s*\])+)""")
STEP = re.compile(r"""\.\s*(\w+)|\[\s*(?:(\d+)|'([^']*)'|"([^"]*)")\s*\]""")


def line(*messages: str, rest: str = ', "answer": "5"') -> str:
    """A reinforcement example, as JSON."""
    return '{"messages": [%s]%s}' % (", ".join(messages), rest)


ASK = '{"role": "user", "content": "What is 2 + 3?"}'
GOOD = line(ASK)
GOOD_FILE = "".join(
    line(ASK.replace("2", str(n)), rest=f', "answer": "{n + 3}"') + "\n" for n in range(4, 64)
)


@rule(
    "FT801",
    "rft-last-not-user",
    ERROR,
    "roles",
    formats=ONLY,
    parts=["reinforcement"],
    good=GOOD,
    bad=line(ASK, '{"role": "assistant", "content": "5"}'),
    evidence="reinforcement guide; Azure's validation script",
)
def rft_last_not_user(roles: tuple[str, ...], plan: ScanPlan) -> Iterator[Hit]:
    """The last message is not the user's. The model writes the answer during training; the file ends with the question."""
    if roles and roles[-1] != "user":
        path = f"[{len(roles) - 1}]"
        yield Hit(
            f"the last message is the {roles[-1]}'s; a reinforcement example ends with the user's",
            path,
        )


@rule(
    "FT802",
    "rft-no-reference",
    WARNING,
    "example",
    formats=ONLY,
    good=GOOD,
    bad=line(ASK, rest=""),
    evidence="Azure's validation script warns",
)
def rft_no_reference(example: Graded, plan: ScanPlan) -> Iterator[Hit]:
    """There is no field beside `messages` that a grader could compare the answer with."""
    if not example.fields:
        yield Hit("no field beside messages: what will the grader compare the answer with?")


@rule(
    "FT803",
    "rft-fields-differ",
    WARNING,
    "dataset",
    formats=ONLY,
    good=GOOD_FILE,
    bad=GOOD_FILE + line(ASK, rest=', "anwser": "5"') + "\n",
    evidence="Azure's validation script",
)
def rft_fields_differ(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """A line has other grader fields than most lines. A grader finds an empty field there."""
    by_fields = dataset.summary.fields
    if len(by_fields) < 2:
        return
    usual = max(by_fields, key=lambda names: (by_fields[names].count, names))
    for names, lines in by_fields.items():
        lacks = sorted(set(usual) - set(names))
        more = sorted(set(names) - set(usual))
        if names != usual:
            yield from listed(lines, _difference(lacks, more))


def _difference(lacks: list[str], more: list[str]) -> str:
    parts = []
    if lacks:
        parts.append(f"lacks the field {excerpt(', '.join(lacks), 80)} that most lines have")
    if more:
        parts.append(f"has {excerpt(', '.join(more), 80)} that most lines do not have")
    hint = did_you_mean(more[0], lacks) if more and lacks else ""
    return f"the example {' and '.join(parts)}{hint}"


@rule(
    "FT804",
    "rft-grader-field",
    ERROR,
    "example",
    formats=ONLY,
    good=GOOD,
    bad=line(ASK, rest=', "anwser": "5"'),
    given={"grader_fields": ("answer",)},
    evidence="no other tool checks it offline",
)
def rft_grader_field(example: Graded, plan: ScanPlan) -> Iterator[Hit]:
    """The grader asks for a field (`{{item.x}}`) that the line does not have. Needs `--grader`."""
    item = {**example.fields, "messages": [], "tools": []}
    for field in plan.grader_fields:
        if field.partition(".")[0] not in ("messages", "tools") and not has_field(item, field):
            first = field.partition(".")[0]
            hint = "" if first in item else did_you_mean(first, example.fields)
            yield Hit(f"the grader asks for item.{field}, which this example lacks{hint}")


@rule(
    "FT805",
    "rft-system-role",
    ERROR,
    "roles",
    formats=ONLY,
    parts=["reinforcement"],
    good=GOOD,
    bad=line('{"role": "system", "content": "Be brief."}', ASK),
    evidence="a failed job at Azure, July 2026",
    says=[r"not supported in 'reinforcement' examples"],
)
def rft_system_role(roles: tuple[str, ...], plan: ScanPlan) -> Iterator[Hit]:
    """A system message in a reinforcement example. Reasoning models take a developer message instead."""
    for index, role in enumerate(roles):
        if role == "system":
            yield Hit(
                "system messages are refused in reinforcement examples; use the developer role",
                f"[{index}].role",
            )


def fields_asked(grader: Any) -> tuple[str, ...]:
    """The fields of the item that a grader's templates ask for, as dotted paths, sorted."""
    if isinstance(grader, str):
        found = (ITEM.findall(block) for block in BLOCK.findall(grader))
        return tuple(sorted({".".join(_steps(path)) for paths in found for path in paths}))
    inner = (
        grader.values() if isinstance(grader, dict) else grader if isinstance(grader, list) else ()
    )
    return tuple(sorted({field for value in inner for field in fields_asked(value)}))


def _steps(path: str) -> list[str]:
    return ["".join(groups) for groups in STEP.findall(path)]


def has_field(item: dict[str, Any], path: str) -> bool:
    """Whether the item has the field: steps joined by dots, names of keys or indices into arrays."""
    value: Any = item
    for step in path.split("."):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return False
    return True
