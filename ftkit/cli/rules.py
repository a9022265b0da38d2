"""`ftkit rules` and `ftkit rule`."""

from __future__ import annotations

import json
from typing import Any

import click

from ftkit._text import printable
from ftkit.report.text import COLOURS
from ftkit.rules import RULES, Rule, find_rule

OUTPUT = click.option(
    "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
EXAMPLE_LIMIT = 400


def as_dict(rule: Rule) -> dict[str, Any]:
    """A rule, for JSON."""
    return {
        "code": rule.code,
        "rule": rule.name,
        "severity": rule.severity,
        "summary": rule.summary,
        "doc": rule.doc,
        "evidence": rule.evidence,
        "formats": list(rule.formats),
        "says": list(rule.says),
    }


@click.command()
@OUTPUT
def rules(output: str) -> None:
    """List the rules."""
    if output == "json":
        click.echo(
            json.dumps([as_dict(rule) for rule in RULES.values()], indent=2, ensure_ascii=False)
        )
        return
    width = max(map(len, RULES))
    for rule in RULES.values():
        severity = click.style(f"{rule.severity:<7}", fg=COLOURS[rule.severity])
        click.echo(f"{rule.code}  {rule.name:<{width}}  {severity}  {rule.summary}")


@click.command()
@click.argument("name")
@OUTPUT
def rule(name: str, output: str) -> None:
    """Explain one rule, given by its NAME or code."""
    found = find_rule(name)
    if output == "json":
        click.echo(json.dumps(as_dict(found), indent=2, ensure_ascii=False))
        return
    click.echo(click.style(f"{found.name} ({found.code}, {found.severity})", bold=True))
    click.echo(f"\n{found.doc}\n")
    click.echo(f"Breaks it:\n    {example(found.bad)}\n")
    click.echo(f"Evidence: {found.evidence}")


def example(data: bytes) -> str:
    """A bad example as it can be shown: escaped where it is not text, and cut."""
    text = data.decode("utf-8", "backslashreplace").rstrip("\n")
    shown = printable(text[:EXAMPLE_LIMIT], keep="\n")
    return (shown + ("…" if len(text) > EXAMPLE_LIMIT else "")).replace("\n", "\n    ")
