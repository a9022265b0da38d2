"""URLs of objects: the bucket and the key that a URL names, and patterns."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from ftkit.dataset.object_schemes import BUCKETS, SCHEMES, Scheme
from ftkit.errors import UsageError

_SUPPORTED = ", ".join(f"{scheme}://" for scheme in BUCKETS) + " or https://"

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_MAGIC = re.compile(r"[*?[]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and surrogates, which stand for bytes that are not UTF-8."""

_BUCKET = re.compile(r"[$\w][\w.-]*", re.ASCII)
"""Names of buckets, and of containers such as `$web`. Others could change the host of requests."""

HOST = re.compile(r"([\w-][\w.-]*|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
"""Host of a URL, with or without a port, and without a user name."""

_SIGNATURE = re.compile(
    r"(^|&)(sig|signature|x-(amz|goog)-\w+|awsaccesskeyid|googleaccessid)=", re.IGNORECASE
)
"""Part of the query of a presigned URL. Other question marks belong to patterns."""

_PATH_CHARACTERS = "/!$&'()*+,;=:@"
"""Punctuation that a path of a web server has as it is (RFC 3986, pchar and slash)."""


class Location(NamedTuple):
    """Location of an object.

    Attributes:
        scheme: One of `SCHEMES`.
        bucket: Bucket, or container of Azure; host and port of a web server.
        key: Key of the object, or a pattern. The path of a web server is percent-decoded.
    """

    scheme: str
    bucket: str
    key: str

    @property
    def root(self) -> str:
        """URL of the bucket or of the web server, without a slash at the end."""
        return f"{self.scheme}://{self.bucket}"

    @property
    def url(self) -> str:
        """URL of the object, percent-encoded for a web server. `parse_url` reverses it."""
        if self.is_bucket:
            return f"{self.root}/{self.key}"
        from urllib.parse import quote

        return f"{self.root}/{quote(self.key, safe=_PATH_CHARACTERS)}"

    @property
    def service(self) -> Scheme:
        """The service of the scheme."""
        return SCHEMES[self.scheme]

    @property
    def is_bucket(self) -> bool:
        """True if the object is in a bucket, which can be listed and written."""
        return self.scheme in BUCKETS

    @property
    def is_pattern(self) -> bool:
        """True if the key has wildcards. Web servers cannot list, so they have no patterns."""
        return self.is_bucket and bool(_MAGIC.search(self.key))


class RemoteObject(str):
    """The URL of an object, with the size and the ETag that the object had when it was found.

    It is a `str`, so that it can be given wherever a path is, and the object is found only once.

    Attributes:
        size: Bytes of the object.
        etag: ETag of the object.
    """

    size: int
    etag: str

    def __new__(cls, url: str, size: int, etag: str) -> RemoteObject:
        """Return the URL with these attributes."""
        self = super().__new__(cls, url)
        self.size, self.etag = size, etag
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteObject, (str(self), self.size, self.etag)

    @property
    def url(self) -> str:
        """The URL alone."""
        return str(self)


def is_url(name: object) -> bool:
    """Return True if a name is a URL, of any scheme, and not a path."""
    return isinstance(name, str) and bool(_URL.match(name))


def is_collapsed(path: str) -> bool:
    """Return True if a path looks like a URL that `pathlib` has taken a slash from."""
    scheme, _, rest = path.partition(":/")
    return scheme in SCHEMES and bool(rest) and not rest.startswith("/")


def is_pattern(name: object) -> bool:
    """Return True if a name is a URL with wildcards in it, whose objects can be listed."""
    is_found = isinstance(name, RemoteObject)
    return is_url(name) and not is_found and parse_url(str(name)).is_pattern


def parse_url(url: str) -> Location:
    """Return the location that a URL names.

    Messages quote nothing of a URL that may hold a password or a signature.

    Raises:
        UsageError: The scheme is not supported, or the URL has no bucket or key, a user name, a
            query or a fragment.
    """
    match = _URL.match(url)
    scheme = match[1].lower() if match else ""
    if not match or scheme not in SCHEMES:
        raise UsageError(f"the scheme {scheme!r:.40} is not supported; use {_SUPPORTED}")
    rest = match[2]
    bucket, _, key = rest.partition("/")
    is_web = scheme not in BUCKETS
    is_valid = bool((HOST if is_web else _BUCKET).fullmatch(bucket))
    if "@" in bucket or (":" in bucket and "@" in rest and not is_valid):  # it may have a slash
        raise UsageError(
            f"{scheme}:// URLs must not contain a user name or a password; {SCHEMES[scheme].advice}"
        )
    if _CONTROLS.search(rest):
        raise UsageError(f"{scheme}:// URLs must not contain control characters or invalid UTF-8")
    if not is_web and _SIGNATURE.search(rest.partition("?")[2]):
        raise UsageError(f"{scheme}:// URLs must not contain a signature; {SCHEMES[scheme].advice}")
    if bucket and not is_web and not is_valid:
        raise UsageError(
            f"the {SCHEMES[scheme].container} of {scheme}:// URLs must be a name of letters, "
            "digits, dots, hyphens and underscores; the address of a service is set by a variable, "
            "such as AWS_ENDPOINT_URL"
        )
    if is_web:
        key = _web_path(url, scheme)
    if _CONTROLS.search(key):
        raise UsageError(f"{url} has encoded control characters in its path")
    if not bucket or not key or key.endswith("/"):
        container = SCHEMES[scheme].container
        example = f"{scheme}://{bucket or container}/data/train.jsonl"
        raise UsageError(f"{url} names no file; give its {container} and path: {example}")
    if any(part in ("", ".", "..") for part in key.split("/")):
        raise UsageError(f"{url} has an empty part or a dot between its slashes; leave it out")
    return Location(scheme, bucket, key)


def _web_path(url: str, scheme: str) -> str:
    """Return the decoded path of the URL of a web server."""
    host_and_path = url.partition("?")[0].partition("#")[0]
    if host_and_path != url:
        raise UsageError(
            f"{host_and_path} is given with a query or a fragment, such as a signature, which is "
            "not supported; download the file and name that"
        )
    from urllib.parse import unquote, urlsplit

    from ftkit._local import is_loopback

    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
        if host and not HOST.fullmatch(parts.netloc):
            raise ValueError
    except ValueError:
        raise UsageError(f"{url} has no valid host") from None
    if scheme == "http" and not is_loopback(host):
        raise UsageError(f"{url} would be read unencrypted; use https://")
    if "%2f" in parts.path.lower():
        raise UsageError(f"{url} has an encoded slash in its path, which is not supported")
    try:
        return unquote(parts.path, errors="strict").removeprefix("/")
    except UnicodeDecodeError:
        raise UsageError(f"{url} has a path that is not percent-encoded UTF-8") from None


def matches(key: str, pattern: str) -> bool:
    """Return True if a pattern matches a key, as `glob` matches paths.

    `*`, `?` and `[…]` match within a part of the key, `**` any number of parts. Wildcards match
    no dot at the beginning of a part.
    """
    patterns = pattern.split("/")
    positions = _with_skipped({0}, patterns)
    for part in key.split("/"):
        following: set[int] = set()
        for position in positions:
            if position < len(patterns) and _matches_part(part, patterns[position]):
                is_any = patterns[position] == "**"
                following.update((position, position + 1) if is_any else (position + 1,))
        positions = _with_skipped(following, patterns)
    return len(patterns) in positions


def _with_skipped(positions: set[int], patterns: list[str]) -> set[int]:
    """Return the positions in a pattern with those after a `**`, which may match no folder."""
    reached = set(positions)
    for position in range(len(patterns) - 1):
        if position in reached and patterns[position] == "**":
            reached.add(position + 1)
    return reached


def _matches_part(part: str, pattern: str) -> bool:
    if part.startswith(".") and not pattern.startswith("."):
        return False
    return fnmatchcase(part, pattern)


def listed_folder(pattern: str) -> str:
    """Return the part of a pattern before the first wildcard, up to its last slash."""
    literal = _MAGIC.split(pattern, maxsplit=1)[0]
    return literal.rpartition("/")[0]
