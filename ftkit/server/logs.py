"""Limit of log records, so that clients cannot fill the disk with them."""

from __future__ import annotations

import logging

RECORDS = 10
"""Maximum number of records per minute."""


class LogLimit(logging.Filter):
    """Log filter that drops all records of a minute but the first ones."""

    def __init__(self) -> None:
        super().__init__()
        self._start = self._passed = self._dropped = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True if the record is to be logged."""
        if record.created - self._start >= 60:
            if self._dropped:
                record.msg = f"{record.msg} ({self._dropped:,.0f} messages before it were dropped)"
            self._start, self._passed, self._dropped = record.created, 0, 0
        passes = self._passed < RECORDS
        self._passed += passes
        self._dropped += not passes
        return passes
