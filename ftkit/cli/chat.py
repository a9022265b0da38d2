"""`ftkit chat`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ftkit.cli.connection import open_client_for
from ftkit.cli.options import Configured, Temperature, output_option, provider_options
from ftkit.cli.output import print_json_line, print_warning
from ftkit.cli.terminal import StreamWriter, is_terminal, write, write_error
from ftkit.errors import FtkitError, UsageError

if TYPE_CHECKING:
    from ftkit.client.client import Client


@click.command(cls=Configured)
@click.argument("model")
@click.argument("prompt", required=False)
@provider_options
@click.option("--system", metavar="TEXT", help="System message.")
@click.option(
    "--temperature",
    type=Temperature(),
    metavar="X|none",
    default="none",
    show_default=True,
    help="Sampling temperature from 0 to 2, or none for the provider's default.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    metavar="N",
    help="Maximum number of tokens in the reply.",
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
    """Send PROMPT to MODEL and print the reply.

    Without PROMPT, hold a conversation: each line of standard input is a message, until end of
    file (Ctrl-D). MODEL may be @last: the model of the job that was submitted last from here.
    """
    client, model = open_client_for("model", model, provider, base_url, facts)
    conversation = Conversation(
        client,
        model,
        system,
        {name: value for name, value in options.items() if value is not None},
        output,
    )
    if prompt is not None:
        conversation.send(prompt)
        return
    for line in _lines():
        try:
            conversation.send(line)
        except FtkitError as error:
            if not is_terminal(sys.stdin):
                raise
            print_warning(str(error))


class Conversation:
    """Messages that have been exchanged with a model."""

    def __init__(
        self,
        client: Client,
        model: str,
        system: str | None,
        options: dict[str, Any],
        output: str,
    ) -> None:
        self._client, self._model, self._options, self._output = client, model, options, output
        self._messages = [{"role": "system", "content": system}] if system else []

    def send(self, prompt: str) -> None:
        """Send a message and print the reply; both become part of the conversation.

        Raises:
            ProviderError: The provider refused the message, which is not kept then.
        """
        messages = [*self._messages, {"role": "user", "content": prompt}]
        fragments, writer = [], StreamWriter()
        for fragment in self._client.chat(self._model, messages, **self._options):
            fragments.append(fragment)
            if self._output == "text":
                writer.write(fragment)
        reply = "".join(fragments)
        if self._output == "json":
            print_json_line({"model": self._model, "prompt": prompt, "answer": reply})
        else:
            writer.write("", final=True)
            write("\n")
        self._messages = [*messages, {"role": "assistant", "content": reply}]


def _lines() -> Iterator[str]:
    """Yield the lines of standard input that are not blank, with a prompt on a terminal."""
    while sys.stdin is not None:
        if sys.stdin.isatty():
            write_error("> ")
        try:
            line = sys.stdin.readline()
        except UnicodeDecodeError as error:
            raise UsageError(
                f"standard input is not {error.encoding} text; set PYTHONIOENCODING to its encoding"
            ) from error
        if not line:
            return
        if line.strip():
            yield line.strip()
