"""Duplicates, and overlap with the validation file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ftkit._text import plural
from ftkit.rules.base import FINGERPRINTS, INFO, WARNING, Hit, ScanPlan, rule
from ftkit.rules.nodes import Dataset
from ftkit.rules.samples import CHAT_FILE, file, numbered_chats
from ftkit.rules.sources import CLEANLLM, DATALINT, DATASETS_LINT, OPENAPI, PREPARE_DATA
from ftkit.summary import COMMON_SHARE, FINGERPRINT, PLACES, Summary

if TYPE_CHECKING:
    import numpy as np

MIN_ANSWERS, DISTINCT = 3, 0.9
"""Prompts are shared by design from this mean number of answers and share of distinct ones."""

MAX_WITHOUT_NUMPY = 20_000
"""Maximum number of examples that are compared without numpy, whose import takes longer."""

COLUMNS = [name for name, _ in FINGERPRINT]
"""Names of the columns of the fingerprints, which are 64-bit numbers."""

FINGERPRINT_BYTES = 8 * len(COLUMNS)
"""Bytes of the fingerprint of an example."""


def fingerprints(summary: Summary) -> np.ndarray[Any, Any]:
    """Return the fingerprints as a numpy record array with columns line, prompt and answer."""
    import numpy as np

    return np.frombuffer(summary.fingerprints, FINGERPRINT)


def first_equal(summary: Summary, *columns: str) -> np.ndarray[Any, Any]:
    """Return, for each example, the index of the first one with equal fingerprint columns."""
    import numpy as np

    records = fingerprints(summary)
    order = np.lexsort([records[column] for column in columns])
    ordered = records[order]
    begins = np.zeros(len(records), bool)
    begins[:1] = True
    for column in columns:
        begins[1:] |= ordered[column][1:] != ordered[column][:-1]
    first = np.empty(len(records), np.intp)
    first[order] = order[begins][np.cumsum(begins) - 1] if len(records) else 0
    return first


def distinct_answers(summary: Summary) -> int:
    """Return the number of different answers."""
    if _has_few(summary):
        return len(set(_column(summary, "answer")))
    import numpy as np

    return int(np.unique(fingerprints(summary)["answer"]).size)


def may_share_prompts(summary: Summary) -> bool:
    """Return False if the file is small and no two of its examples have the same prompt."""
    if not _has_few(summary):
        return True
    prompts = _column(summary, "prompt")
    return len(set(prompts)) < len(prompts)


def _has_few(summary: Summary) -> bool:
    return len(summary.fingerprints) <= MAX_WITHOUT_NUMPY * FINGERPRINT_BYTES


def _column(summary: Summary, name: str) -> list[int]:
    """Return a column of the fingerprints, to compare its values with each other only.

    They are read in the byte order of the machine, so they may not be the numbers that were hashed.
    """
    numbers = memoryview(summary.fingerprints).cast("Q").tolist()
    return numbers[COLUMNS.index(name) :: len(COLUMNS)]


@rule(
    "FT220",
    "duplicate-example",
    WARNING,
    Dataset,
    needs=[FINGERPRINTS],
    bad=CHAT_FILE + file(numbered_chats(1)[0]),
    good=CHAT_FILE,
    evidence=[PREPARE_DATA, DATASETS_LINT, CLEANLLM],
)
def duplicate_example(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """The file has the same example more than once.

    Each copy is billed, and gives the example more weight in training. Keep one. Key order and
    spacing do not matter, and the first copy is not reported.
    """
    if not may_share_prompts(dataset.summary):
        return
    lines = fingerprints(dataset.summary)["line"]
    first = first_equal(dataset.summary, "prompt", "answer")
    copies = (lines[first] != lines).nonzero()[0]
    for line, original in zip(lines[copies].tolist(), lines[first[copies]].tolist(), strict=True):
        yield Hit(f"same example as on line {original}; keep one", line=line)


@rule(
    "FT221",
    "duplicate-conflict",
    WARNING,
    Dataset,
    needs=[FINGERPRINTS],
    formats=["chat", "completions", "reinforcement"],
    bad=CHAT_FILE + file(numbered_chats(1)[0].replace("Number", "No number")),
    good=CHAT_FILE,
    evidence=[DATASETS_LINT],
)
def duplicate_conflict(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """The same prompt has different answers.

    The model learns both. That is fine where answers may vary; otherwise one of them is wrong. Keep
    the right one.

    If this holds for more than a fifth of the file, it is one finding. It is an info if the prompts
    seem to be shared by design: each has three answers or more on average, and nearly all of them
    differ.
    """
    if not may_share_prompts(dataset.summary):
        return
    records = fingerprints(dataset.summary)
    first = first_equal(dataset.summary, "prompt")
    conflicts = (records["answer"] != records["answer"][first]).nonzero()[0]
    if len(conflicts) > PLACES and len(conflicts) * COMMON_SHARE > len(records):
        yield _shared_prompts(dataset.summary, first, conflicts)
        return
    for index in conflicts:
        yield Hit(
            f"same prompt as on line {records['line'][first[index]]}, but another answer; "
            "keep one if only one is right",
            line=int(records["line"][index]),
        )


def _shared_prompts(
    summary: Summary, first: np.ndarray[Any, Any], conflicts: np.ndarray[Any, Any]
) -> Hit:
    """Return the hit for a file in which many examples share their prompts.

    Args:
        summary: The summary of the file.
        first: For each example, the index of the first one with the same prompt.
        conflicts: Indices of the examples with another answer than the first.
    """
    import numpy as np

    prompts = np.unique(first[conflicts])
    sharing = np.isin(first, prompts)
    examples, answers = int(sharing.sum()), np.unique(fingerprints(summary)[sharing]["answer"])
    lines = fingerprints(summary)["line"][conflicts[:PLACES]].tolist()
    message = (
        f"{examples:,} of {len(first):,} examples share {plural(len(prompts), 'prompt')}, "
        f"with different answers: lines {', '.join(map(str, lines))}, …"
    )
    is_by_design = examples >= MIN_ANSWERS * len(prompts) and answers.size >= DISTINCT * examples
    if is_by_design:
        return Hit(f"{message}; fine if answers may vary", severity=INFO)
    return Hit(f"{message}; keep one answer each if only one is right")


@rule(
    "FT222",
    "split-overlap",
    WARNING,
    Dataset,
    needs=[FINGERPRINTS],
    bad=CHAT_FILE,
    good=CHAT_FILE,
    context={"validation": numbered_chats(1)[0]},
    evidence=[OPENAPI.with_detail("the files should not overlap"), DATASETS_LINT, DATALINT],
)
def split_overlap(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """An example of the training file is in the validation file, too.

    The validation loss then looks better than it is. Remove the example from one of the files.
    Checked only with `--validation-file`.
    """
    if not dataset.validation_fingerprints:
        return
    import numpy as np

    records = fingerprints(dataset.summary)
    others = np.frombuffer(dataset.validation_fingerprints, FINGERPRINT)
    lines = {(int(prompt), int(answer)): int(number) for number, prompt, answer in reversed(others)}
    shared = np.isin(records["prompt"], others["prompt"]) & np.isin(
        records["answer"], others["answer"]
    )
    for number, prompt, answer in records[shared]:
        other = lines.get((int(prompt), int(answer)))
        if other:
            yield Hit(
                f"same example as on line {other} of the validation file {dataset.validation}; "
                "remove one",
                line=int(number),
            )
