"""The survey of a file: roles, languages, and groups of duplicates."""

from __future__ import annotations

import gzip
import json

import pytest

from ftkit.summary import Lines
from ftkit.validation import survey as module
from ftkit.validation.survey import OTHER, pattern_of, read_lines, survey
from support.fixture_types import Write


def chat(*roles: str, text: str = "a", answer: str = "b", **more: object) -> bytes:
    contents = {"assistant": answer}
    messages = [{"role": role, "content": contents.get(role, text)} for role in roles]
    return json.dumps({"messages": messages, **more}).encode()


PAIR = ("user", "assistant")


@pytest.mark.parametrize(
    ("roles", "name"),
    [
        ((), ""),
        (PAIR, "user, assistant"),
        (("system", *PAIR, *PAIR), "system, 2 x (user, assistant)"),
        (("user", "user", "assistant"), "user, user, assistant"),
        (("system", "assistant"), "system, assistant"),
        (("system", "system", "user"), "2 x system, user"),
        (("assistant", "tool", "assistant"), "assistant, tool, assistant"),
        (("user", "tool") * 13, ", ".join(("user", "tool") * 6) + ", …"),
    ],
)
def test_a_sequence_of_roles_has_a_short_name(roles: tuple[str, ...], name: str) -> None:
    assert pattern_of(roles) == name


def test_roles_and_tools_are_counted_in_the_lines_that_can_be_read(write: Write) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    lines = [chat("system", *PAIR), chat(*PAIR, tools=[tool]), b"not JSON", chat("human"), b""]
    result = survey(str(write(lines)), "chat", examples=2)
    assert (result.examples, result.with_tools) == (2, 1)
    assert result.roles == {"system": 1, "user": 2, "assistant": 2}
    assert result.patterns == {"system, user, assistant": 1, "user, assistant": 1}


def test_the_number_of_sequences_is_bounded(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PATTERNS", 2)
    lines = [chat(*["user"] * number, "assistant") for number in (1, 2, 3, 4, 1)]
    result = survey(str(write(lines)), "chat", examples=5)
    assert list(result.patterns.values()) == [2, 1, 2]
    assert result.patterns[OTHER] == 2


def test_languages_are_those_of_an_even_sample(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAMPLED", 3)
    lines = [chat(*PAIR, text=f"text {number}") for number in range(9)]
    seen: list[str] = []
    detect = lambda text: seen.append(text) or "xx"  # type: ignore[func-returns-value] # noqa: E731
    result = survey(str(write(lines)), "chat", examples=9, detect=detect)
    assert seen == ["text 0 b", "text 3 b", "text 6 b"]
    assert result.languages == {"xx": 3}


def test_duplicates_are_groups_the_largest_first(write: Write) -> None:
    one, two = chat(*PAIR, text="one"), chat(*PAIR, text="two")
    other = chat(*PAIR, text="two", answer="c")
    spaced = two.replace(b": ", b" : ")
    path = str(write([one, two, one, two, spaced, b"{", other]))
    result = survey(path, "chat", examples=6)
    assert result.copies == [Lines(3, (2, 4, 5)), Lines(2, (1, 3))]
    assert result.conflicts == [Lines(4, (2, 4, 5, 7))]
    assert survey(path, "chat", examples=6, has_duplicates=False).copies == []


def test_a_group_names_its_first_lines(write: Write) -> None:
    result = survey(str(write([chat(*PAIR)] * 40)), "chat", examples=40)
    assert result.copies == [Lines(40, tuple(range(1, module.GROUP_LINES + 1)))]


@pytest.mark.parametrize("name", ["data.jsonl", "data.jsonl.gz"])
def test_lines_are_numbered_through_the_whole_file(name: str, write: Write) -> None:
    lines = [b"x" * 100_000 for _ in range(10)]
    text = b"\n".join(lines)
    path = str(write(gzip.compress(text) if name.endswith("gz") else text, name))
    sizes: list[int] = []
    progress = lambda file, size: sizes.append(size)  # noqa: E731
    assert list(read_lines(path, progress)) == list(enumerate(lines, 1))
    assert sum(sizes) == len(text)
