"""Write the generated parts of the documentation.

These are `rules.md`, `limits.md`, `commands.md`, `api.md`, `errors.md`, the map in `design.md`, the
files in `ci.md`, and the output of the console examples in all pages.
"""

from __future__ import annotations

import ast
import datetime
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import get_args

import click
import msgspec
from api_page import api_page
from errors_page import errors_page

from ftkit.catalog import Figure, Offer, Price, Provider, RecommendedBase, base_models, load_catalog
from ftkit.cli import COMMANDS, cli
from ftkit.cli.rules import fixes, sample
from ftkit.prepare.file_formats import file_formats
from ftkit.prepare.file_formats.base import FileFormat
from ftkit.prepare.filter.filter import NAMES
from ftkit.prepare.recipe.steps import STEPS, options_type
from ftkit.prepare.row_formats import row_formats
from ftkit.prepare.row_formats.base import EVERY_KEY, Group, RowFormat
from ftkit.prepare.screen.kinds import DESCRIPTIONS
from ftkit.rules import RULES, Rule, rules_by_subject
from ftkit.summary import Safety

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent

NOTE = "<!-- Made by docs/generate.py from the code; do not edit. -->\n"
MAP_START = "<!-- map: written by docs/generate.py -->"
MAP_END = "<!-- end of map -->"
TEMPLATES_START = "<!-- chat templates: written by docs/generate.py -->"
TEMPLATES_END = "<!-- end of chat templates -->"
BASES_START = "<!-- base models: written by docs/generate.py -->"
BASES_END = "<!-- end of base models -->"

RULES_INTRODUCTION = """\
ftkit checks {count} rules. Each has a severity:

- **error**: the provider refuses the file, or the data is certainly broken.
- **warning**: the provider accepts the file, but training or its cost very likely suffers.
- **info**: worth knowing.

Names, codes and severities never change. `--select` and `--ignore` take names, codes and
beginnings of codes such as `FT5`. `ftkit rule NAME` prints a rule in the terminal.
"""
LIMITS_INTRODUCTION = """\
The limits, prices and dates of the providers and models that ftkit knows, each with its source and
the day it was checked. `ftkit catalog` prints them.

The data is in `ftkit/catalog/*.toml`. If a figure is different for you, or a model is missing, add
[facts of your own](settings.md#facts-of-your-own).
"""
COMMANDS_INTRODUCTION = """\
The help of every command, as `ftkit COMMAND --help` prints it.

Many options can also be set by environment variables and in `pyproject.toml`; see
[settings](settings.md).
"""

FIXES_START = "<!-- fixes: written by docs/generate.py -->"
FIXES_END = "<!-- end of fixes -->"
KINDS_START = "<!-- kinds: written by docs/generate.py -->"
KINDS_END = "<!-- end of kinds -->"
NAMES_START = "<!-- names: written by docs/generate.py -->"
NAMES_END = "<!-- end of names -->"
STEPS_START = "<!-- steps: written by docs/generate.py -->"
STEPS_END = "<!-- end of steps -->"
RECIPE_START = "<!-- recipe: written by docs/generate.py -->"
RECIPE_END = "<!-- end of recipe -->"

FORMATS_INTRODUCTION = """\
The formats that [`ftkit convert`](prepare.md#convert) reads and writes. A file has a format, such
as CSV, and so have its rows, such as ShareGPT. Both are detected, or `--from` names one of them;
`--to` names the format of the rows to write.

Formats of rows: {groups}. For each of them:

- The layout shows a row on one line.
- "No place for" is what gets lost when the format is written, "Not read" what gets lost when it is
  read.
- "Noted" are the bookkeeping keys of a row, which are left out with a note. Any other key that is
  not read is a loss, unless the target has a place for it.
"""

FILES_INTRODUCTION = """\
All of these are read. JSON Lines and Parquet are also written. Slack, Telegram and WhatsApp chats
become conversations. The rows of other files are in one of the formats below, or in a shape of
[your own](prepare.md#rows-in-a-shape-of-your-own).
"""

PRICES = ("input", "cached_input", "output", "base_input", "base_output")
"""Prices of an offer, other than those of training."""

WIDTH = 100
"""Columns of the help texts."""

CONSOLE = re.compile(
    r"(?:^<!-- first: ([^\n]*) -->\n)?^```console\n(.*?)^```", re.MULTILINE | re.DOTALL
)
"""A console example, after the commands that run before it, joined by &&, if any."""


def rules_page() -> str:
    """Return the page of all rules, by subject."""
    parts = [
        NOTE,
        "# Rules\n",
        RULES_INTRODUCTION.format(count=len(RULES)),
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
        f"`{rule.code}` · {rule.severity}{fixable(rule)}\n",
        f"{rule.doc}\n",
        f"Bad:\n\n```text\n{sample(rule.bad)}\n```\n",
        f"Good:\n\n```text\n{sample(rule.good)}\n```\n",
        f"Evidence: {'; '.join(sources)}\n",
    ]
    if rule.provider_messages:
        messages = ", ".join(f"`{pattern}`" for pattern in rule.provider_messages)
        lines.append(f"Messages of providers, as regular expressions: {messages}\n")
    return "\n".join(lines)


def fixable(rule: Rule) -> str:
    """Return the fixes of a rule, for its first line."""
    return (
        f" · fixed by [`ftkit fix`](prepare.md#fix): {'; '.join(fixes(rule))}" if rule.fixes else ""
    )


def limits_page() -> str:
    """Return the page of every provider and model: each figure, its source and date."""
    return "\n".join(
        [
            NOTE,
            "# Limits\n",
            LIMITS_INTRODUCTION,
            "## Providers\n",
            *map(provider_section, load_catalog().providers.items()),
            "## Models\n\n`tokens` is the limit at which examples are truncated.\n",
            table(("model", "formats", "encoding", "tokens", "source", "checked"), model_rows()),
            "## Prices and dates\n\nPrices are in US dollars per million tokens, or per hour.\n",
            table(
                ("model", "provider", "what", "price or date", "source", "as of", "checked"),
                offer_rows(),
            ),
            "## Images\n\nTokens per image, as [estimates](estimate.md) count them.\n",
            table(("family", "rule", "source", "checked"), image_rows()),
        ]
    )


def provider_section(item: tuple[str, Provider]) -> str:
    """Return the section of one provider."""
    name, provider = item
    figures = [
        (key, *row(value))
        for key, value in msgspec.structs.asdict(provider).items()
        if isinstance(value, Figure)
    ]
    return "\n".join(
        [
            f"### {name}: {provider.title}\n\nFormats: {', '.join(provider.formats)}.\n",
            table(("figure", "value", "source", "checked"), figures)
            if figures
            else "No figures are published.\n",
        ]
    )


def model_rows() -> Iterator[tuple[str, ...]]:
    """Yield the limits of each model, and of each provider that has its own."""
    for name, model in load_catalog().models.items():
        facts = ", ".join(model.formats), model.encoding
        limit = model.tokens_per_example
        yield (name, *facts, *(row(limit) if limit else ("not published", "", "")))
        for provider, offer in model.providers.items():
            if offer.tokens_per_example:
                yield (f"{name} at {provider}", *facts, *row(offer.tokens_per_example))


def offer_rows() -> Iterator[tuple[str, ...]]:
    """Yield the prices and dates of each model at each provider."""
    for name, model in load_catalog().models.items():
        for provider, offer in model.providers.items():
            for row in (*price_rows(offer), *date_rows(offer)):
                yield (name, provider, *row)


def price_rows(offer: Offer) -> Iterator[tuple[str, ...]]:
    """Yield the published prices of an offer."""
    prices = [("training", price) for price in offer.training]
    prices += [(field.replace("_", " "), getattr(offer, field)) for field in PRICES]
    for what, price in prices:
        if price:
            yield what, dollars(price), price.source, price.as_of, price.checked.isoformat()


def date_rows(offer: Offer) -> Iterator[tuple[str, ...]]:
    """Yield the days on which an offer ends."""
    deadlines = (("trained until", offer.trainable_until), ("served until", offer.served_until))
    for what, deadline in deadlines:
        if deadline:
            day, checked = deadline.date.isoformat(), deadline.checked.isoformat()
            yield what, day, deadline.source, "", checked


def dollars(price: Price) -> str:
    """Return a price as text."""
    return f"${price.usd:g}{' an hour' if price.per == 'hour' else ''}"


def image_rows() -> Iterator[tuple[str, ...]]:
    """Yield the token rule of each family of models."""
    for name, cost in load_catalog().images.items():
        tiles = (
            f"{cost.base:,} and {cost.per_tile:,} for each tile of 512 x 512; "
            f"low detail {cost.base:,}"
        )
        patches = f"{cost.factor:g} for each patch of 32 x 32, at most {cost.most:,} patches"
        yield (
            name,
            tiles if cost.kind == "tiles" else patches,
            cost.source,
            cost.checked.isoformat(),
        )


def row(figure: Figure) -> tuple[str, str, str]:
    """Return the value, source and date of a figure."""
    checked: datetime.date = figure.checked
    return f"{figure.value:,}", figure.source, checked.isoformat()


def formats_page() -> str:
    """Return the page of the formats of files, and of rows by group."""
    formats = sorted(row_formats().values(), key=attrgetter("name"))
    files = sorted(file_formats().values(), key=attrgetter("name"))
    groups = get_args(Group)
    links = ", ".join(f"[{group}](#{group.lower().replace(' ', '-')})" for group in groups)
    return "\n".join(
        [
            NOTE,
            "# Formats\n",
            FORMATS_INTRODUCTION.format(groups=links),
            "## Files\n",
            FILES_INTRODUCTION,
            *map(file_format_section, files),
            *(
                group_section(group, [format for format in formats if format.group == group])
                for group in groups
            ),
        ]
    )


def group_section(group: str, formats: list[RowFormat]) -> str:
    """Return the section of a group of formats: a table, and a section for each of them."""
    head = ("format", "name", "read", "detected", "written", "examples")
    parts = [f"## {group}\n", table(head, map(format_row, formats)), *map(format_section, formats)]
    return "\n".join(parts)


def format_row(format: RowFormat) -> tuple[str, ...]:
    """Return the row of a format in the table of all of them."""
    marks = (format.read, format.is_detected, format.write)
    name = f"[{format.name}](#{format.name})"
    return (name, format.title, *("yes" if mark else "" for mark in marks), format.holds)


def file_format_section(format: FileFormat) -> str:
    """Return the section of a format of files."""
    parts = [f"### {format.name}\n", f"{format.title}. {format.layout}\n"]
    if format.losses:
        parts.append(f"Not read: {'; '.join(format.losses)}.\n")
    if format.options:
        parts.append(f"Options: {', '.join(f'`--{name}`' for name in format.options)}.\n")
    return "\n".join(parts)


def format_section(format: RowFormat) -> str:
    """Return the section of a format."""
    source = format.source
    described = f"[{source}]({source.url})" if source.url else str(source)
    parts = [f"### {format.name}\n", f"{format.title}. Described in: {described}.\n"]
    if not source.url:
        parts[1] = f"{format.title}.\n"
    parts.append(f"```json\n{format.layout}\n```\n")
    if format.losses:
        label = "No place for" if format.write else "Not read"
        parts.append(f"{label}: {'; '.join(format.losses)}.\n")
    keys = ", ".join(f"`{key}`" for key in sorted(format.bookkeeping))
    if format.read and format.bookkeeping:
        parts.append(
            "Noted: every key that is not read.\n"
            if format.bookkeeping == EVERY_KEY
            else f"Noted: {keys}.\n"
        )
    parts += [f"{' '.join(format.notes)}\n"] if format.notes else []
    return "\n".join(parts)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def commands_page() -> str:
    """Return the page of all commands: their help."""
    settings = {**cli.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(cli, info_name="ftkit", **settings)
    parts = [
        NOTE,
        "# Commands\n",
        COMMANDS_INTRODUCTION,
        f"```text\n{cli.get_help(context)}\n```\n",
    ]
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        parts += help_sections(command, click.Context(command, context, name), "##")
    return "\n".join(parts)


def help_sections(command: click.Command, context: click.Context, level: str) -> Iterator[str]:
    """Yield the section of a command and those of its subcommands."""
    yield f"{level} {context.command_path}\n"
    # Recent versions of click bracket an optional command.
    usage = command.get_help(context).replace("[COMMAND] [ARGS]", "COMMAND [ARGS]", 1)
    yield f"```text\n{usage}\n```\n"
    if isinstance(command, click.Group):
        for name, subcommand in command.commands.items():
            yield from help_sections(subcommand, click.Context(subcommand, context, name), "###")


def design_page() -> str:
    """Return `design.md` with a current map of the package."""
    return replace_part(read_page("design.md"), MAP_START, package_map(), MAP_END)


def read_page(name: str) -> str:
    """Return a page as it is."""
    return (FOLDER / name).read_text("utf-8")


def replace_part(page: str, start: str, content: str, end: str) -> str:
    """Return a page with other content between two comments."""
    before, _, rest = page.partition(start)
    return f"{before}{start}\n{content}\n{end}{rest.partition(end)[2]}"


def serve_page() -> str:
    """Return `serve.md` with current tables of base models and chat templates."""
    page = replace_part(read_page("serve.md"), BASES_START, bases_table(), BASES_END)
    return replace_part(page, TEMPLATES_START, templates_table(), TEMPLATES_END)


def bases_table() -> str:
    """Return the recommended base models."""
    head = ("base model", "parameters", "licence", "context", "training", "stands for", "source")
    return table(head, (base_row(id, base) for id, base in base_models().items()))


def base_row(id: str, base: RecommendedBase) -> tuple[str, ...]:
    """Return the row of a base model."""
    memory = base.training_gb
    return (
        f"`{id}`",
        base.parameters,
        base.licence,
        f"{base.context_length:,}",
        f"{memory.value} GB" if memory else "not published",
        ", ".join(f"`{name}`" for name in base.stands_for),
        "; ".join(filter(None, (base.source, memory and memory.source, base.note))),
    )


def templates_table() -> str:
    """Return what the chat templates of real base models support, as the tests found it out."""
    file = ROOT / "tests" / "data" / "golden" / "chat_templates.json"
    names: dict[tuple[str, ...], list[str]] = {}
    for name, template in json.loads(file.read_text("utf-8")).items():
        features = template["features"]
        row = (
            "yes" if features["system"] else "merged",
            "yes" if features["tools"] else "refused",
            "yes" if features["parallel_tool_calls"] else "refused",
            "yes" if features["thinking"] else "no",
            f"`{features['end']}`".replace("|", "\\|"),
        )
        names.setdefault(row, []).append(name)
    head = ("chat template", "system", "tools", "several calls at once", "reasoning", "end of turn")
    return table(
        head,
        (
            (", ".join(group), *row)
            for row, group in sorted(names.items(), key=lambda item: item[1])
        ),
    )


def prepare_page() -> str:
    """Return `prepare.md` with current tables of fixes, names and steps, and the sample recipe."""
    recipe = (ROOT / "samples" / "recipe.toml").read_text("utf-8")
    page = replace_part(read_page("prepare.md"), FIXES_START, fixes_table(), FIXES_END)
    page = replace_part(page, STEPS_START, steps_table(), STEPS_END)
    page = replace_part(page, RECIPE_START, f"```toml\n{recipe}```", RECIPE_END)
    names = ((f"`{name}`", text) for name, text in NAMES.items())
    page = replace_part(page, NAMES_START, table(("name", "value"), names), NAMES_END)
    kinds = ((f"`{name}`", text) for name, text in DESCRIPTIONS.items())
    return replace_part(page, KINDS_START, table(("kind", "what is found"), kinds), KINDS_END)


def ci_page() -> str:
    """Return `ci.md` with the current files of `docs/ci`."""
    page = read_page("ci.md")
    for path in sorted((FOLDER / "ci").glob("*.yml")):
        start, end = (
            f"<!-- {path.name}: written by docs/generate.py -->",
            f"<!-- end of {path.name} -->",
        )
        page = replace_part(page, start, f"```yaml\n{path.read_text('utf-8')}```", end)
    return page


def steps_table() -> str:
    """Return the keys of the steps of a recipe."""
    rows = (
        (f"`{name}`", ", ".join(f"`{key}`" for key in options_type(name).__struct_encode_fields__))
        for name in STEPS
    )
    return table(("step", "keys"), rows)


def fixes_table() -> str:
    """Return the fixes of all rules."""
    rows = (
        (fix.safety, f"[{rule.name}](rules.md#{rule.name})", fix.summary)
        for safety in get_args(Safety)
        for rule in RULES.values()
        for fix in rule.fixes
        if fix.safety == safety
    )
    return table(("class", "rule", "fix"), rows)


def package_map() -> str:
    """Return the modules of each layer, with the first sentences of their docstrings."""
    return "\n".join(map(layer_section, layers()))


def layers() -> tuple[str, ...]:
    """Return the packages and modules in the order that `tests/test_layers.py` enforces."""
    tree = ast.parse((ROOT / "tests" / "test_layers.py").read_text("utf-8"))
    assignments = (node for node in tree.body if isinstance(node, ast.Assign))
    value = next(node.value for node in assignments if ast.unparse(node.targets[0]) == "LAYERS")
    names: tuple[str, ...] = ast.literal_eval(value)
    return names


def layer_section(layer: str) -> str:
    """Return the section of a package or module."""
    folder = ROOT / "ftkit" / layer
    if not folder.is_dir():
        return f"### `{layer}.py`\n\n{summary(folder.with_suffix('.py'))}.\n"
    package, *modules = sorted(folder.rglob("*.py"), key=lambda path: path.parts)
    rows = ((f"`{path.relative_to(folder)}`", summary(path)) for path in modules)
    contents = table(("module", "content"), rows) if modules else ""
    return f"### `{layer}/`\n\n{summary(package)}.\n\n{contents}"


def summary(path: Path) -> str:
    """Return the first sentence of a module's docstring, without the full stop."""
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return re.split(r"(?<!\.)\.(?=\s|$)", " ".join(docstring.split()))[0]


def with_current_output(text: str) -> str:
    """Return a page with the current output below each command of its console examples."""
    return re.sub(CONSOLE, with_output, text)


def with_output(match: re.Match[str]) -> str:
    """Return a console example with the current output of its commands."""
    first = f"<!-- first: {match[1]} -->\n" if match[1] else ""
    return f"{first}```console\n{run_block(match[2], match[1] or '')}```"


def run_block(block: str, first: str = "") -> str:
    """Run the commands of a console example beside a copy of the samples.

    Args:
        block: The example.
        first: Commands to run before it.
    """
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "samples", Path(folder, "samples"))
        for command in filter(None, first.split(" && ")):
            run(command, folder)
        commands = re.findall(r"^\$ (ftkit .*)\n", block, re.MULTILINE)
        return "".join(f"$ {command}\n{run(command, folder)}" for command in commands)


def run(command: str, folder: str) -> str:
    """Return what a command prints."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("FTKIT_") and not name.endswith("_API_KEY")
    }
    environment["PYTHONPATH"] = str(ROOT)
    process = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    return process.stdout


PAGES = {
    "rules.md": rules_page,
    "limits.md": limits_page,
    "commands.md": commands_page,
    "formats.md": formats_page,
    "design.md": design_page,
    "serve.md": serve_page,
    "prepare.md": prepare_page,
    "api.md": lambda: api_page(NOTE),
    "errors.md": lambda: errors_page(NOTE),
    "ci.md": ci_page,
}
"""Generated pages."""


def pages_with_examples() -> list[Path]:
    """Return the pages that may have examples."""
    return [ROOT / "README.md", *sorted(FOLDER.glob("*.md")), ROOT / "samples" / "README.md"]


def main() -> None:
    """Write the generated pages, and the output of the examples in all pages."""
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), "utf-8")
    for path in pages_with_examples():
        path.write_text(with_current_output(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
