"""Objects in object storage as sources to scan."""

from __future__ import annotations

from ftkit.dataset.detect import Head
from ftkit.dataset.object_location import RemoteObject, is_pattern
from ftkit.dataset.reader import PART_BYTES, Shard, read_head, shards_of


def find_objects(name: str) -> list[RemoteObject]:
    """Return the object of a URL, or those that match a pattern.

    Raises:
        FileError: There is no such object.
        UsageError: The URL is not valid.
    """
    from ftkit.dataset.object_store import find_object, list_objects  # its import takes 40 ms

    return list_objects(name) if is_pattern(name) else [find_object(name)]


class ObjectRanges:
    """An object in object storage, whose shards any process can read.

    Attributes:
        object: The object, whose size and ETag hold for all that is read.
    """

    def __init__(self, url: str) -> None:
        """Find the object.

        Raises:
            FileError: There is no such object, or it cannot be read.
        """
        from ftkit.dataset.object_store import find_object  # its import takes 40 ms

        self.object = find_object(url)
        self.path = self.object.url

    def head(self) -> Head:
        """Return the beginning of the object."""
        return read_head(self.object)

    def parts(self) -> list[Shard]:
        """Return the shards of the object."""
        return shards_of(self.path, self.object.size, PART_BYTES, self.object.etag)

    def size(self) -> int:
        """Return the number of bytes of the object, compressed if it is."""
        return self.object.size
