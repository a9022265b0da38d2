"""Mixtures and samples: reproducible, with exact numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.errors import UsageError
from ftkit.prepare.convert.convert import convert
from ftkit.prepare.filter.filter import filter_rows
from ftkit.prepare.mix import mix
from ftkit.prepare.sample import sample

Row = dict[str, Any]

ANSWER = {"role": "assistant", "content": "Yes."}


def source(name: str, count: int) -> list[Row]:
    return [{"prompt": f"{name} {number}", "completion": "Yes."} for number in range(count)]


def names(rows: list[Row]) -> list[str]:
    return [row["prompt"].split()[0] for row in rows]


def test_the_sources_have_exactly_their_shares() -> None:
    prepared = mix([(source("a", 100), 7), (source("b", 100), 3)], total=100)
    rows = list(prepared)
    assert (names(rows).count("a"), names(rows).count("b")) == (70, 30)
    assert names(rows) != sorted(names(rows))
    assert prepared.audit.is_balanced
    assert [reason for _, _, reason in prepared.audit.counts] == [
        "not selected from <examples>, which gives 70 rows",
        "not selected from <examples>, which gives 30 rows",
    ]


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 9)), min_size=1, max_size=4),
    st.text(max_size=2),
)
def test_without_a_total_a_mixture_is_as_large_as_the_sources_allow(
    sizes: list[tuple[int, int]], salt: str
) -> None:
    sources = [(source(str(n), size), float(weight)) for n, (size, weight) in enumerate(sizes)]
    rows = list(mix(sources, salt=salt))
    weights = sum(weight for _, weight in sizes)
    for number, (_, weight) in enumerate(sizes):
        assert abs(names(rows).count(str(number)) - len(rows) * weight / weights) < 1
    with pytest.raises(UsageError, match=r"fewer than .*; lower `total` to "):
        list(mix(sources, total=len(rows) + weights + 1))


@given(st.data(), st.sampled_from(["rows", "tokens"]))
def test_the_order_of_the_rows_makes_no_difference(data: st.DataObject, by: Any) -> None:
    one, other = source("a", 20), source("b", 30)
    moved = data.draw(st.permutations(one))
    expected = list(mix([(one, 1), (other, 2)], by=by))
    assert list(mix([(moved, 1), (other, 2)], by=by)) == expected


def tokens_of(row: Row, model: str | None) -> int:
    """The tokens that `filter` gives a row."""
    low, high = 0, 4096
    while low < high:
        middle = (low + high) // 2
        if list(filter_rows([row], where=f"tokens <= {middle}", model=model)):
            high = middle
        else:
            low = middle + 1
    return low


@pytest.mark.parametrize("model", [None, "gpt-4o-mini-2024-07-18"])
def test_tokens_are_nearest_to_the_shares(model: str | None) -> None:
    rows = [
        {"messages": [{"role": "user", "content": "über " * (n % 50 + 1)}, ANSWER]}
        for n in range(200)
    ]
    other = [{"messages": [{"role": "system", "content": "Hm."}, *r["messages"]]} for r in rows]
    prepared = mix([(rows, 0.75), (other, 0.25)], total=4000, by="tokens", model=model)
    counts = [0, 0]
    for row in prepared:
        counts[len(row["messages"]) - 2] += tokens_of(row, model)
    assert abs(counts[0] - 3000) <= 60
    assert abs(counts[1] - 1000) <= 60
    reasons = [reason for _, _, reason in prepared.audit.counts]
    assert [reason.rpartition(" with ")[2] for reason in reasons] == [
        f"{count:,} tokens" for count in counts
    ]


def test_rows_without_tokens_are_rejected_by_tokens() -> None:
    prepared = mix([([*source("a", 3), {"x": 1}], 1)], by="tokens")
    assert sorted(names(list(prepared))) == ["a"] * 3
    (entry,) = prepared.audit.entries
    assert (entry.effect, entry.origin.line) == ("rejected", 4)
    assert prepared.audit.is_balanced


def test_paths_are_sources(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text("".join(f'{{"text":  "{name} {n}"}}\n' for n in range(4)))
    prepared = mix({str(tmp_path / "a"): 0.5, str(tmp_path / "b"): 0.5}, total=4)
    assert prepared.write(tmp_path / "out", map=tmp_path / "map")
    lines = (tmp_path / "out").read_text().splitlines()
    assert sorted(line[11] for line in lines) == ["a", "a", "b", "b"]
    assert all('"text":  "' in line for line in lines)


def test_prepared_sources_keep_their_origins_and_steps(tmp_path: Path) -> None:
    table, chats = tmp_path / "faq.csv", tmp_path / "chats.jsonl"
    table.write_text("q,a\nOne?,1\nTwo?,2\n")
    chats.write_text('{"messages": []}\n')
    converted = convert(table, to="chat", field={"user": "q", "assistant": "a"})
    prepared = mix([(converted, 2), (sample(chats, count=1), 1)])
    assert prepared.write(tmp_path / "out", map=tmp_path / "map")
    entries = [json.loads(line) for line in (tmp_path / "map").read_text().splitlines()]
    places = [(*entry["sources"][0].values(), entry["steps"]) for entry in entries]
    assert sorted(places) == [
        (str(chats), 1, []),
        (str(table), 2, ["convert"]),
        (str(table), 3, ["convert"]),
    ]
    with pytest.raises(UsageError, match=r"sources\[0\] has no rows; leave it out"):
        list(mix([(sample(chats, count=0), 1)]))


@pytest.mark.parametrize(
    ("sources", "options", "message"),
    [
        ([], {}, "must have weights above 0"),
        ([([{}], 0)], {}, "must have weights above 0"),
        ([([{}], float("inf"))], {}, "must have weights above 0"),
        ([([{}], 1)], {"total": 0}, "`total` must be 1 or more"),
        (
            [([{}], 1), ([{}], 2)],
            {"total": 10**20},
            "have 2 rows, fewer than `total`; lower .* to 1",
        ),
        ([([{}], 1), ([{}], 2)], {"total": 10**400}, "have 2 rows, fewer than `total`"),
        ([([{}], 1), ([{}], 1e300)], {"total": 2}, "fewer than its share of 2; lower `total` to 1"),
        ([([{}], 1)], {"by": "bytes"}, "`by` must be rows or tokens"),
        ([("empty", 1)], {}, "empty has no rows; leave it out of `sources`"),
        ([([{"a": 1}], 1)], {"by": "tokens"}, "<examples> has no valid examples, whose"),
    ],
)
def test_an_impossible_mixture_is_refused(
    sources: Any, options: Row, message: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(UsageError, match=message):
        list(mix(sources, **options))


def test_a_sample_has_the_rows_with_the_lowest_hashes_in_their_order() -> None:
    rows = source("a", 50)
    samples = [list(sample(rows, count=count)) for count in (10, 20)]
    assert [row for row in samples[1] if row in samples[0]] == samples[0]
    assert samples[1] == [row for row in rows if row in samples[1]]
    assert list(sample(rows, count=10, salt="other")) != samples[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "set either `count` or `fraction`"),
        ({"count": 1, "fraction": 0.5}, "set either `count` or `fraction`"),
        ({"count": -1}, "`count` must be 0 or more"),
        ({"fraction": 1.5}, "`fraction` must be from 0 to 1"),
    ],
)
def test_an_impossible_sample_is_refused(options: Row, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sample([{}], **options)
