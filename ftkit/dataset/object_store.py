"""Objects in S3, Google Cloud Storage, Azure and on web servers.

    pattern → list_objects ─┐
    URL → find_object ──────┴→ RemoteObject(URL, size, ETag) → open_object → requests for ranges

Every request is pinned to the ETag of the object that was found, so what is read is one version
of it, or the read fails.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO

from ftkit._text import excerpt
from ftkit.dataset.object_client import open_store, request
from ftkit.dataset.object_errors import has_status, is_missing
from ftkit.dataset.object_location import (
    Location,
    RemoteObject,
    listed_folder,
    matches,
    parse_url,
)
from ftkit.dataset.object_stream import open_stream
from ftkit.errors import FileError, UsageError, did_you_mean

MAX_OBJECTS = 100_000
"""Maximum number of objects that a pattern may match, so that memory is bounded."""

MAX_SIBLINGS = 1000
"""Maximum number of objects that are listed to suggest one."""

MAX_LISTED = 1_000_000
"""Maximum number of objects that are listed for a pattern, so that a listing ends."""

LIST_SECONDS = 300
"""Seconds in which the next objects of a listing must arrive; a storage may send empty pages."""

_PAGE = 1000
"""Objects that are listed at a time."""


def find_object(url: str) -> RemoteObject:
    """Return the object that a URL names. A `RemoteObject` is returned as it is.

    Raises:
        FileError: There is no such object, or it cannot be read or pinned to an ETag.
        UsageError: The URL is not valid.
    """
    if isinstance(url, RemoteObject):
        return url
    location = parse_url(url)
    store = open_store(location)
    import obstore

    def find() -> Any:
        try:
            return obstore.head(store, location.key)
        except Exception as error:
            if not has_status(error):
                raise
            # A response to HEAD has no body, so it does not say why.
            return obstore.get(store, location.key, options={"range": (0, 1)}).meta

    try:
        meta = request(location, find)
    except FileError as error:
        if error.__cause__ is not None and is_missing(error.__cause__):
            hint = _suggestion(location, store)
            if location.is_pattern:
                hint = "; patterns are for commands that read several files"
            raise FileError(f"{error}{hint}") from error.__cause__
        raise
    return _remote_object(location, meta)


def list_objects(pattern: str) -> list[RemoteObject]:
    """Return the objects that a pattern matches, sorted by URL.

    All objects below the folder before the first wildcard are listed, and those that do not match
    are dropped at once. If none matches, the object is returned whose key is the pattern.

    Raises:
        FileError: No object matches, more than `MAX_OBJECTS` do, more than `MAX_LISTED` are below
            that folder, they cannot be listed, or the pattern is the key of an object that it does
            not match, and matches others.
        UsageError: The URL is not valid.
    """
    location = parse_url(pattern)
    objects: list[RemoteObject] = []
    matching = 0
    named: RemoteObject | None = None  # such as [1].jsonl, which does not match itself
    folder = listed_folder(location.key)
    for number, meta in enumerate(_listed(location, folder)):
        if number == MAX_LISTED:
            raise FileError(
                f"there are more than {MAX_LISTED:,} objects below {location.root}/{folder}; "
                f"begin the pattern {pattern} with a longer folder"
            )
        listed = location._replace(key=meta["path"])
        if matches(listed.key, location.key):
            matching += 1
            if matching > MAX_OBJECTS:
                raise FileError(
                    f"{pattern} matches more than {MAX_OBJECTS:,} objects; use several patterns"
                )
            if not _is_folder(listed, meta):
                objects.append(_listed_object(listed, meta))
        elif listed.key == location.key:
            named = _listed_object(listed, meta)
    if named and objects:
        raise FileError(
            f"{pattern} is the name of an object, and matches others, too; write [[] for a bracket "
            "of that name"
        )
    if not objects and not named:
        raise FileError(f"no object matches {pattern!r}")
    return [named] if named else sorted(objects)


def _listed_object(location: Location, meta: Any) -> RemoteObject:
    """Return an object of a listing, whose key may be one that no URL can have."""
    try:
        parse_url(location.url)
    except UsageError:
        raise FileError(
            f"cannot read the object {excerpt(location.key)} in {location.root}: such URLs are "
            "refused; rename it, or use a pattern that does not match it"
        ) from None
    return _remote_object(location, meta)


def _is_folder(location: Location, meta: Any) -> bool:
    """Return True for the mark of a folder: an empty object whose key ends in a slash.

    The consoles of services make them. The listing leaves the slash out, so whether there is an
    object without it must be asked.
    """
    if meta["size"]:
        return False
    import obstore

    store = open_store(location)
    try:
        request(location, lambda: obstore.head(store, location.key))
    except FileError as error:
        return is_missing(error.__cause__ or error)
    return False


def open_object(url: str) -> BinaryIO:
    """Open an object as a buffered stream that can be read, peeked, and sought.

    Raises:
        FileError: There is no such object; reading raises it, too.
    """
    remote = find_object(url)
    return open_stream(parse_url(remote.url), remote.etag, remote.size)


def open_range(url: str, etag: str, start: int, end: int | None) -> BinaryIO:
    """Open an object of which one range will be read. The position is 0.

    One request asks for the bytes of the range; further ones follow if more is read.

    Args:
        url: URL of the object.
        etag: ETag that the object must have.
        start: Offset of the first byte of the range.
        end: Offset after the last byte of the range, or None for the end of the object.
    """
    expected = None if end is None else (start, end)
    return open_stream(parse_url(url), etag, expected=expected)


def _remote_object(location: Location, meta: Any) -> RemoteObject:
    url, etag = location.url, meta["e_tag"] or ""
    is_valid = etag.isascii() and etag.isprintable()  # it becomes a header of requests
    if not etag or etag.startswith("W/") or not is_valid:
        raise FileError(
            f"{location.bucket} gives {url} no strong ETag, so changes while it is read would go "
            "unnoticed; download the file and name that"
        )
    return RemoteObject(url, meta["size"], etag)


def _listed(location: Location, folder: str) -> Iterator[Any]:
    """Yield the metadata of all objects below a folder."""
    store = open_store(location)
    import obstore

    listed = location._replace(key=folder)
    pages = iter(obstore.list(store, folder or None, chunk_size=_PAGE))
    while page := request(listed, lambda: next(pages, None), "list", LIST_SECONDS):
        yield from page


def _suggestion(location: Location, store: Any) -> str:
    """Return a hint at an object in the same folder with a similar name, if there is one."""
    if not location.is_bucket:
        return ""
    folder, _, name = location.key.rpartition("/")
    try:
        siblings = [
            os.path.basename(meta["path"])
            for meta in islice(_listed(location, folder), MAX_SIBLINGS)
        ]
    except FileError:
        return ""
    return did_you_mean(name, siblings, folder=f"{location.root}/{folder}".rstrip("/"))
