"""Files that are not JSON Lines of a known format at all. The first of these findings ends the reading of the file."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit._text import excerpt
from ftkit.dataset.detect import FOREIGN, Head, classify, first_texts, looks_like_csv
from ftkit.dataset.formats import FORMATS
from ftkit.dataset.lenient_json import Reading
from ftkit.rules.base import ERROR, Hit, ScanPlan, rule
from ftkit.rules.json_lines import GOOD

LINE = GOOD + "\n"


@rule(
    "FT101",
    "file-empty",
    ERROR,
    "file",
    bad=" \n",
    good=LINE,
    evidence="together 1.5; the service answers invalid_n_examples",
)
def file_empty(head: Head, plan: ScanPlan) -> Iterator[Hit]:
    """The file has no bytes, or only white space."""
    if head.complete and not head.data.strip():
        yield Hit("the file is empty; write one example on each line")


@rule(
    "FT102",
    "file-compressed",
    ERROR,
    "file",
    bad=b"\x1f\x8b\x08\x00",
    good=LINE,
    evidence="no service checks it; people upload .jsonl.gz and are told that line 1 is not JSON",
)
def file_compressed(head: Head, plan: ScanPlan) -> Iterator[Hit]:
    """The bytes are those of a compressed or binary file: gzip, zip, Parquet, Excel.

    Unpack or export it as JSON Lines. ftkit reads gzip where the name ends in `.gz`; the services do not.
    """
    if head.magic:
        what, action = head.magic
        yield Hit(f"the file is {what}, not text; {action}")


@rule(
    "FT103",
    "json-array-file",
    ERROR,
    "file",
    bad="[" + GOOD + ",\n" + GOOD + "]\n",
    good=LINE,
    evidence="service message, HTTP 400 at upload",
    says=[r"Expected file to have JSONL format", r"Line 1 is not a dictionary"],
)
def json_array_file(head: Head, plan: ScanPlan) -> Iterator[Hit]:
    """The file is one JSON array of examples, not one example on each line.

    Write each element of the array on a line of its own: `jq -c '.[]' IN > OUT.jsonl`.
    """
    start = head.data.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start.startswith(b"["):
        return
    first = head.readings[0]
    alone = not first.parsed or (head.complete and len(head.readings) == 1 and bool(first.value))
    inside = start[1:].lstrip()[:1]
    if alone and (inside == b"{" or (inside == b"" and not head.complete)):
        yield Hit(
            "the file is a JSON array; put each example on its own line: jq -c '.[]' IN > OUT.jsonl"
        )


@rule(
    "FT104",
    "json-pretty-printed",
    ERROR,
    "file",
    bad=GOOD.replace(", ", ",\n  ") + "\n",
    good=LINE,
    evidence="service message; openai-python#426",
    says=[r"Expected file to have JSONL format", r"HINT: line starts with: ['\"]\{"],
)
def json_pretty_printed(head: Head, plan: ScanPlan) -> Iterator[Hit]:
    """Examples are spread over several lines.

    JSON Lines take one example on one line: `jq -c . IN > OUT.jsonl`, or `json.dumps` without `indent`.
    """
    if isinstance(head.spread, dict):
        yield Hit(
            "examples are spread over several lines; put each on one line: jq -c . IN > OUT.jsonl"
        )


@rule(
    "FT201",
    "format-unknown",
    ERROR,
    "file",
    good=LINE,
    bad='{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]}\n',
    evidence="service message",
    says=[r"Unexpected file format"],
)
def format_unknown(head: Head, plan: ScanPlan) -> Iterator[Hit]:
    """The lines have none of the four formats.

    ftkit knows the shapes of ShareGPT, Alpaca, Gemini, Bedrock, Batch API requests, CSV and plain text when it sees them, and
    says which one it is and what to turn it into.
    """
    if not head.readings or head.kind in FORMATS:
        return
    if head.kind:
        name, action = FOREIGN[head.kind]
        yield Hit(f"the lines have the {name} shape, which fine-tuning does not take; {action}")
    elif head.objects:
        keys = ", ".join(sorted(head.objects[0])[:8]) or "no keys"
        yield Hit(
            f"the lines have none of the formats {', '.join(FORMATS)}; the first has the keys: {excerpt(keys)}"
        )
    elif (
        all(text[:1] not in ("{", "[") for text in first_texts(head)) and not head.readings[0].utf16
    ):
        table = looks_like_csv(next(first_texts(head)))
        if table:
            yield Hit(
                f'the file is {table}; turn each row into a line of JSON: {{"messages": [...]}}'
            )
        elif not any(reading.parsed for reading in head.readings):
            yield Hit(
                'the file is text, not JSON; each line must be one example, e.g. {"messages": [...]}'
            )


_KEYS = {
    "chat": ("messages",),
    "reinforcement": ("messages",),
    "completions": ("prompt", "completion"),
    "preference": ("input", "preferred_output"),
}
"""What a line needs to be taken for one of another format, rather than for a faulty one of this format."""


@rule(
    "FT202",
    "format-mixed",
    ERROR,
    "reading",
    good=LINE,
    whole_file=True,
    bad=LINE + LINE.replace("Hi", "Hey") + '{"prompt": "Hi", "completion": " Hello!"}\n',
    evidence="together 1.5 refuses it",
)
def format_mixed(reading: Reading, plan: ScanPlan) -> Iterator[Hit]:
    """A line has another format than the rest of the file.

    A file is trained with one method, so all its lines have one format. Split the file.
    """
    value = reading.value
    if not isinstance(value, dict) or (
        "messages" in value and plan.format in ("chat", "reinforcement")
    ):
        return
    kind = classify(value)
    whole = kind in FOREIGN or all(key in value for key in _KEYS.get(kind or "", ()))
    if kind and whole and kind != plan.format:
        name = FOREIGN[kind][0] if kind in FOREIGN else kind
        yield Hit(
            f"this line has the {name} shape, the file is {plan.format}; keep one format in a file"
        )
