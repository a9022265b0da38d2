"""The HTML report on data: verdicts, excerpts, histograms, and its size."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from ftkit import FileReport, Finding, Report
from ftkit.estimation.quote import quote
from ftkit.report.data_page import (
    MAX_BYTES,
    FileData,
    Heading,
    excerpts,
    lines_to_show,
    render_data_page,
)
from ftkit.report.data_verdict import Verdict, estimate_verdict, validation_verdict
from ftkit.report.excerpts import MARKED_LENGTH, Piece, cut_around, excerpt_of
from ftkit.report.histogram import BINS, histogram_bars
from ftkit.rules import RULES
from support.browser import HOSTILE_TEXTS, TagCollector
from support.commands import run_ftkit
from support.examples import chat_lines
from support.fixture_types import Write
from support.paths import SAMPLES


def finding(path: str = "$", message: str = "wrong", line: int = 1, column: int = 0) -> Finding:
    return Finding("FT101", "role-unknown", "error", message, line, column, path)


def line(*texts: str) -> bytes:
    roles = ("system", "user", "assistant")
    messages = [{"role": roles[index % 3], "content": text} for index, text in enumerate(texts)]
    return json.dumps({"messages": messages}).encode()


def test_the_place_of_a_finding_is_marked_with_what_is_around_it() -> None:
    row = finding("$.messages[4].content", "contains 'secret' words")
    example = excerpt_of(line(*"abcd", "a secret here", *"fghi"), 7, [row])
    assert example.line == 7
    assert [turn.left_out or turn.role for turn in example.turns] == [
        2,
        "assistant",
        "system",
        "user",
        "assistant",
        "system",
        2,
    ]
    marked = example.turns[3]
    assert marked.notes == ("contains 'secret' words",)
    assert marked.pieces == (Piece("a "), Piece("secret", True), Piece(" here"))


def test_a_long_text_is_cut_around_the_mark() -> None:
    text = "x" * 10_000 + "secret" + "y" * 10_000
    pieces = cut_around(text, (10_000, 10_006), MARKED_LENGTH)
    assert [piece.text for piece in pieces if piece.is_marked] == ["secret"]
    assert sum(len(piece.text) for piece in pieces) == MARKED_LENGTH + 2
    assert "".join(piece.text for piece in cut_around(text, None, 20)) == "x" * 20 + "…"


def test_findings_outside_of_messages_are_shown_too() -> None:
    value = json.loads(line("a", "b", "c")) | {"tools": [1], "extra": 2}
    rows = [finding("$.extra", "unknown key"), finding("$", "file of its own")]
    example = excerpt_of(json.dumps(value).encode(), 1, rows)
    assert example.notes == ("file of its own",)
    assert [(turn.role, turn.pieces[0].text) for turn in example.turns if turn.notes] == [
        ("extra", "2")
    ]


@pytest.mark.parametrize(
    ("raw", "column", "shown"),
    [
        (b'{"messages": [}', 15, "}"),
        (b"\xff\xfe", 0, None),
        (b"", 0, None),
        (b"[1, 2]", 0, None),
        (b'{"a": NaN}', 0, None),
    ],
)
def test_a_line_that_is_no_example_is_shown_as_it_is(
    raw: bytes, column: int, shown: str | None
) -> None:
    (turn,) = excerpt_of(raw, 3, [finding(column=column)]).turns
    assert turn.is_code
    assert turn.notes == ("wrong",)
    assert [piece.text for piece in turn.pieces if piece.is_marked] == ([shown] if shown else [])


@pytest.mark.parametrize(
    "value",
    [
        {"messages": [1, None, {"role": []}, {"role": "user", "content": [{"text": "t"}, 3]}]},
        {"messages": [{"role": "assistant", "tool_calls": [1, {"function": {"arguments": "{}"}}]}]},
        {"input": {"messages": [{"role": "user", "content": "q"}]}, "preferred_output": [{}]},
        {"prompt": "p", "completion": "c"},
        {"messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}]},
    ],
)
def test_any_value_has_an_excerpt(value: object) -> None:
    example = excerpt_of(json.dumps(value).encode(), 1, [finding("$.messages[0]")])
    assert all(turn.pieces or turn.left_out for turn in example.turns)


def test_an_excerpt_of_a_line_with_many_messages_and_findings_takes_linear_time() -> None:
    raw = line(*["x"] * 100_000)
    rows = [finding(f"$.messages[{number}].content") for number in range(10_000)]
    started = time.process_time()
    example = excerpt_of(raw, 1, rows)
    assert time.process_time() - started < 5
    assert example.turns[-1].left_out > 99_900


def test_a_histogram_counts_all_and_marks_what_is_cut() -> None:
    bars = histogram_bars({10: 5, 60: 3, 100: 2}, limit=70)
    assert bars
    assert len(bars.bars) == BINS
    assert not bars.is_logarithmic
    assert sum(bar.count for bar in bars.bars) == 10
    assert [bar.count for bar in bars.bars if bar.is_cut] == [2]
    assert bars.limit == pytest.approx(70 / (4 * BINS))
    assert bars.labels == ("0", "32", "64", "96", "128")


def test_a_skewed_histogram_has_a_logarithmic_scale() -> None:
    bars = histogram_bars({50: 1000, 60: 500, 100_000: 1}, limit=200_000)
    assert bars
    assert bars.is_logarithmic
    assert bars.limit is None
    assert sum(bar.count for bar in bars.bars) == 1501
    assert bars.bars[0].count
    assert bars.bars[-1].count == 1
    assert histogram_bars({}) is None


def report(errors: int = 0, warnings: int = 0, infos: int = 0, ok: bool = True) -> Report:
    file = FileReport("a.jsonl", "chat", 3, 3, 9, errors, warnings, infos, {}, ())
    return Report(ok, "openai", None, (file,))


@pytest.mark.parametrize(
    ("result", "headline", "tone"),
    [
        (report(), "All clear: no findings in 3 examples.", "good"),
        (report(infos=1), "All clear: 1 remark in 3 examples.", "good"),
        (
            report(warnings=2),
            "Ready to train: no errors in 3 examples, but 2 warnings to look at.",
            "warning",
        ),
        (report(errors=1, ok=False), "Not ready to train: 1 error to fix.", "error"),
        (
            report(warnings=1, ok=False),
            "Not ready to train: 1 warning, and warnings count as failures.",
            "error",
        ),
    ],
)
def test_the_verdict_is_one_sentence(result: Report, headline: str, tone: str) -> None:
    verdict = validation_verdict(result, "a.jsonl")
    assert (verdict.headline, verdict.tone) == (headline, tone)


def test_the_verdict_of_an_estimate_is_the_cost() -> None:
    path = str(SAMPLES / "marv.jsonl")
    one = estimate_verdict(quote(path, ["gpt-4.1-2025-04-14"]), "t")
    assert one.headline.startswith("Training gpt-4.1-2025-04-14 costs about $")
    assert "3 epochs of 3,840 tokens" in one.details[0]
    assert estimate_verdict(quote(path), "t").headline.startswith("Training costs from $")
    unknown = estimate_verdict(quote(path, provider="nebius"), "t")
    assert unknown.tone == "warning"
    assert unknown.headline == "The cost of training at nebius is unknown."


@pytest.mark.parametrize("files", [1, 20])
def test_a_report_stays_small_whatever_is_in_it(files: int) -> None:
    """200 findings of each of 60 rules, all of whose characters are escaped."""
    text = "<\u202e" * 500
    rows = tuple(
        Finding("FT1", name, "error", text, number, 0, f"$.messages[{number}].{text}")
        for name in list(RULES)[:60]
        for number in range(1, 201)
    )
    counts = dict.fromkeys({row.rule for row in rows}, 100_000)
    file = FileReport("big.jsonl", "chat", 200_000, 200_000, 1, len(rows), 0, 0, counts, rows)
    raw = line(*[text * 20] * 9)
    chosen = lines_to_show(file)
    examples = excerpts(((number, raw) for number in range(1, 201)), chosen)
    heading = Heading("validate", Verdict("t", "h", (), "error"), (), "ftkit")
    page = render_data_page(heading, [FileData(file, examples=examples)] * files)
    assert MAX_BYTES / 10 < len(page.encode()) <= MAX_BYTES
    assert "\u202e" not in page


def test_a_report_is_written_with_the_usual_output(write: Write, tmp_path: Path) -> None:
    path = str(write(chat_lines(60)))
    done = run_ftkit("validate", path, "--html", "page one.html")
    assert (done.returncode, done.stderr) == (0, "wrote page one.html\n")
    assert done.stdout == run_ftkit("validate", path).stdout
    page = Path("page one.html").read_text("utf-8")
    assert "All clear: no findings in 60 examples." in page
    assert "ftkit validate" in page


def test_the_report_of_standard_input_names_it_so(write: Write) -> None:
    text = write(chat_lines(60)).read_text()
    done = run_ftkit("validate", "-", "--html", "x.html", input=text)
    assert done.returncode == 0
    page = Path("x.html").read_text("utf-8")
    assert "<h1>-</h1>" in page
    assert "/ftkit-" not in page


@pytest.mark.parametrize("command", ["validate", "estimate"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--open"], "--open needs --html"),
        (["--html", "data.jsonl"], "--html data.jsonl would replace an input; name another file"),
        (["--html", "link.html"], "--html link.html would replace an input; name another file"),
        (["--html", "no/such/x.html"], "cannot write no/such/x.html: no such file or directory"),
        (["--html", "."], "cannot write .: is a directory"),
        (["--html", "-"], "--html must name a file, not -"),
        (
            ["--html", "pyproject.toml"],
            "--html pyproject.toml would replace a settings file; name another file",
        ),
        (
            ["--html", "./new", "--output-file", "new"],
            "--html and --output-file must be different files, not both ./new",
        ),
    ],
)
def test_a_report_that_cannot_be_written_is_refused_before_the_work(
    command: str, options: list[str], message: str, write: Write
) -> None:
    path = write(chat_lines(60))
    Path("link.html").symlink_to(path)
    Path("pyproject.toml").write_text("")
    before = path.read_bytes()
    done = run_ftkit(command, "data.jsonl", *options)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"ftkit: {message}\n")
    assert path.read_bytes() == before
    assert not os.path.exists("new")


def test_no_value_of_a_file_is_markup_in_its_report(write: Write) -> None:
    lines = [
        json.dumps(
            {
                "messages": [
                    {"role": text, "content": text},
                    {"role": "user", "content": text},
                    {"role": "assistant", "content": text, text: text},
                ],
                text: text,
            }
        ).encode()
        for text in HOSTILE_TEXTS
    ]
    lines += [text.encode("utf-8", "replace") for text in HOSTILE_TEXTS]
    run_ftkit("validate", str(write(lines)), "--html", "x.html")
    page = Path("x.html").read_text("utf-8")
    tags = TagCollector(page).tags
    assert [name for name, _ in tags].count("script") == 1
    assert not {"img", "svg/onload=document.title='pwned'"} & {name for name, _ in tags}
    assert all(attributes.get("href", "#").startswith("#") for _, attributes in tags)  # type: ignore[union-attr]
    assert "\u202e" not in page
    assert "\x1b" not in page
