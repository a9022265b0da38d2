"""Fixes: each of them, and what holds for all: they add no finding and apply once."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ftkit import FileError, validate
from ftkit.prepare.fix.diff import fix_diff
from ftkit.prepare.fix.fix import allowed_fixes, fix, fix_plan
from ftkit.prepare.sample import sample
from ftkit.rules import RULES, Rule
from ftkit.rules.samples import (
    ASK,
    ASSISTANT,
    CHAT,
    PREFERENCE,
    SAY,
    TOOL,
    TOOL_CHAT,
    TOOLS,
    USER,
    chat,
    tool_answer,
    tool_call,
    user_parts,
    user_says,
)
from ftkit.summary import FileReport
from support.examples import chat_lines
from support.property_tests import example_count

CALL = r'"{\"town\": \"Oulu\"}"'
NULLS = TOOL.replace('{"town": {"type": "string"}}', '{"town": {"type": "string"}, "day": null}')
FUNCTION = TOOL[len('{"type": "function", "function": ') : -1]
FUNCTION_CALL = (
    rf'{{"role": "assistant", "function_call": {{"name": "weather", "arguments": {CALL}}}}}'
)
WITH_FUNCTIONS = chat(
    ASK,
    FUNCTION_CALL,
    '{"role": "function", "name": "weather", "content": "-3"}',
    SAY,
    rest=f', "functions": [{FUNCTION}]',
)

SAFE = {
    "byte order mark": ("\ufeff" + CHAT, CHAT),
    "byte order mark and white space": ("\ufeff " + CHAT + " ", CHAT),
    "CRLF": (CHAT + "\r", CHAT),
    "bare carriage returns": (f"{CHAT}\r{TOOL_CHAT}", f"{CHAT}\n{TOOL_CHAT}"),
    "blank lines": (f"\n{CHAT}\n  \n\n", CHAT),
    "white space": (f" {CHAT}\t", CHAT),
    "trailing comma in an array": (CHAT.replace("]", ",]"), CHAT),
    "trailing comma in an object": (CHAT.replace('"Hi"', '"Hi",'), CHAT),
    "trailing comma beside its look-alike": (
        user_says("a,}").replace("]", ", ]"),
        user_says("a,}").replace("]", " ]"),
    ),
    "comma after the example": (CHAT + ",", CHAT),
    "two examples on a line": (f"{CHAT}{TOOL_CHAT}", f"{CHAT}\n{TOOL_CHAT}"),
    "array of examples": (f"[{CHAT},\n {TOOL_CHAT}]", f"{CHAT}\n{TOOL_CHAT}"),
    "pretty-printed": (
        json.dumps(json.loads(CHAT), indent=2),
        '{ "messages": [ { "role": "user", "content": "Hi" },'
        ' { "role": "assistant", "content": "Hello!" } ] }',
    ),
    "raw tab": (user_says("a\tb"), user_says(r"a\tb")),
    "arguments as an object": (
        chat(ASK, tool_call(arguments='{"town": "Oulu"}'), tool_answer(), SAY, rest=TOOLS),
        TOOL_CHAT,
    ),
    "call without type": (
        TOOL_CHAT.replace('"id": "call_1", "type": "function", ', '"id": "call_1", '),
        TOOL_CHAT.replace(
            '"id": "call_1", "type": "function", "function": '
            rf'{{"name": "weather", "arguments": {CALL}}}',
            '"id": "call_1", "function": '
            rf'{{"name": "weather", "arguments": {CALL}}}, "type": "function"',
        ),
    ),
    "weight true": (
        chat(USER, ASSISTANT.replace("}", ', "weight": true}')),
        chat(USER, ASSISTANT.replace("}", ', "weight": 1}')),
    ),
    "weight 0.0": (
        chat(USER, ASSISTANT, USER, ASSISTANT.replace("}", ', "weight": 0.0}')),
        chat(USER, ASSISTANT, USER, ASSISTANT.replace("}", ', "weight": 0}')),
    ),
    "misspelt key of a message": (CHAT.replace('"content"', '"contents"', 1), CHAT),
    "key in capitals": (CHAT.replace('"content"', '"Content"', 1), CHAT),
    "role in capitals": (CHAT.replace('"user"', '"User"'), CHAT),
    "keys of TRL": (PREFERENCE.replace("non_preferred_output", "rejected"), PREFERENCE),
    "value of a text part": (
        user_parts('{"type": "text", "value": "Hi"}'),
        user_parts('{"type": "text", "text": "Hi"}'),
    ),
    "part of the Responses API": (
        user_parts('{"type": "input_text", "text": "Hi"}'),
        user_parts('{"type": "text", "text": "Hi"}'),
    ),
    "tools as a string": (
        chat(ASK, SAY, rest=f', "tools": {json.dumps(f"[{TOOL}]")}'),
        chat(ASK, SAY, rest=TOOLS),
    ),
    "tool of the Responses API": (
        chat(ASK, SAY, rest=f', "tools": [{{"type": "function", {FUNCTION[1:]}]'),
        chat(ASK, SAY, rest=TOOLS),
    ),
}
"""Safe fixes: the file before and after."""

UNSAFE = {
    "unknown key": (CHAT.replace("]}", '], "id": 17}'), CHAT, ["17"]),
    "unknown key of a message": (CHAT.replace('"Hi"', '"Hi", "train": false'), CHAT, ["false"]),
    "duplicate key": (CHAT.replace('"Hi"', '"Hey", "content": "Hi"'), CHAT, None),
    "role aliases": (CHAT.replace("user", "human").replace("assistant", "gpt"), CHAT, None),
    "parts of a tool message": (
        TOOL_CHAT.replace('"-3"', '[{"type": "text", "text": "-3"}]'),
        TOOL_CHAT,
        ['[{"type": "text", "text": "-3"}]'],
    ),
    "Python's repr": (repr(json.loads(TOOL_CHAT)), TOOL_CHAT, None),
    "Python's words": (
        chat(ASK, SAY, rest=f'{TOOLS}, "parallel_tool_calls": True'),
        chat(ASK, SAY, rest=f'{TOOLS}, "parallel_tool_calls": true'),
        None,
    ),
    "Python's repr in arguments": (
        TOOL_CHAT.replace(CALL, "\"{'town': 'Oulu'}\""),
        TOOL_CHAT,
        ["{'town': 'Oulu'}"],
    ),
    "functions": (
        WITH_FUNCTIONS,
        chat(
            ASK,
            tool_call().replace('"assistant", ', '"assistant", '),
            '{"role": "tool", "name": "weather", "content": "-3", "tool_call_id": "call_1"}',
            SAY,
            rest=TOOLS,
        ),
        None,
    ),
    "replacement character": (user_says("caf\ufffd"), user_says("caf"), ["caf\ufffd"]),
    "UTF-8 read as Windows-1252": (user_says("cafÃ© â€“ 5 â‚¬"), user_says("café – 5 €"), None),
    "zero-width space": (user_says(r"pass\u200bword"), user_says("password"), ["pass\u200bword"]),
    "nulls in a schema": (
        chat(ASK, SAY, rest=f', "tools": [{NULLS}]'),
        chat(ASK, SAY, rest=TOOLS),
        None,
    ),
    "null weight": (
        chat(USER, ASSISTANT.replace("}", ', "weight": null}')),
        CHAT,
        ["null"],
    ),
    "weight of a user": (CHAT.replace('"Hi"', '"Hi", "weight": 1'), CHAT, ["1"]),
    "object as content": (
        CHAT.replace('"Hello!"', '{"a": 1}'),
        CHAT.replace('"Hello!"', r'"{\"a\": 1}"'),
        ['{"a": 1}'],
    ),
    "empty tool calls": (CHAT.replace('"Hello!"', '"Hello!", "tool_calls": []'), CHAT, ["[]"]),
    "empty tools": (CHAT.replace("]}", '], "tools": []}'), CHAT, ["[]"]),
    "key of a part": (
        user_parts('{"type": "text", "text": "Hi", "index": 0}'),
        user_parts('{"type": "text", "text": "Hi"}'),
        ["0"],
    ),
}
"""Unsafe fixes: the file before and after, and the old values in the audit."""

SECRETS = {
    "My key is AKIA2J4K6L8M0N2P4Q6R": "My key is [AWS access key]",
    "AKIA2J4K6L8M0N2P4Q6R, ada@ada.org and bob@ada.org": (
        "[AWS access key], [e-mail address] and [e-mail address]"
    ),
    "x -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- y": "x [private key] y",
    "-----BEGIN PRIVATE KEY-----\nMIIE": "[private key]",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P end": (
        "[JSON Web Token] end"
    ),
}


@pytest.mark.parametrize(("before", "after"), SECRETS.items())
def test_redaction_replaces_secrets_and_never_shows_them(
    before: str, after: str, source: Path
) -> None:
    example = {
        "messages": [
            {"role": "user", "content": before},
            {"role": "assistant", "content": "Hello!"},
        ]
    }
    data = f"{json.dumps(example)}\n".encode()
    assert fixed(source, data, unsafe=True) == (data, [])
    result, old = fixed(source, data, redact=True)
    assert json.loads(result)["messages"][0]["content"] == after
    assert old == [""]
    assert report(source).fixable == {"safe": 0, "unsafe": 0, "redaction": 1}
    assert "secret" not in report(source.with_name("out.jsonl")).counts


NEVER = {
    "orphan tool message": chat(ASK, tool_answer(), SAY, rest=TOOLS),
    "unanswered call": chat(ASK, tool_call(), ASK, SAY, rest=TOOLS),
    "no assistant": chat(USER),
    "assistant not last": chat(USER, ASSISTANT, USER),
    "conflicting answers": f"{CHAT}\n{CHAT.replace('Hello', 'Go')}",
    "tool message without id": chat(
        ASK, tool_call(), '{"role": "observation", "content": "-3"}', SAY, rest=TOOLS
    ),
    "weight 2": chat(USER, ASSISTANT.replace("}", ', "weight": 2}')),
    "a function call without an answer": WITH_FUNCTIONS.replace(
        '{"role": "function", "name": "weather", "content": "-3"}', ASK
    ),
    "special token divided by an invisible character": user_says(r"<|endo\u200bftext|>"),
    "an array that is no call": chat(ASK, tool_call().replace("[{", "[[], {"), rest=TOOLS),
    "a tool that is a string": chat(ASK, SAY, rest=f', "tools": [{json.dumps(f"[{TOOL}]")}]'),
    "another shape": '{"conversations": [{"from": "human", "value": "Hi"}]}',
    "one conversation as an array": f"[{USER}, {ASSISTANT}]",
}
"""Mistakes that only a person can correct. Fixing with `unsafe` must not touch them."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "in.jsonl"


def fixed(source: Path, data: bytes, **options: Any) -> tuple[bytes, list[str]]:
    """The content of the fixed file, and the old values in the audit."""
    source.write_bytes(data)
    prepared = fix(source, **options)
    target = source.with_name("out.jsonl")
    assert prepared.write(target)
    assert prepared.audit.is_balanced
    entries = prepared.audit.entries
    return target.read_bytes(), [entry.detail for entry in entries if entry.effect == "changed"]


def report(path: Path) -> FileReport:
    return validate(path).files[0]


@pytest.mark.parametrize(("before", "after"), SAFE.values(), ids=SAFE)
def test_a_safe_fix_keeps_every_value(before: str, after: str, source: Path) -> None:
    result, old = fixed(source, before.encode() + b"\n")
    assert result == after.encode() + b"\n"
    assert not any(old)
    found = report(source).fixable
    assert found["safe"]
    assert not found["unsafe"]


@pytest.mark.parametrize(("before", "after", "old"), UNSAFE.values(), ids=UNSAFE)
def test_an_unsafe_fix_keeps_the_old_value_in_the_audit(
    before: str, after: str, old: list[str] | None, source: Path
) -> None:
    data = before.encode() + b"\n"
    if report_fixable(source, data):
        assert fixed(source, data) == (data, [])
    result, values = fixed(source, data, unsafe=True)
    assert [json.loads(line) for line in result.splitlines()] == [json.loads(after)]
    assert values == old if old is not None else any(values)


def report_fixable(source: Path, data: bytes) -> bool:
    """True if the file is JSON; anything else is rejected rather than left as it is."""
    source.write_bytes(data)
    found = report(source)
    assert found.fixable["unsafe"]
    assert not found.fixable["safe"]
    return "json-syntax" not in found.counts


@pytest.mark.parametrize("mistake", NEVER.values(), ids=NEVER)
def test_a_mistake_that_needs_a_decision_is_left(mistake: str, source: Path) -> None:
    data = f"{mistake}\n".encode()
    assert fixed(source, data, unsafe=True) == (data, [])


FIXED = [
    rule
    for rule in RULES.values()
    if "bytes" not in rule.context and rule.name not in ("examples-too-many", "image-size")
]
"""Rules whose bad sample is not too large."""


@pytest.mark.parametrize("unsafe", [False, True])
@pytest.mark.parametrize("rule", FIXED, ids=lambda rule: rule.name)
def test_fixing_the_bad_sample_of_a_rule(rule: Rule, unsafe: bool, source: Path) -> None:
    source.write_bytes(rule.bad if rule.whole_file else rule.bad + b"\n")
    if rule.name == "file-compressed":
        with pytest.raises(FileError, match="is gzip, not text"):
            list(fix(source))
        return
    before, target = report(source), source.with_name("out.jsonl")
    prepared = fix(source, unsafe=unsafe)
    prepared.write(target, rejects=source.with_name("rejects"))
    after = report(target)
    assert prepared.audit.is_balanced
    assert not after.fixable["safe"]
    assert not (unsafe and after.fixable["unsafe"])
    can_be_read = rule.name not in (*UNREADABLE, "encoding-utf16")
    if can_be_read and not prepared.audit.total("rejected"):
        assert after.counts.keys() <= before.counts.keys() | NEEDS_MORE
    assert list(fix(target, unsafe=unsafe)) == [json.loads(line) for line in lines(target)]


UNREADABLE = ("json-syntax", "line-ending-cr", "json-array-file", "json-pretty-printed")
"""Rules whose bad sample hides other mistakes, since it cannot be read."""
NEEDS_MORE = {"examples-few", "examples-too-few"}


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def test_rules_can_be_chosen(source: Path) -> None:
    data = f" {CHAT.replace('Hi', 'Hi').replace(']', ',]')}\n".encode()
    assert fixed(source, data, select=["FT12"])[0] == f"{CHAT}\n".encode()
    assert fixed(source, f" {CHAT}\n".encode(), ignore=["line-trailing-space"])[0][:1] == b" "


def test_a_line_that_cannot_be_fixed_is_rejected_as_it_is(source: Path, tmp_path: Path) -> None:
    broken = [b'{"messages": [{"role": "user', b"\xff", b'{"messages": %b}' % (b"9" * 5000)]
    source.write_bytes(b"\n".join([CHAT.encode(), *broken, CHAT.encode()]) + b"\n")
    prepared = fix(source, unsafe=True)
    assert prepared.write(tmp_path / "out", rejects=tmp_path / "rejects")
    assert (tmp_path / "rejects").read_bytes() == b"\n".join(broken) + b"\n"
    assert (tmp_path / "out").read_bytes() == f"{CHAT}\n{CHAT}\n".encode()


BAD_BYTE = CHAT.encode().replace(b"Hello!", b"caf\xe9")


def test_bytes_that_are_not_utf8_are_rejected_whatever_ends_the_line(
    source: Path, tmp_path: Path
) -> None:
    out, rejects = tmp_path / "out", tmp_path / "rejects"
    for end in (b"\n", b"\r", b"\r\n"):
        source.write_bytes(end.join([CHAT.encode(), BAD_BYTE, TOOL_CHAT.encode(), b""]))
        prepared = fix(source)
        assert prepared.write(out, rejects=rejects)
        assert prepared.audit.is_balanced
        assert out.read_bytes() == f"{CHAT}\n{TOOL_CHAT}\n".encode()
        assert rejects.read_bytes().rstrip() == BAD_BYTE
        rejected = [entry for entry in prepared.audit.entries if entry.effect == "rejected"]
        assert [entry.reason for entry in rejected] == ["encoding-invalid: cannot be fixed"]
        place = (1, 2) if end == b"\r" else (2, 0)
        assert [(entry.origin.line, entry.origin.row) for entry in rejected] == [place]


def test_a_lone_carriage_return_does_not_change_the_bytes_of_its_line(
    source: Path, tmp_path: Path
) -> None:
    line = BAD_BYTE.replace(b"Hi", b"Hi\rHo")
    source.write_bytes(line + b"\n")
    assert fix(source).write(tmp_path / "out", rejects=tmp_path / "rejects")
    assert (tmp_path / "rejects").read_bytes() == line + b"\n"


def with_value(value: str) -> str:
    return CHAT.replace("]}", f'], "a": {value}}}')


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (CHAT.replace("]", ",]") + " // c", "json-syntax: cannot be fixed"),
        (CHAT + " // c", "json-extra-data: cannot be fixed"),
        ("\ufeff " + with_value("NaN"), "json-nonfinite: needs an unsafe fix"),
        (with_value("9" * 5000), "json-number-range: cannot be fixed"),
        (with_value("[" * 960 + "]" * 960), "json-too-deep: cannot be fixed"),
        (repr(json.loads(CHAT)), "json-syntax: needs an unsafe fix"),
        (CHAT + CHAT.replace('"Hi"', "NaN"), "json-nonfinite: needs an unsafe fix"),
        (f"[{'0,' * 500_000}0]", "line-too-large: cannot be fixed"),
    ],
)
def test_a_rejected_line_is_as_it_was_read_and_not_reported_as_changed(
    line: str, reason: str, source: Path, tmp_path: Path
) -> None:
    data = line.encode() + b"\n"
    source.write_bytes(CHAT.encode() + b"\n" + data)
    prepared = fix(source)
    assert prepared.write(tmp_path / "out", rejects=tmp_path / "rejects")
    assert (tmp_path / "rejects").read_bytes() == data
    assert prepared.audit.counts == {("rejected", "fix", reason): 1}
    assert prepared.audit.entries[0].detail


NUMBERS = '{"a": 0.12345678901234567890123, "b": 1e-400, "c": 12345678901234567890}'
TOOL_WITH_NUMBERS = TOOL.replace('"string"', f'"string", "default": {NUMBERS}')


@pytest.mark.parametrize(
    "before",
    [
        chat(ASK.replace('"user"', '"User"'), SAY, rest=f', "tools": [{NULLS}], "id": {NUMBERS}'),
        chat(ASK, tool_call(arguments=NUMBERS), tool_answer(), SAY, rest=TOOLS),
        chat(ASK, SAY, rest=f', "tools": {json.dumps(f"[{TOOL_WITH_NUMBERS}]")}'),
        CHAT.replace("]}", f'], "x": {NUMBERS}, "x": {NUMBERS}}}'),
    ],
)
@pytest.mark.parametrize("unsafe", [False, True])
def test_fixes_keep_the_digits_of_numbers(before: str, unsafe: bool, source: Path) -> None:
    result, _ = fixed(
        source, before.encode() + b"\n", unsafe=unsafe, ignore=["example-unknown-key"]
    )
    for digits in re.findall(r": ([0-9][^,}]*)", NUMBERS):
        assert result.decode().count(digits) >= min(before.count(digits), 1)


def test_rows_that_other_functions_prepare_keep_their_origins_and_steps(
    source: Path, tmp_path: Path
) -> None:
    rows = chat_lines(30, {3: b"", 7: CHAT.replace('"user"', '"User"').encode()})
    source.write_bytes(b"\n".join(rows) + b"\n")
    prepared = fix(sample(fix(source, ignore=["role-unknown"]), fraction=1))
    assert prepared.write(tmp_path / "out", tmp_path / "map")
    assert prepared.audit.is_balanced
    assert (tmp_path / "out").read_bytes() == fixed(source, source.read_bytes())[0]
    changed = [json.loads(line) for line in lines(tmp_path / "map")][6 - 1]
    assert changed == {"line": 6, "sources": [{"file": str(source), "line": 7}], "steps": ["fix"]}


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "qa.csv",
            b"question,answer\nHi,Hello\n",
            "run `ftkit convert {0}.csv --to chat -o {0}.jsonl` first",
        ),
        ("qa.csv", "question,answer\nHi,Hello\n".encode("utf-16"), "is not JSON Lines (CSV"),
        ("qa.parquet", b"PAR1", "is not JSON Lines (Parquet); run `ftkit convert "),
    ],
)
def test_a_table_is_refused_with_the_command_that_converts_it(
    name: str, data: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(FileError, match=re.escape(message.format(path.with_suffix("")))):
        list(fix(path))


def test_a_misspelt_key_on_every_line_is_renamed(source: Path) -> None:
    data = b"".join(line + b"\n" for line in chat_lines(5))
    assert fixed(source, data.replace(b'"messages"', b'"mesages"'))[0] == data


def test_utf16_is_decoded_as_a_stream(source: Path) -> None:
    data = b"".join(line + b"\n" for line in chat_lines(5000))
    for codec in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        assert fixed(source, data.decode().encode(codec))[0] == data


def test_the_elements_of_an_array_are_written_as_they_are(source: Path, tmp_path: Path) -> None:
    rows = [line.replace(b"0", b"1.50") for line in chat_lines(4000)]
    assert fixed(source, b"[\n" + b",\n".join(rows) + b"\n]\n")[0] == b"\n".join(rows) + b"\n"
    map = tmp_path / "map"
    fix(source).write(tmp_path / "out", map)
    assert json.loads(lines(map)[2])["sources"] == [{"file": str(source), "row": 3}]


def test_open_files_and_examples_can_be_fixed(source: Path) -> None:
    source.write_bytes(f"[{CHAT}]".encode())
    with source.open("rb") as file:
        assert list(fix(file)) == [json.loads(CHAT)]
    assert list(fix([json.loads(CHAT.replace("user", "human"))], unsafe=True)) == [json.loads(CHAT)]


@pytest.mark.skipif(shutil.which("patch") is None, reason="needs patch")
def test_the_diff_is_a_patch_that_makes_the_fixed_file(source: Path) -> None:
    rows = chat_lines(20, {3: b"", 7: b" " + CHAT.encode() + b",", 8: CHAT.encode() * 2})
    source.write_bytes(b"\n".join(rows) + b"\n")
    expected, _ = fixed(source, source.read_bytes())
    plan, allowed = fix_plan((), (), None, "openai"), allowed_fixes(False, False)
    diff = b"".join(fix_diff(str(source), plan, allowed, source.name))
    subprocess.run(["patch", "-s", str(source)], input=diff, check=True)
    assert source.read_bytes() == expected


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-32"])
def test_the_diff_shows_that_a_file_is_written_as_utf8(codec: str, source: Path) -> None:
    source.write_bytes(f"{CHAT}\n".encode(codec))
    plan, allowed = fix_plan((), (), None, "openai"), allowed_fixes(False, False)
    diff = b"".join(fix_diff(str(source), plan, allowed, source.name))
    assert f"\n+{CHAT}\n".encode() in diff


messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant"]), "content": st.text(max_size=20)}
    ),
    min_size=1,
    max_size=4,
)
examples = st.fixed_dictionaries({"messages": messages})

DAMAGES = (
    lambda line: line.replace('"user"', '"human"'),
    lambda line: line.replace('"user"', '"User"'),
    lambda line: line.replace('"messages"', '"messages": 5, "messages"'),
    lambda line: line.replace("]}", ",]}"),
    lambda line: line.replace("]}", '], "id": NaN}'),
    lambda line: line.replace('"content"', '"contents"'),
    lambda line: line.replace('"content"', '"Content"'),
    lambda line: line.replace('{"role', '{"weight": true, "role'),
    lambda line: line.replace('{"role', '{"weight": null, "role'),
    lambda line: f"\ufeff{line},",
    lambda line: f" {line}\r",
    lambda line: repr(json.loads(line)),
    lambda line: line * 2,
    lambda line: line[:-3],
    lambda line: re.sub(r"\\[a-z][0-9a-f]*", "\x01", line),
)
"""Functions that damage a line."""


COUNTED = {"duplicate-example", "duplicate-conflict", "examples-few", "examples-too-few"}
"""Rules that lines break when they are split or become equal."""


def write_lines(path: Path, lines: list[str]) -> FileReport:
    """Write a file and return the report on it."""
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="")
    return validate(path, format="chat").files[0]


def damage(line: str, number: int) -> str:
    try:
        return DAMAGES[number](line)
    except ValueError:  # another damage left no JSON
        return line


@settings(max_examples=example_count(50))
@given(
    st.lists(examples, min_size=1, max_size=5),
    st.lists(st.integers(0, len(DAMAGES) - 1), max_size=4),
    st.booleans(),
)
def test_fixing_is_idempotent_and_adds_no_finding(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[Any],
    damages: list[int],
    unsafe: bool,
) -> None:
    folder = tmp_path_factory.mktemp("fix")
    source, once, twice = folder / "in", folder / "once", folder / "twice"
    clean = [json.dumps(row) for row in rows]
    # A mistake can hide others: those that each damage makes by itself may come to light.
    allowed = COUNTED | write_lines(source, clean).counts.keys()
    for number in damages:
        allowed |= write_lines(source, [damage(clean[0], number), *clean[1:]]).counts.keys()
    lines = list(clean)
    for number in damages:
        lines[0] = damage(lines[0], number)
    before = write_lines(source, lines)
    prepared = fix(source, unsafe=unsafe, format="chat")
    assert prepared.write(once, rejects=folder / "rejects")
    assert prepared.audit.is_balanced
    assert fix(once, unsafe=unsafe, format="chat").write(twice)
    assert twice.read_bytes() == once.read_bytes()
    if not damages:
        assert once.read_bytes() == source.read_bytes() or before.fixable["unsafe"]
    if not prepared.audit.total("rejected"):
        after = validate(once, format="chat").files[0]
        assert after.counts.keys() <= allowed | before.counts.keys()


def test_a_wrong_byte_makes_no_table_of_json_lines(tmp_path: Path) -> None:
    source = tmp_path / "data.jsonl"
    row = json.dumps({"messages": [{"role": "user", "content": ""}]}).encode()
    for rest in (b'"', b'"text"\n"text"\n'):
        source.write_bytes(b"\xe9" + row + b"\n" + rest)
        prepared = fix(source, format="chat")
        assert prepared.write(tmp_path / "out", rejects=tmp_path / "rejects")
        assert prepared.audit.is_balanced
        entry = prepared.audit.entries[0]
        assert (entry.origin.line, entry.effect) == (1, "rejected")


PIECES = (
    b"\r",
    b"\xe9",
    b",",
    b"\t",
    b"\xef\xbb\xbf",
    b'"',
    b"}",
    b" ",
    NUMBERS.encode(),
    b"\x00\xff",
)
"""Bytes that are put into lines."""


@given(
    st.lists(examples, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 300), st.sampled_from(PIECES)), max_size=6),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.booleans(),
)
@example(
    [{"messages": [{"role": "user", "content": ""}]}], [(0, b"\xe9"), (49, b'"')], b"\n", False
)
def test_lines_that_the_report_does_not_name_stay_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[Any],
    damages: list[tuple[int, bytes]],
    end: bytes,
    unsafe: bool,
) -> None:
    folder = tmp_path_factory.mktemp("fix")
    source, out, map = folder / "in", folder / "out", folder / "map"
    data = end.join([json.dumps(row).encode() for row in rows] + [b""])
    for at, piece in damages:
        data = data[:at] + piece + data[at:]
    source.write_bytes(data)
    prepared = fix(source, unsafe=unsafe, format="chat")
    assert prepared.write(out, map, folder / "rejects")
    assert prepared.audit.is_balanced
    named = {entry.origin.line for entry in prepared.audit.entries if entry.origin.line}
    sources = [json.loads(line)["sources"][0] for line in lines(map)]
    written = zip(sources, out.read_bytes().split(b"\n"), strict=False)
    if {entry.origin.line for entry in prepared.audit.entries} == named:  # not the whole file
        unnamed = [(place["line"], line) for place, line in written if place["line"] not in named]
        before = data.split(b"\n")[: len(data.split(b"\n")) - data.endswith(b"\n")]
        assert unnamed == [row for row in enumerate(before, 1) if row[0] not in named]
    rejected = (folder / "rejects").read_bytes().split(b"\n")
    assert all(line in data for line in rejected)


@given(st.lists(examples, min_size=1, max_size=8))
def test_examples_that_need_no_fix_stay_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("fix")
    source, target = folder / "in", folder / "out"
    source.write_text("".join(json.dumps(row, indent=None) + "\n" for row in rows))
    assert fix(source, format="chat").write(target)
    assert target.read_bytes() == source.read_bytes()
