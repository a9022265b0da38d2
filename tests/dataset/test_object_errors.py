"""Errors of object storage as lines: one for each cause, and none with a secret."""

from __future__ import annotations

import pytest

from ftkit.dataset.object_errors import is_missing, object_error
from ftkit.dataset.object_location import Location

S3 = Location("s3", "bucket", "a.jsonl")
WEB = Location("https", "example.com", "a.jsonl")

SECRET = "https://storage/bucket/a.jsonl?X-Amz-Signature=secret"


class GenericError(Exception):
    """Stands for obstore's exception of that name; causes are told apart by names and texts."""


class InvalidPathError(Exception):
    """Stands for obstore's exception of that name, for a key in a listing."""


def failed(status: int, code: str = "") -> Exception:
    """Return an exception as obstore raises it for a response."""
    return GenericError(
        f"Error performing GET {SECRET} in 3 ms - Server returned non-2xx status code: {status} "
        f"Text: <Error><Code>{code}</Code><Message>secret</Message></Error>\n\nDebug source: secret"
    )


@pytest.mark.parametrize(
    ("location", "error", "message"),
    [
        (S3, failed(412), "s3://bucket/a.jsonl changed while it was read; run the command again"),
        (
            S3,
            failed(404, "NoSuchBucket"),
            "no such bucket: s3://bucket; check its name and the endpoint",
        ),
        (S3, failed(404, "NoSuchKey"), "no such file: s3://bucket/a.jsonl"),
        (S3, FileNotFoundError(SECRET), "no such file: s3://bucket/a.jsonl"),
        (
            S3,
            failed(301, "PermanentRedirect"),
            "s3://bucket is in another region; set AWS_REGION to it",
        ),
        (
            WEB,
            failed(301),
            "cannot read https://example.com/a.jsonl: example.com answered with status 301; check "
            "the settings of the storage",
        ),
        (
            S3._replace(scheme="gs"),
            failed(301),
            "cannot read gs://bucket/a.jsonl: the object storage answered with status 301; check "
            "the settings of the storage",
        ),
        (
            S3,
            failed(403, "SignatureDoesNotMatch"),
            "the credentials for s3://bucket were rejected (SignatureDoesNotMatch); "
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        ),
        (
            S3,
            failed(403, "AccessDenied"),
            "no permission to read s3://bucket/a.jsonl, or it does not exist; check the key and the "
            "permissions of the credentials",
        ),
        (
            WEB,
            failed(403),
            "no permission to read https://example.com/a.jsonl; only files that need no login are read",
        ),
        (
            WEB,
            failed(429),
            "cannot read https://example.com/a.jsonl: example.com answered with status 429 to each "
            "attempt; try again later",
        ),
        (
            S3,
            failed(400, "Odd"),
            "cannot read s3://bucket/a.jsonl: the object storage answered with status 400 (Odd); "
            "check the settings of the storage",
        ),
        (
            S3,
            GenericError(f"Error performing PUT http://169.254.169.254/latest/api/token {SECRET}"),
            "no credentials for s3://bucket; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE, or AWS_SKIP_SIGNATURE=true for a public bucket",
        ),
        (
            S3._replace(key="identity/a.jsonl"),
            FileNotFoundError("Error performing GET http://127.0.0.1/bucket/identity/a.jsonl"),
            "no such file: s3://bucket/identity/a.jsonl",
        ),
        (
            S3._replace(key="data"),
            InvalidPathError('Error parsing Path "data/../secret": illegal sequence ".."'),
            "cannot read s3://bucket/data: the key of an object there has an empty part, a dot or a "
            "control character between its slashes; begin the pattern with another folder, or "
            "rename that object",
        ),
        (
            S3,
            GenericError(f"HTTP error: request or response body error {SECRET}"),
            "cannot read s3://bucket/a.jsonl: no connection to the object storage, or it was cut; "
            "check the network and the endpoint",
        ),
        (
            WEB,
            GenericError("Range request not supported by a.jsonl"),
            "example.com cannot send a part of https://example.com/a.jsonl; download the file and "
            "name that",
        ),
    ],
)
def test_each_cause_has_a_line(location: Location, error: Exception, message: str) -> None:
    assert str(object_error(location, error)) == message


def test_a_failed_condition_of_a_write_is_no_change_of_what_is_read() -> None:
    assert str(object_error(S3, failed(412, "PreconditionFailed"), "write")) == (
        "cannot write s3://bucket/a.jsonl: the object storage answered with status 412 "
        "(PreconditionFailed); check the settings of the storage"
    )


def test_only_an_object_in_a_bucket_that_exists_is_missing() -> None:
    assert is_missing(FileNotFoundError())
    assert not is_missing(FileNotFoundError("<Code>NoSuchBucket</Code>"))
    assert not is_missing(failed(403))
