"""The file as a whole: how many examples, which repeat, what the validation file shares, blank lines, size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ftkit.dataset.formats import METHODS
from ftkit.rules.base import ERROR, INFO, WARNING, Dataset, Hit, ScanPlan, listed, rule
from ftkit.summary import FINGERPRINT, Lines, Summary

if TYPE_CHECKING:
    import numpy as np

TOPICS = ("rivers", "birds", "bread", "trains", "clouds", "chess", "tea", "maps", "bees", "tides")


def examples(number: int) -> list[str]:
    """That many different chat examples, as JSON."""
    template = '{"messages": [{"role": "user", "content": "Fact %d on %s?"}, {"role": "assistant", "content": "Number %d: %s!"}]}'
    return [template % (n, TOPICS[n % 10], n, TOPICS[n * 7 % 10]) for n in range(number)]


GOOD_FILE = "\n".join(examples(60)) + "\n"


def file(*lines: str) -> str:
    return "".join(line + "\n" for line in lines)


def fingerprints(summary: Summary) -> np.ndarray[Any, Any]:
    """The fingerprints as a numpy record array; its columns are line, prompt and answer."""
    import numpy as np

    return np.frombuffer(summary.fingerprints, FINGERPRINT)


def first_alike(summary: Summary, *columns: str) -> np.ndarray[Any, Any]:
    """For each example, the index of the first one that is equal to it in these columns of the fingerprints."""
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
    """The number of different answers."""
    import numpy as np

    return int(np.unique(fingerprints(summary)["answer"]).size)


@rule(
    "FT210",
    "examples-too-few",
    ERROR,
    "dataset",
    good=GOOD_FILE,
    bad=file(*examples(9)),
    evidence="service message, code invalid_n_examples",
    says=[r"must have at least \d+ examples", r"invalid_n_examples"],
)
def examples_too_few(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """The training file has fewer examples than the provider takes (10 at OpenAI). Lines that are not JSON do not count."""
    least, number = plan.limits.figure("min_examples"), dataset.summary.examples
    if least and number < least and plan.purpose == "training":
        yield Hit(
            f"{number} example{'s' * (number != 1)}, {plan.limits.title} takes no fewer than {least}; add {least - number}"
        )


@rule(
    "FT211",
    "examples-few",
    WARNING,
    "dataset",
    good=GOOD_FILE,
    bad=file(*examples(20)),
    evidence="fine-tuning guide: 50 to 100",
)
def examples_few(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """The training file has fewer examples than are advised (50 at OpenAI). More good ones help more than anything else."""
    advised, least = plan.limits.figure("advised_examples"), plan.limits.figure("min_examples") or 0
    number = dataset.summary.examples
    if advised and least <= number < advised and plan.purpose == "training":
        yield Hit(f"{number} examples; improvements are usually seen from {advised} on")


def _many_images() -> str:
    from ftkit.rules.parts import PIXEL, image, user

    ask = '{"type": "text", "text": "%d"}'
    return file(*(user(ask % n, image(f"data:image/png;base64,{PIXEL}")) for n in range(50_001)))


@rule(
    "FT212",
    "examples-too-many",
    ERROR,
    "dataset",
    good=GOOD_FILE,
    bad=_many_images,
    evidence="vision fine-tuning guide: 50,000 examples with images; reinforcement guide: 50,000 and 1,000 for validation",
)
def examples_too_many(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """The file has more examples than the provider takes, for reinforcement or with images."""
    summary, limits = dataset.summary, plan.limits
    images = limits.figure("image_examples")
    if images and summary.with_images > images:
        yield Hit(
            f"{summary.with_images:,} examples with images; {limits.title} takes at most {images:,}"
        )
    name = (
        "reinforcement_examples"
        if plan.purpose == "training"
        else "reinforcement_validation_examples"
    )
    most = limits.figure(name)
    if plan.format == "reinforcement" and most and summary.examples > most:
        yield Hit(
            f"{summary.examples:,} examples; {limits.title} takes at most {most:,} for reinforcement {plan.purpose}"
        )


@rule(
    "FT213",
    "format-method-mismatch",
    ERROR,
    "dataset",
    good=GOOD_FILE,
    bad=GOOD_FILE,
    given={"asked": ("preference",)},
    evidence="service message",
    says=[
        r"is in the [\w-]+ format,? but (the specified fine-tuning )?job is not using",
        r"requires the reinforcement method",
        r"examples, and the job's method is '\w+', not",
    ],
)
def format_method_mismatch(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """The format of the file does not fit the training method that was asked for, or that the model can do."""
    if plan.asked and plan.format not in plan.asked:
        fits = " or ".join(f"{format} (method {METHODS[format]})" for format in plan.asked)
        why = (
            f"{plan.limits.model} trains on"
            if plan.limits.model and plan.asked == plan.limits.formats
            else "asked for was"
        )
        yield Hit(
            f"the file is in the {plan.format} format (method {METHODS[plan.format]}), {why} {fits}"
        )


@rule(
    "FT220",
    "duplicate-example",
    WARNING,
    "dataset",
    good=GOOD_FILE,
    bad=GOOD_FILE + examples(1)[0] + "\n",
    evidence="openai's old prepare_data; datasets-lint; cleanllm",
)
def duplicate_example(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """An example stands more than once in the file, whatever its key order and spacing.

    It is paid for each time and weighs more in training. The first is not reported.
    """
    lines = fingerprints(dataset.summary)["line"]
    first = first_alike(dataset.summary, "prompt", "answer")
    for index in (lines[first] != lines).nonzero()[0]:
        yield Hit(
            f"the same example as on line {lines[first[index]]}; keep one", line=int(lines[index])
        )


@rule(
    "FT221",
    "duplicate-conflict",
    WARNING,
    "dataset",
    good=GOOD_FILE,
    formats=["chat", "completions", "reinforcement"],
    bad=GOOD_FILE + examples(1)[0].replace("Number", "No number") + "\n",
    evidence="datasets-lint",
)
def duplicate_conflict(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """The same prompt has another answer than before.

    Fine where answers may vary; else one of them is wrong, and the model learns both.
    """
    records = fingerprints(dataset.summary)
    earlier = records[first_alike(dataset.summary, "prompt")]
    for index in (records["answer"] != earlier["answer"]).nonzero()[0]:
        message = f"the same prompt as on line {earlier['line'][index]} with another answer; keep one if only one is right"
        yield Hit(message, line=int(records["line"][index]))


@rule(
    "FT222",
    "split-overlap",
    WARNING,
    "dataset",
    good=GOOD_FILE,
    bad=GOOD_FILE,
    given={"validation": examples(1)[0]},
    evidence="API description: the files should not overlap; datasets-lint; datalint",
)
def split_overlap(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """An example of the training file is in the validation file too. Needs `--validation-file`.

    The validation loss then looks better than it is.
    """
    import numpy as np

    if not dataset.validation_fingerprints:
        return
    records, others = (
        fingerprints(dataset.summary),
        np.frombuffer(dataset.validation_fingerprints, FINGERPRINT),
    )
    lines = {(int(prompt), int(answer)): int(number) for number, prompt, answer in reversed(others)}
    shared = np.isin(records["prompt"], others["prompt"]) & np.isin(
        records["answer"], others["answer"]
    )
    for number, prompt, answer in records[shared]:
        other = lines.get((int(prompt), int(answer)))
        if other:
            yield Hit(
                f"the same example as on line {other} of the validation file {dataset.validation}",
                line=int(number),
            )


@rule(
    "FT130",
    "line-blank",
    ERROR,
    "dataset",
    good=GOOD_FILE,
    bad=GOOD_FILE + "\n" + examples(61)[60] + "\n",
    evidence="together 1.5; service: 'every line is a JSON dictionary'; the cookbook notebook dies on it",
    says=[r"Expected file to have JSONL format, where every line is a JSON dictionary"],
)
def line_blank(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """A blank line between examples. Remove it."""
    summary = dataset.summary
    between = summary.blank.count - summary.blank_tail
    yield from listed(
        Lines(between, summary.blank.first[:between]), "a blank line between examples; remove it"
    )


@rule(
    "FT131",
    "line-blank-end",
    WARNING,
    "dataset",
    good=GOOD_FILE,
    bad=GOOD_FILE + "\n",
    evidence="advice in public runbooks",
)
def line_blank_end(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """Blank lines at the end of the file. End it with one line end."""
    summary = dataset.summary
    numbers = range(summary.lines - summary.blank_tail + 1, summary.lines + 1)
    yield from listed(
        Lines(len(numbers), tuple(numbers[: plan.keep])),
        "a blank line at the end of the file; remove it",
    )


@rule(
    "FT132",
    "line-ending-crlf",
    INFO,
    "dataset",
    good=GOOD_FILE,
    bad=GOOD_FILE.replace("\n", "\r\n"),
    evidence="legal JSON white space; two jobs with such files succeeded",
)
def line_ending_crlf(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """Lines end with CR LF, as on Windows. It is legal."""
    crlf = dataset.summary.crlf
    if crlf.count:
        number = "1 line ends" if crlf.count == 1 else f"{crlf.count:,} lines end"
        yield Hit(f"{number} with CR LF, from line {crlf.first[0]} on; LF is usual")


@rule(
    "FT140",
    "file-too-large",
    ERROR,
    "dataset",
    good=GOOD_FILE,
    bad=GOOD_FILE,
    given={"bytes": 9_000_000_000},
    evidence="API description: 8 GB through Uploads, 512 MB through Files",
)
def file_too_large(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """The file is larger than the provider takes at all."""
    limits = plan.limits
    most = limits.figure("upload_bytes") or limits.figure("file_bytes")
    if most and dataset.summary.size > most:
        yield Hit(
            f"{dataset.summary.size / 1e9:.2f} GB; {limits.title} takes at most {most / 1e9:g} GB; split or sample it"
        )


@rule(
    "FT141",
    "file-needs-upload",
    INFO,
    "dataset",
    good=GOOD_FILE,
    bad=GOOD_FILE,
    given={"bytes": 600_000_000},
    evidence="API description: 512 MB through Files, more through Uploads in parts",
)
def file_needs_upload(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """The file is too large for the Files API and must be sent through the Uploads API, in parts."""
    direct = plan.limits.figure("direct_bytes") or plan.limits.figure("file_bytes")
    most = plan.limits.figure("upload_bytes")
    if direct and most and direct < dataset.summary.size <= most:
        size = dataset.summary.size / 1e6
        yield Hit(
            f"{size:,.0f} MB is more than the {direct / 1e6:.0f} MB of the Files API; send it through Uploads, in parts"
        )
