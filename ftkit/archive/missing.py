"""Records of what could not be fetched or stored exactly, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from ftkit._text import printable
from ftkit.client.errors import is_transient
from ftkit.errors import FtkitError, ProviderError

Reason = Literal[
    "deleted",
    "expired",
    "forbidden",
    "refused",
    "not offered",
    "failed",
    "incomplete",
    "invalid",
    "inexact",
    "left out",
]
"""Why something is missing.

Permanent:
- `deleted`, `expired`
- `not offered`: the provider does not have such a resource.

The next run tries again:
- `forbidden`: the API key has no access.
- `refused`
- `failed`: repeated errors or broken connections.
- `incomplete`: the download was shorter than the size that the provider reports; it is kept.
- `invalid`: its id cannot be part of a request.
- `inexact`: it is archived except for values that cannot be stored.
- `left out`: not requested.
"""

PERMANENT = ("deleted", "expired", "not offered")
"""Reasons that another run cannot change."""

RETRYABLE = ("failed", "incomplete")
"""Reasons that make an archive incomplete until another run succeeds."""

INVALID_ID = "its id is too long or not valid Unicode, so it cannot be requested"
"""Message about something whose reason is `invalid`."""

LISTS = ("events", "checkpoints", "permissions", "models", "records")
"""Resources that are requested as a list: 404 means that the provider has no such list."""


class Missing(Struct, frozen=True, omit_defaults=True, rename={"message": "said"}):
    """Something that could not be fetched or stored exactly.

    Attributes:
        what: `job`, `file`, `result file`, `events`, `checkpoints`, `permissions`, `models`,
            `records` (the file objects) or `answers`.
        id: Id of the resource at the provider.
        reason: Why it is missing.
        message: Error message of the provider; `said` in the manifest.
        job: Id of the job that it belongs to, or "".
    """

    what: str
    id: str
    reason: Reason
    message: str = ""
    job: str = ""

    @property
    def owner(self) -> str:
        """Owner of the manifest update that this belongs to."""
        if self.what == "answers":
            return f"answers {self.job}"
        return f"job {self.job}" if self.job else f"{self.what} {self.id}"


def missing_because(error: FtkitError, what: str, id: str, job: str = "") -> Missing:
    """Return the record of a resource whose request failed with that error."""
    message = printable(getattr(error, "provider_message", "") or str(error))
    return Missing(what, id, reason_of(error, what), message, job)


def reason_of(error: FtkitError, what: str) -> Reason:
    """Return why a resource is missing whose request failed with that error."""
    if not isinstance(error, ProviderError):
        return "not offered"
    if error.status == 410 or (
        error.status in (400, 404) and "expired" in error.provider_message.lower()
    ):
        return "expired"
    if error.status in (404, 405, 501):
        return "deleted" if error.status == 404 and what not in LISTS else "not offered"
    if error.status in (401, 403):
        return "forbidden"
    return "failed" if is_transient(error) else "refused"


def count_missing(missing: Iterable[Missing]) -> str:
    """Return counts by kind and reason, such as "3 file (deleted), 12 permissions (forbidden)"."""
    counts = Counter((item.what, item.reason) for item in missing)
    return ", ".join(
        f"{number:,} {what} ({reason})" for (what, reason), number in sorted(counts.items())
    )
