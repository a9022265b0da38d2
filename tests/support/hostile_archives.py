"""Damaged and hostile archives: copies of a small valid archive with something changed."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ftkit.archive.layout import LOCK, MANIFEST, PARTIAL, PROGRESS
from ftkit.archive.store import entry_of

RAW = "@raw@"
"""String in a mutated JSON value that is replaced by one of `RAW_JSON`."""

RAW_JSON = [
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"9" * 5000,
    b'"\\ud83d"',
    b'"\xff\xfe"',
    b'"\\u0000"',
    b"",
    b"'x'",
]
"""JSON that `json.dumps` does not write."""

ODD_VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1e308,
    10**30,
    -(10**400),
    "",
    "x" * 100_000,
    "\ud83d",
    "é\u202e\x1b[31m\x00",
    "../../outside/secret",
    "/etc/passwd",
    "C:\\x",
    "jobs/con/job.json",
    "javascript:alert(1)",
    [],
    {},
    [[]],
    ["x"],
    {"id": {}},
    {"a": [1]},
    RAW,
]


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def positions(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every position in a JSON value."""
    yield path
    if isinstance(value, (dict, list)):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from positions(child, (*path, key))


def mutated_json(chance: random.Random, data: bytes) -> bytes:
    """Return JSON with another value, or none, at a random position."""
    value = json.loads(data)
    path = chance.choice(list(positions(value)))
    odd = (
        nested(chance.choice((50, 150, 900)))
        if chance.random() < 0.1
        else chance.choice(ODD_VALUES)
    )
    if not path:
        value = odd
    else:
        owner = value
        for key in path[:-1]:
            owner = owner[key]
        if chance.random() < 0.15:
            del owner[path[-1]]
        elif isinstance(owner, dict) and chance.random() < 0.15:
            owner[odd if isinstance(odd, str) else json.dumps(odd)[:50]] = owner.pop(path[-1])
        else:
            owner[path[-1]] = odd
    return json.dumps(value).encode().replace(json.dumps(RAW).encode(), chance.choice(RAW_JSON))


def mutated_bytes(chance: random.Random, data: bytes) -> bytes:
    """Return other bytes: some replaced, inserted or removed."""
    start = chance.randint(0, len(data))
    end = chance.choice((start, start + 1, start + 100, len(data)))
    new = chance.choice((b"", b"\0", b"\n", b"\xff", b"}", b"9" * 500, chance.randbytes(20)))
    return data[:start] + new + data[end:]


class HostileArchive:
    """A mutated copy of an archive.

    Attributes:
        folder: The copy.
        description: The mutation.
        is_damaged: True if `verify` must report it.
        extra: Path that `verify` must list as unknown, or "".
    """

    def __init__(self, chance: random.Random, template: Path, folder: Path, outside: Path) -> None:
        shutil.copytree(template, folder)
        self.folder, self._outside, self._chance = folder, outside, chance
        self.description, self.is_damaged, self.extra = "", False, ""
        self._files = sorted(json.loads((folder / MANIFEST).read_bytes())["files"])
        mutate: Callable[[], None] = chance.choice(
            [self._change_bytes, self._change_json, self._change_json, self._change_manifest]
            + [self._replace_file, self._replace_folder, self._replace_internal, self._add_file]
        )
        mutate()

    def _describe(self, *words: object) -> None:
        self.description = " ".join(map(str, words))

    def _change_bytes(self) -> None:
        path = self._chance.choice(self._files)
        data = (self.folder / path).read_bytes()
        new = mutated_bytes(self._chance, data)
        (self.folder / path).write_bytes(new)
        self.is_damaged = new != data
        self._describe("bytes of", path)

    def _change_json(self) -> None:
        """Change a JSON file, and its entry in the manifest as well, as a forger would."""
        names = [path for path in self._files if path.endswith((".json", ".jsonl"))]
        path = self._chance.choice(names)
        data = (self.folder / path).read_bytes()
        if path.endswith(".jsonl"):
            lines = data.splitlines(keepends=True)
            number = self._chance.randrange(len(lines))
            lines[number] = mutated_json(self._chance, lines[number]) + b"\n"
            new = b"".join(lines)
        else:
            new = mutated_json(self._chance, data)
        (self.folder / path).write_bytes(new)
        if is_forged := self._chance.random() < 0.8:
            manifest = json.loads((self.folder / MANIFEST).read_bytes())
            entry = entry_of(new)
            manifest["files"][path] = {"sha256": entry.sha256, "size": entry.size}
            (self.folder / MANIFEST).write_text(json.dumps(manifest))
        self.is_damaged = new != data and not is_forged
        self._describe("JSON of", path, "forged" if is_forged else "", new[:200])

    def _change_manifest(self) -> None:
        path = self.folder / MANIFEST
        data = path.read_bytes()
        change = self._chance.choice((mutated_json, mutated_json, mutated_json, mutated_bytes))
        new = change(self._chance, data)
        path.write_bytes(new)
        self._describe(MANIFEST, change.__name__, new[:3000])

    def _replace_file(self) -> None:
        path = self._chance.choice([*self._files, MANIFEST])
        kind = self._put_stranger(self.folder / path, (self.folder / path).read_bytes())
        self.is_damaged = True
        self._describe(kind, "in the place of", path)

    def _put_stranger(self, location: Path, data: bytes) -> str:
        """Put something in the place of a file."""
        kinds = [
            "copy",
            "device",
            "nowhere",
            "pipe",
            "folder",
            "empty",
            "sparse",
            "gone",
            "outside",
        ]
        kind = self._chance.choice(kinds)
        location.unlink(missing_ok=True)
        if kind == "copy":
            copy = location.with_name(f"{location.name}.copy")
            copy.write_bytes(data)
            location.symlink_to(copy.name)
        elif kind == "outside":
            (self._outside / "secret").write_bytes(data)
            location.symlink_to(self._outside / "secret")
        elif kind in ("device", "nowhere"):
            location.symlink_to({"device": "/dev/zero", "nowhere": "nowhere"}[kind])
        elif kind == "pipe":
            os.mkfifo(location)
        elif kind == "folder":
            location.mkdir()
        elif kind in ("empty", "sparse"):
            location.touch()
            os.truncate(location, 0 if kind == "empty" else 1 << 36)
        return kind

    def _replace_folder(self) -> None:
        path = self._chance.choice(
            ["jobs", "files", *(f"jobs/{name}" for name in os.listdir(self.folder / "jobs"))]
        )
        location = self.folder / path
        shutil.rmtree(self._outside / "moved", ignore_errors=True)
        shutil.move(location, self._outside / "moved")
        kind = self._chance.choice(["link", "file", "pipe", "device"])
        if kind == "link":
            location.symlink_to(self._outside / "moved")
        elif kind == "device":
            location.symlink_to("/dev/zero")
        elif kind == "pipe":
            os.mkfifo(location)
        else:
            location.write_bytes(b"x")
        self.is_damaged = True
        self._describe(kind, "in the place of the folder", path)

    def _replace_internal(self) -> None:
        name = self._chance.choice([LOCK, PARTIAL, PROGRESS, PROGRESS, PROGRESS])
        if name == PROGRESS and self._chance.random() < 0.7:
            update = {
                "owner": "job x",
                "job": "x",
                "folder": "jobs/x",
                "files": {"jobs/x/job.json": {"sha256": "0" * 64, "size": 1}},
                "contents": {"file-1": "files/x.jsonl"},
                "missing": [{"what": "file", "id": "y", "reason": "failed"}],
                "raw": '{"id": "file-1"}',
            }
            change = self._chance.choice((mutated_json, mutated_bytes))
            line = change(self._chance, json.dumps(update).encode())
            (self.folder / name).write_bytes(line + b"\n" + line[:50])
            self._describe("updates in", name, line[:500])
        else:
            self._describe(self._put_stranger(self.folder / name, b""), "in the place of", name)

    def _add_file(self) -> None:
        names = ["x", "-rf", "a\nb", "\udcff\udcfe", "é\u202e", "y" * 250, "con", "..x"]
        folder = self._chance.choice(["", "jobs/", "files/"])
        self.extra = folder + self._chance.choice(names)
        location = self.folder / self.extra
        kind = self._put_stranger(location, b"x")
        if kind in ("folder", "gone"):
            self.extra = ""
        self._describe("additional", kind, ascii(self.extra))
