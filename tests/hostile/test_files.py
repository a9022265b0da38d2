"""Hostile files are validated, counted and fixed without an error of ftkit's own."""

from __future__ import annotations

import gzip
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from ftkit import FtkitError, Report, estimate, measure, validate
from ftkit.dataset.lenient_json import walk
from ftkit.dataset.reader import open_file
from ftkit.prepare.audit import Audit
from ftkit.prepare.fix.diff import fix_diff
from ftkit.prepare.fix.fix import allowed_fixes, fix, fix_plan
from ftkit.report.renderers import RENDERERS
from ftkit.rules import RULES
from ftkit.rules.samples import numbered_chats
from support.commands import run_ftkit
from support.hostile import Cases
from support.hostile_texts import LINES, SCHEMAS, TEXTS, encode
from support.paths import DATA, SAMPLES

MODEL = "gpt-4o-mini-2024-07-18"

SIZE = 20_000
"""Bytes of the texts and structures that are put into a file."""

COMMAND_EVERY = 50
"""One in so many files is given to the command line, too."""

SEEDS = [
    *(rule.bad for rule in RULES.values() if len(rule.bad) < 100_000),
    *(rule.good for rule in RULES.values() if len(rule.good) < 100_000),
    *(path.read_bytes()[:50_000] for path in sorted((DATA / "cases").glob("*.jsonl"))),
    *(path.read_bytes()[:50_000] for path in sorted(SAMPLES.glob("*.jsonl"))),
]

CLEAN = [line.encode() for line in numbered_chats(60)]
"""Lines of a file without findings."""

BROKEN = (
    b"{",
    b"}",
    b"17",
    b"null",
    b'"text"',
    b"[]",
    b"{}",
    b"\xff\xfe",
    b"\x00",
    b"{'messages': []}",
    b'{"messages": NaN}',
    b'{"messages": []}',
    b'{"messages": [1]}',
    b'{"messages": null}',
    b'{"messages": [{"role": "user", "content": "Hi"}',
    b'{"messages": [{"role": "human", "content": "Hi"}]}',
    b'{"messages": [{"role": "user", "content": "\t"}]}',
    b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
    b'{"messages": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"messages": [{"role": "user", "content": ' + b"9" * 5000 + b"}]}",
)
"""Lines that no provider takes."""

VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        -1,
        1.5,
        1e308,
        10**400,
        "",
        "\0",
        "\ud800",
        "😀",
        "\u2028",
        [],
        {},
        [[]],
        {"": {}},
    ),
    *(
        [None] * 100,
        {"role": "user"},
        "x" * 5000,
        {"x" * 5000: 1},
        {"$ref": "#"},
        {"type": "object"},
    ),
)
"""Values that replace others."""


class HostileFile(NamedTuple):
    """A file, and what is known of it."""

    kind: str
    name: str
    data: bytes
    is_broken: bool = False
    """True if it has a line that no provider takes."""


def flip_bytes(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 3, 30))):
        if changed:
            changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def cut(random: Random, data: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def repeat_part(random: Random, data: bytes) -> bytes:
    start, end = sorted(random.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[start:end] * random.choice((1, 2, 20)) + data[end:]


def splice(random: Random, data: bytes) -> bytes:
    return cut(random, data) + random.choice(SEEDS)[-random.randrange(1, 200) :]


def insert(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    pieces = (
        b"\xef\xbb\xbf",
        b"\0",
        b"\r",
        b"\n\n",
        b"\\",
        b'"',
        b"\xed\xa0\x80",
        b"\x1b[2J",
        b",",
    )
    return data[:at] + random.choice(pieces) * random.choice((1, 5)) + data[at:]


def change_encoding(random: Random, data: bytes) -> bytes:
    text = data.decode("utf-8", "replace")
    encoding = random.choice(("utf-16", "utf-16-be", "utf-32", "utf-8-sig", "utf-7", "latin-1"))
    return text.encode(encoding, "replace")


def change_line_ends(random: Random, data: bytes) -> bytes:
    ends = (b"\r\n", b"\r", b"\n\r", b"\n\n", b" \n", b"\n\t", "\u2028".encode())
    return data.replace(b"\n", random.choice(ends))


def replace_value(random: Random, data: bytes) -> bytes:
    """Replace a value at any position of a line, remove a key, or add one."""
    try:
        holder = [json.loads(data.splitlines()[0])]
    except (ValueError, IndexError, RecursionError):
        return flip_bytes(random, data)
    places = [(parent, steps[-1]) for steps, parent, _ in walk(holder)]
    parent, key = random.choice(places)
    action = random.randrange(4)
    if action == 0 and isinstance(parent, dict):
        del parent[key]
    elif action == 1 and isinstance(parent, dict):
        parent[random.choice(("x", "\ud800", "k" * 5000, "role", "weight", ""))] = random.choice(
            VALUES
        )
    elif action == 2:
        parent[key] = random.choice(list(TEXTS.values()))(random.choice((10, SIZE)))
    else:
        parent[key] = random.choice(VALUES)
    return encode(holder[0]) + b"".join(data.splitlines(keepends=True)[1:])


MUTATIONS: tuple[Callable[[Random, bytes], bytes], ...] = (
    *(flip_bytes, cut, repeat_part, splice, insert, change_encoding, change_line_ends),
    *(replace_value,) * 5,
)


def mutated(random: Random) -> HostileFile:
    data = random.choice(SEEDS)
    for _ in range(random.choice((1, 1, 2, 4))):
        data = random.choice(MUTATIONS)(random, data)
    return HostileFile("mutated", "data.jsonl", data)


def structured(random: Random) -> HostileFile:
    make = random.choice([*LINES.values(), *SCHEMAS.values()])
    return HostileFile("structured", "data.jsonl", make(random.choice((100, 3000, SIZE))))


def broken(random: Random) -> HostileFile:
    """A clean file with a line that no provider takes."""
    lines = list(CLEAN)
    lines.insert(random.randrange(len(lines) + 1), random.choice(BROKEN))
    ends = random.choice((b"\n", b"\r\n"))
    return HostileFile("broken", "data.jsonl", ends.join(lines) + ends, is_broken=True)


def clean(random: Random) -> HostileFile:
    """A clean file, in another order and with white space that JSON allows."""
    lines = random.sample(CLEAN, len(CLEAN))
    spaced = [line.replace(b": ", b":" + b" " * random.randrange(4)) for line in lines]
    return HostileFile("clean", "data.jsonl", b"\n".join(spaced) + b"\n")


def compressed(random: Random) -> HostileFile:
    """A file that is compressed: as it should be, damaged, not at all, twice, or a bomb."""
    inner = random.choice((mutated, broken, structured))(random).data
    data = gzip.compress(inner, 1)
    action = random.randrange(6)
    if action == 1:
        data = flip_bytes(random, data)
    elif action == 2:
        data = cut(random, data)
    elif action == 3:
        data = inner
    elif action == 4:
        data = gzip.compress(data) + data
    elif action == 5:
        data = gzip.compress(random.choice((b"\n", b"a", b"[", b'{"a":')) * 1_000_000, 1)
    return HostileFile("compressed", "data.jsonl.gz", data)


KINDS = (mutated, mutated, mutated, mutated, structured, broken, clean, compressed)


def checked(path: Path, **options: Any) -> tuple[Report | None, list[Any], str]:
    """Return the report on a file, its rendered forms and the estimate, or what ftkit refuses."""
    try:
        report = validate(path, workers=1, **options)
    except FtkitError as error:
        return None, [], str(error)
    rendered = [render(report) for render in RENDERERS.values()]
    try:
        measured = measure(path, [MODEL], workers=1)
        tokens = repr(estimate(measured.summary, MODEL, format=measured.format))
    except FtkitError as error:
        tokens = str(error)
    return report, rendered, tokens


def assert_consistent(file: HostileFile, report: Report) -> None:
    (result,) = report.files
    severities = [RULES[name].severity for name in result.counts]
    assert bool(result.errors) == ("error" in severities)
    assert report.ok == (result.errors == 0)
    assert sum(result.counts.values()) == result.errors + result.warnings + result.infos
    assert len(result.findings) <= sum(result.counts.values())
    assert all(0 <= finding.line <= result.lines for finding in result.findings)
    if file.is_broken:
        assert result.errors, "a broken line was accepted"
    if file.kind == "clean":
        assert not result.findings


def assert_command(file: HostileFile, path: Path, report: Report | None) -> None:
    """Check that the command line ends with the documented exit code and valid JSON."""
    result = run_ftkit("validate", str(path), "--output", "json", "--workers", "1")
    assert "Traceback" not in result.stderr
    if report is None:
        assert result.returncode == 2, result.stderr
    else:
        assert result.returncode == (0 if report.ok else 1), result.stderr
        assert json.loads(result.stdout)["ok"] == report.ok


def test_hostile_files(hostile: Cases, tmp_path: Path) -> None:
    run_ftkit("--version")  # starts the server that later commands are forked from
    for number, random in hostile:
        file = random.choice(KINDS)(random)
        path = tmp_path / file.name
        path.write_bytes(file.data)
        with hostile.case(number, file):
            report, rendered, tokens = checked(path)
            assert checked(path) == (report, rendered, tokens), "another result the second time"
            if report is not None:
                assert_consistent(file, report)
                json.loads(RENDERERS["json"](report))
                json.loads(RENDERERS["sarif"](report))
                json.loads(RENDERERS["gitlab"](report))
                ET.fromstring(RENDERERS["junit"](report))
            if number % COMMAND_EVERY == 0:
                assert_command(file, path, report)
        hostile.count_outcome(
            "refused" if report is None else f"{file.kind}: {'ok' if report.ok else 'errors'}"
        )


MAX_DIFF = 10_000
"""Maximum number of lines of a file whose diff is made, too."""

SAFE = allowed_fixes(False, False)


def lines_of(path: Path) -> list[bytes]:
    with open_file(str(path)) as file:
        return [line.removesuffix(b"\n") for line in file]


def assert_fixed(path: Path, folder: Path, unsafe: bool) -> Audit:
    """Check that fixing accounts for every row, leaves no broken line, and applies once."""
    once, twice, rejects = (folder / name for name in ("once.jsonl", "twice.jsonl", "rejects"))
    prepared = fix(path, unsafe=unsafe, redact=unsafe)
    assert prepared.write(once, rejects=rejects)
    assert prepared.audit.is_balanced
    if not unsafe and not prepared.audit.total("rejected") and prepared.audit.read < MAX_DIFF:
        plan = fix_plan((), (), None, "openai")
        diff = b"".join(fix_diff(str(path), plan, SAFE, path.name))
        assert bool(diff) == (lines_of(once) != lines_of(path))
    again = fix(once, unsafe=unsafe, redact=unsafe)
    assert again.write(twice)
    assert twice.read_bytes() == once.read_bytes()
    assert not again.audit.total("changed")
    return prepared.audit


def test_hostile_files_are_fixed(hostile: Cases, tmp_path: Path) -> None:
    for number, random in hostile:
        file = random.choice(KINDS)(random)
        path = tmp_path / file.name
        path.write_bytes(file.data)
        outcome = "refused"
        with hostile.case(number, file), suppress(FtkitError):
            audit = assert_fixed(path, tmp_path, unsafe=bool(random.randrange(2)))
            outcome = "rejected" if audit.total("rejected") else "written"
            if file.kind == "clean":
                assert (tmp_path / "once.jsonl").read_bytes() == file.data
        hostile.count_outcome(f"{file.kind}: {outcome}")
