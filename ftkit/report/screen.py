"""Report of a screening: each kind of value with its places."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ftkit._text import excerpt, plural, printable
from ftkit.prepare.audit import Audit, Effect, Entry

SHOWN = 20
"""Number of places that are shown of each kind of value."""

EFFECTS: tuple[Effect, ...] = ("found", "note", "rejected")
"""Effects that the report shows."""


def render_screen_text(audit: Audit) -> str:
    """Return a report as text: the total, and each kind of value with its first places."""
    return "".join(f"{printable(line)}\n" for line in _lines(audit))


def _lines(audit: Audit) -> Iterator[str]:
    findings, rejected = audit.total("found"), audit.total("rejected")
    parts = [
        f"Read {plural(audit.read, 'row')}",
        f"found {plural(findings, 'value')}" if findings else "found nothing",
        *([f"rejected {plural(rejected, 'row')}"] if rejected else []),
    ]
    yield f"{', '.join(parts)}."
    first: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for entry in audit.entries:
        first[entry.effect, entry.step, entry.reason].append(entry)
    for effect in EFFECTS:
        for key, count in sorted(audit.counts.items()):
            if key[0] == effect:
                yield f"  {key[2]}: {count:,}"
                yield from map(_place, first[key][:SHOWN])
                if count > SHOWN:
                    yield f"    … and {count - SHOWN:,} more"


def _place(entry: Entry) -> str:
    detail = excerpt(entry.detail, 80) if entry.effect == "rejected" else entry.detail
    return " ".join(filter(None, (f"    {entry.origin}", entry.pointer, detail)))
