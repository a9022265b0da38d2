"""Reports of preparations: what was read, written and left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ftkit._text import excerpt, plural, printable
from ftkit.prepare.ledger import Effect, Entry, Ledger

SHOWN = 3
"""Number of rows that are named for each reason."""

LABELS: dict[Effect, str] = {
    "changed": "changed",
    "added": "added",
    "merged": "merged",
    "dropped": "dropped",
    "rejected": "rejected",
    "loss": "lost",
}
"""Words for the effects in a report, in its order."""


def render_prepared_text(ledger: Ledger, target: str) -> str:
    """Return a report as text: the totals, and a line for each reason with its first rows.

    Args:
        ledger: The ledger of the preparation.
        target: Name of the output.
    """
    totals = [f"read {plural(ledger.read, 'row')}", f"wrote {ledger.written:,} to {target}"]
    totals += [
        f"{label} {ledger.total(effect):,}"
        for effect, label in LABELS.items()
        if effect not in ("changed", "loss") and ledger.total(effect)
    ]
    if changes := ledger.total("changed"):
        totals.append(f"made {plural(changes, 'change')}")
    losses = ledger.total("loss")
    if losses:
        totals.append(f"lost {plural(losses, 'value')}")
    text = ", ".join(totals)
    lines = [f"{text[0].upper()}{text[1:]}.", *_reasons(ledger)]
    return "".join(f"{printable(line)}\n" for line in lines)


def _reasons(ledger: Ledger) -> Iterator[str]:
    first: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for entry in ledger.entries:
        entries = first[entry.effect, entry.step, entry.reason]
        if len(entries) < SHOWN:
            entries.append(entry)
    for effect, label in LABELS.items():
        for key, count in ledger.counts.items():
            if key[0] == effect:
                _, step, reason = key
                places = ", ".join(map(_place, first[key]))
                more = ", …" if count > len(first[key]) else ""
                yield f"  {label} by {step}: {reason}: {count:,} ({places}{more})"


def _place(entry: Entry) -> str:
    pointer = f" {entry.pointer}" if entry.pointer else ""
    detail = f" {excerpt(entry.detail, 80)}" if entry.detail else ""
    return f"{entry.origin}{pointer}{detail}"
