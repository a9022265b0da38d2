"""Write the pages that are generated from the code: `docs/rules.md` and `docs/limits.md`."""

from __future__ import annotations

import datetime
import inspect
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ftkit.catalog import Figure, Price, load_catalog
from ftkit.cli.rules import sample
from ftkit.rules import RULES, Rule, rules_by_subject

FOLDER = Path(__file__).parent
NOTE = "<!-- Made by docs/generate.py from the code; do not edit. -->\n"


def rules_page() -> str:
    """Return the page of all rules, by subject."""
    parts = [
        NOTE,
        "# Rules\n",
        f"ftkit checks {len(RULES)} rules:\n\n"
        "- **error**: the provider refuses the file, or the data is certainly broken.\n"
        "- **warning**: the provider accepts it, but it very likely harms the training or the bill.\n"
        "- **info**: worth knowing.\n\n"
        "Names, codes and severities never change. `--select` and `--ignore` take names, codes and\n"
        "beginnings of codes such as `FT5`. `ftkit rule NAME` prints a rule in the terminal.\n",
    ]
    for subject, rules in rules_by_subject().items():
        title, _, introduction = inspect.cleandoc(subject).partition("\n\n")
        parts.append(f"## {title.rstrip('.')}\n")
        parts += [f"{introduction}\n"] if introduction else []
        parts += map(rule_section, rules)
    return "\n".join(parts)


def rule_section(rule: Rule) -> str:
    """Return the section of one rule."""
    sources = (
        f"[{source}]({source.url})" if source.url else str(source) for source in rule.sources
    )
    lines = [
        f"### {rule.name}\n",
        f"`{rule.code}` · {rule.severity}\n",
        f"{rule.doc}\n",
        f"Bad:\n\n```text\n{sample(rule.bad)}\n```\n",
        f"Good:\n\n```text\n{sample(rule.good)}\n```\n",
        f"Evidence: {'; '.join(sources)}\n",
    ]
    if rule.provider_messages:
        messages = ", ".join(f"`{pattern}`" for pattern in rule.provider_messages)
        lines.append(f"Messages of providers, as regular expressions: {messages}\n")
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
        tiles = f"{cost.base:,} and {cost.per_tile:,} for each tile of 512 x 512; low detail {cost.base:,}"
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
