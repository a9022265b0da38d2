"""`ftkit completion`."""

from __future__ import annotations

import click

from ftkit.cli.command import Command
from ftkit.cli.terminal import write

SHELLS = ("bash", "zsh", "fish")

VARIABLE = "_FTKIT_COMPLETE"
"""Environment variable with which the script asks ftkit for candidates."""


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of a SHELL: bash, zsh or fish.

    It completes commands, options, files, models, providers, rules, and the ids of your jobs and
    files.

    For bash, add this line to ~/.bashrc: eval "$(ftkit completion bash)"

    For zsh, add this line to ~/.zshrc: eval "$(ftkit completion zsh)"

    For fish, run: ftkit completion fish > ~/.config/fish/completions/ftkit.fish
    """
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    assert script is not None
    write(script(click.get_current_context().find_root().command, {}, "ftkit", VARIABLE).source())
