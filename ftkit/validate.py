"""Validate files: find out what each is, scan it, judge it as a whole."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from threading import Thread
from typing import Literal

import msgspec

from ftkit.checks import Checks, finding
from ftkit.detect import Head
from ftkit.errors import FileProblem, UsageProblem, did_you_mean
from ftkit.facts import DEFAULT_PROVIDER, find_limits
from ftkit.formats import FORMATS, find_format
from ftkit.rules import RULES, Plan, choose_rules
from ftkit.rules.base import Dataset
from ftkit.rules.reinforcement import fields_asked
from ftkit.scan import SHARD, Map, read_head, split, summarize
from ftkit.summary import KEEP, SEVERITIES, FileReport, Finding, Report, Severity, Shard, Summary, first_of_each

Progress = Callable[[Iterable[Summary]], Iterable[Summary]]


def validate(
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    format: str | None = None,
    model: str | None = None,
    provider: str = DEFAULT_PROVIDER,
    validation_file: str | os.PathLike[str] | None = None,
    grader: str | os.PathLike[str] | None = None,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    fail_on: Literal["error", "warning"] = "error",
    max_findings: int = KEEP,
    workers: int | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> Report:
    """Check fine-tuning files and say what is wrong with them, and where.

    Args:
        files: One path or several; a name that ends in `.gz` is read through gzip.
        format: `chat`, `completions`, `preference` or `reinforcement`; recognised from each file if None.
        model: The model to train, by its exact name; it sets the tokens an example may have (4,096 if None).
        provider: The service that the files are for; it sets the other limits.
        validation_file: A file that the examples must not be in; it is checked too.
        grader: A grader's JSON; every `{{item.x}}` in it must be on every line of reinforcement files.
        select: Rules to check, by name, code or beginning of codes; all if empty.
        ignore: Rules to leave out, likewise.
        fail_on: The lowest severity that makes `Report.ok` false.
        max_findings: Findings kept for each rule and file; their numbers are exact anyway.
        workers: Processes that large files are scanned with; one for each processor if None.
        progress: Called with a file's name and the bytes scanned since the last call.

    Raises:
        FileProblem: A file cannot be read.
        UsageProblem: An argument makes no sense; `UnknownName` for names nobody knows.
    """
    paths = [os.fspath(path) for path in ([files] if isinstance(files, (str, os.PathLike)) else files)]
    if format is not None:
        find_format(format)
    plan = Plan(
        find_limits(provider, model),
        asked=(format,) if format else (),
        rules=choose_rules(select, ignore),
        keep=max_findings,
        grader_fields=read_grader(grader) if grader else (),
    )
    checked = [Path(path) for path in paths] + ([Path(validation_file)] if validation_file else [])
    for path in checked:
        _must_be_readable(str(path))
    with _pool(workers, checked) as map_:
        map_ = _reporting(map_, progress)
        validating = _Scanned(os.fspath(validation_file), plan, "validation", map_) if validation_file else None
        reports = [_Scanned(path, plan, "training", map_).report(validating) for path in paths]
        if validating:
            reports.append(validating.report(None))
    ok = not any(file.errors or (fail_on == "warning" and file.warnings) for file in reports)
    return Report(ok, provider, model, tuple(reports))


def read_grader(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The fields of the item that the grader in this file asks for; raises `FileProblem` if it is not JSON."""
    try:
        return fields_asked(msgspec.json.decode(Path(path).read_bytes()))
    except OSError as error:
        raise FileProblem(f"cannot open {os.fspath(path)}: {(error.strerror or str(error)).lower()}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileProblem(f"{os.fspath(path)} is not JSON: {error}; --grader takes the grader's JSON") from error


def _must_be_readable(path: str) -> None:
    if os.path.isdir(path):
        raise FileProblem(f"{path} is a folder; name its files, e.g. {os.path.join(path, '*.jsonl')!r}")
    if not os.path.exists(path):
        folder = os.path.dirname(path) or "."
        beside = os.listdir(folder) if os.path.isdir(folder) else []
        raise FileProblem(f"no such file: {path}{did_you_mean(os.path.basename(path), beside)}")


class _Scanned:
    """One file: what it is, and what its lines add up to."""

    def __init__(self, path: str, plan: Plan, purpose: Literal["training", "validation"], map_: Map) -> None:
        self.path = path
        head = read_head(path)
        asked = plan.asked or (plan.limits.formats if plan.limits.model else ())
        self.plan = msgspec.structs.replace(plan, format=_read_as(head, asked), asked=asked, purpose=purpose)
        rules = [rule for rule in RULES.values() if "file" in rule.checks and rule.name in plan.rules]
        self.fatal = next((finding(rule, hit, 0) for rule in rules for hit in rule.checks["file"](head, self.plan)), None)
        del head
        shards = [] if self.fatal else split(path)
        self.summary = summarize(shards, self.plan, map_)

    def report(self, validating: _Scanned | None) -> FileReport:
        """Judge the file as a whole, beside the one that validates it."""
        if self.fatal:
            size = os.path.getsize(self.path)
            return _file_report(self.path, None, Summary(size=size, counts={self.fatal.rule: 1}), [self.fatal])
        counts, found = Counter(self.summary.counts), list(self.summary.findings)
        others = validating.summary.fingerprints if validating else b""
        dataset = Dataset(self.summary, validating.path if validating else None, others)
        for each, times in Checks(self.plan).dataset(dataset):
            counts[each.rule] += times
            if counts[each.rule] <= self.plan.keep:
                found.append(each)
        return _file_report(self.path, self.plan.format, msgspec.structs.replace(self.summary, counts=dict(counts)), found)


def _read_as(head: Head, asked: tuple[str, ...]) -> str:
    """The format to check a file as: what it has, or what was asked for where it could be either.

    A chat example without an answer and a reinforcement example without fields for the grader look the same.
    """
    found = head.kind if head.kind in FORMATS else None
    if len(asked) == 1 and (found is None or (found == "chat" and asked[0] == "reinforcement" and head.asks)):
        return asked[0]
    return found or "chat"


def _file_report(path: str, format: str | None, summary: Summary, found: list[Finding]) -> FileReport:
    by_severity: dict[Severity, int] = dict.fromkeys(SEVERITIES, 0)
    for name, number in summary.counts.items():
        by_severity[RULES[name].severity] += number
    kept = first_of_each(sorted(found, key=lambda each: (each.line, each.column)), summary.keep)
    return FileReport(
        path,
        format,
        summary.lines,
        summary.examples,
        summary.size,
        by_severity["error"],
        by_severity["warning"],
        by_severity["info"],
        {name: number for name, number in sorted(summary.counts.items()) if number},
        tuple(kept),
    )


@contextmanager
def _pool(workers: int | None, files: Sequence[Path]) -> Iterator[Map]:
    """A `map` over processes where the files are large enough for it, else the builtin."""
    if workers is not None and workers < 1:
        raise UsageProblem(f"workers must be 1 or more, not {workers}")
    shards = sum(max(path.stat().st_size // SHARD, 1) for path in files)
    number = min(workers or os.cpu_count() or 1, shards)
    if number == 1 or sum(path.stat().st_size for path in files) < SHARD:
        yield map
        return
    pool = ProcessPoolExecutor(number, mp_context=_context(), initializer=_start_worker)
    try:
        yield pool.map
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in active_children():
            child.kill()  # it may still have the signal handlers of its parent
        raise
    pool.shutdown()


def _context() -> BaseContext:
    return get_context("fork" if sys.platform == "linux" else "spawn")


def _start_worker() -> None:
    """A worker leaves interrupts to its parent, ends when that is gone, and makes no cycles worth collecting."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.disable()
    Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _reporting(map_: Map, progress: Callable[[str, int], None] | None) -> Map:
    """The map, telling `progress` of each shard that is done."""
    if progress is None:
        return map_

    def reporting(function: Callable[[Shard], Summary], shards: Iterable[Shard]) -> Iterator[Summary]:
        listed = list(shards)
        for shard, summary in zip(listed, map_(function, listed), strict=True):
            progress(shard.file, summary.size)
            yield summary

    return reporting
