"""Comparison of two models, or of recorded answers, as one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftkit.catalog import Catalog, load_catalog
from ftkit.client.client import Client
from ftkit.compare.comparison import Comparison, check_groups, compare_answers
from ftkit.compare.measures import check_sacrebleu
from ftkit.compare.recordings import Prompt, Recording, lock_all, read_prompts
from ftkit.compare.sides import Side, answers_to, check_distinct, encoding_of, open_sides
from ftkit.errors import UsageError

Path = str | os.PathLike[str]


def compare(  # noqa: PLR0913 # public keyword-only API
    a: Path,
    b: Path,
    *,
    prompts: Path,
    client: Client | None = None,
    client_b: Client | None = None,
    parameters: Mapping[str, Any] | None = None,
    system: str = "",
    limit: int | None = None,
    group_by: str = "",
    save_a: Path | None = None,
    save_b: Path | None = None,
    concurrency: int = 4,
    seed: int = 0,
    catalog: Catalog | None = None,
    say: Callable[[str], object] = lambda text: None,
) -> Comparison:
    """Compare two models, or their recorded answers, on the same prompts.

    With a client, a model is asked at once; whoever owns the account pays for its answers.

    Args:
        a: A file of recorded answers (.jsonl, .jsonl.gz), or the name of a model.
        b: The same.
        prompts: A file of chat examples or of recorded answers, whose final answers are the
            references.
        client: Connection to the provider of the models.
        client_b: Connection to the provider of `b`, if it has another one.
        parameters: Parameters of every request; `{"temperature": 0}` if None. Without `max_tokens`,
            answers are limited to 4 times the tokens of the longest reference, but at least 512;
            see `answer_limit` for the exceptions. If `max_tokens` is 0, there is no limit.
        system: System message for prompts that do not begin with one.
        limit: Maximum number of prompts.
        group_by: Dotted path into the prompts' lines; also compare the groups of prompts with equal
            values.
        save_a: File to save the answers of the model `a` to; the answers in it are used again.
        save_b: The same for `b`.
        concurrency: Maximum number of concurrent requests.
        seed: Seed of the bootstrap.
        catalog: Models; those that come with ftkit if None.
        say: Called with a line of text about skipped prompts and about files of answers.

    Raises:
        FileError: A file cannot be read or written.
        UsageError: A client is missing, no prompt is answered by both, an argument is invalid, or
            sacrebleu is not installed.
        ProviderError: A provider refused all prompts or could not be reached. The answers received
            until then are saved.
    """
    check_sacrebleu()
    catalog = catalog or load_catalog()
    if concurrency < 1:
        raise UsageError(f"`concurrency` must be at least 1, not {concurrency}")
    if limit is not None and limit < 1:
        raise UsageError(f"`limit` must be at least 1, not {limit}")
    saves = [None if save is None else os.fspath(save) for save in (save_a, save_b)]
    check_distinct(
        [("`prompts`", os.fspath(prompts)), ("`save_a`", saves[0]), ("`save_b`", saves[1])]
    )
    all_prompts = read_prompts(os.fspath(prompts), limit=limit, system=system)
    if group_by:
        check_groups(all_prompts, group_by)

    def open_model(index: int, name: str) -> tuple[Client, str]:
        chosen = (client_b or client) if index else client
        if chosen is None:
            raise UsageError(f"set `client` to ask the model {name}, or name a file of its answers")
        return chosen, name

    request = {"temperature": 0} if parameters is None else dict(parameters)
    with lock_all(saves, say):
        names = [os.fspath(a), os.fspath(b)]
        sides = open_sides(names, all_prompts, saves, request, open_model, say, catalog)
        answers = [_answers(side, all_prompts, concurrency, say) for side in sides]
    return compare_recordings(all_prompts, answers, group_by=group_by, seed=seed, catalog=catalog)


def compare_recordings(
    prompts: Sequence[Prompt],
    answers: Sequence[Sequence[Recording | None]],
    *,
    group_by: str,
    seed: int,
    catalog: Catalog,
) -> Comparison:
    """Compare the recorded answers of A and B to the prompts.

    Args:
        prompts: The prompts.
        answers: For A and B, the answer to each prompt, or None.
        group_by: See `compare`.
        seed: See `compare`.
        catalog: Models, whose encodings count the tokens of the answers.

    Raises:
        UsageError: No prompt is answered by both.
    """
    replies = [[answer.answer if answer else None for answer in side] for side in answers]
    encoding = encoding_of([answer for side in answers for answer in side], catalog)
    return compare_answers(prompts, *replies, group_by=group_by, encoding=encoding, seed=seed)


def _answers(
    side: Side, prompts: Sequence[Prompt], concurrency: int, say: Callable[[str], object]
) -> list[Recording | None]:
    if isinstance(side, list):
        return side
    collected = side.collect(concurrency)
    for line, message in collected.refused:
        say(f"skipped the prompt on line {line}: {message}")
    return answers_to(prompts, side, collected)
