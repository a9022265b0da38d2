"""Transcoding of UTF-16 and UTF-32 to UTF-8, in pieces."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from ftkit.errors import FileError

MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Codecs by the byte order mark that they read. The first that fits counts."""


def utf16_codec(data: bytes) -> str:
    """Return the codec of bytes that are UTF-16 or UTF-32, by their mark or the places of NULs."""
    marked = next((codec for mark, codec in MARKS.items() if data.startswith(mark)), None)
    if marked:
        return marked
    return "utf-16-be" if data[0::2].count(0) > data[1::2].count(0) else "utf-16-le"


def is_encoded(data: bytes, codec: str, complete: bool) -> bool:
    """Return True if a codec can decode bytes, which may end in the middle unless complete."""
    try:
        codecs.getincrementaldecoder(codec)().decode(data, complete)
    except UnicodeError:
        return False
    return True


def transcode(pieces: Iterator[bytes], codec: str) -> Iterator[bytes]:
    """Yield the text of some bytes as UTF-8.

    Raises:
        FileError: The bytes are not in the encoding of the codec.
    """
    decoder = codecs.getincrementaldecoder(codec)()
    try:
        for piece in pieces:
            yield decoder.decode(piece).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError as error:
        raise FileError(f"the text is not {codec.upper()}: {error}") from error
