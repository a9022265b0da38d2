"""Splits by hash: stable, without leaks, and exact where that is asked for."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit.errors import FileError, UsageError
from ftkit.prepare.similarity.near import BUCKET
from ftkit.prepare.split.split import Split, split
from ftkit.report.prepare import render_leaks
from support.property_tests import example_count
from support.similarity import similar_pairs, similar_texts, similarity, template_texts

Row = dict[str, Any]


def qa(prompt: str, completion: str = "", **more: Any) -> Row:
    return {"prompt": prompt, "completion": completion, **more}


def numbered(count: int, rows_each: int = 1) -> list[Row]:
    return [qa(f"Question {n // rows_each}", str(n)) for n in range(count)]


def subsets_of(result: Split) -> dict[str, str]:
    """The subset of each row, by its JSON text."""
    return {
        json.dumps(row, sort_keys=True): subset for subset in result.sizes for row in result[subset]
    }


prompts = st.lists(st.integers(0, 60), min_size=1, max_size=40)
row_lists = prompts.map(lambda ns: [qa(f"Question {n}", str(i)) for i, n in enumerate(ns)])


@given(row_lists, row_lists, st.text(max_size=3), st.data())
def test_rows_keep_their_subsets_when_rows_are_added_and_moved(
    rows: list[Row], more: list[Row], salt: str, data: st.DataObject
) -> None:
    before = subsets_of(split(rows, salt=salt))
    after = subsets_of(split(data.draw(st.permutations([*rows, *more])), salt=salt))
    assert {row: after[row] for row in before} == before


@settings(max_examples=example_count(50))
@given(
    row_lists,
    st.sampled_from(
        [{}, {"near": 0.8}, {"exact_size": True}, {"stratify": "kind"}, {"group": "kind"}]
    ),
    st.data(),
)
def test_the_order_of_the_rows_makes_no_difference(
    rows: list[Row], options: Row, data: st.DataObject
) -> None:
    rows = [{**row, "kind": len(row["prompt"]) % 3} for row in rows]
    moved = data.draw(st.permutations(rows))
    try:
        before = subsets_of(split(rows, **options))
    except UsageError:  # the groups cannot be divided exactly
        with pytest.raises(UsageError, match="cannot be divided"):
            split(moved, **options)
    else:
        assert subsets_of(split(moved, **options)) == before


@given(row_lists, st.sampled_from([{}, {"stratify": "completion"}, {"near": 0.8}]))
def test_rows_with_the_same_prompt_stay_together(rows: list[Row], options: Row) -> None:
    result = split(rows, **options)
    subsets: dict[str, set[str]] = {}
    for subset in result.sizes:
        for row in result[subset]:
            subsets.setdefault(row["prompt"], set()).add(subset)
    assert all(len(group) == 1 for group in subsets.values())
    assert result.is_leak_free
    assert sum(result.sizes.values()) == len(rows) == result.audit.written
    assert result.audit.is_balanced


def test_groups_at_a_path_stay_together() -> None:
    rows = [qa(str(n), meta={"user": {"id": n % 20}}) for n in range(200)]
    result = split(rows, group="$.meta.user", ratio=(0.5, 0.5))
    users = [{row["meta"]["user"]["id"] for row in result[subset]} for subset in result.sizes]
    assert users[0].isdisjoint(users[1])
    assert min(map(len, users)) > 0


@given(st.integers(1, 400), st.sampled_from([(0.8, 0.1, 0.1), (0.9, 0.1), (0.33, 0.33, 0.34)]))
def test_sizes_are_exact_with_exact_size(count: int, ratio: tuple[float, ...]) -> None:
    result = split(numbered(count), ratio=ratio, exact_size=True)
    for size, share in zip(result.sizes.values(), ratio, strict=True):
        assert abs(size - share * count) < 1
    assert sum(result.sizes.values()) == count


def test_large_groups_are_placed_first_for_exact_sizes() -> None:
    rows = [*numbered(60, rows_each=6), *numbered(100)[60:]]
    result = split(rows, exact_size=True)
    assert list(result.sizes.values()) == [80, 10, 10]
    assert result.is_leak_free


def test_exact_sizes_that_the_groups_do_not_allow_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot be divided into 8 / 1 / 1 rows, only into"):
        split(numbered(10, rows_each=2), exact_size=True)


@given(st.lists(st.sampled_from("aaaaaabbc"), min_size=1, max_size=200), st.booleans())
def test_the_strata_have_equal_shares(labels: list[str], exact: bool) -> None:
    rows = [qa(str(n), label=label) for n, label in enumerate(labels)]
    ratio = (0.7, 0.2, 0.1)
    result = split(rows, stratify="label", exact_size=exact, ratio=ratio)
    totals = Counter(labels)
    for subset, share in zip(result.sizes, ratio, strict=True):
        counts = Counter(row["label"] for row in result[subset])
        assert all(abs(counts[label] - share * totals[label]) < 3 for label in totals)


LONG = "The quick brown fox jumps over the lazy dog near the old river bank, number "


def test_similar_prompts_stay_together() -> None:
    rows = [qa(f"{LONG}{n}") for n in range(50)] + numbered(50)
    apart = split(rows, ratio=(0.5, 0.5))
    together = split(rows, ratio=(0.5, 0.5), near=0.8)
    assert sorted(
        sum(row["prompt"].startswith(LONG) for row in together[subset]) for subset in together.sizes
    ) == [0, 50]
    assert together.is_leak_free
    assert apart.is_leak_free  # similar prompts are compared only with `near`


@settings(max_examples=10)
@given(st.integers(0, 10**6))
def test_no_similar_prompts_are_in_two_subsets(seed: int) -> None:
    rows = [qa(text, str(n)) for n, text in enumerate(similar_texts(seed, 80))]
    result = split(rows, near=0.8, ratio=(0.5, 0.25, 0.25))
    subsets = [[row["prompt"] for row in result[subset]] for subset in result.sizes]
    for index, one in enumerate(subsets):
        for other in subsets[index + 1 :]:
            assert not any(similarity(left, right) >= 0.8 for left in one for right in other)
    assert result.is_leak_free


def pairs_in_two_subsets(result: Split, near: float) -> list[tuple[str, str]]:
    subset_of = {row["prompt"]: subset for subset in result.sizes for row in result[subset]}
    prompts = list(subset_of)
    pairs = [(prompts[one], prompts[other]) for one, other in similar_pairs(prompts, near)]
    return [(one, other) for one, other in pairs if subset_of[one] != subset_of[other]]


@settings(max_examples=10, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([0.7, 0.8, 0.85, 0.9, 0.95]),
    st.sampled_from([2, 8, BUCKET]),
)
def test_similar_prompts_of_a_template_stay_together(seed: int, near: float, bucket: int) -> None:
    rows = [qa(text, str(n)) for n, text in enumerate(template_texts(seed, 100))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ftkit.prepare.similarity.near.BUCKET", bucket)
        result = split(rows, near=near, ratio=(0.4, 0.3, 0.3))
        moved = split(random.Random(seed).sample(rows, len(rows)), near=near, ratio=(0.4, 0.3, 0.3))
    assert pairs_in_two_subsets(result, near) == []
    assert result.is_leak_free
    assert not result.audit.has_findings
    assert subsets_of(moved) == subsets_of(result)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.8, 0.9]))
def test_new_rows_of_a_template_make_no_leak_with_a_lock_file(
    tmp_path_factory: pytest.TempPathFactory, seed: int, near: float
) -> None:
    tmp_path = tmp_path_factory.mktemp("lock")
    rows = [qa(text, str(n)) for n, text in enumerate(template_texts(seed, 100))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ftkit.prepare.similarity.near.BUCKET", 4)
        before = locked_split(rows[:50], tmp_path, near=near)
        after = locked_split(rows, tmp_path, near=near, on_bridge="exclude")
    assert pairs_in_two_subsets(after, near) == []
    assert after.is_leak_free
    subsets = subsets_of(after)
    assert {row: subsets[row] for row in subsets_of(before)} == subsets_of(before)


def test_prompts_that_a_bounded_search_did_not_compare_are_findings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ftkit.prepare.similarity.clusters.MAX_COMPARED", 5)
    result = split([qa(f"{LONG}{n:05}") for n in range(200)], near=0.95)
    assert 0 < result.audit.total("unchecked") <= 200
    assert result.audit.has_findings
    assert result.audit.is_balanced


def write_all(result: Split, folder: Path, **files: Path) -> bool:
    return result.write({subset: folder / f"{subset}.jsonl" for subset in result.sizes}, **files)


def test_the_files_hold_the_lines_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    lines = [f'{{"prompt":  "{n}"}}'.encode() for n in range(30)]
    path.write_bytes(b"\n".join([*lines, b"", b"not JSON"]))
    result = split(path)
    assert not write_all(result, tmp_path)
    assert list(tmp_path.iterdir()) == [path]
    result = split(path)
    assert write_all(result, tmp_path, map=tmp_path / "map", rejects=tmp_path / "rejects")
    assert (tmp_path / "rejects").read_bytes() == b"not JSON\n"
    outputs = {
        subset: (tmp_path / f"{subset}.jsonl").read_bytes().split(b"\n")[:-1]
        for subset in result.sizes
    }
    assert sorted(line for subset in outputs.values() for line in subset) == sorted(lines)
    for entry in map(json.loads, (tmp_path / "map").read_text().splitlines()):
        subset = Path(entry["file"]).stem
        assert outputs[subset][entry["line"] - 1] == lines[entry["sources"][0]["line"] - 1]
    assert result.audit.is_balanced


def locked_split(rows: list[Row], tmp_path: Path, **options: Any) -> Split:
    lock = tmp_path / "split.lock"
    result = split(rows, lock=lock, ratio=(0.5, 0.5), **options)
    assert write_all(result, tmp_path, lock=lock)
    return result


@settings(max_examples=15)
@given(row_lists, row_lists, st.sampled_from([{"near": 0.8}, {"stratify": "prompt"}]))
def test_a_lock_file_keeps_all_subsets(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], more: list[Row], options: Row
) -> None:
    tmp_path = tmp_path_factory.mktemp("lock")
    before = subsets_of(locked_split(rows, tmp_path, **options))
    options = {**options, "on_bridge": "exclude"} if "near" in options else options
    after = subsets_of(locked_split([*more, *rows], tmp_path, **options))
    assert {row: after[row] for row in before} == before
    again = subsets_of(locked_split(rows, tmp_path, **options))
    assert again == before


def bridge(tmp_path: Path) -> tuple[list[Row], Row]:
    """Rows on two subsets of a locked split, and a row that is similar to both."""
    for number in range(100):
        middle = qa(f"{number} {LONG}")
        rows = [qa(middle["prompt"].replace(word, "small")) for word in ("quick", "river")]
        if all(split(rows, ratio=(0.5, 0.5)).sizes.values()):
            locked_split(rows, tmp_path)
            return rows, middle
    raise AssertionError


def test_a_row_that_links_two_subsets_is_handled_as_asked(tmp_path: Path) -> None:
    rows, middle = bridge(tmp_path)
    lock = tmp_path / "split.lock"
    near = min(similarity(middle["prompt"], row["prompt"]) for row in rows)
    assert near > 0.75 > similarity(*(row["prompt"] for row in rows))
    options: Any = {"ratio": (0.5, 0.5), "near": near, "lock": lock}
    with pytest.raises(UsageError, match=r"links two subsets: .* \(train\) and .* \(validation\)"):
        split([*rows, middle], **options)
    excluded = split([*rows, middle], **options, on_bridge="exclude")
    assert sum(excluded.sizes.values()) == 2
    assert excluded.is_leak_free
    assert excluded.audit.entries[0].reason == "links two subsets"
    assert excluded.audit.is_balanced
    train = split([*rows, middle], **options, on_bridge="train")
    assert middle in train["train"]
    assert (train.leaks, train.shared[0].other_subset) == (1, "validation")


def test_new_rows_join_the_subset_that_they_are_similar_to(tmp_path: Path) -> None:
    rows = [qa(f"{LONG}{n}") for n in range(3)]
    locked_split(rows, tmp_path, near=0.8)
    more = [qa(f"{LONG}{n}") for n in range(3, 30)]
    result = locked_split([*more, *rows], tmp_path, near=0.8)
    assert sorted(result.sizes.values()) == [0, 30]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"salt": "x"}, "of splits with another `salt`: '', not 'x'"),
        ({"group": "prompt"}, "another `group`"),
        ({"ratio": (0.5, 0.4, 0.1)}, "another `ratio`: 2 subsets, not 3 subsets"),
    ],
)
def test_a_lock_file_of_other_options_is_refused(
    options: Row, message: str, tmp_path: Path
) -> None:
    locked_split(numbered(5), tmp_path)
    with pytest.raises(UsageError, match=message):
        split(numbered(5), **{"lock": tmp_path / "split.lock", "ratio": (0.5, 0.5), **options})


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"\xff", b'{"version": 1}\n', b"[" * 5000, b'{"a":"%s"}' % (b"x" * 20_000)],
)
def test_another_file_is_no_lock_file(content: bytes, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_bytes(content)
    with pytest.raises(FileError, match="is not a lock file"):
        split(numbered(5), lock=lock)


@pytest.mark.parametrize(
    "entry",
    [
        b"{}",
        b'{"row":"x","group":"0","subset":"train"}',
        b'{"row":"0","group":"0","subset":"x"}',
        b'{"row":"11112222333344445","group":"0","subset":"train"}',
    ],
)
def test_a_damaged_entry_of_a_lock_file_is_an_error(entry: bytes, tmp_path: Path) -> None:
    locked_split(numbered(5), tmp_path)
    lock = tmp_path / "split.lock"
    lock.write_bytes(lock.read_bytes() + entry)
    with pytest.raises(FileError, match="is not a lock file"):
        split(numbered(5), lock=lock, ratio=(0.5, 0.5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": (1.0,)}, "two or three numbers above 0 that add up to 1, .* not 1$"),
        ({"ratio": (0.5, 0.4)}, "that add up to 1, such as 0.8,0.1,0.1, not 0.5,0.4"),
        ({"ratio": (80, 10, 10)}, "add up to 1, such as 0.8,0.1,0.1, not 80,10,10"),
        ({"ratio": (1.0, 0.0)}, "not 1,0"),
        ({"ratio": (float("nan"), 0.5)}, "not nan,0.5"),
        ({"near": 0.1}, "`near` must be"),
        ({"on_bridge": "x"}, "`on_bridge` must be exclude, train, error, not 'x'"),
        ({"stratify": "completion"}, "has 1,001 values, more than 1,000"),
    ],
)
def test_an_invalid_option_is_refused(options: Row, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        split(numbered(1001), **options)


def test_rows_without_a_value_at_the_path_are_rejected() -> None:
    result = split([qa("a", user=1), qa("b")], group="user")
    (entry,) = result.audit.entries
    assert (entry.reason, entry.origin.line) == ("no value at 'user'", 2)
    assert result.audit.is_balanced


@pytest.mark.parametrize(
    "row", [{"text": ""}, {"prompt": "", "completion": ""}, {"messages": []}, {"a": [{}]}]
)
@pytest.mark.parametrize("options", [{}, {"near": 0.8}, {"stratify": "label"}])
def test_equal_rows_of_any_shape_stay_together(row: Row, options: Row) -> None:
    result = split([{**row, "label": 1}] * 3000, **options)
    assert sorted(result.sizes.values()) == [0, 0, 3000]
    assert not result.leaks


def test_an_empty_file_gives_empty_subsets(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.touch()
    for options in ({}, {"near": 0.8}, {"stratify": "a"}, {"exact_size": True}):
        assert split(path, **options).sizes == {"train": 0, "validation": 0, "test": 0}


@pytest.mark.parametrize(
    ("row", "options", "is_leak_free"),
    [
        ({"Frage": "Hi", "Antwort": "Hello!"}, {}, False),
        ({"Frage": "Hi", "Antwort": "Hello!"}, {"group": "$.Frage"}, True),
        ({"Frage": "Hi", "Antwort": "Hello!"}, {"group": "$.Frage", "near": 0.8}, False),
        ({"prompt": "", "completion": "A text."}, {}, True),
        ({"messages": [{"role": "assistant", "content": "A text."}]}, {}, True),
    ],
)
def test_rows_without_a_known_prompt_are_not_called_leak_free(
    row: Any, options: Row, is_leak_free: bool
) -> None:
    result = split([row, row], ratio=(0.5, 0.5), **options)
    assert result.is_leak_free == is_leak_free
    assert (result.leaks, result.unknown_prompts) == (0, 0 if is_leak_free else 2)
    assert result.audit.has_findings != is_leak_free
    text = "\n".join(render_leaks(result))
    assert ("Leak-free" in text, "convert first" in text) == (is_leak_free, not is_leak_free)
