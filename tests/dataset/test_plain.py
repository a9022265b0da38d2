"""The reader of plain lines in C agrees with the decoder that it replaces."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import hypothesis
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit.catalog import find_limits
from ftkit.dataset import plain
from ftkit.dataset.canonical import chat_parts, count_strings
from ftkit.dataset.formats import FORMATS
from ftkit.dataset.plain import ROLES, PlainLine, is_compiled, read_plain, refuse, texts_of
from ftkit.rules import RULES, ScanPlan
from ftkit.tokens.tally import CountingMethod
from ftkit.validation.scan import Scanner
from support.damaged_files import damaged_files
from support.portable_code import compile_portable
from support.property_tests import example_count

needs_extension = pytest.mark.skipif(
    not is_compiled() and not os.environ.get("FTKIT_REQUIRE_EXTENSION"),
    reason="the extension was not compiled",
)

PLAN = ScanPlan(
    msgspec.structs.replace(find_limits(), tokens=12),
    rules=frozenset(RULES),
    keep=2,
    counting_methods=(CountingMethod("tokens", "bytes", limits=(10,)),),
)


def line(*messages: Any, **more: Any) -> bytes:
    return json.dumps({"messages": messages, **more}).encode()


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def answer(weight: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": "x", "weight": weight}


def decoded(data: bytes) -> PlainLine:
    """The same of a line that is decoded, after asserting that it is plain."""
    example = FORMATS["chat"].decode(data)
    messages = msgspec.to_builtins(example)["messages"]
    contents = [message.pop("content") for message in messages]
    assert not any(text.isspace() or not text for text in contents)
    weights = sum("weight" in message for message in messages)
    assert count_strings(data) == 1 + 4 * len(messages) + weights
    assert data.startswith(b"{")
    assert data.removesuffix(b"\r").endswith(b"}")
    roles = bytes(next(role for role in ROLES if ROLES[role] == message) for message in messages)
    return (roles, *chat_parts(example))


@needs_extension
@pytest.mark.parametrize(
    "data",
    [
        line(user("Hi")),
        line(user("Hi"), {"role": "assistant", "content": "Hello!"}),
        line({"content": "x", "role": "system"}, {"role": "developer", "content": "y"}, user("z")),
        line(user('a\n\t\r\b\f"\\/é漢😀\x7f')),
        json.dumps({"messages": [user("a\nü漢😀 and more")]}, ensure_ascii=False).encode(),
        rb'{"messages":[{"role":"user","content":"\/\u00E9\uD83D\uDE00"}]}',
        b'{ "messages" :\t[ { "role" : "user" , "content" : "Hi" } ] }\r',
        line(user("漢字")),
        line({"weight": 0, "content": "x", "role": "assistant"}),
        b'{"messages":[{"role":"assistant","content":"x","weight":1 }]}',
        line(user("x" * 300_000)),
        line(*[user("x")] * 3_000),
    ],
)
def test_plain_lines_are_read_like_decoded_ones(data: bytes) -> None:
    parts = read_plain(data)
    assert parts == decoded(data)
    messages = FORMATS["chat"].decode(data).messages
    assert parts
    assert texts_of(parts[1] + parts[2]) == [message.content for message in messages]


@needs_extension
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"null",
        line(),
        line(user("")),
        line(user(" \n\t")),
        line(user("\u3000\u2003\xa0")),
        line(user(None)),
        line(user([{"type": "text", "text": "x"}])),
        line(user("x", name="Ada")),
        line(user("x"), tools=[]),
        line(user("x", weight=1)),
        line({"role": "assistant", "weight": 1}),
        *(line(answer(weight)) for weight in (2, -1, 1.0, 10, "1", None, True)),
        line(answer(1)).replace(b"1", b"01"),
        line(answer(1)).replace(b"1", b'1, "weight": 1'),
        line({"role": "tool", "content": "x"}),
        line({"role": "User", "content": "x"}),
        line({"role": "user"}),
        line(user(r"\ud83d")).replace(rb"\\", b"\\"),
        line(user(r"\ud83dx")).replace(rb"\\", b"\\"),
        line(user(r"\ude00")).replace(rb"\\", b"\\"),
        line(user(r"\u0000x")).replace(rb"\\", b"\\"),
        line(user(r"x\u12g4")).replace(rb"\\", b"\\"),
        line(user(r"x\x41")).replace(rb"\\", b"\\"),
        line(user("x")).replace(b'"x"', b'"x", "content": "y"'),
        line(user("x")).replace(b'"role"', rb'"r\u006fle"'),
        line(user("x")).replace(b"]", b",]"),
        line(user("x")).replace(b"x", b"\t"),
        line(user("x")).replace(b"x", b"x\x00"),
        *(
            line(user("x")).replace(b"x", b"x" + invalid)
            for invalid in (
                b"\xff",
                b"\x80",
                b"\xc0\x80",
                b"\xc3",
                b"\xe0\x80\x80",
                b"\xed\xa0\x80",
                b"\xf0\x80\x80\x80",
                b"\xf4\x90\x80\x80",
                b"\xf5\x80\x80\x80",
                b"\xe6\xbc",
            )
        ),
        line(user("x")) + b" ",
        line(user("x")) + b"\r\r",
        line(user("x")) + b"{}",
        b" " + line(user("x")),
    ],
)
def test_other_lines_are_refused(data: bytes) -> None:
    assert read_plain(data) is None


@needs_extension
def test_cut_lines_are_refused() -> None:
    data = line(user("Grüße, 世界 \\ 😀\n"), user("x"))
    raw = json.dumps(json.loads(data), ensure_ascii=False).encode()
    for whole in (data, raw):
        assert not any(read_plain(whole[:end]) for end in range(len(whole)))


@needs_extension
def test_anything_but_bytes_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        read_plain("{}")  # type: ignore[arg-type]


def test_a_variable_turns_the_extension_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTKIT_PURE_PYTHON", "1")
    assert plain._load() is refuse


texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["sk-proj-Ab3Ab3Ab3Ab3Ab3Ab3Ab3", "me@corp.io", "{{name}}", "<|endoftext|>", "TODO", " ", "ff"]
)
plain_values = st.builds(
    lambda pairs: {"messages": [{**ROLES[role], "content": text} for role, text in pairs]},
    st.lists(st.tuples(st.sampled_from(sorted(ROLES)), texts), max_size=5),
)


@needs_extension
@given(plain_values, st.booleans(), st.sampled_from([(",", ":"), (", ", ": "), (" , ", "\t:\r")]))
def test_plain_values_are_read_in_any_spelling(
    value: Any, ascii_only: bool, separators: tuple[str, str]
) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode()
    parts = read_plain(data)
    if parts is not None:
        assert parts == decoded(data)
    elif value["messages"]:
        contents = [message["content"] for message in value["messages"]]
        assert any(not re.search("[!-~]", text) or not text.isprintable() for text in contents)


@st.composite
def damaged_plain_lines(draw: st.DrawFn) -> bytes:
    """A plain line with some bytes replaced, removed or put in."""
    value, ascii_only = draw(plain_values), draw(st.booleans())
    data = bytearray(json.dumps(value, ensure_ascii=ascii_only).encode())
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(
            st.binary(max_size=3)
            | st.sampled_from(
                [b'"', b"\\", b"}", b"\\u", b"\xed\xa0", b"\xe3\x80", b'"role"', b","]
            )
        )
    return bytes(data).replace(b"\n", b"")


@needs_extension
@given(st.lists(damaged_plain_lines(), max_size=4).map(b"\n".join) | damaged_files)
@hypothesis.example(b"\n".join((line(user("x " * 20), tools=[]), *[line(user("x " * 20))] * 3)))
@hypothesis.example(line(user("sk-Ab3Ab")) + b"\n" + line(user("sk-proj-Ab3Ab3Ab3Ab3Ab3Ab3Ab3")))
@hypothesis.example(line(user("漢 sk-proj-Ab3Ab3Ab3Ab3Ab3Ab3Ab3\n<|im_start|>\u200b")))
@settings(max_examples=example_count(400))
def test_the_summary_is_the_same_with_and_without_the_extension(data: bytes) -> None:
    summaries = []
    for reader in (read_plain, refuse):
        scanner = Scanner(PLAN, read_plain=reader)
        scanner.scan(data.split(b"\n"), len(data), ends_file=True)
        summaries.append(scanner.summary())
    assert summaries[0] == summaries[1]


@needs_extension
@pytest.mark.slow
def test_the_code_for_other_compilers_reads_the_same(tmp_path: Path) -> None:
    portable = compile_portable("ftkit.dataset._plain", tmp_path)

    @given(damaged_plain_lines())
    @settings(max_examples=example_count(400))
    def alike(data: bytes) -> None:
        assert portable.read_plain(data) == read_plain(data)

    alike()
