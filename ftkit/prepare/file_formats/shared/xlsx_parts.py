"""Parts of an Excel workbook: its archive, sheets, shared texts and number formats.

The parts are read as a stream, because the dimensions and sizes that a workbook declares are those
that its maker chose. python-calamine and openpyxl allocate by them, and calamine reads cells with
an error as empty ones.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO
from xml.parsers import expat

from msgspec import Struct

from ftkit.dataset.reader import open_stored
from ftkit.errors import FileError, os_error_message
from ftkit.prepare.file_formats.shared.number_formats import NumberFormat, find_format

MAX_PART_BYTES = 2_000_000_000
"""Maximum bytes of a part when it is unpacked."""

MAX_TEXT_CHARS = 150_000_000
"""Maximum characters of all shared texts, which are held in memory."""

TEXT_OVERHEAD = 50
"""Characters that a shared text counts in addition to its own."""

MAX_ELEMENTS = 1_000_000
"""Maximum XML elements of a part other than sheets and texts."""

MAX_CELL_CHARS = 1_000_000
"""Maximum characters of a cell. Excel's own limit is 32,767."""

MAX_TOKEN_BYTES = 1 << 18
"""Maximum bytes of a tag or a comment. Expat reads a tag again for each piece it is made of."""

PIECE_BYTES = 1 << 16
"""Bytes of a part that are read at a time."""

ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError)
"""Exceptions of reading an archive that is damaged, encrypted or packed in an unusual way."""

_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")
"""Character that XML cannot hold, as Excel writes it."""


class Sheet(Struct, frozen=True):
    """A sheet of a workbook."""

    name: str
    part: str
    """Name of its part in the archive."""
    is_hidden: bool = False


class Archive:
    """The archive of a workbook. A context manager.

    Attributes:
        path: Path of the workbook, or its URL.
    """

    def __init__(self, path: str, file: BinaryIO) -> None:
        """Read the list of the parts.

        Args:
            path: Path of the workbook, or its URL, for error messages.
            file: The workbook.

        Raises:
            FileError: The file is not an archive.
        """
        self.path = path
        try:
            self._zip = zipfile.ZipFile(file)
        except ZIP_ERRORS as error:
            raise self.error(os_error_message(error)) from error

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def error(self, reason: str) -> FileError:
        """Return an exception about the workbook."""
        return FileError(f"cannot read {self.path}: {reason}; save it again as .xlsx, or as CSV")

    def has(self, part: str) -> bool:
        """Return True if there is a part of that name."""
        return part in self._zip.NameToInfo

    def contains(self, part: str, text: bytes) -> bool:
        """Return True if an ASCII text occurs in a part, which may be in UTF-8 or UTF-16.

        Raises:
            FileError: The part is missing or damaged.
        """
        wide = text.decode().encode("utf-16-le")  # found in UTF-16 of either byte order
        end = b""
        for piece in self._pieces(part):
            data = end + piece
            if text in data or wide[:-1] in data:
                return True
            end = data[-len(wide) :]
        return False

    def _pieces(self, part: str) -> Iterator[bytes]:
        size = 0
        try:
            with self._zip.open(part) as stream:
                while piece := stream.read(PIECE_BYTES):
                    size += len(piece)
                    if size > MAX_PART_BYTES:
                        raise self.error(f"{part} has more than {MAX_PART_BYTES:,} bytes")
                    yield piece
        except KeyError:
            raise self.error(f"it has no part {part}") from None
        except ZIP_ERRORS as error:
            raise self.error(os_error_message(error)) from error

    def parse(self, part: str, handler: Any) -> Iterator[None]:
        """Parse a part as XML. Yield whenever a piece of it has been parsed.

        Args:
            part: Name of the part.
            handler: Object with methods `start(name, attributes)`, `end(name)` and `text(text)`.

        Raises:
            FileError: The part is missing, too large or not XML.
        """
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = lambda name, attributes: handler.start(local(name), attributes)
        parser.EndElementHandler = lambda name: handler.end(local(name))
        parser.CharacterDataHandler = handler.text
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        try:
            size = 0
            for piece in self._pieces(part):
                parser.Parse(piece)
                size += len(piece)
                if size - parser.CurrentByteIndex > MAX_TOKEN_BYTES:
                    raise self.error(f"{part} has a tag of more than {MAX_TOKEN_BYTES:,} bytes")
                yield
            parser.Parse(b"", True)
            yield
        except expat.ExpatError as error:
            raise self.error(f"{part} is not XML: {error}") from error

    def _refuse_doctype(self, *_: object) -> None:
        raise self.error("a part has a document type declaration")

    def relations(self, part: str) -> dict[str, tuple[str, str]]:
        """Return the type and the target of each relation of a part, by id."""
        folder, name = posixpath.split(part)
        relations: dict[str, tuple[str, str]] = {}

        def add(name: str, values: dict[str, str]) -> None:
            if name == "Relationship" and values.get("TargetMode") != "External":
                target = posixpath.normpath(posixpath.join("/", folder, values.get("Target", "")))
                kind = posixpath.basename(values.get("Type", ""))
                relations[values.get("Id", "")] = kind, target.lstrip("/")

        self.each_element(posixpath.join(folder, "_rels", f"{name}.rels"), add)
        return relations

    def each_element(self, part: str, start: Callable[[str, dict[str, str]], None]) -> None:
        """Call a function with the name and the attributes of each element of a part."""
        for _ in self.parse(part, _Elements(self, start)):
            pass


class _Elements:
    """Handler that passes on the elements of a part."""

    def __init__(self, archive: Archive, start: Callable[[str, dict[str, str]], None]) -> None:
        self._archive, self._start = archive, start
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Begin an element."""
        self._count += 1
        if self._count > MAX_ELEMENTS:
            raise self._archive.error(f"a part has more than {MAX_ELEMENTS:,} elements")
        self._start(name, attributes)

    def end(self, name: str) -> None:
        """Do nothing."""

    def text(self, text: str) -> None:
        """Do nothing."""


def local(name: str) -> str:
    """Return the name of an element or attribute without its namespace."""
    return name.rpartition(" ")[2]


def column_number(letters: str) -> int:
    """Return the number of a column such as "AB", from 0."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


def column_letters(column: int) -> str:
    """Return the name of a column, such as "AB"."""
    letters = ""
    column += 1
    while column:
        column, digit = divmod(column - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return letters


def unescape(text: str) -> str:
    """Return a text with the characters that Excel writes as `_x000D_`."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text) if "_x" in text else text


class SharedTexts:
    """Handler of the part with the texts that cells share.

    Attributes:
        texts: The texts, in order.
    """

    def __init__(self, archive: Archive) -> None:
        self.texts: list[str] = []
        self._archive = archive
        self._pieces: list[str] = []
        self._chars = 0
        self._is_text = self._is_phonetic = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Begin an element."""
        if name == "si":
            self._pieces = []
            self._count(TEXT_OVERHEAD)
        elif name == "rPh":
            self._is_phonetic = True
        self._is_text = name == "t" and not self._is_phonetic

    def end(self, name: str) -> None:
        """End an element."""
        self._is_text = False
        if name == "rPh":
            self._is_phonetic = False
        elif name == "si":
            self.texts.append(unescape("".join(self._pieces)))

    def text(self, text: str) -> None:
        """Add text.

        Raises:
            FileError: There is too much of it.
        """
        if self._is_text:
            self._pieces.append(text)
            self._count(len(text))

    def _count(self, chars: int) -> None:
        self._chars += chars
        if self._chars > MAX_TEXT_CHARS:
            raise self._archive.error(f"its texts have more than {MAX_TEXT_CHARS:,} characters")


def is_workbook(path: str) -> bool:
    """Return True if a file or an object is the archive of a workbook."""
    try:
        with open_stored(path) as file, zipfile.ZipFile(file) as archive:
            return "xl/workbook.xml" in archive.NameToInfo
    except ZIP_ERRORS:
        return False


class Workbook:
    """A workbook without its cells.

    Attributes:
        sheets: The sheets, in order.
        counts_from_1904: True if dates count from 1904, not 1900.
        formats: Formats of numbers, by the style of a cell.
        texts: Texts that cells share.
    """

    def __init__(self, archive: Archive) -> None:
        self.sheets: list[Sheet] = []
        self.counts_from_1904 = False
        self.formats: list[NumberFormat] = []
        self.texts: list[str] = []
        self._part = next(
            (target for kind, target in archive.relations("").values() if kind == "officeDocument"),
            "xl/workbook.xml",
        )
        self._relations = archive.relations(self._part)
        archive.each_element(self._part, self._add_sheet)
        for kind, part in self._relations.values():
            if kind == "sharedStrings" and archive.has(part):
                shared = SharedTexts(archive)
                for _ in archive.parse(part, shared):
                    pass
                self.texts = shared.texts
            elif kind == "styles" and archive.has(part):
                self.formats = _number_formats(archive, part)

    def _add_sheet(self, name: str, values: dict[str, str]) -> None:
        if name == "workbookPr":
            self.counts_from_1904 = values.get("date1904") in ("1", "true")
        elif name == "sheet":
            id = next((value for key, value in values.items() if local(key) == "id"), "")
            kind, part = self._relations.get(id, ("", ""))
            if kind == "worksheet":
                is_hidden = values.get("state", "visible") != "visible"
                self.sheets.append(Sheet(values.get("name", ""), part, is_hidden))


def _number_formats(archive: Archive, part: str) -> list[NumberFormat]:
    codes: dict[str, str] = {}
    formats: list[NumberFormat] = []
    is_cells = False

    def start(name: str, values: dict[str, str]) -> None:
        nonlocal is_cells
        if name == "numFmt":
            codes[values.get("numFmtId", "")] = values.get("formatCode", "")
        elif name in ("cellXfs", "cellStyleXfs", "cellStyles", "dxfs"):
            is_cells = name == "cellXfs"
        elif name == "xf" and is_cells:
            formats.append(find_format(values.get("numFmtId", "0"), codes))

    archive.each_element(part, start)
    return formats
