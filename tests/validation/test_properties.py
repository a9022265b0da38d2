"""Properties of validation that hold for any input."""

from __future__ import annotations

import functools
import itertools
import json
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit import validate
from ftkit.catalog import find_limits
from ftkit.dataset.formats import FORMATS
from ftkit.dataset.reader import Shard
from ftkit.rules import RULES, ScanPlan, choose_rules
from ftkit.rules.base import Rule
from ftkit.rules.nodes import Text
from ftkit.summary import Summary
from ftkit.validation.runner import Checks
from ftkit.validation.scan import DECODE_ERRORS, Scanner, scan
from ftkit.validation.schema_errors import schema_errors
from support.damaged_files import GOOD_LINES, damaged_files, mutated_lines
from support.examples import chat_lines
from support.property_tests import example_count

PLAN = ScanPlan(find_limits(), rules=frozenset(RULES))


def summary_of(data: bytes, format: str = "chat", *cuts: int) -> Summary:
    """The summary of the data in one file, scanned in shards that begin at the cuts."""
    plan = msgspec.structs.replace(PLAN, format=format)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.jsonl"
        path.write_bytes(data)
        places = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
        shards = [Shard(str(path), start, end) for start, end in itertools.pairwise(places)]
        return functools.reduce(
            lambda total, shard: total + scan(shard, plan), shards, Summary(keep=plan.keep)
        )


@given(damaged_files, st.lists(st.integers(1, 4000), max_size=4), st.sampled_from(sorted(FORMATS)))
@settings(max_examples=example_count(150))
def test_any_split_into_shards_gives_the_same_summary(
    data: bytes, cuts: list[int], format: str
) -> None:
    assert summary_of(data, format, *cuts) == summary_of(data, format)


@given(damaged_files, damaged_files, damaged_files)
@settings(max_examples=example_count(60))
def test_adding_summaries_is_associative(one: bytes, two: bytes, three: bytes) -> None:
    a, b, c = (summary_of(data + b"\n") for data in (one, two, three))
    assert (a + b) + c == a + (b + c)


@given(
    mutated_lines() | st.binary(max_size=200).map(lambda data: data.replace(b"\n", b"")),
    st.sampled_from(sorted(FORMATS)),
)
@hypothesis.example(b'{"Messages": []}', "reinforcement")
@settings(max_examples=example_count(400))
def test_any_bytes_give_findings_or_a_clean_example_and_never_an_exception(
    line: bytes, format: str
) -> None:
    scanner = Scanner(msgspec.structs.replace(PLAN, format=format))
    scanner.scan([line], len(line))
    summary = scanner.summary()
    try:
        FORMATS[format].decode(line)
    except DECODE_ERRORS:
        assert summary.findings or summary.blank.count
    else:
        assert summary.examples == 1 or "json-too-deep" in summary.counts


@st.composite
def near_examples(draw: st.DrawFn) -> dict[str, Any]:
    """An example of some format, with a value somewhere in it replaced, removed or added."""
    value = json.loads(
        draw(st.sampled_from([line for line in GOOD_LINES if line.startswith(b"{")]))
    )
    places = list(_places(value))
    holder, key = draw(st.sampled_from(places))
    new = draw(
        st.none()
        | st.booleans()
        | st.integers(-2, 2)
        | st.just(1.0)
        | st.sampled_from(["", "x", "user", "function", "text"])
        | st.just([])
        | st.just({})
        | st.just([[]])
        | st.just(["user"])
    )
    action = draw(st.sampled_from(["replace", "remove", "add"]))
    if action == "remove" and isinstance(holder, dict):
        del holder[key]
    elif action == "add" and isinstance(holder, dict):
        holder[
            draw(
                st.sampled_from(
                    ["weight", "name", "tools", "extra", "role", "tool_calls", "Content"]
                )
            )
        ] = new
    else:
        holder[key] = new
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, item in list(inner):
        yield value, key
        yield from _places(item)


@given(near_examples(), st.sampled_from(sorted(FORMATS)))
@settings(max_examples=example_count(500))
def test_the_decoder_and_the_schema_take_the_same_examples(
    value: dict[str, Any], format: str
) -> None:
    line = json.dumps(value).encode()
    try:
        FORMATS[format].decode(line)
        taken = True
    except DECODE_ERRORS:
        taken = False
    assert (schema_errors(json.loads(line), format) == []) == taken


@given(near_examples(), st.sampled_from(sorted(FORMATS)))
@settings(max_examples=example_count(300))
def test_what_the_decoder_refuses_has_a_finding_of_severity_error(
    value: dict[str, Any], format: str
) -> None:
    line = json.dumps(value).encode()
    scanner = Scanner(msgspec.structs.replace(PLAN, format=format))
    scanner.scan([line], len(line), True)
    if schema_errors(json.loads(line), format):
        assert any(finding.severity == "error" for finding in scanner.summary().findings)


CHECKS = Checks(PLAN)
TEXT_RULES = [rule for rule in RULES.values() if Text in rule.checks]

FRAGMENTS = [
    *(json.loads(rule.bad)["messages"][0]["content"] for rule in TEXT_RULES),
    "sk-proj-Ab3" * 4,
    "AKIA2J4K6L8M0N2P4Q6R",
    "ghp_" + "aB3" * 12,
    "xoxb-12345678-aBcDeFgH9",
    "hf_" + "aB3d" * 9,
    "me@corp.io",
    "a@b",
    "-----BEGIN RSA PRIVATE KEY",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.x",
    "<|endoftext|>",
    "<|im_start|>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
    "<start_of_turn>",
    "{{name}}",
    "{{ a.b }}",
    "<INSERT NAME>",
    "[YOUR NAME]",
    "[PLACEHOLDER]",
    "<REPLACE THIS>",
    "TODO",
    "\u200b",
    "\ufeff",
    "\u00ad",
    "\x00",
    "\x7f",
    "\u202e",
    "\u180e",
    "\u3164",
    "\U000e0041",
    "a\u200db",
    "cafÃ©",
    "â€™",
    "\ufffd",
    "Â°",
    "ðŸ˜€",
    "ÐŸÑ€",
    "\\",
    '"',
    "\n",
    "{",
    "é",
    "漢",
    "x" * 30,
]

BEFORE = ["", *map(chr, range(0x20)), "\x7f", '"', "\\", "/", "é", "漢", "x"]


def _escaped(text: str, unit: str = "\\u{:04x}") -> str:
    """The text with each of its UTF-16 code units escaped."""
    data = text.encode("utf-16-be")
    return "".join(unit.format(code) for (code,) in struct.iter_unpack(">H", data))


SPELLINGS: dict[str, Callable[[str], str]] = {
    "shortest": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "ASCII": lambda text: json.dumps(text)[1:-1],
    "slashes": lambda text: json.dumps(text, ensure_ascii=False)[1:-1].replace("/", "\\/"),
    "first escaped": lambda text: _escaped(text[:1]) + json.dumps(text[1:])[1:-1],
    "last escaped": lambda text: json.dumps(text[:-1])[1:-1] + _escaped(text[-1:]),
    "all escaped": _escaped,
    "all escaped in capitals": lambda text: _escaped(text, "\\u{:04X}"),
}
"""Ways to write a text in a JSON string."""


def line_with(content: str, more: str) -> bytes:
    """A line with a user message, whose content is JSON without quotes, and more of its keys."""
    message = f'{{"role": "user", "content": "{content}"{more}}}'
    answer = '{"role": "assistant", "content": "Hello!"}'
    return f'{{"messages": [{message}, {answer}]}}'.encode()


def text_findings(text: str) -> list[str]:
    """The names of the rules that a text breaks, found without a prefilter."""
    return [finding.rule for finding in CHECKS.texts([("$", text)], 1, CHECKS.on(Text))]


@pytest.mark.parametrize("rule", TEXT_RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("more", ["", ', "name": "Ada"'], ids=["plain", "decoded"])
def test_a_rule_on_text_finds_a_text_in_any_spelling(rule: Rule, more: str) -> None:
    texts = [
        before + text
        for text in FRAGMENTS
        if rule.name in text_findings(text)
        for before in BEFORE
        if rule.name in text_findings(before + text)
    ]
    lines = [line_with(spell(text), more) for text in texts for spell in SPELLINGS.values()]
    scanner = Scanner(msgspec.structs.replace(PLAN, rules=frozenset({rule.name})))
    scanner.scan(lines, 0)
    assert scanner.summary().counts == {rule.name: len(lines)}


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*FRAGMENTS, *BEFORE]) | st.text(max_size=5),
            st.sampled_from(sorted(SPELLINGS)),
        ),
        max_size=6,
    ),
    st.sampled_from(["", ', "name": "Ada"']),
)
@hypothesis.example([("\x00", "shortest"), ("AKIA2J4K6L8M0N2P4Q6R", "shortest")], "")
@hypothesis.example([("me\n@corp.io", "shortest")], "")
@settings(max_examples=example_count(150))
def test_the_prefilter_lets_no_line_pass_that_breaks_a_rule_on_text(
    parts: list[tuple[str, str]], more: str
) -> None:
    expected = set(text_findings("".join(text for text, _ in parts)))
    content = "".join(SPELLINGS[spelling](text) for text, spelling in parts)
    scanner = Scanner(PLAN)
    scanner.scan([line_with(content, more)], 0)
    assert expected <= scanner.summary().counts.keys()


@st.composite
def spellings(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """One example spelled in two ways."""
    value = draw(
        st.sampled_from(
            [json.loads(line) for line in GOOD_LINES if line.startswith(b'{"messages"')]
        )
    )
    return (
        json.dumps(value, ensure_ascii=False).encode(),
        json.dumps(
            _reordered(value), separators=draw(st.sampled_from([(",", ":"), (" , ", " : ")]))
        ).encode(),
    )


def _reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reordered(value[key]) for key in reversed(value)}
    return [_reordered(item) for item in value] if isinstance(value, list) else value


@given(spellings())
def test_key_order_spacing_and_escapes_do_not_hide_a_duplicate(pair: tuple[bytes, bytes]) -> None:
    scanner = Scanner(PLAN)
    scanner.scan(pair, 0)
    records = scanner.summary().fingerprints
    assert records[8:24] == records[32:48]


def test_each_scan_has_fingerprints_of_its_own() -> None:
    records = []
    for _ in range(2):
        scanner = Scanner(ScanPlan(find_limits(), rules=choose_rules()))
        scanner.scan([GOOD_LINES[0]], 0)
        records.append(scanner.summary().fingerprints)
    assert records[0] != records[1]


@pytest.mark.parametrize(
    ("format", "ignored", "size"),
    [
        ("chat", [], 24),
        ("chat", ["FT220", "FT221"], 24),  # there may be a validation file
        ("chat", ["FT22"], 0),
        ("completions", ["FT22"], 24),  # two rules count the different answers
        ("completions", ["FT22", "FT911", "FT913"], 0),
    ],
)
def test_fingerprints_are_kept_only_for_rules_that_compare_examples(
    format: str, ignored: list[str], size: int
) -> None:
    plan = ScanPlan(find_limits(), format=format, rules=choose_rules(ignore=ignored))
    lines = {"chat": GOOD_LINES[0], "completions": b'{"prompt":"a","completion":"b"}'}
    scanner = Scanner(plan)
    scanner.scan([lines[format]], 0)
    assert len(scanner.summary().fingerprints) == size


@given(
    st.sampled_from([line for line in GOOD_LINES if line.startswith(b"{")]),
    st.data(),
    st.booleans(),
)
@settings(max_examples=example_count(200))
def test_a_repeated_key_is_found_wherever_it_stands(
    line: bytes, data: st.DataObject, escaped: bool
) -> None:
    value = json.loads(line)
    holders = [holder for holder, _ in _places(value) if isinstance(holder, dict)]
    holder = data.draw(st.sampled_from(holders))
    key = data.draw(st.sampled_from(sorted(holder)))
    inner = json.dumps(holder[key])
    name = json.dumps(key) if not escaped else f'"\\u{ord(key[0]):04x}{key[1:]}"'
    whole = json.dumps(value)
    body = json.dumps(holder)
    repeated = whole.replace(body, f"{body[:-1]}, {name}: {inner}}}", 1)
    format = (
        "reinforcement"
        if "answer" in value or "score" in value
        else next(
            name for name, format in FORMATS.items() if schema_errors(json.loads(line), name) == []
        )
    )
    scanner = Scanner(msgspec.structs.replace(PLAN, format=format))
    scanner.scan([repeated.encode()], 0)
    assert "json-duplicate-key" in scanner.summary().counts


def test_findings_of_joined_files_are_those_of_the_parts_moved(tmp_path: Path) -> None:
    one, two = chat_lines(20, {4: b"oops", 7: {"messages": []}}), chat_lines(20, {3: b"null"})
    for name, content in (("one", one), ("two", two), ("both", one + two)):
        (tmp_path / f"{name}.jsonl").write_bytes(b"".join(line + b"\n" for line in content))
    findings = {
        name: validate(tmp_path / f"{name}.jsonl", ignore=["FT2"]).files[0].findings
        for name in ("one", "two", "both")
    }
    assert findings["both"] == (
        *findings["one"],
        *(finding.moved(20) for finding in findings["two"]),
    )
