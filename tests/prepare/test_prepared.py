"""Prepared examples: their files, audit and map."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.errors import UsageError
from ftkit.prepare.convert.convert import convert
from ftkit.prepare.decontaminate import decontaminate
from ftkit.prepare.dedupe import dedupe
from ftkit.prepare.filter.filter import filter_rows
from ftkit.prepare.fix.fix import fix
from ftkit.prepare.mix import mix
from ftkit.prepare.prepared import Prepared, prepare_files
from ftkit.prepare.sample import sample
from ftkit.prepare.split.split import Split, split

LINES = b'{"a": 1}\n\n{"a":2}\nnot JSON\n'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_bytes(LINES)
    return path


def test_unchanged_rows_are_written_as_they_are(source: Path, tmp_path: Path) -> None:
    out, rejects = tmp_path / "out.jsonl", tmp_path / "rejects"
    assert prepare_files(source, []).write(out, rejects=rejects)
    assert out.read_bytes() == b'{"a": 1}\n{"a":2}\n'
    assert rejects.read_bytes() == b"not JSON\n"


def test_nothing_is_written_if_rejected_rows_have_no_file(source: Path, tmp_path: Path) -> None:
    out, map = tmp_path / "out.jsonl", tmp_path / "map"
    out.write_text("old")
    prepared = prepare_files(source, [])
    assert not prepared.write(out, map)
    assert out.read_text() == "old"
    assert not map.exists()
    assert prepared.audit.written == 0


def test_the_map_has_the_source_of_each_line(source: Path, tmp_path: Path) -> None:
    map = tmp_path / "map"
    prepare_files(source, []).write(tmp_path / "out", map, tmp_path / "rejects")
    assert list(map_sources(map)) == [(1, str(source), 1), (2, str(source), 3)]


def test_a_chain_keeps_the_origins_and_the_steps_of_its_rows(tmp_path: Path) -> None:
    table, map = tmp_path / "faq.csv", tmp_path / "map"
    table.write_text("q,a\nOne?,1\nTwo?,2\nOne?,1\n")
    chats = convert(table, to="chat", field={"user": "q", "assistant": "a"})
    unique = dedupe(chats)
    assert unique.write(tmp_path / "out", map)
    assert list(map_sources(map)) == [(1, str(table), 2), (2, str(table), 3)]
    assert {
        step for line in map.read_text().splitlines() for step in json.loads(line)["steps"]
    } == {"convert"}
    assert (unique.audit.read, unique.audit.is_balanced) == (3, True)
    (duplicate,) = unique.audit.entries
    assert duplicate.origin.line == 4


def test_rejected_rows_of_a_table_are_rows_of_it(tmp_path: Path) -> None:
    table, rejects = tmp_path / "faq.csv", tmp_path / "rejects"
    short, row = b"Two?\n", b'One?;"1\nand ""2"""\n'
    table.write_bytes(b"q;a\n" + short + row)
    kept = filter_rows(table, where="$.q != ''")
    assert kept.write(tmp_path / "out", rejects=rejects)
    assert rejects.read_bytes() == short
    chats = convert(dedupe(table), to="chat", field={"user": "q", "assistant": "a"})
    assert [chat.encode_source() + b"\n" for chat in chats.rows()] == [row]


FOLLOWING: dict[str, Callable[[Prepared], Prepared]] = {
    "dedupe": lambda chats: dedupe(chats, near=0.8),
    "decontaminate": lambda chats: decontaminate(chats, against=[{"prompt": "Three?"}]),
    "mix": lambda chats: mix([(chats, 1)]),
    "sample count": lambda chats: sample(chats, count=2),
    "sample fraction": lambda chats: sample(chats, fraction=1),
    "filter": lambda chats: filter_rows(chats, where="tokens > 0"),
}


@pytest.fixture
def chats(tmp_path: Path) -> Prepared:
    table = tmp_path / "faq.csv"
    table.write_text("q,a\nOne?,1\nTwo?,2\n")
    return convert(table, to="chat", field={"user": "q", "assistant": "a"})


@pytest.mark.parametrize("name", FOLLOWING)
def test_each_step_takes_prepared_rows(name: str, chats: Prepared, tmp_path: Path) -> None:
    map, table = tmp_path / "map", str(tmp_path / "faq.csv")
    prepared = FOLLOWING[name](chats)
    assert prepared.write(tmp_path / "out", map)
    assert sorted(source[1:] for source in map_sources(map)) == [(table, 2), (table, 3)]
    assert '"steps":["convert"' in map.read_text()
    assert (prepared.audit.read, prepared.audit.is_balanced) == (2, True)


def test_a_split_takes_prepared_rows(chats: Prepared, tmp_path: Path) -> None:
    map, table = tmp_path / "map", str(tmp_path / "faq.csv")
    result = split(sample(chats, count=2), ratio=(0.5, 0.5), exact_size=True)
    assert result.write({name: tmp_path / name for name in result.sizes}, map)
    assert sorted(source[1:] for source in map_sources(map)) == [(table, 2), (table, 3)]
    assert [row.steps for name in result.sizes for row in result.rows(name)] == [("convert",)] * 2
    assert (result.sizes, result.audit.read) == ({"train": 1, "validation": 1}, 2)


@pytest.mark.parametrize("following", [dedupe, split])
def test_a_chain_stops_at_a_loss_that_is_not_allowed(
    following: Callable[[Prepared], Iterable[object]], tmp_path: Path
) -> None:
    table = tmp_path / "faq.csv"
    table.write_text("q,a,score\nOne?,1,5\n")
    chats = convert(table, to="chat", field={"user": "q", "assistant": "a"})
    with pytest.raises(UsageError, match="/score: column not used; set `on_loss`"):
        list(following(chats))


def map_sources(path: Path) -> list[tuple[int, str, int]]:
    lines = map(json.loads, path.read_text().splitlines())
    return [
        (line["line"], origin["file"], origin["line"])
        for line in lines
        for origin in line["sources"]
    ]


@pytest.mark.parametrize("prepare", [dedupe, fix])
def test_progress_adds_up_to_the_size_of_the_file(
    prepare: Callable[[Path], Prepared], source: Path
) -> None:
    prepared = prepare(source)
    steps: list[tuple[str, int]] = []
    prepared.audit.names = {str(source): "shown.jsonl"}
    prepared.audit.advance = lambda name, size: steps.append((name, size))
    assert len(list(prepared)) == 2
    assert {name for name, _ in steps} == {"shown.jsonl"}
    assert sum(size for _, size in steps) == len(LINES)


def test_the_ledger_accounts_for_every_row(source: Path, tmp_path: Path) -> None:
    prepared = prepare_files(source, [])
    prepared.write(tmp_path / "out", rejects=tmp_path / "rejects")
    audit = prepared.audit
    assert audit.is_balanced
    assert (audit.read, audit.written) == (4, 2)
    assert [(entry.effect, entry.reason, entry.origin.line) for entry in audit.entries] == [
        ("dropped", "blank line", 2),
        ("rejected", "not JSON", 4),
    ]


def test_examples_in_memory_can_be_prepared_once() -> None:
    prepared: Prepared = prepare_files([{"a": 1}, {"a": 2}], [])
    assert list(prepared) == [{"a": 1}, {"a": 2}]
    with pytest.raises(UsageError, match="have been read already"):
        list(prepared)


examples = st.lists(st.fixed_dictionaries({"a": st.integers(0, 1000)}), min_size=1, max_size=40)


@given(examples, st.floats(0, 1), st.data())
def test_a_share_is_stable_when_rows_are_added_or_moved(
    rows: list[dict[str, int]], fraction: float, data: st.DataObject
) -> None:
    more = data.draw(st.permutations([*rows, {"b": 1}]))
    before = list(sample(rows, fraction=fraction))
    after = list(sample(more, fraction=fraction))
    assert [row for row in after if row in rows] == [row for row in more if row in before]


@given(examples, st.integers(0, 50))
def test_a_number_of_rows_is_exact_and_in_order(rows: list[dict[str, int]], count: int) -> None:
    chosen = list(sample(rows, count=count))
    remaining = iter(rows)
    assert len(chosen) == min(count, len(rows))
    assert all(row in remaining for row in chosen)


CHAINED: dict[str, Callable[[Prepared], Prepared | Split]] = {
    "dedupe": dedupe,
    "mix": lambda chats: mix([(chats, 1)]),
    "split": lambda chats: split(sample(chats, count=9)),
}


@pytest.mark.parametrize("name", CHAINED)
def test_rows_that_an_earlier_step_rejects_are_neither_lost_nor_ignored(
    name: str, tmp_path: Path
) -> None:
    source, rejects = tmp_path / "in.jsonl", tmp_path / "rejects"
    bad = b'{"question": 3, "answer": "b"}\n'
    source.write_bytes(b'{"question": "One?", "answer": "a"}\n' + bad)

    def run(rejects: Path | None) -> bool:
        fields = {"user": "question", "assistant": "answer"}
        prepared = CHAINED[name](convert(source, to="chat", field=fields))
        if isinstance(prepared, Prepared):
            return prepared.write(tmp_path / "out", rejects=rejects)
        return prepared.write({key: tmp_path / key for key in prepared.sizes}, rejects=rejects)

    assert not run(None)
    assert run(rejects)
    assert rejects.read_bytes() == bad
