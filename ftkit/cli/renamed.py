"""Former names of options, which work with a warning."""

from __future__ import annotations

from ftkit.cli.output import print_warning

RENAMED_OPTIONS = {
    "compare": {"--seed": "--bootstrap-seed"},
    "estimate": {"--all": "--all-models"},
    "migrate": {"--all": "--archive"},
    "serve": {"--model": "--map"},
}
"""Present names of renamed options, by command and former name."""


def rename_options(command: str, arguments: list[str]) -> list[str]:
    """Return the arguments of a command with the present names of options."""
    renamed = RENAMED_OPTIONS.get(command, {})
    result = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name in renamed:
            print_warning(f"{name} of `ftkit {command}` is now {renamed[name]}")
        result.append(f"{renamed.get(name, name)}{equals}{value}")
    return result
