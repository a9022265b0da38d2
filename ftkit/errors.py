"""Exceptions. A finding about the data is a value (`ftkit.Finding`); these are for everything else.

    FtkitError
    ├── FileError                    a file cannot be found, read or written
    │   └── NotRegularFileError      a link or the like is in an archive (ftkit.archive.access)
    ├── UsageError                   an argument or a setting is invalid
    │   ├── UnknownNameError         no model, provider, rule or format has that name
    │   ├── UnknownShapeError        rows have no known format (ftkit.prepare.convert.detection)
    │   └── MissingOptionError       a file needs an option (ftkit.prepare.file_formats.base)
    ├── ProviderError                the provider refused the request or could not be reached
    │   ├── NotFoundError            the provider has no such job, file or model
    │   └── UnknownOutcomeError      no usable response: the request may have been carried out
    │       ├── ConnectError         no connection: the request was not sent
    │       └── InvalidResponseError the response cannot be read
    ├── UnreachableError             the provider failed too many requests in a row
    ├── EncodingError                a base model's chat template cannot express an example
    ├── ModelLoadError               a base model or an adapter cannot be loaded
    ├── RecipeError                  a base model or a machine cannot do what a recipe sets
    ├── StoppedError                 an archive run is ending (ftkit.archive.store)
    ├── RunnerError                  a cluster refuses a process (ftkit.server.runner)
    ├── RunnerUnavailableError       a cluster cannot be reached (ftkit.server.runner)
    │   ├── FailedCallError          Ray answers a call with an error (ftkit.server.ray_client)
    │   └── NotConnectedError        a cluster has not answered yet (ftkit.server.runner)
    ├── LostServiceError             a worker lost its service (ftkit.server.remote_reports)
    ├── RefusedReportError           the service refuses a report (ftkit.server.remote_reports)
    ├── RejectedJobError             a Ray cluster does not accept a job (ftkit.server.ray_client)
    ├── ClusterError                 a Ray cluster cannot train jobs (ftkit.server.cluster_check)
    ├── UnusableError                an answering server cannot answer (ftkit.server.answering)
    ├── RejectedError                an answering server rejected a request (ftkit.server.answering)
    └── ServiceError                 the local service refuses a request (ftkit.server.errors)

Each message is one line: what is wrong and what to do. A `UsageError` names parameters in
backticks, such as `max_cost`; the command line shows them as its options, such as `--max-cost`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from itertools import islice
from typing import Any


class FtkitError(Exception):
    """Base class of all exceptions that ftkit raises on purpose."""


class FileError(FtkitError):
    """A file cannot be found, read or written."""


class UsageError(FtkitError):
    """An argument, a setting or a combination of them is invalid."""


class UnknownNameError(UsageError):
    """No model, provider, rule or format has that name."""


class ProviderError(FtkitError):
    """The provider refused the request or could not be reached.

    Attributes:
        status: HTTP status, or 0 if there was no response.
        code: Error code of the response, or "".
        provider_message: Error message of the response, or "".
        uploaded: Ids of files that were uploaded for the refused request and still exist.
        wait: Seconds after which the provider asks to be tried again, or 0.
    """

    def __init__(
        self,
        message: str,
        status: int = 0,
        code: str = "",
        provider_message: str = "",
        uploaded: tuple[str, ...] = (),
        wait: float = 0,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.provider_message = status, code, provider_message
        self.uploaded, self.wait = uploaded, wait

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (
            str(self),
            self.status,
            self.code,
            self.provider_message,
            self.uploaded,
            self.wait,
        )
        return type(self), fields


class NotFoundError(ProviderError):
    """The provider has no such job, file or model."""


class UnknownOutcomeError(ProviderError):
    """No usable response: the request may have been carried out."""


class ConnectError(UnknownOutcomeError):
    """No connection could be made, so the request was not sent."""


class InvalidResponseError(UnknownOutcomeError):
    """The response cannot be read."""


class UnreachableError(FtkitError):
    """The provider failed too many requests in a row."""


class EncodingError(FtkitError):
    """A base model's chat template cannot express an example."""


class ModelLoadError(FtkitError):
    """A base model or an adapter cannot be loaded."""


class RecipeError(FtkitError):
    """A base model or a machine cannot do what a recipe sets."""


def os_error_message(error: BaseException) -> str:
    """Return the reason of an `OSError` in lower case, such as "no such file or directory"."""
    return (getattr(error, "strerror", None) or str(error)).lower()


DISTRIBUTION = "."
"""Requirement that pip installs ftkit from: the source folder, until it is on PyPI."""


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra, such as "compare"."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def check_choice(parameter: str, value: object, choices: Iterable[str]) -> None:
    """Raise `UsageError` if a parameter has another value than one of its choices."""
    names = tuple(choices)
    if value not in names:
        hint = did_you_mean(value, names) if isinstance(value, str) else ""
        raise UsageError(f"`{parameter}` must be {' or '.join(names)}, not {value!r:.100}{hint}")


def check_name(parameter: str, name: object) -> None:
    """Raise `UsageError` if a parameter that takes a name has a value that is not text."""
    if not isinstance(name, str):
        raise UsageError(f"`{parameter}` must be a name, not {name!r:.100}")


def check_names(parameter: str, names: object) -> None:
    """Raise `UsageError` if a parameter that takes several names is not a collection of texts."""
    if isinstance(names, (str, bytes)):
        raise UsageError(f"`{parameter}` must be a list of names, such as [{names!r:.100}]")
    if not isinstance(names, Collection) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"`{parameter}` must be a list of names, not {names!r:.100}")


NAME_LENGTH = 100
"""Maximum characters of a name that others are compared with. Comparing takes quadratic time."""

NAMES = 1000
"""Maximum number of names that a name is compared with."""


def did_you_mean(
    name: str, names: Iterable[str], n: int = 1, otherwise: str = "", folder: str = ""
) -> str:
    """Return `"; did you mean 'x'?"` for the closest names, or `otherwise` if none is close.

    Names of files are suggested with their folder.
    """
    if len(name) > NAME_LENGTH:
        return otherwise
    short = (item for item in names if len(item) <= NAME_LENGTH)
    lowered = {item.lower(): item for item in islice(short, NAMES)}
    matches = [lowered[item] for item in get_close_matches(name.lower(), lowered, n, cutoff=0.6)]
    if not matches:
        return otherwise
    paths = [os.path.join(folder, match) for match in matches]
    return f"; did you mean {' or '.join(map(repr, paths))}?"
