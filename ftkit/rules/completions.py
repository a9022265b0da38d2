"""Completions: prompts and completions for base models.

A base model has no roles. Only the text shows it where the prompt ends, and where to stop.
"""

from __future__ import annotations

from collections.abc import Iterator

from ftkit._text import excerpt
from ftkit.dataset.types import Completions
from ftkit.rules.base import ERROR, FINGERPRINTS, WARNING, Hit, ScanPlan, hit_lines, rule
from ftkit.rules.nodes import Dataset, SchemaError
from ftkit.rules.samples import (
    COMPLETION,
    COMPLETION_FILE,
    SEPARATOR,
    completion,
    completion_file,
)
from ftkit.rules.sources import (
    OPENAI_PYTHON_535,
    OPENAPI_2025,
    PREPARE_DATA,
    REPORTED_MESSAGE,
    TOGETHER,
)
from ftkit.summary import Affixes

COMPLETIONS_ONLY = ("completions",)
PREFIX_LENGTH = 12
"""Minimum number of characters of a common prefix that is reported."""


@rule(
    "FT901",
    "completion-missing",
    ERROR,
    SchemaError,
    formats=COMPLETIONS_ONLY,
    places=[("Completions", "completion", "required")],
    bad=f'{{"prompt": "Hi{SEPARATOR}"}}',
    good=COMPLETION,
    evidence=[PREPARE_DATA, OPENAPI_2025, REPORTED_MESSAGE],
    provider_messages=[r"Missing \W{0,2}completion\W{0,2} key"],
)
def completion_missing(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """The example has no `completion`.

    There is nothing to learn, and the job fails. Add the text that the model should write.
    """
    yield Hit('the example has no "completion"; add the text to learn', error.path)


@rule(
    "FT902",
    "prompt-missing",
    ERROR,
    SchemaError,
    formats=COMPLETIONS_ONLY,
    places=[("Completions", "prompt", "required")],
    bad='{"completion": " Hello! END"}',
    good=COMPLETION,
    evidence=[PREPARE_DATA, OPENAPI_2025, REPORTED_MESSAGE],
    provider_messages=[r"Missing \W{0,2}prompt\W{0,2} key"],
)
def prompt_missing(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """The example has no `prompt`.

    The job fails. Add the prompt; for open-ended generation write an empty one.
    """
    yield Hit('the example has no "prompt"; add it, or write ""', error.path)


@rule(
    "FT903",
    "completion-type",
    ERROR,
    SchemaError,
    formats=COMPLETIONS_ONLY,
    places=[("Completions", "prompt", "type"), ("Completions", "completion", "type")],
    bad='{"prompt": "Hi", "completion": 5}',
    good=completion(f"Hi{SEPARATOR}", " 5 END"),
    evidence=[TOGETHER],
)
def completion_type(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """`prompt` or `completion` is not a string.

    The job fails. Write numbers as strings. Arrays of messages, TRL's conversational format, belong
    in one `messages` array, the prompt's first.
    """
    has_messages = isinstance(error.value, list) and any(
        isinstance(item, dict) and "role" in item for item in error.value
    )
    hint = '; join prompt and completion into one "messages" array' if has_messages else ""
    yield Hit(f"{error.field} must be a string, not {excerpt(error.value, 60)}{hint}", error.path)


@rule(
    "FT904",
    "completion-empty",
    ERROR,
    Completions,
    formats=COMPLETIONS_ONLY,
    bad=completion(f"Hi{SEPARATOR}", ""),
    good=COMPLETION,
    evidence=[PREPARE_DATA, OPENAI_PYTHON_535],
)
def completion_empty(example: Completions, plan: ScanPlan) -> Iterator[Hit]:
    """The completion is empty.

    There is nothing to learn from the example. Write the completion, or remove the example.
    """
    if not example.completion.strip():
        yield Hit("the completion is empty; write it, or remove the example", "$.completion")


@rule(
    "FT910",
    "completion-no-space",
    WARNING,
    Dataset,
    formats=COMPLETIONS_ONLY,
    bad=completion_file(f"{{}}{SEPARATOR}", "{} END"),
    good=COMPLETION_FILE,
    evidence=[PREPARE_DATA],
)
def completion_no_space(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """Completions do not start with a space.

    Most words are tokens that begin with a space, so such completions are harder to learn. Begin
    them with a space.
    """
    summary = dataset.summary
    lines = summary.style.no_space
    if lines.count * 2 > summary.examples:
        yield Hit(
            f"{lines.count:,} of {summary.examples:,} completions do not start with a space; "
            "begin them with one"
        )
    else:
        message = "the completion does not start with a space, as most do; begin it with one"
        yield from hit_lines(lines, message, "$.completion")


def _has_several(dataset: Dataset) -> bool:
    """Return True if there are enough examples to have something in common."""
    return dataset.summary.examples >= 2


@rule(
    "FT911",
    "completion-no-suffix",
    WARNING,
    Dataset,
    needs=[FINGERPRINTS],
    formats=COMPLETIONS_ONLY,
    bad=completion_file(f"{{}}{SEPARATOR}", " {}"),
    good=COMPLETION_FILE,
    evidence=[PREPARE_DATA],
)
def completion_no_suffix(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """The completions have no common ending.

    The model does not learn where to stop. End each with a text that occurs nowhere else, such as `
    END`, and use it as the stop sequence. Classes, which are few different completions, need none.
    """
    affixes = dataset.summary.style.completions
    if not affixes or affixes.suffix or not _has_several(dataset):
        return
    if dataset.fingerprints.distinct_answers() * 3 > dataset.summary.examples:
        yield Hit('the completions have no common ending as a stop sequence; add one, e.g. " END"')


@rule(
    "FT912",
    "prompt-no-suffix",
    WARNING,
    Dataset,
    formats=COMPLETIONS_ONLY,
    bad=completion_file("{}", " {} END"),
    good=COMPLETION_FILE,
    evidence=[PREPARE_DATA],
)
def prompt_no_suffix(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    r"""The prompts have no common ending.

    The model cannot tell where the prompt ends. End each with a separator that occurs nowhere else,
    such as `\n\n###\n\n`. Empty prompts need none.
    """
    affixes = dataset.summary.style.prompts
    if affixes and not affixes.suffix and _has_several(dataset):
        yield Hit(r'the prompts have no common ending as a separator; add one, e.g. "\n\n###\n\n"')


@rule(
    "FT913",
    "completion-prefix",
    WARNING,
    Dataset,
    needs=[FINGERPRINTS],
    formats=COMPLETIONS_ONLY,
    bad=completion_file(f"{{}}{SEPARATOR}", " The answer to this is {} END"),
    good=COMPLETION_FILE,
    evidence=[PREPARE_DATA],
)
def completion_prefix(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """All completions begin with the same long text.

    It is billed in every example and teaches nothing. Move it to the end of the prompts.
    """
    affixes = dataset.summary.style.completions
    prefix = affixes.prefix if affixes else ""
    if (
        len(prefix.strip()) >= PREFIX_LENGTH
        and _has_several(dataset)
        and dataset.fingerprints.distinct_answers() > 1
    ):
        more = "…" if len(prefix) == Affixes.LIMIT else ""
        yield Hit(
            f"all completions begin with {excerpt(prefix, 60)}{more}; "
            "move it to the end of the prompts"
        )


@rule(
    "FT914",
    "prompt-uppercase",
    WARNING,
    Dataset,
    formats=COMPLETIONS_ONLY,
    bad=lambda: (
        COMPLETION_FILE.upper()
        .replace('"PROMPT"', '"prompt"')
        .replace('"COMPLETION"', '"completion"')
        .replace("\\N", "\\n")
    ),
    good=COMPLETION_FILE,
    evidence=[PREPARE_DATA.with_detail("lower_case")],
)
def prompt_uppercase(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """Most of the text is in upper case.

    It costs more tokens and is learned worse, since models have seen less of it. Use lower case,
    unless the upper case has a meaning. Texts of fewer than three words, such as codes, formulas
    and labels, are not counted.
    """
    style = dataset.summary.style
    if style.letters and style.upper * 2 > style.letters:
        yield Hit(
            f"{style.upper * 100 // style.letters} % of the letters are in upper case; "
            "use lower case, unless that is intended"
        )
