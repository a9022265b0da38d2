"""Prompts and their completions, for base models.

A base model has no roles: it sees where the prompt ends and where to stop only from the text itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from ftkit._text import excerpt
from ftkit.dataset.types import Completions
from ftkit.rules.base import ERROR, WARNING, Broken, Dataset, Hit, ScanPlan, listed, rule
from ftkit.rules.dataset import distinct_answers
from ftkit.summary import Affixes

ONLY = ["completions"]
END = "\\n\\n###\\n\\n"
PREFIX_LIMIT = 12
"""Characters of a common beginning of all completions that are worth a warning."""

WORDS = (
    "seven",
    "tin",
    "Loire",
    "insulin",
    "Rembrandt",
    "heptagon",
    "Alhambra",
    "carbon",
    "Spain",
    "metre",
    "Oulu",
    "gas",
)


def line(prompt: str, completion: str) -> str:
    """A completions example, as JSON; the texts are already escaped."""
    return f'{{"prompt": "{prompt}", "completion": "{completion}"}}'


def file(prompt: str, completion: str) -> str:
    """Sixty examples made of the patterns, `{}` standing for a word."""
    words = [f"{a} {b}" for a in WORDS for b in WORDS if a != b][:60]
    return "".join(
        line(prompt.replace("{}", word), completion.replace("{}", word[::-1])) + "\n"
        for word in words
    )


GOOD = line(f"Hi{END}", " Hello! END")
GOOD_FILE = file(f"{{}}{END}", " {} END")


@rule(
    "FT901",
    "completion-missing",
    ERROR,
    "shape",
    formats=ONLY,
    good=GOOD,
    bad=f'{{"prompt": "Hi{END}"}}',
    shapes=[("Completions", "completion", "required")],
    evidence="openai's old prepare_data",
)
def completion_missing(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """The example has no `completion`."""
    yield Hit('the example has no "completion"; add the text to learn', broken.path)


@rule(
    "FT902",
    "prompt-missing",
    ERROR,
    "shape",
    formats=ONLY,
    good=GOOD,
    bad='{"completion": " Hello! END"}',
    shapes=[("Completions", "prompt", "required")],
    evidence="openai's old prepare_data",
)
def prompt_missing(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """The example has no `prompt`. For open-ended generation write an empty one."""
    yield Hit('the example has no "prompt"; add it, "" if there is none', broken.path)


@rule(
    "FT903",
    "completion-type",
    ERROR,
    "shape",
    formats=ONLY,
    good=GOOD,
    bad='{"prompt": "Hi", "completion": 5}',
    shapes=[("Completions", "prompt", "type"), ("Completions", "completion", "type")],
    evidence="together 1.5",
)
def completion_type(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """`prompt` or `completion` is not a string.

    A list of messages (TRL's conversational form) belongs in one `messages` list, the prompt's first.
    """
    messages = isinstance(broken.value, list) and any(
        isinstance(item, dict) and "role" in item for item in broken.value
    )
    hint = '; join prompt and completion into one "messages" list' if messages else ""
    yield Hit(
        f"{broken.field} must be a string, not {excerpt(broken.value, 60)}{hint}", broken.path
    )


@rule(
    "FT904",
    "completion-empty",
    ERROR,
    "example",
    formats=ONLY,
    good=GOOD,
    bad=line(f"Hi{END}", ""),
    evidence="openai's old prepare_data; openai-python#535",
)
def completion_empty(example: Completions, plan: ScanPlan) -> Iterator[Hit]:
    """The completion is empty, so there is nothing to learn."""
    if not example.completion.strip():
        yield Hit("the completion is empty: there is nothing to learn", "$.completion")


@rule(
    "FT910",
    "completion-no-space",
    WARNING,
    "dataset",
    formats=ONLY,
    good=GOOD_FILE,
    bad=file(f"{{}}{END}", "{} END"),
    evidence="openai's old prepare_data: words are tokens with a space in front",
)
def completion_no_space(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """Completions do not start with a space. Most words are tokens with a space in front, so it helps to begin with one."""
    summary = dataset.summary
    lines = summary.style.no_space
    if lines.count * 2 > summary.examples:
        yield Hit(
            f"{lines.count:,} of {summary.examples:,} completions do not start with a space; begin them with one"
        )
    else:
        yield from listed(
            lines, "the completion does not start with a space, as most do", "$.completion"
        )


def _enough(dataset: Dataset) -> bool:
    return dataset.summary.examples >= 2


@rule(
    "FT911",
    "completion-no-suffix",
    WARNING,
    "dataset",
    formats=ONLY,
    good=GOOD_FILE,
    bad=file(f"{{}}{END}", " {}"),
    evidence="openai's old prepare_data",
)
def completion_no_suffix(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """The completions have no common ending, so there is no text to stop at.

    Give them one that occurs nowhere else, such as ` END`, and use it as `stop`. Classes (few different completions) need none.
    """
    ends = dataset.summary.style.completions
    classes = distinct_answers(dataset.summary) * 3 <= dataset.summary.examples
    if ends and not ends.suffix and _enough(dataset) and not classes:
        yield Hit('completions have no common ending to stop at; add one, e.g. " END"')


@rule(
    "FT912",
    "prompt-no-suffix",
    WARNING,
    "dataset",
    formats=ONLY,
    good=GOOD_FILE,
    bad=file("{}", " {} END"),
    evidence="openai's old prepare_data",
)
def prompt_no_suffix(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """The prompts have no common ending, so the model cannot tell where the prompt ends.

    End each with a separator that occurs nowhere else, such as `\\n\\n###\\n\\n`. Empty prompts need none.
    """
    ends = dataset.summary.style.prompts
    if ends and not ends.suffix and _enough(dataset):
        yield Hit(
            r'prompts have no common ending to tell where they stop; add one, e.g. "\n\n###\n\n"'
        )


@rule(
    "FT913",
    "completion-prefix",
    WARNING,
    "dataset",
    formats=ONLY,
    good=GOOD_FILE,
    bad=file(f"{{}}{END}", " The answer to this is {} END"),
    evidence="openai's old prepare_data",
)
def completion_prefix(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """All completions begin with the same long text. It is paid for in each example; move it to the prompt."""
    ends = dataset.summary.style.completions
    prefix = ends.prefix if ends else ""
    if (
        len(prefix.strip()) >= PREFIX_LIMIT
        and _enough(dataset)
        and distinct_answers(dataset.summary) > 1
    ):
        more = "…" if len(prefix) == Affixes.LIMIT else ""
        yield Hit(
            f"all completions begin with {excerpt(prefix, 60)}{more}; move it to the end of the prompts"
        )


@rule(
    "FT914",
    "prompt-uppercase",
    WARNING,
    "dataset",
    formats=ONLY,
    good=GOOD_FILE,
    bad=lambda: (
        GOOD_FILE.upper()
        .replace('"PROMPT"', '"prompt"')
        .replace('"COMPLETION"', '"completion"')
        .replace("\\N", "\\n")
    ),
    evidence="openai's old prepare_data",
)
def prompt_uppercase(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """Most of the text is in upper case, which costs more tokens and is learned worse. Use lower case where it is not meant."""
    style = dataset.summary.style
    if style.letters and style.upper * 2 > style.letters:
        yield Hit(
            f"{style.upper * 100 // style.letters} % of the letters are in upper case; use lower case if that is not meant"
        )
