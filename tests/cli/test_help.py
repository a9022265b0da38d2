"""Help, examples and suggestions of all commands, and the options that they share."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ftkit.cli import COMMANDS, SECTIONS, run
from ftkit.cli.examples import EXAMPLES
from ftkit.cli.renamed import RENAMED_OPTIONS
from support.command_tree import COMMAND_TREE, parse_command
from support.commands import run_ftkit
from support.examples import chat_lines
from support.fake_provider import FakeProvider
from support.fixture_types import Run, Write
from support.paths import BAD, MARV, SAMPLES
from support.terminal import capture_terminal

GROUPS = ("ftkit", "ftkit jobs", "ftkit files", "ftkit models")


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_without_a_command_prints_its_help(group: str) -> None:
    bare = run_ftkit(*group.split()[1:])
    asked = run_ftkit(*group.split()[1:], "--help")
    assert (bare.returncode, bare.stderr) == (0, "")
    assert bare.stdout == asked.stdout
    assert bare.stdout.startswith(f"Usage: {group} ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["valdate"], "No such command 'valdate'; did you mean 'validate'? (see `ftkit --help`)"),
        (["jobs", "lst"], "'lst'; did you mean 'list'? (see `ftkit jobs --help`)"),
        (["serve", "statsu"], "'statsu'; did you mean 'status'? (see `ftkit serve --help`)"),
        (["watch"], "'watch'; did you mean `ftkit jobs watch`? (see `ftkit --help`)"),
        (["upload"], "'upload'; did you mean `ftkit files upload`? (see `ftkit --help`)"),
        (
            ["delete"],
            "did you mean `ftkit files delete` or `ftkit models delete`? (see `ftkit --help`)",
        ),
        (["zzz"], "No such command 'zzz' (see `ftkit --help`)"),
    ],
)
def test_an_unknown_command_gets_a_suggestion(arguments: list[str], message: str) -> None:
    done = run_ftkit(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"{message}\n")


@pytest.mark.parametrize("group", GROUPS)
def test_the_help_of_a_group_has_whole_sentences(group: str) -> None:
    shown = run_ftkit(*group.split()[1:]).stdout
    _, commands = shown.split("Commands:\n")
    assert "..." not in commands


def test_the_help_lists_each_command_in_one_section() -> None:
    names = [name for section in SECTIONS.values() for name in section]
    assert sorted(names) == sorted(COMMANDS)
    shown = run_ftkit("--help").stdout
    assert shown.index("Prepare data:") < shown.index("  convert  ") < shown.index("Train:")


@pytest.mark.parametrize("path", COMMAND_TREE)
def test_the_help_of_a_command_ends_with_examples_of_it(path: str) -> None:
    context = COMMAND_TREE[path]
    shown = context.command.get_help(context)
    _, title, examples = joined(shown).rpartition("Examples:\n")
    assert title
    assert [line.strip() for line in examples.splitlines()] == list(map(joined, EXAMPLES[path]))
    assert len(set(EXAMPLES[path])) >= 2
    assert all(len(line) <= 80 for line in shown.rpartition("Examples:")[2].splitlines())
    for example in EXAMPLES[path]:
        assert example == path or example.startswith(f"{path} ")
        parse_command(shlex.split(joined(example))[1:])


def joined(text: str) -> str:
    """Join the lines of a command as a shell does, which `shlex` does not."""
    return re.sub(r"\\\n *", "", text)


@pytest.mark.parametrize("path", COMMAND_TREE)
def test_the_usage_of_a_command_has_optional_arguments_in_brackets(path: str) -> None:
    context = COMMAND_TREE[path]
    for argument in context.command.get_params(context):
        if isinstance(argument, click.Argument):
            (metavar,) = argument.get_usage_pieces(context)
            assert argument.required != metavar.startswith("[")


OFFLINE = [
    "ftkit validate",
    "ftkit estimate",
    "ftkit convert",
    "ftkit split",
    "ftkit dedupe",
    "ftkit decontaminate",
    "ftkit mix",
    "ftkit sample",
    "ftkit prepare",
    "ftkit archive verify",
    "ftkit compare",
    "ftkit serve status",
    "ftkit serve bases",
    "ftkit migrate",
    "ftkit config",
    "ftkit providers",
    "ftkit catalog",
    "ftkit rules",
    "ftkit rule",
    "ftkit schema",
    "ftkit explain",
    "ftkit completion",
]
"""Commands whose examples need no provider, unless they name a job that somebody has created."""

EXIT_1 = ("ftkit validate samples --statistics", "ftkit serve status")
"""Beginnings of the examples with exit code 1: a folder with errors, and no service that runs."""


@pytest.mark.parametrize("path", [path for path in OFFLINE if path in COMMAND_TREE])
def test_the_examples_of_a_command_run(path: str, tmp_path: Path) -> None:
    shutil.copytree(SAMPLES, tmp_path / "samples")
    for example in EXAMPLES[path]:
        if "@last" not in example and "ftjob-abc123" not in example:
            done = run_ftkit(*shlex.split(joined(example))[1:])
            assert done.returncode == int(example.startswith(EXIT_1)), done.stderr
            assert done.stdout


def test_the_example_of_explain_names_a_line_that_is_wrong(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES, tmp_path / "samples")
    done = run_ftkit(*shlex.split(EXAMPLES["ftkit explain"][1])[1:])
    assert "names line 5.\nsamples/bad/json-syntax.jsonl:5: FT120" in done.stdout


SHARED = ("-q, --quiet", "-v, --verbose", "--color", "-h, --help")


@pytest.mark.parametrize("path", COMMAND_TREE)
def test_all_commands_have_the_shared_options(path: str) -> None:
    context = COMMAND_TREE[path]
    text = context.command.get_help(context)
    assert [option for option in SHARED if f"  {option}" not in text] == []
    assert ("  --output-file FILE" in text) == ("-o, --output [" in text)


SHORT = {
    "output": "-o",
    "yes": "-y",
    "quiet": "-q",
    "model": "-m",
    "limit": "-n",
    "count": "-n",
    "output-prefix": "-o",
    "verbose": "-v",
    "help": "-h",
}


def test_an_option_means_the_same_in_every_command() -> None:
    kinds: dict[str, set[str]] = {}
    for context in COMMAND_TREE.values():
        for option in context.command.get_params(context):
            if not isinstance(option, click.Option):
                continue
            name = max(option.opts, key=len)[2:]
            short = [option for option in option.opts if option[1] != "-"]
            is_data_file = name == "output-file" and option in context.command.params
            assert short == ([SHORT[name]] if name in SHORT else ["-o"] if is_data_file else [])
            kinds.setdefault(name, set()).add("flag" if option.is_flag else str(option.metavar))
    assert {name: sorted(kind) for name, kind in kinds.items() if len(kind) > 1} == {
        "epochs": ["N", "N|auto"],  # migrate: the provider must be told a number
        "map": ["FILE", "NAME=BASE"],  # serve: the names of base models
        "max-tokens": ["N", "N|none"],  # compare: it has a limit by default
        "prompts": ["FILE", "FILE|ARCHIVE"],
        "system": ["TEXT", "TEXT|COL"],  # convert: a column, too
        "to": ["FORMAT", "PROVIDER"],  # convert, migrate
    }
    one_command = {"all", "all-models", "seed", "bootstrap-seed"}
    holders = {
        name: [
            path
            for path, context in COMMAND_TREE.items()
            if any(f"--{name}" in option.opts for option in context.command.params)
        ]
        for name in one_command
    }
    assert {name: len(paths) for name, paths in holders.items()} == dict.fromkeys(one_command, 1)


def test_a_former_name_of_an_option_works_with_a_warning(ftkit: Run) -> None:
    sample = str(MARV)
    former, present = (ftkit("estimate", sample, option) for option in ("--all", "--all-models"))
    assert (former.returncode, former.stdout) == (0, present.stdout)
    assert former.stderr == "ftkit: --all of `ftkit estimate` is now --all-models\n"
    for command, options in RENAMED_OPTIONS.items():
        names = {
            name
            for option in COMMAND_TREE[f"ftkit {command}"].command.params
            for name in option.opts
        }
        assert names.isdisjoint(options)
        assert names.issuperset(options.values())


@pytest.mark.parametrize(
    ("command", "value", "advice"),
    [
        ("rules", "report.json", "(text or json); to write a file, use: --output json "),
        ("rules", "out/report", "use: --output text --output-file out/report, or: --output text "),
        ("validate x", "a b.sarif", "--output sarif --output-file 'a b.sarif', or: --output sarif"),
        ("jobs metrics x", "losses.csv", "use: --output csv --output-file losses.csv"),
    ],
)
def test_a_file_as_output_format_is_explained(command: str, value: str, advice: str) -> None:
    done = run_ftkit(*command.split(), "--output", value)
    assert done.returncode == 2
    assert f"'{value}' is not a format (" in done.stderr
    assert advice in done.stderr
    assert f"> {shlex.quote(value)} (see" in done.stderr


def test_the_output_is_written_to_a_file_when_it_is_complete(tmp_path: Path) -> None:
    done = run_ftkit("validate", BAD, "--output", "json", "--output-file", "report.json")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    assert not json.loads((tmp_path / "report.json").read_text())["ok"]
    assert run_ftkit("validate", "none", "--output-file", "report.json").returncode == 2
    assert not json.loads((tmp_path / "report.json").read_text())["ok"]
    assert [path.name for path in tmp_path.glob("*report*")] == ["report.json"]
    assert b"\x1b" not in capture_terminal("rules", "--output-file", "rules.txt")
    assert (tmp_path / "rules.txt").read_text().startswith("FT101  file-empty  ")


@pytest.mark.parametrize(
    "arguments", [("validate", "data.jsonl"), ("validate", "*.jsonl"), ("estimate", "data.jsonl")]
)
def test_the_output_does_not_replace_an_input(arguments: tuple[str, ...], write: Write) -> None:
    path = write(chat_lines(12))
    before = path.read_bytes()
    done = run_ftkit(*arguments, "--output-file", "./data.jsonl")
    assert (done.returncode, "would replace an input" in done.stderr) == (2, True)
    assert path.read_bytes() == before


def test_the_output_does_not_replace_standard_input(write: Write) -> None:
    path = write(chat_lines(12))
    before = path.read_bytes()
    command = [sys.executable, "-m", "ftkit", "validate", "-", "--output-file", str(path)]
    with path.open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, check=False)
    assert (done.returncode, "would replace an input" in done.stderr) == (2, True)
    assert path.read_bytes() == before


def test_a_command_that_ends_with_an_error_writes_no_file(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    path = write(b"before", "report.txt")
    monkeypatch.setitem(COMMANDS, "broken_off", ("support.broken_command", "Fail."))
    handler = signal.getsignal(signal.SIGTERM)
    assert run(["broken_off", "--output-file", str(path)]) == 2
    signal.signal(signal.SIGTERM, handler)
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize("name", ["../pyproject.toml", "config/ftkit/config.toml"])
def test_the_output_does_not_replace_settings(
    name: str, tmp_path: Path, ftkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("")
    done = ftkit("rules", "--output-file", name, env={"XDG_CONFIG_HOME": str(folder / "config")})
    assert (done.returncode, "would replace a settings file" in done.stderr) == (2, True)
    assert (folder / name).read_text() == ""


def test_an_output_file_keeps_its_mode_and_the_link_to_it(tmp_path: Path, ftkit: Run) -> None:
    (tmp_path / "out.txt").touch(0o600)
    (tmp_path / "link").symlink_to("out.txt")
    assert ftkit("rules", "--output-file", str(tmp_path / "link")).returncode == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "out.txt").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "out.txt").read_text().startswith("FT101  file-empty  ")


def test_an_output_file_that_cannot_be_written_is_one_line() -> None:
    for path, reason in (
        (".", "is a directory"),
        ("nowhere/x", "no such file or directory"),
        ("''", "it is not the name of a file"),
        ("'out/'", "it is not the name of a file"),
    ):
        done = run_ftkit("rules", "--output-file", path.strip("'"))
        assert done.returncode == 2
        assert done.stderr == f"ftkit: cannot write {path}: {reason}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "check", "--model", "x"], "No such option '--model'"),
        (["serve", "--map", "check", "--models", "--model"], "'--model' is not"),
        (["estimate", "--", "--all"], "no such file: --all\n"),
        (["estimate", "x.jsonl", "--facts", "--all"], "--all: no such file"),
    ],
)
def test_only_options_of_the_command_itself_are_renamed(
    arguments: list[str], message: str, ftkit: Run
) -> None:
    done = ftkit(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "is now" not in done.stderr


def test_only_parameters_are_named_as_options(ftkit: Run, write: Write) -> None:
    alpaca = write([b'{"instruction": "a", "input": "b", "output": "c"}'] * 12)
    data = ftkit("estimate", str(alpaca))
    assert "and `output` the assistant's" in data.stderr
    quoted = ftkit("validate", str(alpaca), "--select", "`output`")
    assert "unknown rule '`output`'" in quoted.stderr
    cost = ftkit("submit", MARV, "--method", "dpo", "--model", "gpt-4.1-2025-04-14")
    assert "need `--method` supervised" in cost.stderr


COLOURED = "\x1b[31m"


@pytest.mark.parametrize(
    ("options", "environment", "is_coloured"),
    [
        ((), {}, False),
        ((), {"FORCE_COLOR": "1"}, True),
        ((), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (("--color", "always"), {"NO_COLOR": "1"}, True),
        (("--color", "never"), {"FORCE_COLOR": "1"}, False),
        (("--color", "auto"), {}, False),
    ],
)
def test_colour_follows_the_option_then_the_environment(
    options: tuple[str, ...], environment: dict[str, str], is_coloured: bool
) -> None:
    for arguments in (("validate", BAD, *options), (*options, "validate", BAD)):
        done = run_ftkit(*arguments, env=environment)
        assert (COLOURED in done.stdout) == is_coloured


def test_colour_can_be_switched_off_on_a_terminal() -> None:
    assert b"\x1b[" not in capture_terminal("validate", BAD, "--color", "never")
    assert b"\x1b[" not in capture_terminal("validate", BAD, env={"TERM": "dumb"})


def test_quiet_leaves_out_notes_but_not_problems(ftkit: Run, clean_file: str) -> None:
    note = ftkit("files", "list")
    assert (note.stdout, note.stderr) == ("", "No files.\n")
    for arguments in (("files", "list", "-q"), ("-q", "files", "list"), ("files", "-q", "list")):
        assert ftkit(*arguments).stderr == ""
    assert ftkit("files", "show", "none", "-q").stderr.startswith("ftkit: ")
    for arguments in (("-q", "validate", BAD), ("validate", BAD, "-q")):
        assert "Found" not in ftkit(*arguments).stdout


def test_verbose_logs_requests_and_settings(
    ftkit: Run, provider_url: str, fake_provider: FakeProvider, write: Write
) -> None:
    settings = write(b'[tool.ftkit]\nprovider = "openai"\n', "pyproject.toml")
    done = ftkit("jobs", "list", "-v")
    assert done.returncode == 0
    assert f"INFO ftkit: settings from {settings}: provider\n" in done.stderr
    assert re.search(rf"INFO httpx2?: HTTP Request: GET {provider_url}\S* ", done.stderr)
    assert "sk-test" not in done.stderr
    assert "INFO" not in ftkit("jobs", "list").stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_short_options_work(name: str) -> None:
    assert run_ftkit(name, "-h").returncode == 0


def test_short_options_stand_for_the_long_ones(ftkit: Run, fake_provider: FakeProvider) -> None:
    for _ in range(3):
        fake_provider.add_job({"model": "m", "training_file": "file-0"})
    assert len(json.loads(ftkit("jobs", "list", "-n", "2", "-o", "json").stdout)) == 2
    assert json.loads(ftkit("jobs", "list", "-m", "other", "-o", "json").stdout) == []
    assert ftkit("files", "delete", fake_provider.add_file("a", b"x")["id"], "-y").returncode == 0
    assert ftkit("estimate", MARV, "-m", "gpt-3.5-turbo", "-o", "json").returncode == 0
