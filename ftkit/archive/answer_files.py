"""Recorded answers as they stand in the folder of a job, and the same as training data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ftkit.archive.fetch import to_lines
from ftkit.archive.layout import ANSWERS, ANSWERS_CHAT, inside
from ftkit.archive.manifest import Entry
from ftkit.archive.store import Store, entry_of
from ftkit.compare.recordings import PART_SUFFIX, Recording, read_recordings

DECLARED = ("tools", "parallel_tool_calls", "functions")
"""The parameters of a request that a chat example has, too."""


def entries(store: Store, folder: str) -> dict[str, Entry]:
    """The entries of the answers in the folder of a job, as they are on the disk; writes them as training data, too."""
    path, chat = f"{folder}/{ANSWERS}", f"{folder}/{ANSWERS_CHAT}"
    place = inside(store.folder, path)
    if not place.is_file():
        return {}
    lines = to_lines(map(_example, read_recordings(str(place))))
    return {path: entry_of(store.read(path)), chat: store.write(chat, lines)}


def was_interrupted(store: Store, folder: str) -> bool:
    """Whether answers came in that no step names."""
    return _part(store, folder).exists()


def forget_part(store: Store, folder: str) -> None:
    """Remove what is kept of answers while they come in, once a step names them all."""
    _part(store, folder).unlink(missing_ok=True)


def settle(store: Store, folder: str) -> None:
    """Remove what is kept of answers while they come in, if all of it is among the answers."""
    part = _part(store, folder)
    if part.exists() and set(part.read_bytes().splitlines()) <= set(
        store.read(f"{folder}/{ANSWERS}").splitlines()
    ):
        part.unlink()


def _part(store: Store, folder: str) -> Path:
    path = inside(store.folder, f"{folder}/{ANSWERS}")
    return path.with_name(path.name + PART_SUFFIX)


def _example(one: Recording) -> dict[str, Any]:
    """A recorded answer as a chat example."""
    declared = {name: one.parameters[name] for name in DECLARED if name in one.parameters}
    return {"messages": [*one.messages, one.answer], **declared}
