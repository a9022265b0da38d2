"""Recipes: their schema, the composition of the steps, the outputs, and checks of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ftkit.errors import FileError, UsageError
from ftkit.prepare.dedupe import dedupe
from ftkit.prepare.recipe.read import read_recipe
from ftkit.prepare.recipe.run import RecipeResult, run_recipe
from ftkit.prepare.recipe.steps import STEPS
from ftkit.prepare.sample import sample
from support.paths import SAMPLES

ROWS = [
    {"prompt": f"Question {number}?", "completion": f"Answer {number}."} for number in range(30)
]

HEAD = 'sources = ["data.jsonl"]\noutputs = { file = "out.jsonl", map = "out.map.jsonl" }\n'


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of 30 rows and a copy of the first one, in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [*ROWS, ROWS[0]]))
    return path


def run(recipe: str, **options: Any) -> RecipeResult:
    Path("r.toml").write_text(recipe)
    return run_recipe("r.toml", **options)


def lines(name: str) -> list[Any]:
    return list(map(json.loads, Path(name).read_text().splitlines()))


def files() -> set[str]:
    return {path.name for path in Path().iterdir()}


STEP_OPTIONS = {
    "convert": 'to = "completions"',
    "fix": "unsafe = true",
    "split": "ratio = [0.5, 0.5]",
    "dedupe": 'near = 1\nagainst = "other.jsonl"',
    "decontaminate": 'against = ["oth*.jsonl"]',
    "mix": "total = 20",
    "sample": "count = 20",
    "filter": 'where = "chars > 0"',
    "screen": "redact = true",
}
"""Options that each step needs, or that are of different types."""


@pytest.mark.parametrize("name", STEPS)
def test_every_step_runs_in_a_recipe(name: str) -> None:
    Path("other.jsonl").write_text('{"prompt": "something else altogether"}\n')
    head = HEAD
    if name == "split":
        head = head.replace("file =", 'train = "a.jsonl", validation =')
    if name == "mix":
        head = head.replace('"data.jsonl"', '{ file = "data.jsonl", weight = 2 }')
    result = run(f'{head}[[steps]]\nstep = "{name}"\n{STEP_OPTIONS[name]}\n')
    assert result.ok
    assert result.stages[-1].name == name
    assert all(stage.audit.is_balanced for stage in result.stages)
    assert 20 <= sum(result.rows.values()) <= 31


@pytest.mark.parametrize("name", ["../out.jsonl", "/tmp/out.jsonl", "link/out.jsonl"])
def test_a_recipe_writes_only_below_its_folder_and_the_current_one(
    name: str, tmp_path: Path
) -> None:
    Path("link").symlink_to(tmp_path.parent)
    with pytest.raises(UsageError, match="a recipe writes to these only"):
        run(HEAD.replace("out.jsonl", name))


@pytest.mark.parametrize(
    ("write_to", "message"),
    [
        ((), "writes to s3://bucket/data/out.jsonl; allow it by `write_to`"),
        (("s3://bucket/dat", "gs://bucket"), "writes to s3://bucket/data/out.jsonl; allow it by"),
        (("s3://",), "`write_to` must be a URL with a bucket"),
        (("s3:///",), "`write_to` must be a URL with a bucket"),
        (("s3:",), "`write_to` must be a URL with a bucket"),
    ],
)
def test_a_recipe_writes_to_the_urls_only_that_are_allowed(
    write_to: tuple[str, ...], message: str
) -> None:
    Path("recipe.toml").write_text(HEAD.replace("out.jsonl", "s3://bucket/data/out.jsonl"))
    with pytest.raises(UsageError, match=message):
        run_recipe("recipe.toml", write_to=write_to)


def test_a_recipe_without_steps_copies_rows_byte_for_byte(data: Path) -> None:
    assert run(HEAD).ok
    assert Path("out.jsonl").read_bytes() == data.read_bytes()


def test_steps_are_composed_as_functions_are() -> None:
    steps = '[[steps]]\nstep = "sample"\nfraction = 0.5\n[[steps]]\nstep = "dedupe"\n'
    result = run(HEAD + steps)
    assert lines("out.jsonl") == list(dedupe(sample("data.jsonl", fraction=0.5)))
    read, sampled, deduped = (stage.audit for stage in result.stages)
    assert (read.written, sampled.written) == (sampled.read, deduped.read)


def test_the_map_leads_from_a_line_to_its_source_row_through_all_steps(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES, tmp_path / "samples")
    result = run_recipe("samples/recipe.toml")
    table = Path("samples/questions.csv").read_text().splitlines()
    entries = lines("samples/questions.map.jsonl")
    assert len(entries) == sum(result.rows.values()) == 31
    for entry in entries:
        (example,) = lines(f"samples/{entry['file']}")[entry["line"] - 1 : entry["line"]]
        (source,) = entry["sources"]
        assert source["file"] == "questions.csv"
        assert table[source["line"] - 1].startswith(example["messages"][0]["content"])
        assert entry["steps"] == ["convert"]


def test_the_same_inputs_give_the_same_bytes_from_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(SAMPLES, tmp_path / "samples")
    first = {
        Path(name): Path(name).read_bytes() for name in run_recipe("samples/recipe.toml").changed
    }
    before = {path: path.stat().st_mtime_ns for path in first}
    monkeypatch.chdir("samples")
    assert run_recipe("recipe.toml").changed == []
    monkeypatch.chdir(tmp_path)
    assert {path: path.read_bytes() for path in first} == first
    assert {path: path.stat().st_mtime_ns for path in first} == before


def test_a_check_writes_nothing_and_names_what_would_change(data: Path) -> None:
    recipe = HEAD + '[[steps]]\nstep = "dedupe"\n'
    result = run(recipe, check=True)
    assert (result.ok, result.changed) == (False, ["out.jsonl", "out.map.jsonl"])
    assert files() == {"data.jsonl", "r.toml"}
    assert run(recipe).ok
    assert run(recipe, check=True).ok
    data.write_text(data.read_text() + '{"prompt": "new", "completion": "row"}\n')
    assert run(recipe, check=True).changed == ["out.jsonl", "out.map.jsonl"]
    assert len(lines("out.jsonl")) == 30


def test_all_outputs_are_written_or_none(data: Path) -> None:
    data.write_text(data.read_text() + "{\n")
    withheld = run(HEAD)
    assert (withheld.ok, withheld.rows, withheld.stages[0].audit.written) == (False, {}, 0)
    assert files() == {"data.jsonl", "r.toml"}
    result = run(HEAD.replace("map =", 'rejects = "rejects", map ='))
    assert not result.ok
    assert Path("rejects").read_text() == "{\n"
    assert len(lines("out.jsonl")) == 31


def test_a_split_rejects_rows_into_the_same_file() -> None:
    step = '[[steps]]\nstep = "split"\nratio = [0.5, 0.5]\ngroup = "$.topic"\n'
    head = HEAD.replace("file =", 'train = "a.jsonl", rejects = "rejects", validation =')
    result = run(head + "validate = false\n" + step)
    assert (result.ok, result.total("rejected")) == (False, 31)
    assert lines("rejects") == [*ROWS, ROWS[0]]


def test_all_losses_are_reported_before_a_run_fails() -> None:
    Path("data.jsonl").write_text(
        "".join(f'{{"prompt": "{n}", "completion": "b", "score": {n}}}\n' for n in range(12))
    )
    step = '[[steps]]\nstep = "convert"\nto = "completions"\n'
    result = run(HEAD + step)
    assert (result.has_forbidden_losses, result.total("loss"), result.rows) == (True, 12, {})
    assert files() == {"data.jsonl", "r.toml"}
    allowed = run(f'{HEAD}{step}on_loss = "allow"\n[[steps]]\nstep = "dedupe"\n')
    assert (allowed.ok, allowed.rows) == (True, {"out.jsonl": 12})


def test_a_first_fix_reads_lines_that_are_no_json(data: Path) -> None:
    data.write_text(data.read_text().replace('"Answer 3."}', '"Answer 3.",}'))
    result = run(f'{HEAD}[[steps]]\nstep = "fix"\n[[steps]]\nstep = "dedupe"\n')
    assert result.ok
    assert lines("out.jsonl") == ROWS
    assert lines("out.map.jsonl")[3] == {
        "line": 4,
        "sources": [{"file": "data.jsonl", "line": 4}],
        "steps": ["fix"],
    }


def test_sources_may_be_patterns_and_have_weights() -> None:
    Path("other-1.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 15)
    head = HEAD.replace(
        '"data.jsonl"',
        '{ file = "data.jsonl", weight = 3 }, { file = "oth*.jsonl", weight = 1 }',
    )
    result = run(f'{head}[[steps]]\nstep = "mix"\ntotal = 40\n')
    assert [stage.name for stage in result.stages] == [
        "read data.jsonl",
        "read other-1.jsonl",
        "mix",
    ]
    rows = lines("out.jsonl")
    assert (len(rows), rows.count({"prompt": "a", "completion": "b"})) == (40, 10)


def test_a_lock_file_is_read_and_written_with_the_outputs(data: Path) -> None:
    step = '[[steps]]\nstep = "split"\nratio = [0.5, 0.5]\nlock = "split.lock"\nnear = 0.9\n'
    recipe = HEAD.replace("file =", 'train = "a.jsonl", validation =') + step
    assert "split.lock" in run(recipe, check=True).changed
    assert not Path("split.lock").exists()
    assert run(recipe).ok
    assert run(recipe, check=True).ok
    data.write_text('{"prompt": "new", "completion": "row"}\n' + data.read_text())
    before = lines("a.jsonl")
    assert run(recipe).ok
    assert [row for row in lines("a.jsonl") if row in before] == before


def test_the_outputs_are_validated(data: Path) -> None:
    data.write_text('{"prompt": "a", "completion": "b"}\n')
    result = run(HEAD)
    assert result.validation
    assert (result.ok, result.validation.files[0].file) == (False, "out.jsonl")
    assert "examples-too-few" in result.validation.files[0].counts
    assert run(HEAD + '[validate]\nignore = ["examples-too-few"]\n').ok
    without = run(HEAD + "validate = false\n")
    assert (without.ok, without.validation) == (True, None)


def test_tables_are_read_with_the_options_of_the_readers() -> None:
    rows = "".join(f"Frage {number}|Antwort {number}\n" for number in range(12))
    Path("data.csv").write_text(f"frage|antwort\n{rows}", encoding="utf-16")
    head = HEAD.replace("data.jsonl", "data.csv")
    fields = '{ user = "frage", assistant = "antwort" }'
    step = f'[[steps]]\nstep = "convert"\nto = "chat"\nfield = {fields}\n'
    result = run(f'{head}reading = {{ delimiter = "|", format = "csv" }}\n{step}')
    assert result.ok
    assert lines("out.jsonl")[11]["messages"][0]["content"] == "Frage 11"


STEP = "[[steps]]\nstep = "


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("sources = [", "r.toml is not TOML: "),
        ("source = 1", "r.toml has no key 'source'; did you mean 'sources'?"),
        ("outputs = {}", "r.toml needs the key 'sources'"),
        ("sources = 1\noutputs = {}", "r.toml: sources must be text or a list, not 1"),
        ("sources = []\noutputs = {}", "r.toml: sources must be a list of files, or, for mix, of"),
        (HEAD.replace("file", "fil"), "r.toml: outputs has no key 'fil'; did you mean 'file'?"),
        (HEAD.replace("file", "train"), "r.toml: outputs must name file, and no other file"),
        (HEAD + "[[steps]]\nto = 'chat'", "r.toml: step 1 has no key 'step'; the steps are conv"),
        (HEAD + STEP + "'dedup'", "r.toml: step 1 cannot be 'dedup'; did you mean 'dedupe'?"),
        (
            HEAD + STEP + "'dedupe'\nnaer = 1",
            "step 1 (dedupe) has no key 'naer'; did you mean 'near",
        ),
        (HEAD + STEP + "'dedupe'\nnear = 'x'", "step 1 (dedupe): near must be a number, not 'x'"),
        (
            HEAD + STEP + "'dedupe'\nnear = 2",
            "step 1 (dedupe): `near` must be from 0.7 to 1, not 2",
        ),
        (HEAD + STEP + "'dedupe'\nkeep = 'x'", "keep must be first or longest, not 'x'"),
        (HEAD + STEP + "'dedupe'\nsave = 'x'", "step 1 (dedupe) has no key 'save'"),
        (HEAD + STEP + "'convert'\nencoding = 'x'", "no key 'encoding'; it is a key of [reading]"),
        (
            HEAD + STEP + "'convert'\nsystem_text = 'x'",
            "step 1 (convert) has no key 'system_text'; it is a key of `field` of convert",
        ),
        (HEAD + STEP + "'convert'", "step 1 (convert) needs the key 'to'"),
        (
            HEAD + STEP + "'convert'\nto = 'chatt'",
            "step 1 (convert): unknown format 'chatt'; did you mean 'chat'?",
        ),
        (HEAD + STEP + "'convert'\nto = 'chat'\nfrom = 'csv'", "set the format of files by"),
        (HEAD + STEP + "'mix'", "step 1 (mix): mix must be the first step, of sources such as"),
        (HEAD + STEP + "'split'", "outputs must name train and validation and test"),
        (HEAD + STEP + "'split'\n" + STEP + "'fix'", "step 1 (split): a split must be the last"),
        (HEAD + "reading = { sheet = 'a' }", "[reading] needs convert as the first step"),
        (
            HEAD + "[validate]\nmodl = 1",
            "r.toml: validate has no key 'modl'; did you mean 'model'?",
        ),
        (HEAD + "[validate]\nselect = 'a'", "r.toml: validate: select must be a list, not 'a'"),
        (HEAD.replace("out.jsonl", "data.jsonl"), "data.jsonl is an input; name another file"),
        (HEAD.replace("out.jsonl", "r.toml"), "r.toml is an input; name another file"),
        (HEAD.replace("out.map.jsonl", "out.jsonl"), "out.jsonl is named for two outputs"),
        (HEAD.replace("out.jsonl", "out.parquet"), "out.parquet cannot be validated; write JSON"),
        (HEAD + "x = " + "[" * 9000, "r.toml is nested too deeply"),
        (HEAD + "[validate]\nmodel = 'x'", "r.toml: validate: unknown model 'x'"),
        (HEAD.replace("out.jsonl", "out.csv"), "cannot write out.csv: ftkit writes JSON Lines"),
        (HEAD.replace("data.jsonl", "*.txt"), "no file matches '*.txt'"),
    ],
)
def test_an_invalid_recipe_is_refused_in_one_line(recipe: str, message: str) -> None:
    with pytest.raises((UsageError, FileError)) as caught:
        run(recipe)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files() == {"data.jsonl", "r.toml"}


def test_a_problem_of_a_reader_names_the_table_of_its_options() -> None:
    Path("data.csv").write_bytes("question,answer\nGrüße?,Ja.\n".encode("cp1252"))
    head = HEAD.replace("data.jsonl", "data.csv")
    with pytest.raises(UsageError, match=r"set `encoding` in \[reading\], such as cp1252"):
        run(f"{head}[[steps]]\nstep = 'convert'\nto = 'chat'\n")


def test_the_outputs_of_a_recipe_are_no_inputs_of_a_step() -> None:
    Path("other.jsonl").write_text("{}\n")
    with pytest.raises(UsageError, match=r"other\.jsonl is an input"):
        run(HEAD.replace("out.jsonl", "other.jsonl") + STEP + "'dedupe'\nagainst = 'oth*'")


def test_the_sample_reads_as_it_is_described() -> None:
    recipe = read_recipe(SAMPLES / "recipe.toml")
    assert [step.name for step in recipe.steps] == ["convert", "dedupe", "split"]
