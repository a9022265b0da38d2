"""Special tokens in the content of answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.server.generation.content import ContentFilter
from support.splitting import CUTS, split

SPECIAL = ["<|a|>", "<|end|>"]


@pytest.mark.parametrize(
    ("lead", "parts", "expected"),
    [
        ("", ["Hello", "<|end", "|>", "<|", "x"], ["Hello", "", "", "", "<|x"]),
        ("\n", ["\n", "Hi"], ["", "Hi"]),
        ("\n", ["Hi", "\n"], ["Hi", "\n"]),
        ("to", ["t"], ["t"]),
        ("<|a|>to", ["think", "<|end|><|a|", ">to", "Hi<|a|>to"], ["", "", "", "Hito"]),
        ("<|a|>to", ["nothing"], [""]),
        ("", ["<|<|end|>", "<|e<|a|>"], ["<|", "<|e"]),
    ],
)
def test_special_tokens_and_the_lead_are_not_content(
    lead: str, parts: list[str], expected: list[str]
) -> None:
    content = ContentFilter(lead, SPECIAL)
    results = [content.add(part) for part in parts]
    assert [*results[:-1], results[-1] + content.add("", final=True)] == expected


def test_without_special_tokens_all_text_is_content() -> None:
    assert ContentFilter("", []).add("<|end|> [a]") == "<|end|> [a]"


@given(st.lists(st.sampled_from(["<|", "a", "|>", "<", "end", "to", "\n"])), CUTS)
@pytest.mark.parametrize("lead", ["", "\n", "<|a|>to", "ato"])
def test_content_is_the_same_however_the_text_is_split(
    lead: str, parts: list[str], cuts: list[int]
) -> None:
    text = "".join(parts)
    content = ContentFilter(lead, SPECIAL)
    passed = [content.add(part) for part in split(text, cuts)]
    whole = ContentFilter(lead, SPECIAL).add(text, final=True)
    assert "".join([*passed, content.add("", final=True)]) == whole
