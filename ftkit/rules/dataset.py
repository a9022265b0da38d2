"""Whole files.

Number of examples, blank lines, line ends, file size and training method.
"""

from __future__ import annotations

from collections.abc import Iterator

from ftkit.dataset.formats import METHODS
from ftkit.dataset.lenient_json import MAX_VALUES, VALUES_AT_ONCE, Reading, exceeded_limit
from ftkit.rules.base import ERROR, INFO, WARNING, Hit, ScanPlan, hit_lines, rule
from ftkit.rules.fixes import Repair, fix
from ftkit.rules.nodes import Dataset
from ftkit.rules.samples import (
    CHAT,
    CHAT_FILE,
    PIXEL_URL,
    file,
    image_part,
    numbered_chats,
    text_part,
    user_parts,
)
from ftkit.rules.sources import (
    COOKBOOK,
    OPENAI_GUIDE,
    OPENAI_MESSAGE,
    OPENAI_RFT_GUIDE,
    OPENAI_VISION_GUIDE,
    OPENAPI,
    OWN_CHECK,
    PUBLIC_JOBS,
    RFC_8259,
    RUNBOOKS,
    TOGETHER,
)
from ftkit.summary import Lines

FILE_SIZES = OPENAPI.with_detail("8 GB through Uploads, 512 MB through Files")


@rule(
    "FT130",
    "line-blank",
    ERROR,
    Dataset,
    bad=file(*numbered_chats(60), "", numbered_chats(61)[60]),
    good=file(*numbered_chats(61)),
    evidence=[
        TOGETHER,
        OPENAI_MESSAGE.with_detail('"every line is a JSON dictionary"'),
        COOKBOOK.with_detail("fails to load the file"),
    ],
    provider_messages=[
        r"Expected file to have JSONL format, where every line is a JSON dictionary"
    ],
)
def line_blank(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """There is a blank line between examples.

    Providers read it as an example that is not JSON, and refuse the file. Remove it.
    """
    summary = dataset.summary
    between = summary.blank.count - summary.blank_tail
    lines = Lines(between, summary.blank.first[:between])
    yield from hit_lines(lines, "blank line between examples; remove it")


@fix(line_blank, Reading, "safe", "remove the line")
def _remove_blank(reading: Reading) -> Repair | None:
    return None if reading.text or reading.utf16 else Repair([])


@rule(
    "FT131",
    "line-blank-end",
    WARNING,
    Dataset,
    bad=CHAT_FILE + "\n",
    good=CHAT_FILE,
    evidence=[RUNBOOKS.with_detail("no trailing blank line")],
)
def line_blank_end(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """There are blank lines at the end of the file.

    A strict reader takes them for examples that are not JSON. Remove them, so that the file ends
    with one line end.
    """
    summary = dataset.summary
    numbers = range(summary.lines - summary.blank_tail + 1, summary.lines + 1)
    lines = Lines(len(numbers), tuple(numbers[: plan.keep]))
    yield from hit_lines(lines, "blank line at the end of the file; remove it")


fix(line_blank_end, Reading, "safe", "remove the line")(_remove_blank)


@rule(
    "FT132",
    "line-ending-crlf",
    INFO,
    Dataset,
    bad=CHAT_FILE.replace("\n", "\r\n"),
    good=CHAT_FILE,
    evidence=[
        RFC_8259.with_detail("section 2: CR is white space"),
        PUBLIC_JOBS.with_detail("two jobs with such files succeeded"),
    ],
)
def line_ending_crlf(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """Lines end with CR LF, as they do on Windows.

    It is valid and harmless, but tools that compare lines may trip over it. LF is usual.
    """
    crlf = dataset.summary.crlf
    if crlf.count:
        number = "1 line ends" if crlf.count == 1 else f"{crlf.count:,} lines end"
        yield Hit(f"{number} with CR LF, starting at line {crlf.first[0]}; LF is usual")


@fix(line_ending_crlf, Reading, "safe", "end the line with LF")
def _end_with_lf(reading: Reading) -> Repair | None:
    content = reading.raw.removesuffix(b"\r")
    return Repair([content]) if content != reading.raw and not reading.pieces else None


@rule(
    "FT133",
    "line-too-large",
    ERROR,
    Reading,
    bad=lambda: f'{{"messages": [{"0, " * (MAX_VALUES + VALUES_AT_ONCE)}0]}}',
    good=CHAT,
    evidence=[OWN_CHECK.with_detail("bounds the memory that a file can take")],
)
def line_too_large(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """The line is too large to be checked: more than 64 MB, or more than 500,000 JSON values.

    ftkit skips it, so that no file can exhaust the memory. Nobody trains on such an example. Split
    it, or make its images smaller, which providers scale down anyway.
    """
    if reading.is_too_large:
        limit = exceeded_limit(reading.raw)
        yield Hit(f"the line has more than {limit} and is not checked; split the example")


@rule(
    "FT140",
    "file-too-large",
    ERROR,
    Dataset,
    bad=CHAT_FILE,
    good=CHAT_FILE,
    context={"bytes": 9_000_000_000},
    evidence=[FILE_SIZES],
)
def file_too_large(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """The file is larger than the provider accepts.

    It cannot be uploaded. Split it, or train on a sample of it.
    """
    limits = plan.limits
    limit = limits.figure("upload_bytes") or limits.figure("file_bytes")
    if limit and dataset.summary.size > limit:
        yield Hit(
            f"the file has {dataset.summary.size / 1e9:.2f} GB, but {limits.title} accepts at most "
            f"{limit / 1e9:g} GB; split it, or train on a sample"
        )


@rule(
    "FT141",
    "file-needs-upload",
    INFO,
    Dataset,
    bad=CHAT_FILE,
    good=CHAT_FILE,
    context={"bytes": 600_000_000},
    evidence=[FILE_SIZES],
)
def file_needs_upload(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """The file is too large for the Files API.

    The provider accepts it in parts only. Send it through the Uploads API, as `ftkit submit` does.
    """
    direct = plan.limits.figure("direct_bytes") or plan.limits.figure("file_bytes")
    limit = plan.limits.figure("upload_bytes")
    if direct and limit and direct < dataset.summary.size <= limit:
        yield Hit(
            f"the file has {dataset.summary.size / 1e6:,.0f} MB, but the Files API accepts at most "
            f"{direct / 1e6:.0f} MB; send it through the Uploads API"
        )


@rule(
    "FT210",
    "examples-too-few",
    ERROR,
    Dataset,
    bad=file(*numbered_chats(9)),
    good=CHAT_FILE,
    evidence=[OPENAI_MESSAGE.with_detail("code invalid_n_examples")],
    provider_messages=[r"must have at least \d+ examples", r"invalid_n_examples"],
)
def examples_too_few(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """The training file has fewer examples than the provider accepts (10 at OpenAI).

    The job fails. Add examples. Lines that are not JSON do not count.
    """
    limit, number = plan.limits.figure("min_examples"), dataset.summary.examples
    if limit and number < limit and plan.purpose == "training":
        yield Hit(
            f"{number} example{'s' * (number != 1)}, but {plan.limits.title} needs at least "
            f"{limit}; add {limit - number}"
        )


@rule(
    "FT211",
    "examples-few",
    WARNING,
    Dataset,
    bad=file(*numbered_chats(20)),
    good=CHAT_FILE,
    evidence=[OPENAI_GUIDE.with_detail("improvements from 50 to 100 examples")],
)
def examples_few(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """The training file has fewer examples than the provider recommends (50 at OpenAI).

    A model that has seen few examples improves little. More good examples help more than any
    setting.
    """
    limits, number = plan.limits, dataset.summary.examples
    advised, limit = limits.figure("advised_examples"), limits.figure("min_examples") or 0
    if advised and limit <= number < advised and plan.purpose == "training":
        yield Hit(f"{number} examples; add more, improvements usually need at least {advised}")


def _too_many_images() -> str:
    image = image_part(PIXEL_URL)
    return file(*(user_parts(text_part(str(n)), image) for n in range(50_001)))


@rule(
    "FT212",
    "examples-too-many",
    ERROR,
    Dataset,
    bad=_too_many_images,
    good=CHAT_FILE,
    evidence=[
        OPENAI_VISION_GUIDE.with_detail("50,000 examples with images"),
        OPENAI_RFT_GUIDE.with_detail("50,000 examples for training, 1,000 for validation"),
    ],
)
def examples_too_many(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """The file has more examples than the provider accepts.

    There are limits on examples with images and on reinforcement files. The job fails. Train on a
    sample.
    """
    summary, limits = dataset.summary, plan.limits
    images = limits.figure("image_examples")
    if images and summary.with_images > images:
        yield Hit(
            f"{summary.with_images:,} examples with images, but {limits.title} accepts at most "
            f"{images:,}; train on a sample"
        )
    training = plan.purpose == "training"
    limit = limits.figure(
        "reinforcement_examples" if training else "reinforcement_validation_examples"
    )
    if plan.format == "reinforcement" and limit and summary.examples > limit:
        yield Hit(
            f"{summary.examples:,} examples, but {limits.title} accepts at most {limit:,} for "
            f"reinforcement {plan.purpose}; use a sample"
        )


@rule(
    "FT213",
    "format-method-mismatch",
    ERROR,
    Dataset,
    bad=CHAT_FILE,
    good=CHAT_FILE,
    context={"requested_formats": ("preference",)},
    evidence=[OPENAI_MESSAGE],
    provider_messages=[
        r"is in the [\w-]+ format,? but (the specified fine-tuning )?job is not using",
        r"requires the reinforcement method",
        r"examples, and the job's method is '\w+', not",
    ],
)
def format_method_mismatch(dataset: Dataset, plan: ScanPlan) -> Iterator[Hit]:
    """The format of the file does not match the training method.

    Each method takes one format: supervised chat or completions, dpo preference, reinforcement
    reinforcement. The job fails. Choose the method of the file, a model that has it, or another
    file.
    """
    limits = plan.limits
    if plan.requested_formats and plan.format not in plan.requested_formats:
        expected = " or ".join(
            f"{format} (method {METHODS[format]})" for format in plan.requested_formats
        )
        who = (
            f"{limits.model} trains on"
            if limits.model and plan.requested_formats == limits.formats
            else "the job needs"
        )
        yield Hit(
            f"the file is in the {plan.format} format (method {METHODS[plan.format]}), "
            f"but {who} {expected}"
        )
