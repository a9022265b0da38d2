"""The commands that split, deduplicate, sample and mix files: outputs, reports and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.commands import run_ftkit

ROWS = [{"prompt": f"Question {number}", "completion": "Yes."} for number in range(20)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A file of 20 rows and a copy of the first one."""
    path = tmp_path / "data.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [*ROWS, ROWS[0]]))
    return path


def lines(name: str) -> list[Any]:
    return list(map(json.loads, Path(name).read_text().splitlines()))


def test_split_writes_a_file_for_each_subset(data: Path) -> None:
    done = run_ftkit("split", "data.jsonl", "--near", "1", "--map", "map.jsonl")
    subsets = {subset: lines(f"data.{subset}.jsonl") for subset in ("train", "validation", "test")}
    counts = [f"{len(rows):,} to data.{subset}.jsonl" for subset, rows in subsets.items()]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"Read 21 rows, wrote {', '.join(counts)}.\n"
        "Leak-free: no prompt is in two subsets, nor are prompts with a similarity of 1 or more.\n"
    )
    assert len(lines("map.jsonl")) == 21
    assert sorted(str(row) for subset in subsets.values() for row in subset) == sorted(
        map(str, [*ROWS, ROWS[0]])
    )


def test_split_names_a_missing_file_before_a_missing_prefix() -> None:
    done = run_ftkit("split", "absent.jsonl")
    assert (done.returncode, done.stderr) == (2, "ftkit: no such file: absent.jsonl\n")


def test_split_reads_standard_input_and_compressed_files(data: Path) -> None:
    done = run_ftkit("split", "-", input=data.read_bytes())
    assert (done.returncode, "`--output-prefix` is needed" in done.stderr) == (2, True)
    options = ("-o", "x", "--report", "json", "--ratio", "0.5,0.5", "--exact-size")
    done = run_ftkit("split", "-", *options, input=data.read_bytes())
    report = json.loads(done.stdout)
    assert report["outputs"] == {"train": "x.train.jsonl", "validation": "x.validation.jsonl"}
    assert sorted(report["sizes"].values()) == [10, 11]
    assert (report["leak_free"], report["read"], report["written"]) == (True, 21, 21)


def test_split_keeps_subsets_with_a_lock_file(data: Path) -> None:
    assert run_ftkit("split", "data.jsonl", "--lock", "x.lock").returncode == 0
    before = lines("data.train.jsonl")
    data.write_text('{"prompt": "new"}\n' + data.read_text())
    done = run_ftkit("split", "data.jsonl", "--lock", "x.lock", "-o", "data")
    assert done.returncode == 0
    assert [row for row in lines("data.train.jsonl") if row in before] == before
    assert len(lines("x.lock")) == 1 + 21


def test_split_replaces_only_files_that_are_named(data: Path) -> None:
    Path("data.test.jsonl").write_text("old")
    done = run_ftkit("split", "data.jsonl")
    message = "ftkit: data.test.jsonl exists; use -o data to replace it, or another PREFIX\n"
    assert (done.returncode, done.stderr) == (2, message)
    assert Path("data.test.jsonl").read_text() == "old"
    assert not Path("data.train.jsonl").exists()
    assert run_ftkit("split", "data.jsonl", "-o", "data").returncode == 0
    assert Path("data.test.jsonl").read_text() != "old"


def test_split_names_subsets_without_rows(tmp_path: Path) -> None:
    Path("few.jsonl").write_text('{"prompt": "1"}\n{"prompt": "2"}\n')
    done = run_ftkit("split", "few.jsonl")
    message = "ftkit: no rows are in validation and test; use --exact-size or another --ratio\n"
    assert (done.returncode, done.stderr) == (0, message)
    done = run_ftkit("split", "few.jsonl", "-o", "x", "--exact-size")
    assert done.stderr == "ftkit: no rows are in validation and test; use another --ratio\n"


def test_split_writes_nothing_if_rows_are_rejected(data: Path) -> None:
    data.write_text(data.read_text() + "{\n")
    done = run_ftkit("split", "data.jsonl")
    assert (done.returncode, list(data.parent.iterdir())) == (1, [data])
    assert "use --rejects FILE to go on" in done.stderr
    assert "Leak-free" not in done.stdout
    assert run_ftkit("split", "data.jsonl", "--rejects", "bad").returncode == 1
    assert Path("bad").read_text() == "{\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ratio", "a"), "Invalid value for '--ratio': 'a' is not a list of numbers"),
        (
            ("--ratio", "0.5,0.4"),
            "`--ratio` must be two or three numbers above 0 that add up to 1, ",
        ),
        (("--ratio", "80,10,10"), "such as 0.8,0.1,0.1, not 80,10,10"),
        (("--near", "0.1"), "`--near` must be from 0.7 to 1, not 0.1"),
        (("--map", "data.jsonl"), "data.jsonl is an input; name another file to write"),
        (("--lock", "data.jsonl"), "data.jsonl is an input"),
        (("--lock", "data.test.jsonl"), "is named for two outputs"),
        (("--lock", "nowhere/lock"), "cannot write nowhere/lock: no such file or directory"),
        (("--stratify", "prompt", "--exact-size", "--ratio", "0.5,0.5"), None),
    ],
)
def test_split_refuses_what_it_cannot_do(
    arguments: tuple[str, ...], message: str | None, data: Path
) -> None:
    done = run_ftkit("split", "data.jsonl", *arguments)
    if message is None:
        assert done.returncode == 0
    else:
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
        assert list(data.parent.iterdir()) == [data]


def test_dedupe_writes_the_remaining_rows(data: Path) -> None:
    done = run_ftkit("dedupe", "data.jsonl")
    assert (done.returncode, list(map(json.loads, done.stdout.splitlines()))) == (0, ROWS)
    assert done.stderr == (
        "Read 21 rows, wrote 20 to standard output, dropped 1.\n"
        "  dropped by dedupe: duplicate: 1 (data.jsonl:21 'of data.jsonl:1')\n"
    )


def test_dedupe_checks_without_writing(data: Path) -> None:
    done = run_ftkit("dedupe", "data.jsonl", "--check")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("Read 21 rows, 20 remain, dropped 1.\n")
    assert run_ftkit("dedupe", "data.jsonl", "--in-place", "--report", "json").returncode == 0
    done = run_ftkit("dedupe", "-", "--check", input=data.read_bytes())
    assert (done.returncode, done.stdout) == (0, "Read 20 rows, 20 remain.\n")
    done = run_ftkit("dedupe", "data.jsonl", "--check", "-o", "x")
    assert done.stderr == "ftkit: `--check` writes nothing; leave out `--output-file`\n"


def test_dedupe_compares_with_other_files(data: Path) -> None:
    Path("other.jsonl").write_text(json.dumps(ROWS[3]))
    done = run_ftkit("dedupe", "data.jsonl", "--against", "other.*", "--near", "0.7", "-o", "x")
    assert done.returncode == 0
    assert "dropped by dedupe: duplicate of the other files: 1 (data.jsonl:4" in done.stdout
    done = run_ftkit("dedupe", "data.jsonl", "--against", "other.jsonl", "-o", "other.jsonl")
    assert (done.returncode, "other.jsonl is an input" in done.stderr) == (2, True)


def test_dedupe_writes_the_duplicates_with_their_similarity(data: Path) -> None:
    data.write_text(data.read_text() + '{"prompt": "Question 10", "completion": "Yes.!"}\n{\n')
    options = ("dedupe", "data.jsonl", "--near", "0.7", "-o", "x", "--duplicates", "pairs.jsonl")
    assert run_ftkit(*options).returncode == 1
    assert not Path("pairs.jsonl").exists()
    assert run_ftkit(*options, "--rejects", "rejects").returncode == 1
    pairs = {pair["duplicate"]["line"]: pair for pair in lines("pairs.jsonl")}
    assert len(pairs) == 22 - len(lines("x"))
    assert (pairs[21]["original"], pairs[21]["similarity"]) == (
        {"file": "data.jsonl", "line": 1},
        1,
    )
    assert 0.7 <= pairs[22]["similarity"] < 1
    done = run_ftkit("dedupe", "data.jsonl", "--duplicates", "./data.jsonl")
    assert (done.returncode, "is an input" in done.stderr) == (2, True)
    done = run_ftkit("dedupe", "data.jsonl", "--check", "--duplicates", "pairs.jsonl")
    assert done.stderr == "ftkit: `--check` writes nothing; leave out `--duplicates`\n"


def test_decontaminate_reports_what_matched_where(data: Path) -> None:
    Path("eval.jsonl").write_text(json.dumps({"question": "question 7!", "answer": "Yes."}))
    done = run_ftkit("decontaminate", "data.jsonl", "--against", "eval.jsonl", "-o", "x.jsonl")
    assert (done.returncode, lines("x.jsonl")) == (0, [*ROWS[:7], *ROWS[8:], ROWS[0]])
    place = "data.jsonl:8 'eval.jsonl:1: question 7'"
    assert done.stdout.endswith(f"  dropped by decontaminate: shares text: 1 ({place})\n")
    assert "Missing option '--against'" in run_ftkit("decontaminate", "data.jsonl").stderr


def test_mix_takes_weights_behind_names(data: Path) -> None:
    for name in ("a=b", "c1", "c2"):
        Path(f"{name}.jsonl").write_text(
            "".join(f"{json.dumps({**row, 'name': name})}\n" for row in ROWS)
        )
    done = run_ftkit("mix", "a=b.jsonl=0.75", "c*.jsonl=0.25", "--total", "20", "-o", "x.jsonl")
    assert done.returncode == 0
    assert sum(row["name"] == "a=b" for row in lines("x.jsonl")) == 15
    assert "not selected from c1.jsonl, c2.jsonl, which gives 5 rows: 35" in done.stdout
    Path("c3.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    done = run_ftkit("mix", "--by", "tokens", "--", "-=1", "c3.jsonl=2", input=data.read_bytes())
    assert (done.returncode, "not selected from -, which gives 10 rows with " in done.stderr) == (
        0,
        True,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("data.jsonl",), "'data.jsonl' is not a file with its weight, such as data.jsonl=1"),
        (("=1",), "'=1' is not a file with its weight"),
        (("data.jsonl=-1",), "`sources` must have weights above 0"),
        (("data.jsonl=1", "data.*=1"), "data.jsonl is named twice"),
        (("data.jsonl=1", "-o", "data.jsonl"), "data.jsonl is an input"),
        (("data.jsonl=1", "--in-place"), "--in-place"),
        (("data.jsonl=1", "--total", "22"), "lower `--total` to 21"),
        (("data.jsonl=1", "--total", "9" * 20), "lower `--total` to 21"),
        (("data.jsonl=1", "--model", "gpt-x"), "gpt-x"),
        (("none=1",), "no such file: none"),
    ],
)
def test_mix_refuses_what_it_cannot_do(
    arguments: tuple[str, ...], message: str, data: Path
) -> None:
    done = run_ftkit("mix", *arguments)
    assert (done.returncode, message in done.stderr) == (2, True)
    assert done.stderr.count("\n") == 1


def test_sample_writes_rows_in_their_order(data: Path) -> None:
    done = run_ftkit("sample", "data.jsonl", "-n", "5")
    rows = list(map(json.loads, done.stdout.splitlines()))
    assert (done.returncode, len(rows)) == (0, 5)
    assert [row for row in [*ROWS, ROWS[0]] if row in rows][:5] == rows
    done = run_ftkit("sample", "-", "--fraction", "0", "--report", "json", input=data.read_bytes())
    assert (done.stdout, json.loads(done.stderr)["dropped"]) == ("", 21)
    assert "set either `--count` or `--fraction`" in run_ftkit("sample", "data.jsonl").stderr


def test_quiet_leaves_out_reports_beside_the_data_unless_they_have_findings(data: Path) -> None:
    assert run_ftkit("sample", "data.jsonl", "-n", "5", "-q").stderr == ""
    assert run_ftkit("sample", "data.jsonl", "-n", "5", "-q", "-o", "x").stdout.startswith("Read")
    data.write_text('{"prompt":\n{"prompt": ""}\n')
    assert "rejected 1" in run_ftkit("sample", "data.jsonl", "-n", "5", "-q").stderr


def test_a_preparation_without_a_row_in_its_output_is_a_warning(data: Path) -> None:
    done = run_ftkit("filter", "data.jsonl", "--where", "false", "-o", "x")
    assert (done.returncode, Path("x").read_text()) == (0, "")
    assert done.stderr == "ftkit: no row was written, since all were dropped or rejected\n"
    data.write_text("no\nrows\n")
    done = run_ftkit("sample", "data.jsonl", "-n", "1", "-o", "y")
    assert (done.returncode, Path("y").exists()) == (2, False)
    assert "since all rows were rejected; data.jsonl:1: not JSON\n" in done.stderr
    assert "--rejects" not in done.stderr
