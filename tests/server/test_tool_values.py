"""Values of the arguments of tool calls, as JSON, as literals and as bare text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.server.generation.tool_values import (
    MAX_DEPTH,
    LiteralReader,
    ValueReadError,
    parse_json,
    read_object,
    schema_types,
    typed_value,
)

TEXTS = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=("Cs",)), max_size=10)


def values(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """JSON values with these texts."""
    leaves = st.none() | st.booleans() | st.integers()
    leaves |= st.floats(allow_nan=False, allow_infinity=False) | texts
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=8,
    )


QUOTE = '<|"|>'


def write(value: Any) -> str:
    """Write a value as Gemma does: strings in quotes of its own, without escapes."""
    if isinstance(value, str):
        return f"{QUOTE}{value}{QUOTE}"
    if isinstance(value, list):
        return f"[{','.join(map(write, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{write(key)}:{write(item)}' for key, item in value.items())}}}"
    return json.dumps(value)


def same(one: Any, two: Any) -> bool:
    """Return True for equal values of equal types: 1, 1.0 and True differ."""
    return repr(one) == repr(two)


@given(values(TEXTS), st.sampled_from(["", " ", ",", "]", "}"]))
@pytest.mark.parametrize(
    ("quote", "encode"),
    [
        ('"', lambda value: json.dumps(value, ensure_ascii=False)),
        ("'", repr),
        (QUOTE, write),
        (QUOTE, lambda value: json.dumps(value, ensure_ascii=False, indent=1)),
    ],
)
def test_a_literal_is_read_as_it_was_written(
    quote: str, encode: Any, value: Any, after: str
) -> None:
    text = f" \n{encode(value)}"
    read, end = LiteralReader(quote).read(text + after, 0)
    assert same(read, value)
    assert end == len(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("True", True),
        ("None", None),
        ("null", None),
        ("-1.5e3", -1500.0),
        ("{}", {}),
        ("[ ]", []),
        ("[1, [2]]", [1, [2]]),
        ("{a: 1, 'b': [2], \"c\": {d: null}}", {"a": 1, "b": [2], "c": {"d": None}}),
        (r"'it\'s \x41\u00e9\n\\ \q\0'", "it's A\u00e9\n\\ q\0"),
        (r'"say \"hi\""', 'say "hi"'),
    ],
)
def test_literals_are_those_of_javascript_and_python(text: str, value: Any) -> None:
    assert same(LiteralReader("'").read(text, 0), (value, len(text)))


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("  ", 2),
        ("os", 0),
        ("007", 3),
        ("1e999", 5),
        ("[1 2]", 3),
        ("[1", 2),
        ("[,]", 1),
        ("{a 1}", 3),
        ("{a: 1 b: 2}", 6),
        ("{: 1}", 1),
        ("{a: }", 4),
        ("'open", 5),
        ("'open\\'", 7),
        ("<q>open", 7),
        ("[" * 1000, MAX_DEPTH + 1),
    ],
)
def test_an_invalid_literal_is_an_error_at_its_position(text: str, position: int) -> None:
    with pytest.raises(ValueReadError) as caught:
        LiteralReader("<q>").read(text, 0)
    assert caught.value.position == position


@given(st.text("[]{}:,'\"\\<q>a1 e.-\n", max_size=30))
def test_any_text_is_a_literal_or_an_error_within_it(text: str) -> None:
    try:
        _, end = LiteralReader("<q>").read(text, 0)
    except ValueReadError as error:
        end = error.position
    assert 0 <= end <= len(text)


@given(st.dictionaries(st.text(max_size=5), values(st.text(max_size=10)), max_size=4), st.text())
def test_an_object_is_read_up_to_its_end(value: dict[str, Any], after: str) -> None:
    text = json.dumps(value)
    read, end = read_object(f"  {text}{after}", 0)
    assert same(read, value)
    assert end == 2 + len(text)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        (" [1]", 1),
        ("x{}", 0),
        ('{"a": 1', 7),
        ('{"a": "open', 11),
        ('{"a": NaN}', 10),
        ('{"a": 1e999}', 12),
        ('{"a"} {}', 5),
    ],
)
def test_what_is_no_object_is_an_error_at_its_position(text: str, position: int) -> None:
    with pytest.raises(ValueReadError) as caught:
        read_object(text, 0)
    assert caught.value.position == position


def test_strings_in_json_may_have_line_breaks() -> None:
    assert parse_json('{"a": "1\n2"}') == {"a": "1\n2"}


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e999", "", "{", "[" * 200_000])
def test_what_is_not_json_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("17", {"type": "string"}, "17"),
        (" 17 ", {"type": "integer"}, 17),
        ("17", None, 17),
        ("17", {"type": ["string", "null"]}, "17"),
        ("null", {"type": ["string", "null"]}, None),
        ("None", {}, None),
        ("some text", {"type": "integer"}, "some text"),
        ("[1, 2]", {"type": "array"}, [1, 2]),
        ("NaN", {"type": "number"}, "NaN"),
    ],
)
def test_text_without_quotes_has_the_type_of_its_schema(text: str, schema: Any, value: Any) -> None:
    assert same(typed_value(text, schema), value)


@given(values(st.text()))
def test_text_of_another_type_than_string_is_json(value: Any) -> None:
    expected = json.dumps(value) if isinstance(value, str) else value
    schema = {"type": "string"} if isinstance(value, str) else None
    assert same(typed_value(json.dumps(value), schema), expected)


@pytest.mark.parametrize(
    ("schema", "types"),
    [
        (None, set()),
        ({"type": "string"}, {"string"}),
        ({"type": ["string", "null", 3]}, {"string", "null"}),
        ({"enum": ["a", 1, None, 1.5, {}]}, {"string", "integer", "null", "number", "object"}),
        ({"const": True}, {"boolean"}),
        ({"anyOf": [{"type": "number"}, {"enum": [[]]}, 3]}, {"number", "array"}),
        ({"oneOf": [{"type": "number"}]}, {"number"}),
        ({"anyOf": {}, "enum": 3}, set()),
        ({"anyOf": 3}, set()),
    ],
)
def test_the_types_of_a_schema_are_those_that_it_names(schema: Any, types: set[str]) -> None:
    assert schema_types(schema) == types
