"""Recorded answers in the folder of a job, and the same answers as training data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ftkit.archive.layout import ANSWERS, ANSWERS_CHAT, resolve
from ftkit.archive.manifest import Entry
from ftkit.archive.serialize import to_json_lines
from ftkit.archive.store import ArchiveStore, entry_of
from ftkit.compare.recordings import PART_SUFFIX, Recording, read_recordings

DECLARED = ("tools", "parallel_tool_calls", "functions")
"""Request parameters that are also fields of a chat example."""


def write_training_data(store: ArchiveStore, folder: str) -> dict[str, Entry]:
    """Write the answers in a job's folder as chat examples.

    Returns:
        The manifest entries of both files, or {} if the folder has no answers.
    """
    path, chat_path = f"{folder}/{ANSWERS}", f"{folder}/{ANSWERS_CHAT}"
    answers = resolve(store.folder, path)
    if not answers.is_file():
        return {}
    lines = to_json_lines(map(_chat_example, read_recordings(str(answers))))
    return {path: entry_of(store.read(path)), chat_path: store.write(chat_path, lines)}


def has_partial_answers(store: ArchiveStore, folder: str) -> bool:
    """Return True if an interrupted recording left answers that are not in the manifest."""
    return _partial_path(store, folder).exists()


def remove_partial_answers(store: ArchiveStore, folder: str) -> None:
    """Remove the partial answers of a job, once its complete answers are in the manifest."""
    _partial_path(store, folder).unlink(missing_ok=True)


def remove_redundant_partial_answers(store: ArchiveStore, folder: str) -> None:
    """Remove the partial answers of a job if its complete answers contain all of them."""
    partial = _partial_path(store, folder)
    if not partial.exists():
        return
    answers = store.read(f"{folder}/{ANSWERS}").splitlines()
    if set(partial.read_bytes().splitlines()) <= set(answers):
        partial.unlink()


def _partial_path(store: ArchiveStore, folder: str) -> Path:
    path = resolve(store.folder, f"{folder}/{ANSWERS}")
    return path.with_name(path.name + PART_SUFFIX)


def _chat_example(answer: Recording) -> dict[str, Any]:
    declared = {name: answer.parameters[name] for name in DECLARED if name in answer.parameters}
    return {"messages": [*answer.messages, answer.answer], **declared}
