"""Failures of object storage: tried again for a while, then one line without secrets."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest

import ftkit
from ftkit.dataset.object_location import RemoteObject
from ftkit.dataset.object_store import find_object, list_objects, open_object
from ftkit.errors import FtkitError
from support.examples import chat_lines
from support.object_storage import BUCKET, Fault, FaultyProxy, Storage

pytestmark = pytest.mark.remote

CHATS = b"".join(line + b"\n" for line in chat_lines(200))

CUT = Fault(cut_at=0.5)

BUSY = Fault(status=503)


def denied(code: str, status: int = 403) -> Fault:
    """Return an answer that S3 gives when it refuses a request."""
    body = f"<Error><Code>{code}</Code><Message>secret-of-the-tests</Message></Error>".encode()
    return Fault(status, body, methods=("GET", "HEAD"))


def message(call: Callable[[], object]) -> str:
    """Return the message of the exception of a call, which must be one line without secrets."""
    with pytest.raises(FtkitError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert not any(secret in text for secret in ("secret-of-the-tests", "AKIA", "Signature", "?"))
    return text


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are tried again for about a second, and silence of a second is too long."""
    for name in ("RETRY_SECONDS", "SILENCE_SECONDS"):
        monkeypatch.setattr(f"ftkit.dataset.object_client.{name}", 1)


@pytest.fixture
def url(storage: Storage) -> str:
    return storage.put("data.jsonl", CHATS)


@pytest.mark.parametrize("fault", [CUT, BUSY, Fault(cut_at=0)], ids=["cut", "503", "cut at once"])
def test_a_request_that_fails_a_few_times_is_tried_again(
    proxy: FaultyProxy, url: str, fault: Fault
) -> None:
    proxy.faults.extend([fault] * 4)
    assert ftkit.validate(url).files[0].examples == 200
    assert not proxy.faults


@pytest.mark.parametrize("seed", range(4))
def test_findings_are_the_same_whatever_fails_on_the_way(
    monkeypatch: pytest.MonkeyPatch, storage: Storage, proxy: FaultyProxy, seed: int
) -> None:
    monkeypatch.setattr("ftkit.dataset.object_ranges.PART_BYTES", 2000)
    lines = chat_lines(200, {7: b"{", 150: b"", 151: {"messages": []}})
    url = storage.put("data.jsonl", b"".join(line + b"\n" for line in lines))
    expected = ftkit.validate(url)
    chance = random.Random(seed)
    proxy.faults.extend(
        chance.choice((Fault(), BUSY, Fault(cut_at=chance.random()))) for _ in range(40)
    )
    assert ftkit.validate(url) == expected
    assert len(proxy.faults) < 20


def test_silence_counts_as_a_cut_connection(
    monkeypatch: pytest.MonkeyPatch, proxy: FaultyProxy, url: str
) -> None:
    monkeypatch.setattr("ftkit.dataset.object_client.SILENCE_SECONDS", 1)
    proxy.faults.append(Fault(cut_at=0.5, delay=30))
    assert ftkit.validate(url).files[0].examples == 200


def test_a_connection_that_is_cut_again_and_again_brings_the_rest(
    monkeypatch: pytest.MonkeyPatch, storage: Storage, proxy: FaultyProxy
) -> None:
    monkeypatch.setattr("ftkit.dataset.object_client.MAX_RETRIES", 0)
    monkeypatch.setattr("ftkit.dataset.object_stream.FIRST_BYTES", 16 << 20)
    data = bytes(range(256)) * (12 << 12)
    with open_object(storage.put("large.bin", data)) as stream:
        proxy.faults.extend([CUT] * 3)
        assert stream.read() == data
    assert len(proxy.gets()) == 4


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (CUT, "no connection to the object storage, or it was cut; check the network"),
        (Fault(cut_at=0.1, delay=30), "no connection to the object storage, or it was cut"),
        (BUSY, "the object storage answered with status 503 to each attempt; try again later"),
    ],
    ids=["cut", "silent", "503"],
)
def test_a_request_that_always_fails_ends_the_command(
    proxy: FaultyProxy, url: str, fault: Fault, reason: str
) -> None:
    proxy.always = fault
    start = time.monotonic()
    assert f"cannot read {url}: " in (text := message(lambda: ftkit.validate(url)))
    assert reason in text
    assert time.monotonic() - start < 15


@pytest.mark.usefixtures("impatient")
def test_an_endpoint_that_does_not_listen_is_named_as_such(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    text = message(lambda: ftkit.validate(url))
    assert text.endswith("check the network and the endpoint")


def test_an_object_that_changes_between_two_requests_is_not_read_on(
    storage: Storage, proxy: FaultyProxy, url: str
) -> None:
    # The first request that reads is for the beginning, the second for the first shard.
    changing = Fault(before=lambda: storage.put("data.jsonl", CHATS[::-1]) and None)
    proxy.faults.extend([Fault(), changing])
    text = message(lambda: ftkit.validate(url))
    assert text == f"{url} changed while it was read; run the command again"


def test_an_object_that_changes_while_the_connection_is_cut_is_not_read_on(
    storage: Storage, proxy: FaultyProxy, url: str
) -> None:
    changing = Fault(before=lambda: storage.put("data.jsonl", CHATS[::-1]) and None)
    proxy.faults.extend([Fault(), CUT, changing])
    text = message(lambda: ftkit.validate(url))
    assert text == f"{url} changed while it was read; run the command again"


def test_an_object_that_is_deleted_while_it_is_read_is_missing(
    storage: Storage, proxy: FaultyProxy, url: str
) -> None:
    proxy.faults.extend([Fault(), Fault(before=lambda: storage.delete("data.jsonl"))])
    assert message(lambda: ftkit.validate(url)) == f"no such file: {url}"


def test_a_bucket_that_is_deleted_while_it_is_read_is_missing(
    storage: Storage, proxy: FaultyProxy, url: str
) -> None:
    proxy.faults.extend([Fault(), Fault(before=storage.clear)])
    assert (
        message(lambda: ftkit.validate(url))
        == "no such bucket: s3://bucket; check its name and the endpoint"
    )


def test_a_wrong_bucket_is_named(storage: Storage) -> None:
    reason = "no such bucket: s3://wrong; check its name and the endpoint"
    for name in ("s3://wrong/data.jsonl", "s3://wrong/*.jsonl"):
        assert message(lambda name=name: ftkit.validate(name)) == reason  # type: ignore[misc]


def test_a_missing_object_is_compared_with_its_neighbours(storage: Storage) -> None:
    storage.put("folder/train.jsonl", CHATS)
    with pytest.raises(FtkitError) as caught:
        ftkit.validate("s3://bucket/folder/trian.jsonl")
    assert str(caught.value) == (
        "no such file: s3://bucket/folder/trian.jsonl; did you mean 's3://bucket/folder/train.jsonl'?"
    )


def test_a_pattern_without_a_match_is_refused(storage: Storage) -> None:
    assert (
        message(lambda: ftkit.validate("s3://bucket/*.jsonl"))
        == "no object matches 's3://bucket/*.jsonl'"
    )


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (denied("AccessDenied"), "no permission to read"),
        (
            denied("InvalidAccessKeyId"),
            "the credentials for s3://bucket were rejected (InvalidAccessKeyId)",
        ),
        (
            denied("ExpiredToken", 400),
            "the credentials for s3://bucket were rejected (ExpiredToken)",
        ),
        (
            denied("PermanentRedirect", 301),
            "s3://bucket is in another region; set AWS_REGION to it",
        ),
        (denied("AuthorizationHeaderMalformed", 400), "s3://bucket is in another region"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value.body.decode()[13:25],
)
def test_a_refused_request_says_why(
    proxy: FaultyProxy, url: str, fault: Fault, reason: str
) -> None:
    proxy.always = fault
    assert message(lambda: ftkit.validate(url)).startswith(reason)


def page(keys: list[str]) -> bytes:
    """Return a page of a listing that is followed by another one."""
    rows = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        '<ETag>"1"</ETag><Size>1</Size></Contents>'
        for key in keys
    )
    return (
        f"<ListBucketResult>{rows}<IsTruncated>true</IsTruncated>"
        "<NextContinuationToken>next</NextContinuationToken></ListBucketResult>"
    ).encode()


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (
            "logs/**/*.txt",
            "there are more than 5,000 objects below s3://bucket/logs; begin the pattern "
            "s3://bucket/logs/**/*.txt with a longer folder",
        ),
        (
            "logs/*.jsonl",
            "s3://bucket/logs/*.jsonl matches more than 2,000 objects; use several patterns",
        ),
    ],
)
def test_an_endless_listing_ends_the_command(
    monkeypatch: pytest.MonkeyPatch, proxy: FaultyProxy, pattern: str, reason: str
) -> None:
    monkeypatch.setattr("ftkit.dataset.object_store.MAX_LISTED", 5000)
    monkeypatch.setattr("ftkit.dataset.object_store.MAX_OBJECTS", 2000)
    keys = [f"logs/{number}.jsonl" for number in range(1000)]
    proxy.always = Fault(status=200, body=page(keys), path="list-type=2")
    assert message(lambda: list_objects(f"s3://{BUCKET}/{pattern}")) == reason
    assert len(proxy.requests) < 10


def test_a_listing_of_empty_pages_ends_the_command(
    monkeypatch: pytest.MonkeyPatch, proxy: FaultyProxy
) -> None:
    monkeypatch.setattr("ftkit.dataset.object_store.LIST_SECONDS", 1)
    proxy.always = Fault(status=200, body=page([]), path="list-type=2")
    assert message(lambda: list_objects(f"s3://{BUCKET}/*")) == (
        "cannot list s3://bucket/: no answer of the object storage in 1 s; try again later"
    )
    last = page(["end"]).replace(b"true", b"false")
    proxy.always = Fault(status=200, body=last)  # so that the thread that lists ends


def test_listing_without_permission_is_refused(proxy: FaultyProxy, url: str) -> None:
    proxy.always = denied("AccessDenied")
    assert message(lambda: list_objects(f"s3://{BUCKET}/*")).startswith("no permission to list")


def test_missing_credentials_are_not_asked_of_the_network_for_long(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    start = time.monotonic()
    text = message(lambda: ftkit.validate(url))
    assert time.monotonic() - start < 10
    assert text.startswith("no credentials for s3://bucket; set AWS_ACCESS_KEY_ID and")


@pytest.mark.parametrize(
    ("variable", "value", "scheme", "reason"),
    [
        (
            "AWS_ENDPOINT_URL",
            "http://minio.example.com",
            "s3",
            "the endpoint at minio.example.com is not encrypted; use https://, or set "
            "AWS_ALLOW_HTTP=true",
        ),
        (
            "AWS_ENDPOINT_URL_S3",
            "minio:secret-of-the-tests",
            "s3",
            "AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL or AWS_ENDPOINT must be a URL, such as "
            "https://minio.example.com",
        ),
        *(
            (
                "AWS_ENDPOINT_URL_S3",
                endpoint,
                "s3",
                "AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL or AWS_ENDPOINT must be a URL, such as "
                "https://minio.example.com",
            )
            for endpoint in ("http://127.0.0.1:99999", "http://127.0.0.1:1/a b", "http://[::1")
        ),
        (
            "GOOGLE_SERVICE_ACCOUNT",
            "/no/such/file",
            "gs",
            "the settings for gs://bucket cannot be used (GenericError); check the variables "
            "GOOGLE_*",
        ),
        (
            "AZURE_SKIP_SIGNATURE",
            "true",
            "az",
            "az:// URLs need an account; set AZURE_STORAGE_ACCOUNT_NAME",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_refused(
    monkeypatch: pytest.MonkeyPatch,
    storage: Storage,
    variable: str,
    value: str,
    scheme: str,
    reason: str,
) -> None:
    monkeypatch.setenv(variable, value)
    assert message(lambda: ftkit.validate(f"{scheme}://bucket/data.jsonl")) == reason


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        *(
            (name, "us-east-1\r", f"{name} has a control character, such as a carriage return")
            for name in ("AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_ENDPOINT_URL")
        ),
        ("AWS_REGION", "x/y@evil", "AWS_REGION must be the name of a region, such as eu-central-1"),
        ("AWS_ENDPOINT_URL", "http://evil.invalid\\@127.0.0.1:9", "AWS_ENDPOINT must be a URL"),
        ("AWS_ENDPOINT_URL", "http://evil.invalid\\.127.0.0.1:9", "AWS_ENDPOINT must be a URL"),
    ],
)
def test_settings_that_cannot_be_sent_are_refused(
    monkeypatch: pytest.MonkeyPatch, url: str, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert reason in message(lambda: ftkit.validate(url))


def test_a_profile_that_cannot_be_sent_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str
) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    (tmp_path / "config").write_text("[default]\nregion = x/y@evil\n")
    text = message(lambda: ftkit.validate(url))
    assert text == "'region' of the AWS profile must be the name of a region, such as eu-central-1"


@pytest.mark.parametrize("etag", ["&#10;", "&#1;", "&#233;"])
def test_an_etag_that_cannot_be_sent_back_is_refused(proxy: FaultyProxy, etag: str) -> None:
    listing = page(["a.jsonl"]).replace(b"true", b"false")
    body = listing.replace(b'<ETag>"1"', f'<ETag>"{etag}"'.encode())
    proxy.always = Fault(status=200, body=body, path="list-type=2")
    assert "no strong ETag" in message(lambda: ftkit.validate(f"s3://{BUCKET}/*.jsonl"))


def test_a_panic_of_obstore_is_one_line(url: str) -> None:
    """An ETag of control characters cannot be sent; obstore panics instead of raising an error."""
    reason = f"cannot read {url}: obstore failed; check the variables AWS_* and the endpoint"
    with open_object(RemoteObject(url, 3, '"\n"')) as stream:
        assert message(stream.read).startswith(reason)


def test_an_endpoint_without_encryption_can_be_allowed(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    port = os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2]
    monkeypatch.setattr("ftkit.dataset.object_client.is_loopback", lambda host: False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://localhost:{port}")
    with pytest.raises(FtkitError, match="is not encrypted"):
        find_object(url)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    assert find_object(url).size == len(CHATS)


@pytest.mark.parametrize("other", ["AWS_ENDPOINT", "AWS_ENDPOINT_URL"])
def test_keys_go_to_the_endpoint_that_was_checked(
    monkeypatch: pytest.MonkeyPatch, proxy: FaultyProxy, url: str, other: str
) -> None:
    first = {"AWS_ENDPOINT": "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL": "AWS_ENDPOINT_URL_S3"}[other]
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv(other, proxy.url)
    monkeypatch.setenv(first, f"http://127.0.0.1:{proxy.upstream}")
    assert find_object(url).size == len(CHATS)
    assert not proxy.requests


def test_the_keys_of_a_profile_are_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    credentials = tmp_path / "credentials"
    credentials.write_text("[team]\naws_access_key_id = AKIA\naws_secret_access_key = x\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_PROFILE", "team")
    assert find_object(url).size == len(CHATS)


def test_keys_that_are_rotated_in_a_profile_are_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, proxy: FaultyProxy
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    credentials = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    for key in ("AKIAONE", "AKIATWO"):
        credentials.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = x\n")
        find_object(url)
        assert f"Credential={key}/" in proxy.requests[-1].authorization


class TestWebServers:
    """Files of web servers, for which the proxy in front of public objects stands."""

    @pytest.fixture
    def page(self, storage: Storage, proxy: FaultyProxy) -> str:
        storage.put("my data.jsonl", CHATS, is_public=True)
        return f"{proxy.url}/{BUCKET}/my%20data.jsonl"

    def test_a_file_is_read_in_pinned_ranges(self, proxy: FaultyProxy, page: str) -> None:
        assert ftkit.validate(page).files[0].examples == 200
        assert {request.if_match for request in proxy.gets()} == {find_object(page).etag}

    @pytest.mark.parametrize("name", ["%2541.jsonl", "a%3Fb.jsonl", "a%23b.jsonl"])
    def test_a_path_is_decoded_once(self, storage: Storage, proxy: FaultyProxy, name: str) -> None:
        storage.put("A.jsonl", b"not this one", is_public=True)
        storage.put(unquote(name), CHATS, is_public=True)
        report = ftkit.validate(f"{proxy.url}/{BUCKET}/{name}")
        assert report.files[0].examples == 200
        assert report.files[0].file == f"{proxy.url}/{BUCKET}/{name}"

    def test_a_server_that_refuses_head_is_asked_otherwise(
        self, proxy: FaultyProxy, page: str
    ) -> None:
        proxy.always = Fault(405, methods=("HEAD",))
        assert ftkit.validate(page).files[0].examples == 200

    def test_a_server_without_etag_is_refused(self, proxy: FaultyProxy, page: str) -> None:
        proxy.always = Fault(leaves_out=("etag",), methods=("GET", "HEAD"))
        text = message(lambda: ftkit.validate(page))
        assert "no strong ETag" in text
        assert text.endswith("download the file and name that")

    def test_a_server_that_cannot_send_ranges_is_refused(
        self, proxy: FaultyProxy, page: str
    ) -> None:
        proxy.always = Fault(ignores_range=True)
        text = message(lambda: ftkit.validate(page))
        assert "cannot send a part of" in text
        assert text.endswith("download the file and name that")

    def test_a_missing_file_and_a_login_are_named(self, storage: Storage, page: str) -> None:
        missing = page.replace("my%20data", "other")
        assert message(lambda: ftkit.validate(missing)).startswith("no such file: ")
        storage.put("private.jsonl", CHATS)
        private = page.replace("my%20data", "private")
        assert "only files that need no login are read" in message(lambda: ftkit.validate(private))


def test_what_was_found_can_be_sent_to_another_process() -> None:
    import pickle

    copy = pickle.loads(pickle.dumps(RemoteObject("s3://bucket/a", 3, '"e"')))
    assert (copy, copy.size, copy.etag) == ("s3://bucket/a", 3, '"e"')
