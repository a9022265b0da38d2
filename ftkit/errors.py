"""What ftkit could not do, said so that the reader knows what to do next.

A finding about the data is a value (`ftkit.summary.Finding`); these exceptions are for everything else: a file that is not
there, an option that makes no sense, a model that nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class FtkitError(Exception):
    """ftkit could not do what was asked. The message is one line: what is wrong and what to do."""


class FileProblem(FtkitError):
    """A file cannot be found, opened or read."""


class UsageProblem(FtkitError):
    """An option, a setting or a combination of them makes no sense."""


class UnknownName(UsageProblem):
    """A model, provider, rule or format that ftkit does not know."""


def did_you_mean(name: str, known: Iterable[str], n: int = 1, otherwise: str = "") -> str:
    """`"; did you mean 'x'?"` for the known names nearest to `name`, or `otherwise`."""
    lowered = {item.lower(): item for item in known}
    near = [lowered[match] for match in get_close_matches(name.lower(), lowered, n, cutoff=0.6)]
    return f"; did you mean {' or '.join(repr(match) for match in near)}?" if near else otherwise
