"""Reports of preparations: what was read, written and left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ftkit._text import excerpt, plural, printable
from ftkit.prepare.audit import Audit, Effect, Entry

if TYPE_CHECKING:
    from ftkit.prepare.split.split import Split

SHOWN = 3
"""Number of rows that are named for each reason."""

LABELS: dict[Effect, str] = {
    "added": "added",
    "merged": "merged",
    "changed": "changed",
    "found": "found",
    "note": "noted",
    "dropped": "dropped",
    "rejected": "rejected",
    "loss": "lost",
    "unchecked": "unchecked",
}
"""Words for the effects in a report, in its order."""

WITHHELD = LABELS | {"loss": "would be lost"}
"""Words for the effects if nothing was written."""


def render_prepared_text(audit: Audit, target: str, is_written: bool = True) -> str:
    """Return a report as text: the totals, and a line for each reason with its first rows.

    Args:
        audit: The audit of the preparation.
        target: Name of the output, or "" if none is to be written.
        is_written: False if the output was not written, because of losses or rejected rows.
    """
    if not is_written:
        return _text(
            [_totals(audit, ["wrote nothing"], "would lose"), *render_reasons(audit, WITHHELD)]
        )
    written = f"wrote {audit.written:,} to {target}" if target else f"{audit.written:,} remain"
    return _text([_totals(audit, [written]), *render_reasons(audit)])


def render_split_text(split: Split, targets: Mapping[str, str]) -> str:
    """Return a report on a split as text: the totals, the reasons, and the leaks.

    Args:
        split: The split.
        targets: Name of the output of each subset, or nothing if nothing is written.
    """
    if not targets:
        return _text([_totals(split.audit, ["wrote nothing"]), *render_reasons(split.audit)])
    parts = [f"{size:,} to {targets[subset]}" for subset, size in split.sizes.items()]
    totals = _totals(split.audit, [f"wrote {parts[0]}", *parts[1:]])
    return _text([totals, *render_reasons(split.audit), *render_leaks(split)])


def render_leaks(split: Split) -> Iterator[str]:
    """Yield a line that says if a split is leak-free, and lines with the first leaks."""
    group = f"value at {split.options.group}" if split.options.group else "prompt"
    near = split.options.near
    similar = f", nor are prompts with a similarity of {near:g} or more" if near else ""
    if split.is_leak_free:
        yield f"Leak-free: no {group} is in two subsets{similar}."
        return
    if split.unknown_prompts:
        rows = plural(split.unknown_prompts, "row")
        advice = "" if split.options.group else "set --group, or "
        yield f"Leaks are possible: the prompt of {rows} is not known; {advice}convert first."
    if not split.leaks:
        return
    yield f"Not leak-free: {plural(split.leaks, 'link')} between two subsets."
    for pair in split.shared[:SHOWN]:
        yield (
            f"  {pair.origin} ({pair.subset}) and {pair.other} ({pair.other_subset}): "
            + (f"similarity {pair.similarity:.3f}" if pair.similarity < 1 else f"same {group}")
        )
    if split.leaks > SHOWN:
        yield "  …"


def _totals(audit: Audit, written: Sequence[str], lost: str = "lost") -> str:
    totals = [f"read {plural(audit.read, 'row')}", *written]
    totals += [
        f"{label} {audit.total(effect):,}"
        for effect, label in LABELS.items()
        if effect not in ("changed", "found", "note", "loss", "unchecked") and audit.total(effect)
    ]
    if changes := audit.total("changed"):
        totals.append(f"made {plural(changes, 'change')}")
    if findings := audit.total("found"):
        totals.append(f"found {plural(findings, 'value')}")
    losses = audit.total("loss")
    if losses:
        totals.append(f"{lost} {plural(losses, 'value')}")
    if unchecked := audit.total("unchecked"):
        totals.append(f"did not check {plural(unchecked, 'row')}")
    text = ", ".join(totals)
    return f"{text[0].upper()}{text[1:]}."


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{printable(line)}\n" for line in lines)


def render_reasons(audit: Audit, labels: Mapping[Effect, str] = LABELS) -> Iterator[str]:
    """Yield a line for each reason, with its first rows."""
    first: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for entry in audit.entries:
        entries = first[entry.effect, entry.step, entry.reason]
        if len(entries) < SHOWN:
            entries.append(entry)
    for effect, label in labels.items():
        for key, count in audit.counts.items():
            if key[0] == effect:
                _, step, reason = key
                places = ", ".join(map(_place, first[key]))
                more = ", …" if count > len(first[key]) else ""
                yield f"  {label} by {step}: {reason}: {count:,} ({places}{more})"


def _place(entry: Entry) -> str:
    pointer = f" {entry.pointer}" if entry.pointer else ""
    detail = f" {excerpt(entry.detail, 80)}" if entry.detail else ""
    return f"{entry.origin}{pointer}{detail}"
