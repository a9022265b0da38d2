"""The command `ftkit convert` on files that are not JSON Lines."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import click
import pyarrow
import pytest
from click.testing import Result
from pyarrow import feather, parquet

from ftkit import validate
from ftkit.cli import cli
from ftkit.errors import FtkitError
from support.commands import run_ftkit
from support.paths import SAMPLES
from support.runner import cli_runner
from support.workbooks import make

CSV = str(SAMPLES / "convert" / "questions.csv")
CHAT = str(SAMPLES / "convert" / "chat.txt")
COLUMNS = ("--to", "chat", "--user", "q", "--assistant", "a", "--system", "Be brief.")
ROWS = [{"q": f"Question {number}?", "a": f"Answer {number:05}"} for number in range(12)]


def ftkit(*arguments: str, input: bytes | None = None) -> Result:
    command = ["convert", *arguments]
    return cli_runner().invoke(cli, command, input=input, standalone_mode=False)


def csv_text() -> str:
    return "q;a\n" + "".join(f"{row['q']};{row['a']}\n" for row in ROWS)


def sheet() -> str:
    rows = [("q", "a"), *((row["q"], row["a"]) for row in ROWS)]
    cell = "<c t='str'><v>{}</v></c>"
    return "".join(f"<row>{cell.format(q)}{cell.format(a)}</row>" for q, a in rows)


WRITERS: dict[str, Callable[[Path], object]] = {
    "in.csv": lambda path: path.write_text(csv_text()),
    "in.csv.gz": lambda path: path.write_bytes(gzip.compress(csv_text().encode())),
    "in.tsv": lambda path: path.write_text(csv_text().replace(";", "\t")),
    "in.xlsx": lambda path: make(path, sheet()),
    "in.json": lambda path: path.write_text(json.dumps(ROWS, indent=2)),
    "data": lambda path: path.write_text(json.dumps({"data": ROWS})),
    "in.parquet": lambda path: parquet.write_table(pyarrow.Table.from_pylist(ROWS), path),
    "in.feather": lambda path: feather.write_feather(pyarrow.Table.from_pylist(ROWS), path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_file_gives_the_same_examples(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    result = ftkit(str(path), *COLUMNS, "-o", str(tmp_path / "out.jsonl"))
    assert result.return_value == 0, result.stderr
    out = tmp_path / "out.jsonl"
    rows = [json.loads(line)["messages"] for line in out.read_text().splitlines()]
    assert [[message["content"] for message in row] for row in rows] == [
        ["Be brief.", row["q"], row["a"]] for row in ROWS
    ]
    report = validate(out)
    assert not [finding for finding in report.files[0].findings if finding.severity == "error"]
    assert ftkit("-", *COLUMNS, input=path.read_bytes()).stdout == out.read_text()


def test_the_error_about_unknown_columns_has_a_command_to_paste() -> None:
    message = str(ftkit(CSV, "--to", "chat").exception)
    assert "keys are 'Frage, Antwort, Hinweis'" in message
    command = message.rpartition("for example: ")[2]
    arguments = shlex.split(command)[2:]
    result = ftkit(*arguments, "--on-loss", "allow")
    assert "00501" in result.stdout


@pytest.mark.parametrize(
    ("header", "columns"),
    [("id,date,frage,Antwort", "--user frage --assistant Antwort"), ("id,a,b", "--user COL")],
)
def test_that_command_names_known_columns_and_repeats_the_options(
    tmp_path: Path, header: str, columns: str
) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f"{header}\n" + ",".join(header.split(",")), encoding="cp1252")
    options = ("--encoding", "cp1252", "--from", "csv", "-o", "x.jsonl")
    message = str(ftkit(str(path), "--to", "chat", *options).exception)
    command = message.rpartition(": ")[2]
    assert columns in command
    assert "--encoding cp1252 --from csv --to chat -o x.jsonl" in command
    assert ("replace COL by the names" in message) == ("COL" in columns)


def test_a_chat_needs_the_name_of_the_assistant() -> None:
    assert "its authors are 'Mira', 'Jon'" in str(ftkit(CHAT, "--to", "chat").exception)
    result = ftkit(CHAT, "--to", "chat", "--me", "Jon", "--on-loss", "allow")
    assert len(result.stdout.splitlines()) == 2
    result = ftkit(CHAT, "--to", "chat", "--me", "Jon", "--on-loss", "allow", "--pause", "72")
    assert len(result.stdout.splitlines()) == 1


def test_parquet_is_written_by_its_suffix_and_read_back(tmp_path: Path) -> None:
    out = str(tmp_path / "out.parquet")
    fields = ("--user", "Frage", "--assistant", "Antwort", "--on-loss", "allow")
    assert ftkit(CSV, "--to", "chat", *fields, "-o", out).return_value == 1
    # pyarrow 18 sorts the keys of objects.
    back, written = (
        list(map(json.loads, ftkit(*arguments, "--to", "chat").stdout.splitlines()))
        for arguments in ([out], [CSV, *fields])
    )
    assert back == written


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sheet", "x"), "`--sheet` applies to xlsx, but .* is csv"),
        (("--from", "json"), "expected JSON objects separated by commas"),
        (("--encoding", "klingon"), "no text encoding 'klingon'"),
        (("--in-place",), "--in-place writes JSON Lines, but .*questions.csv is csv; use -o"),
    ],
)
def test_options_that_do_not_fit_the_file_are_refused(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    path = shutil.copy(CSV, tmp_path / "questions.csv")
    error = ftkit(str(path), "--to", "chat", *arguments).exception
    assert isinstance(error, FtkitError)
    assert re.search(message, str(error))
    assert Path(path).read_bytes() == Path(CSV).read_bytes()


@pytest.mark.parametrize(
    ("header", "arguments", "code", "message"),
    [
        (
            "question,answer,notes",
            ("--user", "Q", "--assistant", "answer"),
            2,
            "no column 'Q'; columns are question, answer, notes",
        ),
        (
            "question,answer,notes",
            (),
            1,
            "nothing was written, since column 'notes' is not used; use --on-loss allow to "
            "leave it out",
        ),
        (
            "question,answer,Hinweis",
            (),
            1,
            "nothing was written, since column 'Hinweis' is not used; add --user question --assistant answer --system "
            "Hinweis, or use --on-loss allow to leave it out",
        ),
        (
            "q,a,system",
            ("--user", "q", "--assistant", "a"),
            1,
            "nothing was written, since column 'system' is not used; add --system system, or use "
            "--on-loss allow to leave it out",
        ),
        (
            "q,a,b c",
            ("--user", "q", "--assistant", "a", "--system-text", "Be brief."),
            1,
            "nothing was written, since column 'b c' is not used; use --on-loss allow to leave it "
            "out",
        ),
        (
            "q,a,b",
            ("--user", "$.q[0]", "--assistant", "a"),
            2,
            "nothing was written, since all rows were rejected; in.csv:2: nothing at the path of "
            "the mapping",
        ),
        (
            "q,a,b",
            ("--user", "q", "--assistant", "a", "--on-loss", "drop-row"),
            1,
            "no row was written, since all were dropped or rejected",
        ),
    ],
)
def test_a_table_without_a_result_says_what_to_do(
    header: str, arguments: tuple[str, ...], code: int, message: str
) -> None:
    Path("in.csv").write_text(f"{header}\n1,2,3\n4,5,6\n")
    done = run_ftkit("convert", "in.csv", "--to", "chat", *arguments)
    *_, last = done.stderr.splitlines()
    assert (done.returncode, done.stdout, last) == (code, "", f"ftkit: {message}")


@pytest.mark.parametrize(
    ("header", "options"),
    [("question,answer,b", []), ("q,a,b", ["--user", "q", "--assistant", "a", "--from", "csv"])],
)
def test_a_report_without_output_says_what_would_be_lost(header: str, options: list[str]) -> None:
    Path("in.csv").write_text(f"{header}\n1,2,3\n")
    done = run_ftkit("convert", "in.csv", "--to", "chat", *options)
    assert done.stderr.splitlines()[:2] == [
        "Read 1 row, wrote nothing, would lose 1 value.",
        "  would be lost by convert: column not used: 1 (in.csv:2 /b)",
    ]


@pytest.mark.parametrize(
    "fields", [(), ("--user", "question"), ("--user", "question", "--assistant", "answer")]
)
def test_a_table_gives_fields_for_a_grader(tmp_path: Path, fields: tuple[str, ...]) -> None:
    path = tmp_path / "in.csv"
    path.write_text("question,answer,level\n2 + 2?,4,easy\n")
    result = ftkit(str(path), "--to", "reinforcement", "--prove", *fields)
    assert (result.return_value, json.loads(result.stdout)) == (
        0,
        {"messages": [{"role": "user", "content": "2 + 2?"}], "answer": "4", "level": "easy"},
    )


@pytest.mark.parametrize("fields", [(), ("--user", "question", "--assistant", "answer")])
def test_rows_with_empty_cells_are_rejected(tmp_path: Path, fields: tuple[str, ...]) -> None:
    path = tmp_path / "in.csv"
    path.write_text("question,answer\nHi,Hello!\nHi,\n ,Hello!\n")
    result = ftkit(str(path), "--to", "chat", *fields, "--rejects", str(tmp_path / "bad"))
    assert (result.return_value, len(result.stdout.splitlines())) == (1, 1)
    assert "empty cell: 2" in result.stderr


def test_the_formats_are_on_one_line_if_none_is_chosen() -> None:
    error = ftkit(CSV).exception
    assert isinstance(error, click.MissingParameter)
    message = error.format_message()
    assert message.startswith("Missing option '--to'. Choose from chat, completions, preference")
    assert "\n" not in message
