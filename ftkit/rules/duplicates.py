"""Duplicates, and overlap with the validation file."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit._text import plural
from ftkit.rules.base import FINGERPRINTS, INFO, WARNING, Hit, ScanPlan, rule
from ftkit.rules.fingerprints import Conflicts
from ftkit.rules.nodes import Dataset
from ftkit.rules.samples import CHAT_FILE, file, numbered_chats
from ftkit.rules.sources import CLEANLLM, DATALINT, DATASETS_LINT, OPENAPI, PREPARE_DATA
from ftkit.summary import COMMON_SHARE, PLACES

MIN_ANSWERS, DISTINCT = 3, 0.9
"""Prompts are shared by design from this mean number of answers and share of distinct ones."""


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
    for line, original in dataset.fingerprints.copies():
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
    conflicts = dataset.fingerprints.conflicts()
    if conflicts.count > PLACES and conflicts.count * COMMON_SHARE > conflicts.examples:
        yield _shared_prompts(conflicts)
        return
    for line, first in conflicts.lines():
        yield Hit(
            f"same prompt as on line {first}, but another answer; keep one if only one is right",
            line=line,
        )


def _shared_prompts(conflicts: Conflicts) -> Hit:
    """Return the hit for a file in which many examples share their prompts."""
    shared = conflicts.shared_prompts()
    message = (
        f"{shared.examples:,} of {conflicts.examples:,} examples share "
        f"{plural(shared.prompts, 'prompt')}, with different answers: "
        f"lines {', '.join(map(str, shared.lines))}, …"
    )
    is_by_design = (
        shared.examples >= MIN_ANSWERS * shared.prompts
        and shared.answers >= DISTINCT * shared.examples
    )
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
    if dataset.validation_fingerprints is None:
        return
    for line, other in dataset.fingerprints.overlap(dataset.validation_fingerprints):
        yield Hit(
            f"same example as on line {other} of the validation file {dataset.validation}; "
            "remove one",
            line=line,
        )
