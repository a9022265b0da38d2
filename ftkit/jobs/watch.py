"""Polling of a job until it ends, through transient errors of the network and the provider."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from msgspec import Struct

from ftkit.client.client import Client
from ftkit.client.errors import is_transient
from ftkit.client.resources import Event, Job, unix_time
from ftkit.errors import NotFoundError, ProviderError, UsageError

MIN_INTERVAL, MAX_INTERVAL = 2.0, 30.0
"""Seconds between two polls."""

INTERVAL_GROWTH, ERROR_GROWTH = 1.5, 2.0
"""Factors by which the interval grows after a poll without new events, and after an error."""

MAX_OUTAGE = 3600.0
"""Seconds of consecutive errors after which `watch` gives up."""

MAX_KNOWN_EVENTS = 20
"""Known events after which all older ones count as known.

One is not enough, since events of the same second may come in any order.
"""


class Update(Struct, frozen=True):
    """Result of one poll.

    Attributes:
        job: The job, or None if the poll failed.
        events: Events that were not in an earlier update, oldest first.
        error: Message of the transient error if the poll failed, or "".
    """

    job: Job | None
    events: tuple[Event, ...]
    error: str = ""


def watch(
    client: Client,
    id: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Update]:
    """Poll a job until it ends, and yield an update for each poll.

    Every event is in exactly one update. The last update has a job that has ended. A transient
    error is yielded as an update too, and the poll is repeated for up to an hour.

    Args:
        client: Connection to the provider.
        id: Id of the job.
        sleep: Waits for some seconds.
        clock: Returns the seconds since some point in time.

    Raises:
        NotFoundError: There is no such job.
        ProviderError: The error is permanent, or has lasted for an hour.
    """
    new_events = NewEvents()
    interval, outage_start = MIN_INTERVAL, None
    while True:
        try:
            job = client.job(id)
            events = new_events.select(_events(client, id))
        except (NotFoundError, UsageError):
            raise
        except ProviderError as error:
            if not is_transient(error):
                raise
            outage_start = clock() if outage_start is None else outage_start
            if clock() - outage_start > MAX_OUTAGE:
                raise
            interval = min(interval * ERROR_GROWTH, MAX_INTERVAL)
            yield Update(None, (), str(error))
        else:
            outage_start = None
            yield Update(job, events)
            if job.is_over:
                return
            interval = MIN_INTERVAL if events else min(interval * INTERVAL_GROWTH, MAX_INTERVAL)
        sleep(interval)


def _events(client: Client, id: str) -> Iterator[Event]:
    return iter(()) if "events" in client.api.lacks else client.events(id)


class NewEvents:
    """Filter that lets each event pass once."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def select(self, newest_first: Iterator[Event]) -> tuple[Event, ...]:
        """Return the events that no earlier call returned, oldest first.

        Stops reading after `MAX_KNOWN_EVENTS` known events.
        """
        new_events: list[Event] = []
        known_count = 0
        for event in newest_first:
            if _identity(event) in self._known:
                known_count += 1
                if known_count > MAX_KNOWN_EVENTS:
                    break
            else:
                new_events.append(event)
        self._known.update(map(_identity, new_events))
        new_events.reverse()
        return tuple(sorted(new_events, key=lambda event: unix_time(event.created_at)))


def _identity(event: Event) -> str:
    return event.id or f"{event.created_at} {event.message}"
