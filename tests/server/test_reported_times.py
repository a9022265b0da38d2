"""Times that processes of jobs report to the service."""

from __future__ import annotations

import datetime

import msgspec
import pytest

from ftkit.server.reports import MAX_TIME, JobEvent


def event_json(time: int) -> bytes:
    values = {"key": "k", "message": "m", "data": {"step": 4}, "estimated_finish": time}
    return msgspec.json.encode(values)


def test_a_reported_time_is_a_date() -> None:
    event = msgspec.json.decode(event_json(MAX_TIME), type=JobEvent)
    assert event.estimated_finish is not None
    assert datetime.datetime.fromtimestamp(event.estimated_finish, datetime.UTC).year == 9999
    with pytest.raises(msgspec.ValidationError, match="Expected `int` <= 253402300799"):
        msgspec.json.decode(event_json(MAX_TIME + 1), type=JobEvent)
