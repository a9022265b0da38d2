"""Fixing of examples: each rule may carry fixes, which are safe or unsafe."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice

from msgspec.structs import replace

from ftkit.catalog import DEFAULT_PROVIDER, find_limits
from ftkit.dataset.detect import HEAD_BYTES, SAMPLE_LINES, Head
from ftkit.dataset.formats import find_format
from ftkit.dataset.inputs import IN_MEMORY, Examples, File, open_sources
from ftkit.dataset.reader import BLOCK_BYTES, READ_ERRORS, Block, Source, blocks
from ftkit.errors import FileError
from ftkit.prepare.audit import Audit
from ftkit.prepare.fix.file_layout import FixedFile, detect_format, fix_file
from ftkit.prepare.fix.line_fixer import MIXED, Change, LineFixer
from ftkit.prepare.fix.line_outcomes import LineOutcome, fixed_lines
from ftkit.prepare.prepared import Prepared, Step, prepare_files
from ftkit.prepare.rows import Row
from ftkit.rules import RULES, ScanPlan, choose_rules
from ftkit.rules.fixes import Allowed
from ftkit.summary import Safety

STEP = "fix"
"""Name of the step in reports and maps."""

ALL_FINDINGS = 1 << 62
"""Number of findings to keep of each rule in a block: all."""


def fix(
    files: File | Iterable[File] | Examples,
    *,
    unsafe: bool = False,
    redact: bool = False,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    format: str | None = None,
    provider: str = DEFAULT_PROVIDER,
) -> Prepared:
    """Return examples with their mistakes fixed, where a rule has a fix.

    Lines that need no fix stay as they are. Lines that are no JSON and cannot be fixed are
    rejected as they are. Fixing again changes nothing.

    Args:
        files: Paths, open files, examples, or a `Prepared`, whose rows keep their origins.
        unsafe: Apply fixes that change or remove a value, too. The old values are in the audit.
        redact: Replace secrets and addresses by what they are, such as `[e-mail address]`.
        select: Rules whose violations are fixed, by name, code or code prefix; all if empty.
        ignore: Rules to leave out, likewise.
        format: `chat`, `completions`, `preference` or `reinforcement`; detected for each file if
            None.
        provider: The provider the files are for.

    Raises:
        FileError: A path is not a file.
        UsageError: An argument is invalid.
        UnknownNameError: No format, provider or rule has that name.
    """
    plan, allowed = fix_plan(select, ignore, format, provider), allowed_fixes(unsafe, redact)
    if isinstance(files, Prepared):
        return prepare_files(files, [fixing(plan, allowed)])
    sources = open_sources(files, "files")
    audit = Audit()
    rows = (row for source in sources for row in _rows(source, plan, allowed, audit))
    return Prepared(rows, audit)


def allowed_fixes(unsafe: bool, redact: bool) -> Allowed:
    """Return the safeties of the fixes to apply."""
    chosen: dict[Safety, bool] = {"safe": True, "unsafe": unsafe, "redaction": redact}
    return frozenset(safety for safety, is_chosen in chosen.items() if is_chosen)


def fix_plan(
    select: Sequence[str], ignore: Sequence[str], format: str | None, provider: str
) -> ScanPlan:
    """Return the plan of the rules that have fixes."""
    if format is not None:
        find_format(format)
    fixable = frozenset(rule.name for rule in RULES.values() if rule.fixes)
    chosen = choose_rules(select, ignore) & fixable
    return ScanPlan(
        find_limits(provider),
        requested_formats=(format,) if format else (),
        named_format=format,
        rules=chosen | {MIXED},
        keep=ALL_FINDINGS,
    )


def fixing(plan: ScanPlan, allowed: Allowed) -> Step:
    """Return a step that fixes rows, which are already JSON; `fix` takes the same as options."""

    def step(rows: Iterable[Row], audit: Audit) -> Iterator[Row]:
        rows = iter(rows)
        first = _take_beginning(rows)
        beginning = b"".join(row.encode() + b"\n" for row in first)
        format, is_known = detect_format(Head(IN_MEMORY, beginning, False), plan, allowed)
        fixer = LineFixer(replace(plan, format=format), allowed, is_known)
        pending: deque[Row] = deque()
        for line in fixed_lines(_blocks(chain(first, rows), pending), fixer):
            yield from _new_rows(line, pending.popleft(), audit)

    return step


def _take_beginning(rows: Iterator[Row]) -> list[Row]:
    """Return the first rows, by which the format is detected."""
    first: list[Row] = []
    size = 0
    for row in islice(rows, SAMPLE_LINES):
        first.append(row)
        size += len(row.encode())
        if size >= HEAD_BYTES:
            break
    return first


def _blocks(rows: Iterable[Row], pending: deque[Row]) -> Iterator[Block]:
    """Yield rows as blocks of lines, and add each row to `pending`."""
    lines: list[bytes] = []
    size = 0
    for row in rows:
        pending.append(row)
        lines.append(row.encode())
        size += len(lines[-1]) + 1
        if size >= BLOCK_BYTES:
            yield Block(lines, size, False)
            lines, size = [], 0
    yield Block(lines, size, True)


def _rows(source: Source, plan: ScanPlan, allowed: Allowed, audit: Audit) -> Iterator[Row]:
    file = fix_file(source, plan, allowed, audit.names.get(source.path, source.path))
    whole = audit.origin(source.path)
    for change in file.changes:
        audit.change(STEP, _reason(change), whole)
    for line in fixed_file_lines(file, plan, allowed, partial(audit.advance, whole.file)):
        place = (line.number, 0) if file.keeps_lines else (0, line.number)
        origin = audit.origin(source.path, *place)
        audit.read += 1
        yield from _new_rows(line, Row(None, (origin,), line=line.old), audit)


def _new_rows(line: LineOutcome, row: Row, audit: Audit) -> Iterator[Row]:
    """Yield what replaces a row, and record what happened to it."""
    steps = (*row.steps, STEP) if line.changes else row.steps
    total = 0
    origins = row.origins
    for number, outcome in enumerate(line.outcomes, 1):
        if len(line.outcomes) > 1:
            origins = (replace(row.origin, row=number),)
        for change in outcome.changes:
            audit.change(STEP, _reason(change), origins[0], change.pointer, change.old)
        for new, value in zip(outcome.new, outcome.values, strict=True):
            total += 1
            yield Row(value, origins, steps, new)
        if outcome.problem:
            total += 1
            reason, detail = outcome.problem
            audit.reject(STEP, reason, origins[0], outcome.old, detail=detail)
    if not total:
        audit.drop(STEP, "blank line", row.origin)
    for _ in range(total - 1):
        audit.add(STEP, "several examples on a line", row.origin)


def _reason(change: Change) -> str:
    return f"{change.rule}: {change.summary}"


def fixed_file_lines(
    file: FixedFile,
    plan: ScanPlan,
    allowed: Allowed,
    advance: Callable[[int], object] = lambda size: None,
) -> Iterator[LineOutcome]:
    """Yield what becomes of each line of a file.

    Args:
        file: The file.
        plan: The plan of `fix_plan`.
        allowed: Safeties of the fixes to apply.
        advance: Called with the size in bytes of each block, when it is done.

    Raises:
        FileError: The file cannot be read.
    """
    fixer = LineFixer(replace(plan, format=file.format), allowed, file.is_known)
    lines = (block for part in file.source.parts() for block in blocks(part))
    try:
        yield from fixed_lines(lines, fixer, advance)
    except READ_ERRORS as error:
        path = file.source.path
        raise FileError(f"cannot read {path}: {error}; is the file complete?") from error
