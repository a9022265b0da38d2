"""Screening of rows for personal data and secrets, and their redaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from ftkit.dataset.exact_numbers import exact_numbers
from ftkit.dataset.inputs import Examples, File
from ftkit.prepare.audit import Audit
from ftkit.prepare.prepared import Prepared, Step, prepare_files
from ftkit.prepare.rows import Row
from ftkit.prepare.screen.kinds import Find, Match, find_values, finders, replace_values
from ftkit.prepare.screen.moderation import Moderation, moderation_step
from ftkit.prepare.screen.prefilter import line_filter
from ftkit.prepare.screen.texts import places, replace_text

STEP = "screen"
"""Name of the step in reports and maps."""

MAX_ROUNDS = 4
"""Maximum number of times that a text is searched again after values were replaced in it."""

_decode = msgspec.json.Decoder().decode


def screen(
    files: File | Iterable[File] | Examples,
    *,
    kinds: Sequence[str] = (),
    region: str | None = None,
    redact: bool = False,
    moderation: Moderation | None = None,
) -> Prepared:
    """Return examples after a search for personal data and secrets, which are in the audit.

    The audit has the line, the JSON pointer and the kind of each value, and only a part of the
    value itself. Without `redact`, the examples stay as they are.

    Args:
        files: Paths, open files, or examples.
        kinds: `card`, `iban`, `phone`, `email` or `key`; all if empty.
        region: ISO 3166 code of a country, such as `DE`, whose telephone numbers are found without
            a calling code, too. Needs the extra `screen`.
        redact: Replace each value in a text by what it is, such as `[e-mail address]`.
        moderation: Send the texts to a moderation model, too, after values were replaced.

    Raises:
        FileError: A path is not a file.
        UsageError: An argument is invalid, or a package is missing.
    """
    steps = [screen_step(kinds, region, redact)]
    if moderation is not None:
        steps.append(moderation_step(moderation))
    return prepare_files(files, steps)


def screen_step(kinds: Sequence[str] = (), region: str | None = None, redact: bool = False) -> Step:
    """Return a step that finds personal data and secrets, and replaces them if asked to."""
    chosen = finders(kinds, region)
    may_match = line_filter()

    def step(rows: Iterable[Row], audit: Audit) -> Iterator[Row]:
        for row in rows:
            is_suspect = row.line is None or may_match(row.line)
            yield _screened(row, chosen, redact, audit) if is_suspect else row

    return step


def _screened(row: Row, finders: Sequence[Find], redact: bool, audit: Audit) -> Row:
    """Return a row with its values replaced, if asked to, and record them."""
    line = row.encode() if redact else b""
    value = [exact_numbers(line, _decode(line)) if redact else row.value]
    is_changed = False
    for place in places(value):
        searcher = _Searcher(finders, redact and place.is_text)
        new = searcher.search(place.value)
        pointer = place.pointer[2:] if searcher.matches else ""  # without the list around the value
        for match, is_replaced in searcher.matches:
            record = audit.change if is_replaced else audit.find
            record(STEP, match.label, row.origin, pointer, match.masked)
        if new != place.value:
            place.holder[place.key] = new
            is_changed = True
    return row.replaced(value[0], STEP) if is_changed else row


class _Searcher:
    """Search of one value.

    Attributes:
        matches: The values that were found in it, each with True if it was replaced.
    """

    def __init__(self, finders: Sequence[Find], replaces: bool) -> None:
        self.matches: list[tuple[Match, bool]] = []
        self._finders, self._replaces = finders, replaces

    def search(self, value: str | int) -> str | int:
        """Return what replaces a value."""
        if isinstance(value, str):
            return replace_text(value, self._replace)
        self._replace(str(value), False)
        return value

    def _replace(self, text: str, is_text: bool) -> str:
        is_replaced = self._replaces and is_text
        for _ in range(MAX_ROUNDS):
            matches = find_values(text, self._finders)
            self.matches += [(match, is_replaced) for match in matches]
            if not is_replaced or not matches:
                break
            text = replace_values(text, matches)
        return text
