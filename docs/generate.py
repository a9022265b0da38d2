"""Write the pages that are made from the code: `docs/rules.md` and `docs/limits.md`. Run it when they change."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ftkit.catalog import Figure, Price, load_catalog
from ftkit.cli.rules import example
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
        parts += [
            rule_section(rule)
            for rule in own
            if rule.checks[next(iter(rule.checks))].__module__ == module.__name__
        ]
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
        "What ftkit knows of services and models. The data is in `ftkit/catalog/`.\n",
        "## Providers\n",
    ]
    for name, provider in load_catalog().providers.items():
        parts.append(f"### {name}: {provider.title}\n\nFormats: {', '.join(provider.formats)}.\n")
        figures = {
            key: value
            for key, value in msgspec.structs.asdict(provider).items()
            if isinstance(value, Figure)
        }
        if figures:
            parts.append(
                table(
                    ("figure", "value", "source", "checked"),
                    ((key, *row(value)) for key, value in figures.items()),
                )
            )
        else:
            parts.append("No figures are published.\n")
    parts.append("## Models\n\n`tokens` is what an example may have; the rest is cut off.\n")
    parts.append(
        table(("model", "formats", "encoding", "tokens", "source", "checked"), model_rows())
    )
    parts.append(
        "## Prices and dates\n\nIn US dollars per million tokens, or per hour. `ftkit catalog` gives them, too.\n"
    )
    parts.append(
        table(
            ("model", "provider", "what", "price or date", "source", "as of", "checked"),
            offer_rows(),
        )
    )
    parts.append("## Images\n\nHow many tokens an image costs; see [estimating](estimate.md).\n")
    parts.append(table(("family", "rule", "source", "checked"), image_rows()))
    return "\n".join(parts)


def model_rows() -> Iterator[tuple[str, ...]]:
    for name, model in load_catalog().models.items():
        facts = ", ".join(model.formats), model.encoding
        yield (
            name,
            *facts,
            *(
                row(model.tokens_per_example)
                if model.tokens_per_example
                else ("not published", "", "")
            ),
        )
        for provider, offer in model.providers.items():
            if offer.tokens_per_example:
                yield (f"{name} at {provider}", *facts, *row(offer.tokens_per_example))


def offer_rows() -> Iterator[tuple[str, ...]]:
    for name, model in load_catalog().models.items():
        for provider, offer in model.providers.items():
            prices = [("training", price) for price in offer.training]
            prices += [(field.replace("_", " "), getattr(offer, field)) for field in PRICES]
            for what, price in prices:
                if price:
                    yield (
                        name,
                        provider,
                        what,
                        dollars(price),
                        price.source,
                        price.as_of,
                        price.checked.isoformat(),
                    )
            for what, deadline in (
                ("trained until", offer.trainable_until),
                ("served until", offer.served_until),
            ):
                if deadline:
                    yield (
                        name,
                        provider,
                        what,
                        deadline.date.isoformat(),
                        deadline.source,
                        "",
                        deadline.checked.isoformat(),
                    )


PRICES = ("input", "cached_input", "output", "base_input", "base_output")


def dollars(price: Price) -> str:
    return f"${price.usd:g}{' an hour' if price.per == 'hour' else ''}"


def image_rows() -> Iterator[tuple[str, ...]]:
    for name, cost in load_catalog().images.items():
        tiles = (
            f"{cost.base:,} and {cost.each:,} for each tile of 512 x 512; low detail {cost.base:,}"
        )
        patches = f"{cost.factor:g} for each patch of 32 x 32, at most {cost.most:,} patches"
        yield (
            name,
            tiles if cost.kind == "tiles" else patches,
            cost.source,
            cost.checked.isoformat(),
        )


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
