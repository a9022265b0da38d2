"""Recorded answers in the folder of a job, and the same answers as training data."""

from __future__ import annotations

from typing import Any

from ftkit.archive.access import read_file, resolve_file, resolve_path
from ftkit.archive.layout import ANSWERS, ANSWERS_CHAT
from ftkit.archive.manifest import Entry
from ftkit.archive.serialize import to_json_lines
from ftkit.archive.store import ArchiveStore, entry_of
from ftkit.compare.recordings import PART_SUFFIX, Recording, read_recordings

DECLARED = ("tools", "parallel_tool_calls", "functions")
"""Request parameters that are also fields of a chat example."""


def write_training_data(store: ArchiveStore, folder: str) -> dict[str, Entry]:
    """Write the answers in a job's folder as chat examples, and make both files private.

    Returns:
        The manifest entries of both files, or {} if the folder has no answers.
    """
    path, chat_path = f"{folder}/{ANSWERS}", f"{folder}/{ANSWERS_CHAT}"
    answers = resolve_file(store.folder, path)
    if not answers.is_file():
        return {}
    store.protect(path)
    lines = to_json_lines(map(_chat_example, read_recordings(str(answers))))
    return {path: entry_of(store.read(path)), chat_path: store.write(chat_path, lines)}


def has_partial_answers(store: ArchiveStore, folder: str) -> bool:
    """Return True if an interrupted recording left answers that are not in the manifest."""
    return resolve_file(store.folder, _partial_path(folder)).exists()


def remove_partial_answers(store: ArchiveStore, folder: str) -> None:
    """Remove the partial answers of a job, once its complete answers are in the manifest."""
    resolve_path(store.folder, _partial_path(folder)).unlink(missing_ok=True)


def remove_redundant_partial_answers(store: ArchiveStore, folder: str) -> None:
    """Remove the partial answers of a job if its complete answers contain all of them."""
    if not has_partial_answers(store, folder):
        return
    answers = store.read(f"{folder}/{ANSWERS}").splitlines()
    partial = read_file(store.folder, _partial_path(folder)).splitlines()
    if set(partial) <= set(answers):
        remove_partial_answers(store, folder)


def _partial_path(folder: str) -> str:
    return f"{folder}/{ANSWERS}{PART_SUFFIX}"


def _chat_example(answer: Recording) -> dict[str, Any]:
    declared = {name: answer.parameters[name] for name in DECLARED if name in answer.parameters}
    return {"messages": [*answer.messages, answer.answer], **declared}
