"""Comparisons of recorded answers."""

from __future__ import annotations

import json

import pytest

from ftkit.compare.comparison import compare
from ftkit.compare.intervals import Interval
from ftkit.errors import UsageProblem
from ftkit.report.compare import Sides, cells_of, count_of, render_compare_json, render_compare_text
from support.recordings import calling, prompt, said


def test_a_comparison_holds_both_against_the_reference_and_each_other() -> None:
    prompts = [
        prompt(1, said("x")),
        prompt(2, said("y")),
        prompt(3, said("z")),
        prompt(4, said("w")),
    ]
    found = compare(
        prompts,
        [said("x"), said("y"), said("z"), None],
        [said("x"), said("q"), said("r"), said("w")],
    )
    exact = next(row for row in found.rows if row.name == "exact")
    assert {name: figure.mean for name, figure in exact.figures.items()} == {
        "a": 1,
        "b": pytest.approx(1 / 3),
        "difference": pytest.approx(2 / 3),
        "between": pytest.approx(1 / 3),
    }
    assert found.left_out == (4,)
    assert [pair.prompt.number for pair in found.pairs] == [2, 3, 1]
    assert found.pairs[0].scores["exact"] == (1, 0)


def test_without_references_a_is_held_against_b_alone() -> None:
    found = compare(
        [prompt(1), prompt(2)], [said('{"a": 1}'), said("x")], [said('{"a": 2}'), said("x")]
    )
    rows = {row.name: row.figures for row in found.rows}
    assert found.references == 0
    assert set(rows["exact"]) == {"between"}
    assert rows["json_fields"]["between"] == Interval(1, 0, None, None)
    assert set(rows["characters"]) == {"a", "b", "difference"}
    assert rows["json_valid"]["a"].n == 1
    assert "A and B are held" not in render_compare_text(found, Sides("a", "b", "p"))


def test_a_tool_called_for_nothing_counts_for_the_one_that_called_it() -> None:
    found = compare(
        [prompt(1, said("no tool")), prompt(2, said("x"))],
        [calling(("f", "{}")), said("x")],
        [said("no tool"), said("x")],
    )
    names = next(row for row in found.rows if row.name == "tool_names")
    assert [names.figures[side].mean for side in ("a", "b")] == [0, 1]
    assert names.figures["a"].n == 1


def test_a_group_is_compared_with_all_others() -> None:
    prompts = [
        prompt(number, said("x"), metadata={"kind": "hard" if number % 3 == 0 else "easy"})
        for number in range(1, 61)
    ]
    answers = [said("x" if number % 3 else "bad") for number in range(1, 61)]
    found = compare(prompts, answers, [said("x")] * 60, group_by="metadata.kind")
    easy, hard = found.groups
    assert [(group.value, group.prompts) for group in found.groups] == [("easy", 40), ("hard", 20)]
    row = next(row for row in hard.rows if row.name == "exact")
    assert row.figures["a"].mean == 0
    assert row.rest["a"] == Interval(20, -1, -1, -1)
    assert row.rest["b"] == Interval(20, 0, 0, 0)
    assert next(row for row in easy.rows if row.name == "exact").rest["a"].mean == 1


@pytest.mark.parametrize(
    ("path", "says"),
    [("nothing", "all prompts have the same value"), ("id", "there are 101 different values")],
)
def test_one_group_alone_and_too_many_are_refused(path: str, says: str) -> None:
    with pytest.raises(UsageProblem, match=says):
        compare(
            [prompt(number, id=number) for number in range(101)],
            [said("x")] * 101,
            [said("x")] * 101,
            group_by=path,
        )


def test_many_groups_are_listed_as_far_as_fits_and_in_full_in_json() -> None:
    prompts = [
        prompt(number, said("x"), topic=f"{number % 30:02}\x1b[31m" + "long" * 20)
        for number in range(1, 91)
    ]
    found = compare(prompts, [said("x")] * 90, [said("y")] * 90, group_by="topic")
    text = render_compare_text(found, Sides("a", "b", "p"))
    assert "the 20 largest of 30 groups" in text
    assert "\x1b[31m" not in text
    assert len(json.loads(render_compare_json(found, Sides("a", "b", "p")))["groups"]) == 30


def test_a_figure_over_other_prompts_than_its_row_says_so() -> None:
    asked = [prompt(number, None if number else said("0")) for number in range(3)]
    answers = [said(str(number)) for number in range(3)]
    found = compare(asked, answers, answers)
    exact = next(row for row in found.rows if row.name == "exact")
    assert count_of(exact.figures) == exact.figures["a"].n == 1
    assert list(cells_of(exact, ["a", "between"])) == ["100.0% [-]", "100.0% [100.0, 100.0] (n 3)"]
