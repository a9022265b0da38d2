"""Reports of a comparison: text, JSON and the HTML page."""

from __future__ import annotations

import html
import json
import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.compare.comparison import Comparison, compare_answers
from ftkit.compare.measures import distance
from ftkit.compare.recordings import (
    Prompt,
    match,
    read_prompts,
    read_recordings,
)
from ftkit.compare.replies import read_reply
from ftkit.errors import FileError
from ftkit.pages.page import write_html
from ftkit.report.compare import Sides, render_compare_json, render_compare_text
from ftkit.report.compare_page import MAX_BYTES, marked, render_compare_html
from ftkit.report.compare_verdict import compare_verdict, names_of
from ftkit.report.excerpts import Piece
from support.browser import HOSTILE_TEXTS, TagCollector, needs_browser, rendered_dom
from support.paths import GOLDEN, ROOT
from support.recordings import assistant_message, numbered_prompt, tool_call_message

SAMPLES = ROOT / "samples" / "compare"


def sample() -> tuple[Comparison, Sides]:
    asked = read_prompts(str(SAMPLES / "prompts.jsonl"))
    answers = [
        match(asked, read_recordings(str(SAMPLES / f"{name}.jsonl"))) for name in ("tuned", "base")
    ]
    a, b = ([one.answer for one in side if one] for side in answers)
    return compare_answers(asked, a, b, group_by="metadata.headline", encoding="o200k_base"), Sides(
        "tuned", "base", "prompts.jsonl"
    )


@pytest.mark.parametrize(
    ("name", "render"),
    [("compare.txt", render_compare_text), ("compare.json", render_compare_json)],
)
def test_the_sample_is_reported_as_before(name: str, render: Callable[..., str]) -> None:
    assert click.unstyle(render(*sample())) == (GOLDEN / name).read_text("utf-8")


def test_the_report_fits_a_terminal_of_80_columns() -> None:
    shown = click.unstyle(render_compare_text(*sample(), width=80))
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert "%" in shown


def test_stacked_groups_are_below_the_name_of_their_measure() -> None:
    comparison, sides = sample()
    shown = click.unstyle(render_compare_text(comparison, sides, width=80)).splitlines()
    names = [row.title for row in comparison.groups[0].rows]
    headings = [line.strip().removesuffix(":") for line in shown if line.endswith(":")]
    assert headings == ["JSON fields", *names]
    assert shown[shown.index(f"  {names[0]}:") + 1] == f"  {comparison.groups[0].value}"


def hostile() -> str:
    """A page about answers that would like to be more than text, everywhere that text comes from outside."""
    asked = [
        Prompt(
            number,
            [{"role": text, "content": text}, {"role": "user", "content": text}],
            {},
            assistant_message(text + "!"),
            {"topic": text},
        )
        for number, text in enumerate(HOSTILE_TEXTS, 1)
    ]
    a = [
        {**assistant_message(text), "tool_calls": [{"function": {"name": text, "arguments": text}}]}
        for text in HOSTILE_TEXTS
    ]
    b = [assistant_message(json.dumps({text: text}), refusal=text) for text in HOSTILE_TEXTS]
    return render_compare_html(
        compare_answers(asked, a, b, group_by="topic"),
        Sides(HOSTILE_TEXTS[0], HOSTILE_TEXTS[1], HOSTILE_TEXTS[2]),
    )


@pytest.mark.parametrize(
    "page", [lambda: render_compare_html(*sample()), hostile], ids=["sample", "hostile"]
)
def test_the_page_is_whole_and_needs_nothing_from_elsewhere(page: Callable[[], str]) -> None:
    tags = TagCollector(page()).tags
    names = [name for name, _ in tags]
    assert names.count("script") == names.count("style") == names.count("h1") == 1
    assert not {"img", "link", "iframe"} & set(names)
    for _, attributes in tags:
        assert not {"src", "style", "onload", "onerror"} & set(attributes)
        assert attributes.get("href", "#main") == "#main"
    policy = next(
        attributes["content"]
        for name, attributes in tags
        if name == "meta" and "http-equiv" in attributes
    )
    assert policy is not None
    assert re.fullmatch(
        r"default-src 'none'; img-src data:; style-src 'sha256-\S+'; script-src 'sha256-\S+'; "
        r"base-uri 'none'; form-action 'none'",
        policy,
    )


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=3))
def test_any_answers_make_a_page_with_one_script(texts: list[tuple[str, str]]) -> None:
    asked = [numbered_prompt(number) for number in range(len(texts))]
    comparison = compare_answers(
        asked,
        [assistant_message(one) for one, _ in texts],
        [assistant_message(two) for _, two in texts],
    )
    tags = [
        name for name, _ in TagCollector(render_compare_html(comparison, Sides("a", "b", "p"))).tags
    ]
    assert tags.count("script") == 1
    assert tags.count("article") == sum(one != two for one, two in texts)


def test_a_page_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path, page = tmp_path / "page.html", render_compare_html(*sample())
    write_html(path, page)
    assert path.read_text("utf-8") == page
    with pytest.raises(FileError, match="cannot write"):
        write_html(tmp_path, page)
    assert os.listdir(tmp_path) == ["page.html"]


def test_answers_too_long_to_be_marked_are_shown_unmarked() -> None:
    words = random.Random(1).choices(["one", "two"], k=5000)
    comparison = compare_answers(
        [numbered_prompt(1)],
        [assistant_message(" ".join(words))],
        [assistant_message(" ".join(reversed(words)))],
    )
    page = render_compare_html(comparison, Sides("a", "b", "p"))
    assert "<mark>" not in page
    assert " ".join(words) in page


@needs_browser
@pytest.mark.parametrize(
    "page", [lambda: render_compare_html(*sample()), hostile], ids=["sample", "hostile"]
)
def test_nothing_in_the_page_runs_but_its_script(page: Callable[[], str], tmp_path: Path) -> None:
    before, shown = page(), rendered_dom(page(), tmp_path)
    title = re.compile("<title>(.*)</title>", re.DOTALL)
    titles = [html.unescape(title.findall(text)[0]) for text in (before, shown)]
    assert titles[0] == titles[1]
    count = [name for name, _ in TagCollector(before).tags].count("article")
    assert [name for name, _ in TagCollector(shown).tags].count("article") == count


def compared(a: str, b: str, reference: str | None, times: int = 20) -> Comparison:
    """Answers A and B to as many prompts."""
    expected = assistant_message(reference) if reference is not None else None
    prompts = [numbered_prompt(number, expected) for number in range(times)]
    answers = [[assistant_message(text)] * times for text in (a, b)]
    return compare_answers(prompts, *answers)


@pytest.mark.parametrize(
    ("comparison", "headline", "tone"),
    [
        (
            compared("yes", "no", "yes"),
            "m1 is better than m2 on exact match, chrF, BLEU (at 95% confidence).",
            "good",
        ),
        (
            compared("no", "yes", "yes"),
            "m2 is better than m1 on exact match, chrF, BLEU (at 95% confidence).",
            "good",
        ),
        (
            compared("no", "no", "yes"),
            "No clear winner: no difference in quality is certain at 95%.",
            "warning",
        ),
        (
            compared("no", "yes", None),
            "Which one is better is open: no prompt has a reference to compare with.",
            "warning",
        ),
    ],
)
def test_the_verdict_says_who_is_better_on_what(
    comparison: Comparison, headline: str, tone: str
) -> None:
    verdict = compare_verdict(comparison, Sides("a.jsonl (m1)", "b.jsonl (m2)", "p"))
    assert (verdict.title, verdict.headline, verdict.tone) == ("m1 vs. m2", headline, tone)


def test_the_verdict_may_be_divided() -> None:
    prompts = [numbered_prompt(number, assistant_message("a b c d e f g")) for number in range(20)]
    a = [assistant_message("a b c d e f g" if number % 2 else "zzz") for number in range(20)]
    b = [assistant_message("a b c d e f h")] * 20
    headline = compare_verdict(compare_answers(prompts, a, b), Sides("A", "B", "p")).headline
    assert headline.startswith("A is better on exact match; B is better on ")


def test_two_files_of_one_model_keep_their_names() -> None:
    assert names_of(Sides("a.jsonl (m)", "b.jsonl (m)", "p")) == ("a.jsonl (m)", "b.jsonl (m)")


@pytest.mark.parametrize(
    ("a", "b", "far"),
    [
        (assistant_message("x"), assistant_message("x"), 0),
        (assistant_message("x"), assistant_message("y"), 60),
        (assistant_message("x"), assistant_message(refusal="no"), 100),
        (assistant_message(refusal="no"), assistant_message(refusal="never"), 0),
        (tool_call_message(("f", "{}")), tool_call_message(("f", "[]")), 100),
    ],
)
def test_the_distance_of_two_answers(a: dict[str, Any], b: dict[str, Any], far: float) -> None:
    similarity = 40.0 if a["content"] or b["content"] else float("nan")
    assert distance(read_reply(a), read_reply(b), similarity) == far


def test_the_page_holds_each_group_against_the_others() -> None:
    asked = [
        numbered_prompt(number, assistant_message("0"), metadata={"part": number % 2})
        for number in range(8)
    ]
    answers = [assistant_message(str(number % 2)) for number in range(8)]
    page = render_compare_html(
        compare_answers(asked, answers, answers, group_by="metadata.part"), Sides("A", "B", "P")
    )
    assert ">vs. rest</th>" in page
    assert "+100.0% [+100.0, +100.0]*" in page


def render_answers(one: str, two: str) -> str:
    """Return the page of a comparison of two answers to one prompt."""
    prompt = numbered_prompt(0, assistant_message("0"))
    comparison = compare_answers([prompt], [assistant_message(one)], [assistant_message(two)])
    return render_compare_html(comparison, Sides("A", "B", "P"))


def test_a_page_with_long_texts_stays_small_and_says_what_it_leaves_out() -> None:
    earlier = [{"role": "user", "content": '"' * 100_000}] * 50
    asked = [
        Prompt(
            number, [*earlier, {"role": "user", "content": "<" * 9_000}], {}, None, {"g": "&" * 999}
        )
        for number in range(1, 31)
    ]
    a, b = ([assistant_message(mark * 100_000)] * 30 for mark in "'&")
    page = render_compare_html(compare_answers(asked, a, b), Sides("A", "B", "P"))
    assert len(page.encode()) <= MAX_BYTES
    shown = re.search(r"30 of 30 pairs differ; the (\d+) that differ most are on this page", page)
    assert shown
    assert page.count("<article") == int(shown[1]) < 30
    assert "50 earlier messages; the last 20 are shown" in page
    assert "… (1,000 more characters)" in page
    assert "… (92,000 more characters)" in page


def test_answers_that_go_round_in_circles_make_a_page_soon() -> None:
    started = time.perf_counter()
    for one, two in [
        ("!" * 1990, "!?" * 1000),
        ("yes no " * 990, "no yes yes " * 660),
        ("!" * 220, "!?" * 220),
    ]:
        render_answers(one, two)
    assert time.perf_counter() - started < 5


def test_long_answers_without_a_common_word_make_a_page_soon() -> None:
    one, two = (" ".join(f"{letter}{number}" for number in range(950)) for letter in "ab")
    started = time.perf_counter()
    for _ in range(10):
        render_answers(one, two)
    assert time.perf_counter() - started < 2


def test_long_answers_with_alternating_common_words_make_a_page_soon() -> None:
    one, two = (
        " ".join(f"w{number} {letter}{number}" for number in range(25_000)) for letter in "ab"
    )
    started = time.perf_counter()
    assert marked(one, two) == ([Piece(one)], [Piece(two)])
    assert time.perf_counter() - started < 5
