"""URLs of objects: what they name, what is refused, and which keys a pattern matches."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ftkit
from ftkit.dataset.object_location import Location, is_url, listed_folder, matches, parse_url
from ftkit.errors import FileError, FtkitError
from support.property_tests import example_count

PARTS = st.text("ab.[]", min_size=1, max_size=3).filter(lambda part: part.strip("."))


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("s3://bucket/a/b c.jsonl", Location("s3", "bucket", "a/b c.jsonl")),
        ("S3://bucket/a?b#c%20.jsonl", Location("s3", "bucket", "a?b#c%20.jsonl")),
        ("gs://bucket/a", Location("gs", "bucket", "a")),
        ("az://container/a@b", Location("az", "container", "a@b")),
        ("https://host:8/a%20b/%5B1%5D", Location("https", "host:8", "a b/[1]")),
        ("http://127.0.0.1/a", Location("http", "127.0.0.1", "a")),
        ("http://localhost:1/a", Location("http", "localhost:1", "a")),
    ],
)
def test_a_url_names_a_bucket_and_a_key(url: str, location: Location) -> None:
    assert is_url(url)
    assert parse_url(url) == location


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/a%20b?c#d.jsonl",
        "https://host:8/a%20b",
        "https://host/a%2520b",
        "https://host/a%3Fb%23c",
        "https://host/a+b,c=d;e:f@g!h$i&j'k(l)*m~n-o._/p",
        "https://host/d%C3%A4t%C3%A4",
        "https://host/a%2541",
        "https://[::1]:8/100%25%5B%5C",
        "s3://bucket/a%41?b#c",
        "az://$web/a",
    ],
)
def test_the_url_of_a_location_names_the_same_object(url: str) -> None:
    assert parse_url(url).url == url
    assert parse_url(parse_url(url).url) == parse_url(url)


@pytest.mark.parametrize("name", ["data.jsonl", "C:\\data", "a//b", "-", "<examples>", "x:y", None])
def test_a_path_is_no_url(name: object) -> None:
    assert not is_url(name)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (
            "hf://datasets/a",
            "the scheme 'hf' is not supported; use s3://, gs://, az:// or https://",
        ),
        ("ftp://u:secret@host/a", "the scheme 'ftp' is not supported"),
        ("http://example.com/a", "http://example.com/a would be read unencrypted; use https://"),
        ("s3://AKIA:secret@bucket/a", "s3:// URLs must not contain a user name or a password"),
        ("https://me:secret@host/a", "https:// URLs must not contain a user name or a password"),
        ("https://host/a?X-Amz-Signature=secret", "https://host/a is given with a query"),
        ("https://host/a#secret", "https://host/a is given with a query or a fragment"),
        ("https://host:port/a", "https://host:port/a has no valid host"),
        ("https://host/a%2Fb", "https://host/a%2Fb has an encoded slash"),
        ("s3://bucket", "s3://bucket names no file; give its bucket and path: s3://bucket/data/"),
        ("s3://bucket/a/", "s3://bucket/a/ names no file"),
        (
            "s3:///a",
            "s3:///a names no file; give its bucket and path: s3://bucket/data/train.jsonl",
        ),
        ("s3://bucket/a//b", "s3://bucket/a//b has an empty part"),
        ("s3://bucket/a/../b", "s3://bucket/a/../b has an empty part or a dot"),
        ("s3://bucket/a\nb", "s3:// URLs must not contain control characters"),
        ("s3://bucket/a\x9bb", "s3:// URLs must not contain control characters"),
        ("s3://bucket/\udcff", "s3:// URLs must not contain control characters or invalid UTF-8"),
        ("https://host/a%0Ab", "https://host/a%0Ab has encoded control characters"),
        ("https://host/a%ffb", "https://host/a%ffb has a path that is not percent-encoded UTF-8"),
        ("https://me:secret/a@host/a", "https:// URLs must not contain a user name or a password"),
        ("s3://AKIA:secret/a@bucket/a", "s3:// URLs must not contain a user name or a password"),
        ("s3://bucket/a?X-Amz-Signature=secret", "s3:// URLs must not contain a signature"),
        ("az://container/a?sv=1&sig=secret", "az:// URLs must not contain a signature"),
        ("gs://bucket/a//b?x-goog-signature=secret", "gs:// URLs must not contain a signature"),
        ("s3://evil.example.com#/a", "the bucket of s3:// URLs must be a name of letters, digits"),
        ("s3://evil.example.com?/a", "the bucket of s3:// URLs must be a name of letters, digits"),
        ("gs://bucket\\other/a", "the bucket of gs:// URLs must be a name of letters, digits"),
        ("s3://../a", "the bucket of s3:// URLs must be a name of letters, digits"),
        ("az://secret:9000/a", "the container of az:// URLs must be a name of letters, digits"),
        ("https://127.0.0.1\\host/a", "https://127.0.0.1\\host/a has no valid host"),
    ],
)
def test_a_url_that_is_not_read_is_refused_without_its_secrets(url: str, reason: str) -> None:
    with pytest.raises(FtkitError) as caught:
        ftkit.validate(url)
    assert str(caught.value).startswith(reason)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_url_that_was_made_a_path_is_explained() -> None:
    with pytest.raises(FileError, match="give a URL as text, since a Path drops a slash"):
        ftkit.validate(Path("s3://bucket/a.jsonl"))


def test_a_password_in_a_url_that_was_made_a_path_is_not_shown() -> None:
    with pytest.raises(FtkitError, match="must not contain a user name") as caught:
        ftkit.validate(Path("https://me:secret@host/a.jsonl"))
    assert "secret" not in str(caught.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    with pytest.raises(
        FileError, match=r"need the package obstore; install it with pip install '.*\[remote\]'"
    ):
        ftkit.validate("s3://bucket-without-package/a")


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=example_count(60)
)
@given(
    keys=st.sets(st.lists(PARTS, min_size=1, max_size=3).map("/".join), max_size=6),
    pattern=st.lists(
        st.one_of(st.text("ab.*?[]", min_size=1, max_size=4), st.just("**")), min_size=1, max_size=3
    )
    .filter(lambda parts: not {".", ".."} & set(parts))
    .map("/".join),
)
def test_patterns_match_keys_as_glob_matches_paths(
    tmp_path_factory: pytest.TempPathFactory, keys: set[str], pattern: str
) -> None:
    folder = tmp_path_factory.mktemp("keys")
    for key in keys:
        path = folder / key
        if not any(parent.is_file() for parent in path.parents) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    found = {
        name
        for name in glob.glob(pattern, root_dir=folder, recursive=True)
        if os.path.isfile(os.path.join(folder, name))  # `folder / name` drops a slash at the end
    }
    assert {name for name in files if matches(name, pattern)} == {
        os.path.normpath(x) for x in found
    }
    assert all(name.startswith(listed_folder(pattern)) for name in found)


def test_a_pattern_of_many_stars_takes_little_time() -> None:
    assert not matches("a" * 1000, "*a" * 200 + "b")
    assert not matches("a/" * 300 + "a", "**/" * 300 + "b")
