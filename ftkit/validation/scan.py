"""The scan: a shard of a file in, a summary out; and the sum of the summaries of all shards.

    shard → blocks → lines → decode → checks → Summary        (`scan`, the map)
                          ↳ explain, where decoding fails
    shards → map(scan) → sum                                   (`summarize`, the reduce)

`scan` is a function of its arguments alone, so any `map` will do: the builtin, that of a pool of processes, a cluster's.
"""

from __future__ import annotations

import functools
import gzip
import os
import sys
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import msgspec

from ftkit.dataset.canonical import has_repeated_key, may_repeat_keys, plain_fingerprint, spell
from ftkit.dataset.detect import HEAD_BYTES, Head
from ftkit.dataset.formats import FORMATS, Format
from ftkit.dataset.lenient_json import MAX_DEPTH, depth, read
from ftkit.errors import FileError, did_you_mean, os_error_message
from ftkit.rules.base import ScanPlan
from ftkit.rules.nodes import Text
from ftkit.rules.traverse import has_images
from ftkit.summary import Affixes, Finding, Lines, Shard, Style, Summary, first_of_each
from ftkit.tokens.counting import TokenCount, count, may_exceed
from ftkit.tokens.encodings import FAST_FROM
from ftkit.tokens.tally import Tally
from ftkit.validation.prefilter import Screen, residue
from ftkit.validation.runner import Checks
from ftkit.validation.slow_path import Explained, explain

BLOCK = 1 << 18
"""Bytes that are read at a time. A line that is longer is read whole."""

TOGETHER = 8 << 20
"""Bytes of long lines whose tokens are counted together."""

SHARD = 16 << 20
"""Bytes of a shard, about: small enough that workers finish together, large enough that starting one costs nothing."""

OPEN, CLOSE = b"{}"

DECODE_ERRORS = (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError)

Good = tuple[int, bytes, Any, bool]
"""A line that could be decoded: its number, its bytes, its example, and whether its messages are plain."""

Map = Callable[[Callable[[Shard], Summary], Iterable[Shard]], Iterable[Summary]]


def is_compressed(file: str) -> bool:
    """Whether ftkit reads the file through gzip: its name ends in `.gz`."""
    return file.endswith(".gz")


def open_file(file: str) -> BinaryIO:
    """Open a file for reading bytes, through gzip if its name says so; raises `FileError`."""
    try:
        return gzip.open(file, "rb") if is_compressed(file) else open(file, "rb")  # type: ignore[return-value]
    except OSError as error:
        raise FileError(f"cannot open {file}: {os_error_message(error)}") from error


def read_head(file: str) -> Head:
    """The beginning of a file; raises `FileError`."""
    with open_file(file) as stream:
        try:
            data = stream.read(HEAD_BYTES)
            complete = len(data) < HEAD_BYTES
            if not complete:
                data = data[: data.rfind(b"\n") + 1] or data + stream.readline()
        except (OSError, EOFError, zlib.error) as error:
            raise FileError(f"cannot read {file}: {error}; is it really gzip?") from error
    return Head(file, data, complete)


def must_be_readable(path: str) -> None:
    """Raise `FileError` for a path that is no file, with the names nearest to it."""
    if os.path.isdir(path):
        raise FileError(
            f"{path} is a folder; name its files, e.g. {os.path.join(path, '*.jsonl')!r}"
        )
    if not os.path.exists(path):
        folder = os.path.dirname(path) or "."
        beside = os.listdir(folder) if os.path.isdir(folder) else []
        raise FileError(f"no such file: {path}{did_you_mean(os.path.basename(path), beside)}")


def choose_format(head: Head, asked: tuple[str, ...]) -> str:
    """The format to check a file as: what it has, or what was asked for where it could be either.

    A chat example without an answer and a reinforcement example without fields for the grader look the same.
    """
    found = head.kind if head.kind in FORMATS else None
    if len(asked) == 1 and (found is None or (head.asks and asked[0] in FORMATS[found].lookalikes)):
        return asked[0]
    return found or "chat"


def split(file: str, size: int = SHARD) -> list[Shard]:
    """Cut a file into shards of about `size` bytes, in order; raises `FileError`."""
    try:
        total = os.stat(file).st_size
    except OSError as error:
        raise FileError(f"cannot open {file}: {os_error_message(error)}") from error
    if is_compressed(file):
        return [Shard(file, 0, -1)]
    starts = range(0, max(total, 1), size)
    return [Shard(file, start, min(start + size, total)) for start in starts]


def blocks(shard: Shard) -> Iterator[tuple[list[bytes], int, bool]]:
    """The lines of a shard in blocks: the lines, the bytes that they take, and whether the file ends with them.

    A line belongs to the shard that its first byte is in.
    """
    with open_file(shard.file) as opened:
        stream: Any = opened
        if shard.start:
            stream.seek(shard.start - 1)
            stream.readline()
        while shard.end < 0 or stream.tell() < shard.end:
            room = BLOCK if shard.end < 0 else min(BLOCK, shard.end - stream.tell())
            data = stream.read(room)
            if not data:
                return
            if not data.endswith(b"\n"):
                data += stream.readline()
            lines, size = data.split(b"\n"), len(data)
            del data  # a line may be large, and is held once only
            if not lines[-1]:
                lines.pop()
            yield lines, size, not stream.peek(1)


def scan(shard: Shard, plan: ScanPlan) -> Summary:
    """Summarize the lines of a shard. Bad data never raises; a file that cannot be read raises `FileError`."""
    scanner = Scanner(plan, at_start=shard.start == 0)
    try:
        for lines, size, last in blocks(shard):
            scanner.scan(lines, size, last)
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"cannot read {shard.file}: {error}; is the file complete?") from error
    return scanner.summary()


def summarize(shards: Iterable[Shard], plan: ScanPlan, map: Map = map) -> Summary:
    """The summary of all shards, scanned through `map` and added in their order."""
    total = Summary(keep=plan.keep)
    for summary in map(functools.partial(scan, plan=plan), shards):
        total = total + summary
    return total


class Scanner:
    """Scans blocks of lines and keeps what is found. Lines are counted from the first that it is given."""

    def __init__(self, plan: ScanPlan, at_start: bool = True) -> None:
        self.plan = plan
        self.format: Format = FORMATS[plan.format]
        self.at_start = at_start
        self.checks = Checks(plan)
        self.screen = Screen(self.checks.on(Text))
        self.counts_tokens = bool(self.checks.on(TokenCount))
        self.lines = self.size = self.examples = self.with_images = self.last_content = 0
        self.counts: dict[str, int] = {}
        self.findings: list[Finding] = []
        self.blank: list[int] = []
        self.crlf: list[int] = []
        self.fingerprints = array("Q")
        self.fields: dict[tuple[str, ...], Lines] = {}
        self.style = Style()
        self.pending: list[tuple[int, Any]] = []
        self.pending_size = 0
        methods = plan.counting_methods
        self.tally = Tally(methods, self.format) if methods else None

    def note(self, found: Iterable[Finding]) -> None:
        """Count the findings, and keep the first of each rule."""
        for each in found:
            if each.rule in self.plan.rules:
                number = self.counts.get(each.rule, 0) + 1
                self.counts[each.rule] = number
                if number <= self.plan.keep:
                    self.findings.append(each)

    def scan(self, lines: Sequence[bytes], size: int, last: bool = False) -> None:
        """Scan some whole lines, given without line feeds; `last` says that the file ends with them."""
        good: list[Good] = []
        end = self.lines + len(lines)
        for number, line in enumerate(lines, self.lines + 1):
            try:
                example = self.format.decode(line)
                if self.is_deep(line, example):
                    raise RecursionError
                plain = self.plan.judges and self.example(number, example)
            except DECODE_ERRORS:
                if line.endswith(b"\r"):
                    self.crlf.append(number)
                self.odd(line, number, last and number == end)
                continue
            self.last_content = number
            if self.tally:
                self.tally.add(example, len(line))
            if not self.plan.judges:
                self.examples += 1
                continue
            decoded = (number, line, example, plain)
            if len(line) > BLOCK:
                self.texts([decoded])  # alone, since putting lines together copies them
            else:
                good.append(decoded)
            if len(line) > self.plan.limits.tokens:
                self.may_be_long(number, example, len(line))
            if line[-1] != CLOSE or line[0] != OPEN:
                self.edges(line, number)
        self.texts(good)
        self.lines = end
        self.size += size

    def is_deep(self, line: bytes, example: Any) -> bool:
        """Whether the line may be nested deeper than is read; only values of any type can be."""
        return (
            self.format.may_be_deep(example)
            and line.count(b"[") + line.count(b"{") > MAX_DEPTH
            and depth(line) > MAX_DEPTH
        )

    def edges(self, line: bytes, number: int) -> None:
        """Look at the white space around the JSON of a line."""
        if line.endswith(b"\r"):
            self.crlf.append(number)
        kept = line.removesuffix(b"\r")
        if kept[-1] != CLOSE or kept[0] != OPEN:
            self.note(self.checks.reading(read(line, number)))

    def example(self, number: int, example: Any) -> bool:
        """Check a decoded example, and take down what the whole-file rules need of it. Whether its messages are plain."""
        found, plain = self.checks.example(self.format, example, number)
        prompt, answer = plain_fingerprint(example) if plain else self.format.fingerprint(example)
        if found:
            self.note(found)
        self.examples += 1
        self.fingerprints.extend((number, prompt, answer))
        if not plain:
            self.with_images += any(map(has_images, self.format.conversations(example)))
        if self.format.grader_fields:
            names = tuple(sorted(self.format.grader_fields(example)))
            if names:
                self.fields[names] = self.fields.get(names, Lines()).plus(
                    Lines(1, (number,)), 0, self.plan.keep
                )
        if self.format.prompt_and_completion:
            prompt_text, completion = self.format.prompt_and_completion(example)
            style = style_of(prompt_text, completion, number)
            self.style = self.style.plus(style, 0, self.plan.keep)
        return plain

    def odd(self, line: bytes, number: int, last: bool) -> None:
        """Explain a line that the decoder refused."""
        if not line.strip(b" \t\r"):
            self.blank.append(number)
            return
        try:
            found = self.explain(line, number, last)
        except RecursionError:
            # Deep JSON needs the whole of Python's stack; a new thread has one of its own.
            with ThreadPoolExecutor(1) as fresh:
                found = fresh.submit(self.explain, line, number, last).result()
        self.note(found.findings)
        if found.blank:
            self.blank.append(number)
        else:
            self.last_content = number
        if found.whole is None or not self.plan.judges:
            self.examples += found.examples

    def explain(self, line: bytes, number: int, last: bool) -> Explained:
        """Explain the line, and take down its example if it has one."""
        found = explain(
            line, self.format, self.checks, number, last, first=self.at_start and number == 1
        )
        if (
            found.whole is not None
            and self.tally
            and not any(each.severity == "error" for each in found.findings)
        ):
            self.tally.add(found.whole, len(line))
        if found.whole is not None and self.plan.judges:
            self.take(number, found)
        return found

    def take(self, number: int, found: Explained) -> None:
        """Take down the example of an explained line; its findings are those of the explanation."""
        reported = self.counts, self.findings
        self.counts, self.findings = {}, []
        self.example(number, found.whole)
        self.counts, self.findings = reported
        if found.clean:
            self.note(
                self.checks.texts(self.format.texts(found.whole), number, self.checks.on(Text))
            )
        self.may_be_long(number, found.whole, len(spell(found.whole)))

    def texts(self, good: Sequence[Good]) -> None:
        """Hold the rules on texts and on repeated keys against some decoded lines, together."""
        lines = [line for _, line, _, _ in good]
        joined = b"\n".join(lines)
        self.repeated_keys(joined, good)
        if b"\\u" in joined:
            lines = [spell(example) if b"\\u" in line else line for _, line, example, _ in good]
            joined = b"\n".join(lines)
        remains = residue(joined)
        del joined
        for index, rules in self.screen.suspects(remains, lines).items():
            number, _, example, _ = good[index]
            self.note(self.checks.texts(self.format.texts(example), number, rules))

    def repeated_keys(self, joined: bytes, good: Sequence[Good]) -> None:
        """Note the lines in which a key stands twice, which the decoder does not say: it keeps the last."""
        # A letter of a key may be written as an escape: "r\\u006fle" is "role" too.
        escapes = b"\\u00" in joined
        others = [each for each in good if not each[3] or (escapes and b"\\u00" in each[1])]
        messages = sum([len(each[2].messages) for each in good if each[3]])
        messages -= sum([len(each[2].messages) for each in others if each[3]])
        if may_repeat_keys(joined, [each[1] for each in others], messages):
            others = list(good)
        for number, line, example, _ in others:
            if has_repeated_key(line, example, self.format.extra_keys):
                found = self.checks.reading(read(line, number))
                self.note(each for each in found if each.rule == "json-duplicate-key")

    def may_be_long(self, number: int, example: Any, size: int) -> None:
        """Keep an example whose line has more bytes than the limit has tokens, to be counted with others."""
        if self.counts_tokens and size > self.plan.limits.tokens:
            self.pending.append((number, example))
            self.pending_size += size
            if self.pending_size > TOGETHER:
                self.count_tokens()

    def count_tokens(self) -> None:
        """Count the tokens of the examples kept. A few are told by a part of them; many are quicker counted at once."""
        limit, encoding, kept = self.plan.limits.tokens, self.plan.limits.encoding, self.pending
        if self.pending_size < FAST_FROM:
            kept = [each for each in kept if may_exceed(each[1], self.format, limit, encoding)]
        counted = count([example for _, example in kept], self.format, encoding) if kept else []
        for (number, _), tokens in zip(kept, counted, strict=True):
            self.note(self.checks.counted(tokens, number))
        self.pending, self.pending_size = [], 0

    def summary(self) -> Summary:
        """What the lines so far add up to."""
        self.count_tokens()
        if self.tally:
            self.tally.flush()
        keep = self.plan.keep
        ordered = sorted(self.findings, key=lambda found: found.line)
        return Summary(
            keep=keep,
            lines=self.lines,
            size=self.size,
            examples=self.examples,
            with_images=self.with_images,
            counts=self.counts,
            findings=tuple(first_of_each(ordered, keep)),
            blank=Lines(len(self.blank), tuple(self.blank[:keep])),
            blank_tail=self.lines - self.last_content,
            crlf=Lines(len(self.crlf), tuple(self.crlf[:keep])),
            fingerprints=little_endian(self.fingerprints),
            fields=self.fields,
            style=self.style,
            stats=self.tally.stats if self.tally else {},
        )


def little_endian(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers = array("Q", numbers)
        numbers.byteswap()
    return numbers.tobytes()


def style_of(prompt: str, completion: str, number: int) -> Style:
    """Return the style of a prompt and its completion."""
    spaced = completion[:1].isspace() or not completion
    text = prompt + completion
    return Style(
        prompts=Affixes.of(prompt) if prompt else None,
        completions=Affixes.of(completion) if completion.strip() else None,
        no_space=Lines() if spaced else Lines(1, (number,)),
        letters=sum(map(str.isalpha, text)),
        upper=sum(map(str.isupper, text)),
    )
