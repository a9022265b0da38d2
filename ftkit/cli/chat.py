"""`ftkit chat`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from ftkit._text import printable
from ftkit.cli import print_text
from ftkit.cli.options import Configured, output_option, service_options
from ftkit.cli.service import named_model, open_service, print_json_line
from ftkit.errors import FtkitError

if TYPE_CHECKING:
    from ftkit.client.client import Client


@click.command(cls=Configured)
@click.argument("model")
@click.argument("prompt", required=False)
@service_options
@click.option("--system", metavar="TEXT", help="What the system message says.")
@click.option("--temperature", type=click.FloatRange(0, 2), metavar="X", help="0 to 2.")
@click.option(
    "--max-tokens", type=click.IntRange(1), metavar="N", help="End the answer after so many."
)
@output_option
def chat(
    model: str,
    prompt: str | None,
    provider: str,
    base_url: str | None,
    facts: str | None,
    system: str | None,
    output: str,
    **options: Any,
) -> None:
    """Ask MODEL the PROMPT, or talk with it: a line at a time, until end of file (Ctrl-D).

    MODEL may be @last: the model that the job made which was submitted last from here.
    """
    client = open_service(provider, base_url, facts)
    model = named_model(client, model)
    given = {name: value for name, value in options.items() if value is not None}
    messages = [{"role": "system", "content": system}] if system else []
    if prompt is not None:
        _answer(client, model, [*messages, {"role": "user", "content": prompt}], given, output)
        return
    for line in _lines():
        messages.append({"role": "user", "content": line})
        try:
            messages.append(
                {"role": "assistant", "content": _answer(client, model, messages, given, output)}
            )
        except FtkitError as problem:
            if not _is_a_person():
                raise
            messages.pop()
            click.echo(f"ftkit: {problem}", err=True)


def _is_a_person() -> bool:
    """Whether somebody sits there who can ask again."""
    return sys.stdin is not None and sys.stdin.isatty()


def _harmless(text: str) -> str:
    """The text without what could play tricks on a terminal, where it is printed on one."""
    if not sys.stdout.isatty():
        return text
    return printable(text, keep="\n\t")


def _lines() -> Any:
    while sys.stdin is not None:
        if sys.stdin.isatty():
            click.echo("> ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _answer(
    client: Client, model: str, messages: list[dict[str, str]], given: dict[str, Any], output: str
) -> str:
    pieces = []
    for piece in client.chat(model, messages, **given):
        pieces.append(piece)
        if output == "text":
            print_text(_harmless(piece))
    said = "".join(pieces)
    if output == "json":
        print_json_line({"model": model, "prompt": messages[-1]["content"], "answer": said})
    else:
        print_text("\n")
    return said
