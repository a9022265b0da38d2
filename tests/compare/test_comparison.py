"""Comparisons of recorded answers."""

from __future__ import annotations

import json

import pytest

from ftkit.compare.bootstrap import Interval
from ftkit.compare.comparison import compare_answers
from ftkit.errors import UsageError
from ftkit.report.compare import Sides, cells_of, count_of, render_compare_json, render_compare_text
from support.recordings import assistant_message, numbered_prompt, tool_call_message


def test_a_comparison_holds_both_against_the_reference_and_each_other() -> None:
    prompts = [
        numbered_prompt(1, assistant_message("x")),
        numbered_prompt(2, assistant_message("y")),
        numbered_prompt(3, assistant_message("z")),
        numbered_prompt(4, assistant_message("w")),
    ]
    comparison = compare_answers(
        prompts,
        [assistant_message("x"), assistant_message("y"), assistant_message("z"), None],
        [
            assistant_message("x"),
            assistant_message("q"),
            assistant_message("r"),
            assistant_message("w"),
        ],
    )
    exact = next(row for row in comparison.rows if row.name == "exact")
    assert {name: figure.mean for name, figure in exact.figures.items()} == {
        "a": 1,
        "b": pytest.approx(1 / 3),
        "difference": pytest.approx(2 / 3),
        "between": pytest.approx(1 / 3),
    }
    assert comparison.left_out == (4,)
    assert [pair.prompt.number for pair in comparison.pairs] == [2, 3, 1]
    assert comparison.pairs[0].scores["exact"] == (1, 0)


def test_without_references_a_is_held_against_b_alone() -> None:
    comparison = compare_answers(
        [numbered_prompt(1), numbered_prompt(2)],
        [assistant_message('{"a": 1}'), assistant_message("x")],
        [assistant_message('{"a": 2}'), assistant_message("x")],
    )
    rows = {row.name: row.figures for row in comparison.rows}
    assert comparison.references == 0
    assert set(rows["exact"]) == {"between"}
    assert rows["json_fields"]["between"] == Interval(1, 0, None, None)
    assert set(rows["characters"]) == {"a", "b", "difference"}
    assert rows["json_valid"]["a"].n == 1
    assert "compared with the reference" not in render_compare_text(
        comparison, Sides("a", "b", "p")
    )


def test_a_tool_called_for_nothing_counts_for_the_one_that_called_it() -> None:
    comparison = compare_answers(
        [
            numbered_prompt(1, assistant_message("no tool")),
            numbered_prompt(2, assistant_message("x")),
        ],
        [tool_call_message(("f", "{}")), assistant_message("x")],
        [assistant_message("no tool"), assistant_message("x")],
    )
    names = next(row for row in comparison.rows if row.name == "tool_names")
    assert [names.figures[side].mean for side in ("a", "b")] == [0, 1]
    assert names.figures["a"].n == 1


def test_a_group_is_compared_with_all_others() -> None:
    prompts = [
        numbered_prompt(
            number, assistant_message("x"), metadata={"kind": "hard" if number % 3 == 0 else "easy"}
        )
        for number in range(1, 61)
    ]
    answers = [assistant_message("x" if number % 3 else "bad") for number in range(1, 61)]
    comparison = compare_answers(
        prompts, answers, [assistant_message("x")] * 60, group_by="metadata.kind"
    )
    easy, hard = comparison.groups
    assert [(group.value, group.prompts) for group in comparison.groups] == [
        ("easy", 40),
        ("hard", 20),
    ]
    row = next(row for row in hard.rows if row.name == "exact")
    assert row.figures["a"].mean == 0
    assert row.rest["a"] == Interval(20, -1, -1, -1)
    assert row.rest["b"] == Interval(20, 0, 0, 0)
    assert next(row for row in easy.rows if row.name == "exact").rest["a"].mean == 1


@pytest.mark.parametrize(
    ("path", "says"),
    [("nothing", "all prompts have the same value"), ("id", "have 101 different values")],
)
def test_one_group_alone_and_too_many_are_refused(path: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        compare_answers(
            [numbered_prompt(number, id=number) for number in range(101)],
            [assistant_message("x")] * 101,
            [assistant_message("x")] * 101,
            group_by=path,
        )


def test_many_groups_are_listed_as_far_as_fits_and_in_full_in_json() -> None:
    prompts = [
        numbered_prompt(
            number, assistant_message("x"), topic=f"{number % 30:02}\x1b[31m" + "long" * 20
        )
        for number in range(1, 91)
    ]
    comparison = compare_answers(
        prompts, [assistant_message("x")] * 90, [assistant_message("y")] * 90, group_by="topic"
    )
    text = render_compare_text(comparison, Sides("a", "b", "p"))
    assert "the 20 largest of 30 groups" in text
    assert "\x1b[31m" not in text
    assert len(json.loads(render_compare_json(comparison, Sides("a", "b", "p")))["groups"]) == 30


def test_a_figure_over_other_prompts_than_its_row_says_so() -> None:
    asked = [
        numbered_prompt(number, None if number else assistant_message("0")) for number in range(3)
    ]
    answers = [assistant_message(str(number)) for number in range(3)]
    comparison = compare_answers(asked, answers, answers)
    exact = next(row for row in comparison.rows if row.name == "exact")
    assert count_of(exact.figures) == exact.figures["a"].n == 1
    assert list(cells_of(exact, ["a", "between"])) == ["100.0% [-]", "100.0% [100.0, 100.0] (n 3)"]
