"""`ftkit rules` and `ftkit rule`."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from ftkit._text import printable
from ftkit.cli.command import Command
from ftkit.cli.options import output_option
from ftkit.cli.output import print_json, terminal_width
from ftkit.cli.terminal import write
from ftkit.report.columns import wrap, wrap_paragraphs
from ftkit.report.text import COLOURS
from ftkit.rules import RULES, Rule, find_rule

INDENT = " " * 7
"""Indent of a summary on a narrow terminal."""

LINE_LENGTH = 400
"""Maximum number of characters to show of a line of a sample."""
LINES_AT_ENDS = 2
"""Number of lines to show from the start and from the end of a long sample."""


def as_dict(rule: Rule) -> dict[str, Any]:
    """Return a rule for JSON output."""
    return {
        "code": rule.code,
        "rule": rule.name,
        "severity": rule.severity,
        "summary": rule.summary,
        "doc": rule.doc,
        "bad": sample(rule.bad),
        "good": sample(rule.good),
        "evidence": rule.evidence,
        "sources": [msgspec.structs.asdict(source) for source in rule.sources],
        "formats": list(rule.formats),
        "says": list(rule.provider_messages),
        "fixes": [{"safety": fix.safety, "summary": fix.summary} for fix in rule.fixes],
    }


@click.command(cls=Command)
@output_option
def rules(output: str) -> None:
    """List the rules."""
    if output == "json":
        print_json([as_dict(rule) for rule in RULES.values()])
        return
    names = max(map(len, RULES))
    summaries = max(len(rule.summary) for rule in RULES.values()) + len(" [unsafe fix]")
    width = terminal_width()
    is_narrow = (
        width is not None and width < len("FT101  ") + names + len("  warning  ") + summaries
    )
    for rule in RULES.values():
        name = rule.name if is_narrow else f"{rule.name:<{names}}"
        severity = rule.severity if is_narrow else f"{rule.severity:<7}"
        head = f"{rule.code}  {name}  {click.style(severity, fg=COLOURS[rule.severity])}"
        space = f"\n{INDENT}" if is_narrow else "  "
        mark = f" [{rule.fixes[0].safety} fix]" if rule.fixes else ""
        write(wrap(rule.summary + mark, head + space, INDENT, width if is_narrow else None))


@click.command("rule", cls=Command)
@click.argument("name")
@output_option
def rule(name: str, output: str) -> None:
    """Explain the rule with this NAME or code."""
    match = find_rule(name)
    if output == "json":
        print_json(as_dict(match))
        return
    width = terminal_width()
    write(f"{click.style(title(match), bold=True)}\n\n{wrap_paragraphs(match.doc, width)}\n")
    for label, data in (("Bad", match.bad), ("Good", match.good)):
        lines = [f"    {line}".rstrip() for line in sample(data).split("\n")]
        write("\n".join([f"{label}:", *lines, "\n"]))
    if match.fixes:
        write("Fixes (`ftkit fix`):\n")
        write("".join(f"    {fix}\n" for fix in fixes(match)))
    write("Evidence:\n")
    for source in match.sources:
        indent = " " * 4
        write(wrap(f"{source}", indent, indent, width))
        write(f"{indent}{indent}{source.url}\n" if source.url else "")


def fixes(rule: Rule) -> list[str]:
    """Return the fixes of a rule for people, each once."""
    texts = (f"{fix.summary} ({fix.safety})" for fix in rule.fixes)
    return list(dict.fromkeys(texts))


def title(rule: Rule) -> str:
    """Return name, code and severity of a rule."""
    return f"{rule.name} ({rule.code}, {rule.severity})"


def sample(data: bytes) -> str:
    """Return a bad or good sample as text to show: escaped, without the middle of what is long."""
    lines = data.decode("utf-8", "backslashreplace").rstrip("\n").split("\n")
    hidden = len(lines) - 2 * LINES_AT_ENDS
    if hidden > 1:
        lines[LINES_AT_ENDS:-LINES_AT_ENDS] = [f"… ({hidden:,} more lines)"]
    return "\n".join(map(_cut, lines))


def _cut(line: str) -> str:
    """Return a printable line, without the middle of a long one."""
    half = LINE_LENGTH // 2
    if len(line) > LINE_LENGTH:
        line = f"{line[:half]} … {line[-half:]}"
    return printable(line)
