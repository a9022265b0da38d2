"""A and B of a comparison: recorded answers, or a model to ask."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ftkit.catalog import Catalog, base_model
from ftkit.client.client import Client
from ftkit.compare.ask import AnswerCollector, CollectedAnswers
from ftkit.compare.comparison import NO_COMMON_ANSWERS
from ftkit.compare.cost import answer_limit
from ftkit.compare.recordings import Prompt, Recording, RecordingFile, match, read_recordings
from ftkit.errors import FileError, UsageError

Side = AnswerCollector | list[Recording | None]
"""A or B: the model to ask, or for each prompt its recorded answer."""

OpenModel = Callable[[int, str], tuple[Client, str]]
"""Function from 0 (A) or 1 (B) and the name of a model to its client and its full name."""

SAVES = ("save_a", "save_b")
"""Parameters that name the files to save the answers of A and B to."""

RECORDING_SUFFIXES = (".jsonl", ".jsonl.gz", ".json")
"""Suffixes that distinguish a missing file from the name of a model."""


def check_distinct(files: Iterable[tuple[str, str | None]]) -> None:
    """Raise `UsageError` if two of the files are the same.

    Args:
        files: The name of the parameter or option, and the path of each file, or None for no file.
    """
    names: dict[str, str] = {}
    for name, path in files:
        if path is None:
            continue
        other = names.setdefault(os.path.realpath(path), name)
        if other != name:
            raise UsageError(f"{other} and {name} must be different files, not both {path}")


def open_sides(
    names: Sequence[str],
    prompts: Sequence[Prompt],
    saves: Sequence[str | None],
    parameters: dict[str, Any],
    open_model: OpenModel,
    notify: Callable[[str], object],
    catalog: Catalog,
) -> list[Side]:
    """Return A and B. A model gets only the prompts that the other side's file answers.

    Args:
        names: For A and B, a file of recorded answers or the name of a model.
        prompts: The prompts.
        saves: For A and B, the file to save a model's answers to, or None.
        parameters: Parameters of every request, such as `temperature`. `max_tokens` may be 0 for
            answers without a limit.
        open_model: Called for each model.
        notify: Called with a message about a file to save to.
        catalog: Catalog for the limit of the answers if `max_tokens` is missing; see
            `answer_limit`.

    Raises:
        UsageError: A file answers none of the prompts, or answers are to be saved that are
            recorded already.
        FileError: A file cannot be read.
    """
    files = {
        name: match(prompts, read_recordings(name))
        for name, save, parameter in zip(names, saves, SAVES, strict=True)
        if _is_recording_file(name, save, parameter)
    }
    answered = [
        prompt
        for prompt, *recordings in zip(prompts, *files.values(), strict=True)
        if None not in recordings
    ]
    if not answered:
        raise UsageError(NO_COMMON_ANSWERS)
    sides: list[Side] = []
    for index, (name, save) in enumerate(zip(names, saves, strict=True)):
        if name in files:
            sides.append(files[name])
            continue
        client, model = open_model(index, name)
        file = RecordingFile(save, notify=notify) if save else None
        request = dict(parameters)
        limit = request.pop("max_tokens", None)
        if limit is None:
            limit = _default_limit(file, answered, model, client, catalog)
        request |= {"max_tokens": limit} if limit else {}
        sides.append(AnswerCollector(client, model, answered, request, file))
    return sides


def _default_limit(
    file: RecordingFile | None,
    prompts: Sequence[Prompt],
    model: str,
    client: Client,
    catalog: Catalog,
) -> int | None:
    """Return the limit of the answers that a file has, or else one by the references."""
    if file and file.recordings:
        limit: int | None = file.recordings[0].parameters.get("max_tokens")
        return limit
    return answer_limit(prompts, model, client.name, catalog)


def _is_recording_file(name: str, save: str | None, parameter: str) -> bool:
    """Return True for a file of recorded answers, and False for a model."""
    if not os.path.isfile(name) and not name.endswith(RECORDING_SUFFIXES):
        return False
    if save:
        message = f"`{parameter}` applies to a model, but {name} is a file of recorded answers"
        raise UsageError(message)
    if not os.path.exists(name):
        raise FileError(f"no such file: {name}; A and B are models or files of recorded answers")
    return True


def answers_to(
    prompts: Sequence[Prompt], side: AnswerCollector, collected: CollectedAnswers
) -> list[Recording | None]:
    """Return the answer to each prompt, or None if the model was not asked or did not answer."""
    numbers = (prompt.number for prompt in side.prompts)
    answers = dict(zip(numbers, collected.answers, strict=True))
    return [answers.get(prompt.number) for prompt in prompts]


def encoding_of(recordings: Sequence[Recording | None], catalog: Catalog) -> str:
    """Return the encoding of the first model that the catalog has, or "".

    The tokens of both sides are counted in the same encoding.
    """
    models = {base_model(recording.model): None for recording in recordings if recording}
    return next((catalog.models[model].encoding for model in models if model in catalog.models), "")
