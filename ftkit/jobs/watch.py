"""Following a job until it is over: every event once, oldest first, through failures of the network and of the service."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from msgspec import Struct

from ftkit.client.client import Client
from ftkit.client.resources import Event, Job
from ftkit.errors import NotFoundError, ProviderError, UsageError

FIRST, GROWTH, LONGEST = 2.0, 1.5, 30.0
"""Seconds between two looks at a job: at first, the factor with which they grow while nothing happens, and at most."""

PATIENCE = 3600.0
"""Seconds that a service may be out of reach before watching ends."""


class Look(Struct, frozen=True):
    """What a look at the job has shown: the job, the events that are new, and the trouble that there was, if any."""

    job: Job | None
    events: tuple[Event, ...]
    trouble: str = ""


def watch(
    client: Client,
    id: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Look]:
    """Look at the job until it is over. The last look has all of its events.

    Trouble that may pass (no connection, rate limits, errors of the service) is told in a look, and waited out for an hour;
    raises `ProviderError` for any other, or when that is over.
    """
    seen = Seen()
    pause, since = FIRST, None
    while True:
        try:
            job = client.job(id)
            events = seen.new(_events(client, id))
        except (NotFoundError, UsageError):
            raise
        except ProviderError as problem:
            if not passes(problem):
                raise
            since = clock() if since is None else since
            if clock() - since > PATIENCE:
                raise
            pause = min(pause * 2, LONGEST)
            yield Look(None, (), str(problem))
        else:
            since = None
            yield Look(job, events)
            if job.is_over:
                return
            pause = FIRST if events else min(pause * GROWTH, LONGEST)
        sleep(pause)


def passes(problem: ProviderError) -> bool:
    """Whether the problem may pass by itself."""
    return problem.status in (0, 408, 409, 429) or problem.status >= 500


def _events(client: Client, id: str) -> Iterator[Event]:
    return iter(()) if "events" in client.api.lacks else client.events(id)


class Seen:
    """Remembers which events were given."""

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def new(self, newest_first: Iterator[Event]) -> tuple[Event, ...]:
        """The events that were not given before, oldest first; reads no further than a page of known ones."""
        found: list[Event] = []
        known = 0
        for event in newest_first:
            if _identity(event) in self._ids:
                known += 1
                if known > REACH:
                    break
            else:
                found.append(event)
        self._ids.update(map(_identity, found))
        found.reverse()
        return tuple(sorted(found, key=lambda event: event.created_at))


REACH = 20
"""Known events after which the rest is known, too. One is not enough: events of the same second may come in any order."""


def _identity(event: Event) -> str:
    return event.id or f"{event.created_at} {event.message}"
