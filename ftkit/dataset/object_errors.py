"""Errors of object storage as one line, without queries, signatures or credentials."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from ftkit.dataset.object_location import Location
from ftkit.errors import FileError

METADATA = re.compile(
    r"169\.254\.1(?:69\.254|70\.2)|/latest/api/token|/computeMetadata/|/identity/"
)
"""Addresses of instance metadata services, which are asked if no other credentials are set."""

REJECTED = frozenset(
    (
        "AuthenticationFailed",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    )
)
"""Error codes of services that do not accept the credentials."""

NO_BUCKET = frozenset(("NoSuchBucket", "ContainerNotFound"))
"""Error codes of services that have no such bucket."""

OTHER_REGION = frozenset(
    ("AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect")
)
"""Error codes of services that have the bucket in another region."""

PANIC = "PanicException"
"""Name of the class of panics in extensions that are written in Rust."""

BUSY = (408, 425, 429)
"""Statuses, besides those of 5xx, of services that ask to be tried again."""

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")


class _Failure(NamedTuple):
    """A failed request.

    Attributes:
        location: The object, or the folder or the pattern that was listed.
        action: Verb for what was to be done.
        kind: Name of the exception's class.
        status: Status of the response, or 0 without a response.
        code: Error code in the body of the response, or "".
        text: Text of the exception, which may hold secrets.
    """

    location: Location
    action: str
    kind: str
    status: int
    code: str
    text: str

    @property
    def url(self) -> str:
        return self.location.url


def object_error(location: Location, error: BaseException, action: str = "read") -> FileError:
    """Return the error of a request to object storage as one line.

    Nothing of the text of the error is quoted, since it may hold queries, signatures and keys.

    Args:
        location: The object, or the folder or the pattern that was listed.
        error: Exception of obstore.
        action: Verb for what was to be done, such as "read", "list" or "write".
    """
    text = str(error)
    status, code = _STATUS.search(text), _CODE.search(text)
    failure = _Failure(
        location,
        action,
        type(error).__name__,
        int(status[1]) if status else 0,
        code[1] if code else "",
        text,
    )
    for applies, message in _MESSAGES:
        if applies(failure):
            return FileError(message(failure))
    return FileError(_unreachable(failure))


def settings_error(location: Location, error: BaseException) -> FileError:
    """Return the error of settings that obstore does not accept, as one line.

    Args:
        location: The bucket or the web server.
        error: Exception of obstore, of which only the class is named.
    """
    if "CA certificates" in str(error):
        return FileError(
            "there are no certificates for https; install the package ca-certificates, or set "
            "SSL_CERT_FILE"
        )
    return FileError(
        f"the settings for {location.root} cannot be used ({type(error).__name__}); check the "
        f"variables {location.service.variables}"
    )


def is_panic(error: BaseException) -> bool:
    """Return True for a panic of obstore, which it raises as a `BaseException`."""
    return type(error).__name__ == PANIC


def has_status(error: BaseException) -> bool:
    """Return True if the error is a response, and not a failure of the network."""
    return _STATUS.search(str(error)) is not None


def is_missing(error: BaseException) -> bool:
    """Return True if there is no such object, although there is its bucket."""
    code = _CODE.search(str(error))
    return isinstance(error, FileNotFoundError) and not (code and code[1] in NO_BUCKET)


def is_refused(error: BaseException | None) -> bool:
    """Return True if a bucket cannot be used: it does not exist, or the keys are rejected."""
    code = _CODE.search(str(error))
    return code is not None and code[1] in NO_BUCKET | REJECTED


def changed(location: Location) -> str:
    """Return the message for an object that has another ETag than it had when it was found."""
    return f"{location.url} changed while it was read; run the command again"


def no_credentials(location: Location) -> str:
    """Return the message for a bucket without credentials."""
    service = location.service
    advice = f"{service.advice}, or {service.skip_signature}=true for a public {service.container}"
    return f"no credentials for {location.root}; {advice}"


def _asked_machine(failure: _Failure) -> bool:
    """Return True if the machine was asked for credentials; the key may look as if it was."""
    own = f"/{failure.location.bucket}/{failure.location.key}/"
    return bool(METADATA.search(failure.text)) and not METADATA.search(own)


def _no_permission(failure: _Failure) -> str:
    if not failure.location.is_bucket:
        advice = failure.location.service.advice
        return f"no permission to {failure.action} {failure.url}; {advice}"
    return (
        f"no permission to {failure.action} {failure.url}, or it does not exist; check the key and "
        "the permissions of the credentials"
    )


def _unreachable(failure: _Failure) -> str:
    host = "the object storage" if failure.location.is_bucket else failure.location.bucket
    problem = f"cannot {failure.action} {failure.url}:"
    if not failure.status:
        advice = "check the network and the endpoint"
        return f"{problem} no connection to {host}, or it was cut; {advice}"
    code = f" ({failure.code})" if failure.code else ""
    answer = f"{problem} {host} answered with status {failure.status}{code}"
    if failure.status in BUSY or failure.status >= 500:
        return f"{answer} to each attempt; try again later"
    return f"{answer}; check the settings of the storage"


def _bad_key(failure: _Failure) -> str:
    return (
        f"cannot {failure.action} {failure.url}: the key of an object there has an empty part, a "
        "dot or a control character between its slashes; begin the pattern with another folder, or "
        "rename that object"
    )


_MESSAGES: tuple[tuple[Callable[[_Failure], bool], Callable[[_Failure], str]], ...] = (
    (
        lambda it: it.action == "read" and (it.kind == "PreconditionError" or it.status == 412),
        lambda it: changed(it.location),
    ),
    (lambda it: it.kind == "InvalidPathError", _bad_key),
    (
        lambda it: it.kind == PANIC,
        lambda it: (
            f"cannot {it.action} {it.url}: obstore failed; check the variables "
            f"{it.location.service.variables} and the endpoint, whose response may be invalid"
        ),
    ),
    (
        _asked_machine,
        lambda it: no_credentials(it.location),
    ),
    (
        lambda it: it.code in NO_BUCKET,
        lambda it: f"no such bucket: {it.location.root}; check its name and the endpoint",
    ),
    (
        lambda it: (
            it.location.scheme == "s3"
            and (it.code in OTHER_REGION or it.status == 301 or "configured region" in it.text)
        ),
        lambda it: f"{it.location.root} is in another region; set AWS_REGION to it",
    ),
    (
        lambda it: it.status == 401 or it.code in REJECTED or it.kind == "UnauthenticatedError",
        lambda it: (
            f"the credentials for {it.location.root} were rejected"
            f"{f' ({it.code})' if it.code else ''}; {it.location.service.advice}"
        ),
    ),
    (lambda it: it.status == 403 or it.kind == "PermissionDeniedError", _no_permission),
    (
        lambda it: it.kind == "FileNotFoundError" or it.status == 404,
        lambda it: f"no such file: {it.url}",
    ),
    (
        lambda it: "Range request not supported" in it.text or "non-partial response" in it.text,
        lambda it: (
            f"{it.location.bucket} cannot send a part of {it.url}; download the file and name that"
        ),
    ),
)
"""Conditions, the most specific first, with the message for each."""
