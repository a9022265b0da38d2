"""Commands that prepare data, with objects as inputs and outputs."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import subprocess
from pathlib import Path

import pyarrow
import pytest
from pyarrow import ipc, parquet

from support.commands import run_ftkit
from support.examples import chat_lines
from support.object_storage import Fault, FaultyProxy, Storage
from support.workbooks import make

pytestmark = pytest.mark.remote

CHATS = b"".join(line + b"\n" for line in chat_lines(40))
ROWS = [{"question": f"What is {number}?", "answer": f"It is {number}."} for number in range(2000)]
COLUMNS = ("--to", "chat", "--user", "question", "--assistant", "answer")


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = run_ftkit(*words)
    assert done.returncode == code, done.stderr
    assert "secret-of-the-tests" not in done.stdout + done.stderr
    if code == 2:
        assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    return done


def write_formats(folder: Path) -> None:
    """Write the same rows in all formats of files that need no option."""
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
    (folder / "rows.jsonl").write_bytes(lines)
    (folder / "rows.jsonl.gz").write_bytes(gzip.compress(lines))
    (folder / "packed.jsonl").write_bytes(gzip.compress(lines))  # and its name does not say so
    (folder / "rows.json").write_text(json.dumps(ROWS, indent=1))
    cells = "".join(f"{row['question']},{row['answer']}\n" for row in ROWS)
    (folder / "rows.csv").write_text(f"question,answer\n{cells}")
    (folder / "rows.csv.gz").write_bytes(gzip.compress(f"question,answer\n{cells}".encode()))
    table = pyarrow.Table.from_pylist(ROWS)
    parquet.write_table(table, folder / "rows.parquet", row_group_size=100)
    with ipc.new_file(folder / "rows.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=300)
    with ipc.new_stream(folder / "stream.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=300)
    texts = [("question", "answer"), *((row["question"], row["answer"]) for row in ROWS)]
    make(folder / "rows.xlsx", "".join(f"<row>{''.join(map(cell, row))}</row>" for row in texts))


def cell(text: str) -> str:
    return f'<c t="str"><v>{text}</v></c>'


FORMATS = (
    *("rows.jsonl", "rows.jsonl.gz", "packed.jsonl", "rows.json", "rows.csv", "rows.csv.gz"),
    *("rows.parquet", "rows.arrow", "stream.arrow", "rows.xlsx"),
)


@pytest.mark.parametrize("name", FORMATS)
def test_all_formats_are_read_as_from_a_file(
    storage: Storage, proxy: FaultyProxy, in_folder: Path, name: str
) -> None:
    write_formats(in_folder)
    url = storage.put(name, (in_folder / name).read_bytes())
    for source, prefix in ((name, "local"), (url, "remote")):
        records = ("--map", f"{prefix}.map", "--rejects", f"{prefix}.rejects")
        options = ("--on-loss", "allow", "-o", f"{prefix}.jsonl", *records)
        run("convert", source, *COLUMNS, *options)
    assert Path("remote.jsonl").read_bytes() == Path("local.jsonl").read_bytes() != b""
    assert Path("remote.map").read_text() == Path("local.map").read_text().replace(name, url)
    assert all(request.range and request.if_match for request in proxy.requests[1:])


def test_patterns_name_objects(storage: Storage) -> None:
    for number in range(3):
        storage.put(f"data/{number}.jsonl", CHATS)
    run("sample", "s3://bucket/data/[01].jsonl", "--fraction", "1", "-o", "all.jsonl")
    assert Path("all.jsonl").read_bytes() == CHATS * 2


def test_an_object_that_changes_while_it_is_read_is_an_error(
    storage: Storage, proxy: FaultyProxy
) -> None:
    url = storage.put("chats.jsonl", CHATS)

    def change() -> None:
        storage.put("chats.jsonl", CHATS * 2)

    proxy.faults.append(Fault(before=change, path="chats.jsonl"))
    done = run("sample", url, "--fraction", "1", "-o", "s3://bucket/out.jsonl", code=2)
    assert done.stderr == f"ftkit: {url} changed while it was read; run the command again\n"
    assert (storage.keys(), storage.uploads()) == (["chats.jsonl"], [])


def test_data_map_and_rejected_rows_are_written_to_objects(storage: Storage) -> None:
    Path("in.jsonl").write_bytes(CHATS + b"{\n")
    storage.put("out/data.jsonl", b"former")
    names = {"-o": "out/data.jsonl", "--map": "out/map.jsonl", "--rejects": "out/rejects.jsonl"}
    urls = {option: f"s3://bucket/{name}" for option, name in names.items()}
    run("dedupe", "in.jsonl", *(word for pair in urls.items() for word in pair), code=1)
    run("dedupe", "in.jsonl", *("-o", "d", "--map", "m", "--rejects", "r"), code=1)
    for local, name in zip("dmr", names.values(), strict=True):
        assert storage.get(name) == Path(local).read_bytes()
    assert storage.uploads() == []


def test_the_data_is_completed_last(storage: Storage, proxy: FaultyProxy) -> None:
    Path("in.jsonl").write_bytes(CHATS)
    run("split", "in.jsonl", "-o", "s3://bucket/d/x", "--map", "s3://bucket/map.jsonl")
    completed = [item.path for item in proxy.requests if "?uploadId" in item.path]
    keys = [path.partition("?")[0].removeprefix("/bucket/") for path in completed]
    subsets = [f"d/x.{subset}.jsonl" for subset in ("train", "validation", "test")]
    assert keys == ["map.jsonl", *subsets]
    assert storage.keys() == sorted(keys)


def test_an_error_names_the_objects_that_are_written_already(
    storage: Storage, proxy: FaultyProxy
) -> None:
    Path("in.jsonl").write_bytes(CHATS)
    proxy.always = Fault(status=403, methods=("POST",), path="/bucket/data.jsonl?uploadId")
    data, map = "s3://bucket/data.jsonl", "s3://bucket/map.jsonl"
    done = run("dedupe", "in.jsonl", "-o", data, "--map", map, "--rejects", "rejects", code=2)
    assert done.stderr.startswith(f"ftkit: no permission to write {data}")
    assert done.stderr.endswith(f"; written already: {map}\n")
    assert (storage.keys(), storage.uploads()) == (["map.jsonl"], [])
    assert not Path("rejects").exists()


@pytest.mark.parametrize("words", [("dedupe",), ("convert", "--to", "chat")])
def test_nothing_is_written_if_rows_are_rejected(storage: Storage, words: tuple[str, ...]) -> None:
    Path("in.jsonl").write_bytes(CHATS + b"{\n")
    command, *options = words
    run(command, "in.jsonl", *options, "-o", "s3://bucket/data.jsonl", code=1)
    assert (storage.keys(), storage.uploads()) == ([], [])


def test_parquet_is_written_to_objects(storage: Storage) -> None:
    Path("in.jsonl").write_bytes(CHATS)
    run("sample", "in.jsonl", "-n", "5", "-o", "s3://bucket/data.parquet")
    run("sample", "s3://bucket/data.parquet", "--fraction", "1", "-o", "back.jsonl")
    assert len(Path("back.jsonl").read_bytes().splitlines()) == 5


@pytest.mark.parametrize("option", ["-o", "--map", "--rejects"])
def test_an_output_over_an_input_is_refused(storage: Storage, option: str) -> None:
    url = storage.put("chats.jsonl", CHATS)
    done = run("sample", "s3://bucket/*.jsonl", "-n", "1", option, url, code=2)
    assert done.stderr == f"ftkit: {url} is an input; name another file to write\n"
    assert storage.get("chats.jsonl") == CHATS


def test_a_wrong_bucket_for_the_output_is_an_error(storage: Storage) -> None:
    Path("in.jsonl").write_bytes(CHATS)
    done = run("dedupe", "in.jsonl", "-o", "s3://wrong-bucket/x.jsonl", code=2)
    assert done.stderr.startswith("ftkit: no such bucket: s3://wrong-bucket; ")


def test_other_commands_read_and_write_objects(storage: Storage) -> None:
    one, two = (storage.put(f"{name}.jsonl", CHATS) for name in ("one", "two"))
    out = "s3://bucket/out.jsonl"
    run("mix", f"{one}=1", f"{two}=1", "-o", out)
    assert storage.get("out.jsonl").count(b"\n") == 2 * CHATS.count(b"\n")
    run("dedupe", one, "--against", two, "--duplicates", "s3://bucket/d.jsonl", "-o", out)
    assert storage.get("out.jsonl") == b""
    assert storage.get("d.jsonl").count(b"\n") == CHATS.count(b"\n")
    run("filter", one, "--where", "turns", "-o", out)
    run("fix", one, "-o", out)
    run("fix", one, "--diff")
    run("screen", one)
    shown = run("show", f"{one}:2", "-o", "json")
    assert json.loads(shown.stdout)[0]["file"] == one


def test_the_command_that_a_refusal_names_works(storage: Storage) -> None:
    url = storage.put("a b/it's.jsonl.gz", gzip.compress(CHATS))
    done = run("submit", url, "-m", "gpt-4.1", code=2)
    command = re.search("`ftkit (.*)`", done.stderr)
    assert command
    run(*shlex.split(command[1]))
    assert Path("it's.jsonl").read_bytes() == CHATS


def test_the_command_that_converts_an_object_first_works(storage: Storage) -> None:
    url = storage.put("data/rows.csv", b"question,answer\nq,a\n")
    done = run("fix", url, code=2)
    command = re.search("`ftkit (.*)`", done.stderr)
    assert command
    run(*shlex.split(command[1]))
    assert Path("rows.jsonl").exists()


RECIPE = """
sources = ["s3://bucket/in/*.jsonl"]

[[steps]]
step = "dedupe"

[outputs]
file = "s3://bucket/out/data.jsonl"
map = "s3://bucket/out/map.jsonl"
"""


def test_a_recipe_writes_only_to_urls_that_are_allowed(
    storage: Storage, proxy: FaultyProxy
) -> None:
    storage.put("in/chats.jsonl", CHATS)
    Path("recipe.toml").write_text(RECIPE)
    others = ("s3://bucket/ou", "s3://bucket/out/data", "s3://bucket/other", "https://bucket/out")
    for words in ((), *(("--write-to", url) for url in others)):
        done = run("prepare", "recipe.toml", *words, code=2)
        assert done.stderr == (
            "ftkit: recipe.toml writes to s3://bucket/out/data.jsonl; allow it by `--write-to` "
            "with this URL, or with that of a folder above it\n"
        )
    assert storage.keys() == ["in/chats.jsonl"]
    assert run("prepare", "recipe.toml", "--check", "--write-to", "s3://bucket/out", code=1)
    assert storage.keys() == ["in/chats.jsonl"]
    run("prepare", "recipe.toml", "--write-to", "s3://bucket/out/")
    assert storage.get("out/data.jsonl") == CHATS
    proxy.requests.clear()
    again = run("prepare", "recipe.toml", "--write-to", "s3://bucket")
    assert "Unchanged" in again.stdout
    assert {request.method for request in proxy.requests} <= {"GET", "HEAD"}


WRONG = ("--write-to", "s3://wrong-bucket", "--write-to", "https://host")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("s3://bucket/out/map", "https://host/map", "only s3://, gs:// and az:// URLs"),
        ("s3://bucket/out/map", "../map", "is outside of the folder of the recipe"),
        ("s3://bucket/out/map", "s3://bucket/in/chats", "is an input"),
        ("s3://bucket/out/map", "s3://wrong-bucket/map", "no such bucket: s3://wrong-bucket"),
        ('"dedupe"', '"dedupe"\nlock = "s3://bucket/lock"', "has no key 'lock'"),
        ('"dedupe"', '"split"\nlock = "s3://bucket/lock"', "lock must be a local file"),
    ],
)
def test_a_recipe_with_an_output_that_cannot_be_written_writes_nothing(
    storage: Storage, old: str, new: str, message: str
) -> None:
    storage.put("in/chats.jsonl", CHATS)
    Path("recipe.toml").write_text(RECIPE.replace(old, new))
    done = run("prepare", "recipe.toml", "--write-to", "s3://bucket", *WRONG, code=2)
    assert message in done.stderr
    assert (storage.keys(), storage.uploads()) == (["in/chats.jsonl"], [])
