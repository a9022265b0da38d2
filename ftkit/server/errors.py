"""Exceptions of the local service.

    ServiceError
    ├── InvalidRequestError     the request is malformed, or cannot be carried out
    ├── AuthenticationError     the API key is missing or wrong
    ├── ForeignOriginError      the request is for another host, or from a page of another origin
    ├── MissingObjectError      the tenant has no object with that id
    ├── ConflictError           the object is in use
    ├── StaleAttemptError       another process trains the job, or none
    ├── TooLargeError           a body or a file exceeds its limit
    ├── QuotaError              the files of the tenant, or of all tenants, exceed a quota
    ├── LimitReachedError       too many jobs, uploads or files are there
    ├── BusyError               too many requests wait for answers
    ├── DisconnectedError       the client closed the connection
    ├── UnavailableError        the service has not enough memory now
    ├── FullDiskError           the disk has not enough free space
    └── InternalError           the service failed

They know nothing of HTTP; `responses.py` maps each to a status and to OpenAI's error object.
"""

from __future__ import annotations

from ftkit.errors import FtkitError

EXCERPT = 256
"""Maximum number of characters of an id, a name or a header in a message."""


class ServiceError(FtkitError):
    """Base class of all errors that the service returns to clients.

    Attributes:
        param: Request parameter that is wrong, or None.
        code: Error code of the response, or None.
    """

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param, self.code = param, code


class InvalidRequestError(ServiceError):
    """The request is malformed, or cannot be carried out."""


class AuthenticationError(ServiceError):
    """The API key is missing or wrong."""


class ForeignOriginError(ServiceError):
    """The request is for another host, or from a page of another origin."""


class MissingObjectError(ServiceError):
    """The tenant has no object with that id."""


class ConflictError(ServiceError):
    """The object is in use."""


class StaleAttemptError(ServiceError):
    """An attempt to train a job is not, or no longer, the current one."""

    def __init__(self) -> None:
        super().__init__("This is not the current attempt to train the job.", code="stale_attempt")


class TooLargeError(ServiceError):
    """A body or a file exceeds its limit."""


class QuotaError(ServiceError):
    """The files of the tenant, or of all tenants, exceed a quota."""


class LimitReachedError(ServiceError):
    """Too many jobs, uploads or files are there."""


class BusyError(ServiceError):
    """Too many requests wait for answers; the client may try again soon."""


class DisconnectedError(ServiceError):
    """The client closed the connection."""


class UnavailableError(ServiceError):
    """The service has not enough memory now."""


class FullDiskError(ServiceError):
    """The disk has not enough free space."""


class InternalError(ServiceError):
    """The service failed."""


def missing_object(
    title: str, id: str, param: str = "id", code: str | None = None
) -> MissingObjectError:
    """Return the error for an id that the tenant has no object for."""
    return MissingObjectError(f"No such {title}: {id[:EXCERPT]}", param, code)


def too_large(subject: str, limit: int) -> TooLargeError:
    """Return the error for a body or a file over its limit in bytes."""
    return TooLargeError(
        f"{subject} is larger than the maximum of {limit:,} bytes.", code="content_too_large"
    )


def limit_reached(message: str) -> LimitReachedError:
    """Return the error for too many jobs, uploads or files."""
    return LimitReachedError(message, code="rate_limit_exceeded")
