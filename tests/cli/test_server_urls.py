"""URLs and keys of the servers that `ftkit serve` uses."""

from __future__ import annotations

import pytest

from ftkit.cli.server_urls import read_key, split_url
from ftkit.errors import UsageError


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("host:8000", "must be FORM"),
        ("ftp://host", "must be FORM"),
        ("http://", "must be FORM"),
        ("http://host:0", "must be FORM"),
        ("http://host:99999", "must be FORM"),
        ("http://[::1", "must be FORM"),
        ("http://ho st", "must be FORM"),
        ("http://h\u00f6st", "must be FORM"),
        ("http://host\n", "must be FORM"),
        ("http://user@host", "must not have a password; set KEY"),
        ("http://user:secret@host", "must not have a password; set KEY"),
        ("http://host/?key=secret", "must not have '?' or '#'"),
        ("http://host/#secret", "must not have '?' or '#'"),
    ],
)
def test_another_url_than_that_of_a_server_is_refused_and_not_repeated(
    url: str, message: str
) -> None:
    with pytest.raises(UsageError) as raised:
        split_url(url, "--option", "FORM", "set KEY")
    assert str(raised.value) == f"--option: the URL {message}"


@pytest.mark.parametrize("url", ["http://host", "https://host/v1", "http://[::1]:8000/v1/"])
def test_the_url_of_a_server_is_accepted(url: str) -> None:
    assert split_url(url, "--option", "FORM").hostname in ("host", "::1")


def test_a_key_that_a_header_cannot_have_is_refused() -> None:
    assert read_key({}, "KEY") == ""
    assert read_key({"KEY": "sk-1\n"}, "KEY") == "sk-1"
    for key in ("sk-\n1", "sk-\u00e9"):
        with pytest.raises(UsageError, match=r"^KEY must have printable ASCII characters only$"):
            read_key({"KEY": key}, "KEY")
