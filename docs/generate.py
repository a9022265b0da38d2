"""Write the pages that are made from the code: `docs/rules.md` and `docs/limits.md`. Run it when they change."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ftkit.cli.rules import example
from ftkit.facts import Figure, Model, models, providers
from ftkit.rules import RULES, SUBJECTS, Rule

FOLDER = Path(__file__).parent
NOTE = "<!-- Made by docs/generate.py from the code; do not edit. -->\n"


def rules_page() -> str:
    """Every rule, by subject."""
    parts = [
        NOTE,
        "# Rules\n",
        f"ftkit checks {len(RULES)} rules. An **error** is what the service refuses, or data that is broken beyond doubt;\n"
        "a **warning** is accepted but very likely harms the training or the bill; an **info** is worth knowing. Names and\n"
        "severities are part of the interface: `--select` and `--ignore` take names, codes and beginnings of codes.\n",
    ]
    for module in SUBJECTS:
        title, _, more = (module.__doc__ or "").partition("\n")[0].partition(". ")
        parts.append(f"## {title.rstrip('.')}\n")
        parts += [f"{more}\n"] if more else []
        own = [value for value in vars(module).values() if isinstance(value, Rule)]
        parts += [rule_section(rule) for rule in own if rule.checks[next(iter(rule.checks))].__module__ == module.__name__]
    return "\n".join(parts)


def rule_section(rule: Rule) -> str:
    """One rule: what it means, a line that breaks it, what speaks for it, what services say."""
    indented = example(rule.bad).replace("\n    ", "\n")
    lines = [
        f"### {rule.name}\n",
        f"`{rule.code}` · {rule.severity}",
        f"\n{rule.doc}\n",
        "Breaks it:\n",
        f"```text\n{indented}\n```\n",
    ]
    lines.append(f"Evidence: {rule.evidence}.\n")
    if rule.says:
        lines.append("Services say: " + ", ".join(f"`{said}`" for said in rule.says) + "\n")
    return "\n".join(lines)


def limits_page() -> str:
    """Every provider and model, each figure with its source and the day it was checked."""
    parts = [
        NOTE,
        "# Limits\n",
        "What ftkit knows of services and models. The data is in `ftkit/facts/`.\n",
        "## Providers\n",
    ]
    for name, provider in providers().items():
        parts.append(f"### {name}: {provider.title}\n\nFormats: {', '.join(provider.formats)}.\n")
        figures = {key: value for key, value in msgspec.structs.asdict(provider).items() if isinstance(value, Figure)}
        if figures:
            parts.append(
                table(("figure", "value", "source", "checked"), ((key, *row(value)) for key, value in figures.items()))
            )
        else:
            parts.append("No figures are published.\n")
    parts.append("## Models\n\n`tokens` is what an example may have; the rest is cut off.\n")
    parts.append(table(("model", "formats", "encoding", "tokens", "source", "checked"), model_rows()))
    return "\n".join(parts)


def model_rows() -> Iterator[tuple[str, ...]]:
    for name, model in models().items():
        figure = row(model.tokens_per_example) if model.tokens_per_example else ("not published", "", "")
        yield (name, *model_facts(model), *figure)
        for provider, differs in model.providers.items():
            yield (f"{name} at {provider}", *model_facts(model), *row(differs.tokens_per_example))


def model_facts(model: Model) -> tuple[str, str]:
    return ", ".join(model.formats), model.encoding


def row(figure: Figure) -> tuple[str, str, str]:
    checked: datetime.date = figure.checked
    return f"{figure.value:,}", figure.source, checked.isoformat()


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


PAGES = {"rules.md": rules_page, "limits.md": limits_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), "utf-8")
