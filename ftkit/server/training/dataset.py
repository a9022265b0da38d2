"""Dataset of a job: its examples encoded, and those that the base model cannot be trained on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from ftkit._text import plural, ranges
from ftkit.errors import EncodingError
from ftkit.server.training.encoding import Encoder, Pair, Sequence


class Refusal(Struct, frozen=True):
    """Example that the base model cannot be trained on, and the reason."""

    line: int
    reason: str


class EncodedFile(Struct):
    """Encoded examples of a file.

    Attributes:
        encoded: Sequences or pairs that have something to learn.
        refused: Examples that cannot be encoded.
        cut_lines: Lines of the examples that are truncated.
        cut_tokens: Number of tokens to learn that are lost by truncation.
        dropped: Number of sequences without anything to learn, which are left out.
    """

    encoded: list[Sequence | Pair]
    refused: list[Refusal]
    cut_lines: list[int]
    cut_tokens: int = 0
    dropped: int = 0

    def truncation_message(self, name: str, max_tokens: int) -> str | None:
        """Return a sentence about what truncation removes, or None if it removes nothing."""
        if not self.cut_lines and not self.dropped:
            return None
        parts = [
            f"{plural(len(self.cut_lines), 'example')} of the {name} file exceed"
            f"{'s' if len(self.cut_lines) == 1 else ''} {max_tokens:,} tokens"
            f" (lines {ranges(self.cut_lines)}):"
            f" {plural(self.cut_tokens, 'trained token')} are truncated"
        ]
        if self.dropped:
            parts.append(f"{plural(self.dropped, 'sequence')} with nothing to learn are left out")
        return ", and ".join(parts)


def encode_file(path: Path, encoder: Encoder, format: str) -> EncodedFile:
    """Encode the examples of a valid training file.

    Args:
        path: The file.
        encoder: Encoder of the base model.
        format: Format of the file.
    """
    result = EncodedFile([], [], [])
    for line, offset, example in read_examples(path):
        assert example is not None
        try:
            encoded = encoder.encode(example, format)
        except EncodingError as error:
            result.refused.append(Refusal(line, str(error)))
        else:
            for item in encoded:
                if isinstance(item, Sequence):
                    item.path, item.offset = str(path), offset
            _add(result, line, encoded)
    return result


def read_examples(
    path: Path, skip: Container[int | None] = ()
) -> Iterator[tuple[int, int, dict[str, Any] | None]]:
    """Yield the examples of a training file with their lines, and their positions in bytes.

    Args:
        path: The file.
        skip: Invalid lines, which are yielded without an example.

    Raises:
        OSError: The file cannot be read.
    """
    offset = 0
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number in skip:
                yield number, offset, None
            elif line.strip():
                yield number, offset, _parse(line)
            offset += len(line)


def read_example(path: Path, offset: int) -> dict[str, Any]:
    """Read the example at a position of a training file, in bytes."""
    with path.open("rb") as file:
        file.seek(offset)
        return _parse(file.readline())


def _parse(line: bytes) -> dict[str, Any]:
    example: dict[str, Any] = json.loads(line.decode("utf-8-sig"))
    return example


def _add(result: EncodedFile, line: int, encoded: list[Sequence] | list[Pair]) -> None:
    for item in encoded:
        result.cut_tokens += item.cut
        if item.is_learned:
            result.encoded.append(item)
        else:
            result.dropped += 1
    if any(item.cut for item in encoded):
        result.cut_lines.append(line)
