"""The command `ftkit fix`, and the hint of `ftkit validate` that names it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from ftkit.cli import cli
from ftkit.errors import UsageError
from ftkit.rules.samples import CHAT, user_says
from support.examples import chat_lines
from support.paths import SAMPLES
from support.runner import cli_runner

HUMAN = CHAT.replace("user", "human").replace("Hi", "Hey").encode()


def ftkit(*arguments: object, input: bytes = b"") -> Result:
    return cli_runner().invoke(cli, list(map(str, arguments)), input=input, standalone_mode=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file with a safe and an unsafe fix."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\n".join(chat_lines(60, {3: CHAT.encode() + b",", 7: HUMAN})) + b"\n")
    return path


def test_safe_fixes_are_applied_and_what_remains_is_reported(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    done = ftkit("fix", source, "-o", target)
    assert done.return_value == 1
    assert done.stdout == (
        f"Read 60 rows, wrote 60 to {target}, made 1 change.\n"
        "  changed by fix: json-extra-data: put each example on its own line: 1"
        f" ({source}:3)\n"
        f"Remaining: 1 error (role-unknown 1); `ftkit validate {target}` shows them.\n"
    )
    assert target.read_bytes().count(b"human") == 1


def test_unsafe_fixes_are_reported_with_their_old_values(source: Path) -> None:
    done = ftkit("fix", source, "--unsafe", "--in-place", "--report", "json")
    assert done.return_value == 0
    report = json.loads(done.stdout)
    assert report["remaining"] == []
    assert [entry.get("detail") for entry in report["entries"]] == [None, "human"]
    assert report["entries"][1]["pointer"] == "/messages/0/role"
    assert b"human" not in source.read_bytes()


def test_the_diff_writes_nothing_and_ends_with_1(source: Path) -> None:
    before = source.read_bytes()
    done = ftkit("fix", source, "--diff")
    assert done.return_value == 1
    assert done.stdout == f"--- {source}\n+++ {source}\n@@ -3 +3 @@\n-{CHAT},\n+{CHAT}\n"
    assert source.read_bytes() == before
    assert ftkit("fix", source, "--diff", "--select", "FT5").return_value == 0


def test_standard_input_is_fixed_to_standard_output() -> None:
    done = ftkit("fix", "-", input=b"\xef\xbb\xbf" + CHAT.encode() + b"\r\n\n")
    assert done.stdout_bytes == CHAT.encode() + b"\n"
    assert "Read 2 rows, wrote 1 to standard output, dropped 1, made 2 changes." in done.stderr


def test_nothing_is_written_if_a_line_cannot_be_read(source: Path, tmp_path: Path) -> None:
    source.write_bytes(b"{\n" + source.read_bytes())
    target, rejects = tmp_path / "out.jsonl", tmp_path / "rejects"
    done = ftkit("fix", source, "-o", target)
    assert (done.return_value, target.exists()) == (1, False)
    assert "use --rejects FILE" in done.stderr
    assert ftkit("fix", source, "--unsafe", "-o", target, "--rejects", rejects).return_value == 1
    assert rejects.read_bytes() == b"{\n"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["-o", "x"], "output-file"),
        (["--in-place"], "in-place"),
        (["--map", "x"], "map"),
        (["--rejects", "x"], "rejects"),
        (["--report", "json"], "report"),
    ],
)
def test_the_diff_excludes_output(options: list[str], name: str, source: Path) -> None:
    done = ftkit("fix", source, "--diff", *options)
    assert isinstance(done.exception, UsageError)
    assert f"`--diff` writes nothing; leave out `--{name}`" in str(done.exception)


def test_a_diff_cannot_control_the_terminal(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source.write_bytes(user_says("\x1b[31m").encode() + b"\n")
    monkeypatch.setattr("ftkit.cli.terminal.is_terminal", lambda stream: True)
    assert "\x1b" not in ftkit("fix", source, "--diff").stdout


def validate(*arguments: object) -> str:
    done = ftkit("validate", *arguments)
    return done.stdout


def hint(shown: str) -> tuple[str, list[str]]:
    """The sentence of the hint, and the arguments of its command."""
    match = re.search(r"^(.*can be fixed.*): `ftkit (.*)`$", shown, re.MULTILINE)
    assert match
    return match[1], shlex.split(match[2])


@pytest.mark.parametrize("name", ["data.jsonl", "it's.jsonl", "-x.jsonl", "data.jsonl.gz"])
def test_the_command_of_validate_works_when_pasted(
    name: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gzip

    monkeypatch.chdir(tmp_path)
    data = source.read_bytes()
    Path(name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    sentence, command = hint(validate("--", name))
    assert sentence == "1 finding can be fixed, 1 more with --unsafe"
    assert ftkit(*command).return_value == 1
    fixed = command[command.index("-o") + 1]
    sentence, command = hint(validate("--", fixed))
    assert sentence == "1 finding can be fixed"
    assert "--unsafe" in command
    assert ftkit(*command).return_value == 0
    assert "can be fixed" not in validate("--", command[command.index("-o") + 1])


BROKEN = {
    "a line that is cut": (CHAT[:40].encode(), []),
    "NaN": (CHAT.replace('"Hi"', "NaN").encode(), []),
    "Python": (repr(json.loads(CHAT)).encode(), []),
    "a rule that is not checked": (b"{", ["--select", "FT1", "--ignore", "json-syntax"]),
    "more findings than are kept": (b"\n".join([CHAT.encode() + b","] * 200 + [b"{"]), []),
    "bytes that are not UTF-8 between carriage returns": (CHAT.encode() + b"\r{\xff}\r{}", []),
}


@pytest.mark.parametrize(("line", "options"), BROKEN.values(), ids=BROKEN)
def test_the_command_of_validate_writes_the_lines_that_can_be_fixed(
    line: bytes, options: list[str], source: Path, tmp_path: Path
) -> None:
    source.write_bytes(source.read_bytes() + line + b"\n")
    _, command = hint(validate(source, *options))
    assert command[4:6] == ["--rejects", str(tmp_path / "in-rejected.jsonl")]
    assert ftkit(*command).return_value == 1
    assert CHAT.encode() in (tmp_path / "in-fixed.jsonl").read_bytes()
    assert (tmp_path / "in-rejected.jsonl").read_bytes().strip()


def test_the_command_for_several_files_only_shows_changes(source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    shutil.copy(source, other)
    clean = SAMPLES / "marv.jsonl"
    _, command = hint(validate(source, clean, other, "--select", "FT1"))
    assert command == ["fix", str(source), str(other), "--diff", "--select", "FT1"]
    assert ftkit(*command).return_value == 1


def test_standard_input_has_no_command_to_paste(source: Path) -> None:
    done = ftkit("validate", "-", input=source.read_bytes())
    assert "`ftkit fix` can fix 1 finding, 1 more with --unsafe.\n" in done.stdout


def test_the_json_of_validate_counts_what_can_be_fixed(source: Path) -> None:
    files: list[Any] = json.loads(validate(source, "--output", "json"))["files"]
    assert [file["fixable"] for file in files] == [{"safe": 1, "unsafe": 1, "redaction": 0}]


def test_a_rule_shows_its_fixes() -> None:
    assert "Fixes (`ftkit fix`):\n    write the weight as 0 or 1 (safe)\n" in (
        ftkit("rule", "weight-type").stdout
    )
    (rule,) = [json.loads(ftkit("rule", "key-case", "--output", "json").stdout)]
    assert rule["fixes"] == [{"safety": "safe", "summary": "write the key in lower case"}]
    assert "upper and lower case. [safe fix]\n" in ftkit("rules").stdout
