"""Schemas of tools: strangers write them, so checking them takes a bounded number of steps."""

from __future__ import annotations

import gc
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit.rules.json_schema.patterns import is_pattern
from ftkit.rules.json_schema.simple import TYPES, certainly_matches, is_simple
from ftkit.rules.parameters import tool_schema
from ftkit.summary import Finding
from support.fixture_types import Write
from support.hostile_texts import tool_chat
from support.lines import findings_of
from support.property_tests import example_count


def tool_findings(write: Write, parameters: Any, arguments: Any) -> list[Finding]:
    line = tool_chat(parameters, json.dumps(arguments)).rstrip(b"\n")
    return [finding for finding in findings_of(write([line])) if finding.rule.startswith("tool-")]


def doubling(keyword: str) -> dict[str, Any]:
    levels = {f"d{n}": {keyword: [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    return {"$defs": {**levels, "d40": {"type": "string"}}, "$ref": "#/$defs/d0"}


BACKTRACKING = {"properties": {"a": {"pattern": "^(a+)+$"}}}


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_references_that_double_at_each_level_end_as_a_finding(keyword: str, write: Write) -> None:
    (finding,) = tool_findings(write, doubling(keyword), {})
    assert finding.rule == "tool-args-schema"
    assert finding.message == (
        "arguments of weather cannot be compared with its parameters: that takes too many steps"
    )


def test_a_reference_to_itself_ends_as_a_finding(write: Write) -> None:
    (finding,) = tool_findings(write, {"$ref": "#"}, {})
    assert finding.message.endswith("they are nested too deeply")


def test_a_pattern_that_needs_exponential_time_elsewhere_is_matched(write: Write) -> None:
    assert not tool_findings(write, BACKTRACKING, {"a": "a" * 10_000})
    (finding,) = tool_findings(write, BACKTRACKING, {"a": "a" * 10_000 + "!"})
    assert "do not match its parameters: 'aaa" in finding.message


def test_another_draft_does_not_switch_to_another_engine(write: Write) -> None:
    draft7 = {"$schema": "http://json-schema.org/draft-07/schema#"}
    schema = {**draft7, "properties": {"a": {**draft7, "pattern": "^(a+)+$"}}}
    (finding,) = tool_findings(write, schema, {"a": "a" * 10_000 + "!"})
    assert "do not match its parameters: 'aaa" in finding.message


@pytest.mark.parametrize("keyword", ["const", "enum"])
def test_a_value_may_have_the_key_schema(keyword: str, write: Write) -> None:
    value = {"$schema": "http://json-schema.org/draft-07/schema#", "pattern": "^(a+)+$"}
    schema = {"properties": {"a": {keyword: value if keyword == "const" else [value]}}}
    assert not tool_findings(write, schema, {"a": value})
    (finding,) = tool_findings(write, schema, {"a": {"pattern": "^(a+)+$"}})
    assert finding.rule == "tool-args-schema"


def test_a_reference_into_a_value_does_not_switch_to_another_engine(write: Write) -> None:
    draft7 = {"$schema": "http://json-schema.org/draft-07/schema#"}
    schema = {
        "$defs": {"data": {"const": {**draft7, "pattern": "^(a+)+$"}}},
        "properties": {"a": {"$ref": "#/$defs/data/const"}},
    }
    (finding,) = tool_findings(write, schema, {"a": "a" * 10_000 + "!"})
    assert "do not match its parameters: 'aaa" in finding.message


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_a_deep_value_of_a_recursive_union_is_checked(keyword: str, write: Write) -> None:
    child = {"properties": {"child": {"$ref": "#/$defs/node"}}}
    union = [{**child, "required": ["a"]}, {**child, "required": ["b"]}]
    schema = {"$defs": {"node": {keyword: union}}, "$ref": "#/$defs/node"}
    value: dict[str, Any] = {"b": 1}
    for _ in range(20):
        value = {"b": 1, "child": value}
    assert not tool_findings(write, schema, value)
    (finding,) = tool_findings(write, schema, {"child": value})
    assert "do not match its parameters" in finding.message


@pytest.mark.parametrize("pattern", ["^(?=.*[A-Z]).{8,}$", r"(a)\1"])
def test_a_pattern_that_takes_no_linear_time_is_not_matched_but_reported(
    pattern: str, write: Write
) -> None:
    (finding,) = tool_findings(write, {"properties": {"a": {"pattern": pattern}}}, {"a": "b"})
    assert finding.severity == "warning"
    assert "cannot be matched in linear time" in finding.message


def test_a_pattern_that_needs_too_much_memory_is_reported(write: Write) -> None:
    schema = {"properties": {"a": {"pattern": "^([a-z]{1,100}-){1,50}$"}}}
    (finding,) = tool_findings(write, schema, {"a": "b-"})
    assert finding.message.endswith(
        "the pattern '^([a-z]{1,100}-){1,50}$' is too large to be matched"
    )


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (r"^\u00e9+$", "éé", True),
        (r"^\u{1F600}$", "😀", True),
        (r"^\\u0041$", r"\u0041", True),
        (r"^\d+$", "12", True),
        (r"^\d+$", "1a", False),
        (r"^[a-z]{2,50}$", "abc", True),
        (r"\/", "a/b", True),
        (r"^\w+\s\w+$", "a\u00a0b", True),
        (r"^[^\s]+$", "a\u3000b", False),
        (r"^[\S\d]+$", "ab", True),
        (r"^[\S\d]+$", "a b", False),
        (r"^\cA$", "\x01", True),
        (r"^.$", "\r", False),
        (r"^[^]$", "\n", True),
        (r"[]", "a", False),
        (r"^[[a]{1,2}$", "[", True),
        (r"^[a[]b]{1,2}$", "ab]", True),
        (r"^.{1,2000}$", "x" * 2000, True),
        (r"^.{1,2000}$", "x" * 2001, False),
        (r"^.{1,2000}$", "", False),
        (r"^[\s\S]{2,}$", "\n\n", True),
        (r"^[a-z]{1001}$", "a" * 1001, True),
        (r"^[\p{L}\p{M} '-]{1,255}$", "é x", True),
        (r"^a{2}$", "aaa", False),
    ],
)
def test_patterns_have_the_syntax_of_ecma_262(
    pattern: str, text: str, matches: bool, write: Write
) -> None:
    findings = tool_findings(write, {"properties": {"a": {"pattern": pattern}}}, {"a": text})
    assert bool(findings) is not matches


def test_what_is_no_pattern_is_an_error(write: Write) -> None:
    (finding,) = tool_findings(write, {"properties": {"a": {"pattern": "("}}}, {"a": "b"})
    assert finding.rule == "tool-schema-invalid"
    assert finding.message.endswith("'(' is not a 'regex' at ['properties']['a']['pattern']")
    assert is_pattern("(?!a)b")


@pytest.mark.parametrize(
    ("schema", "arguments", "message"),
    [
        ({"items": {"enum": [1, True, "a"]}}, [1.0, True, "a"], ""),
        ({"items": {"enum": [1, "a"]}}, [True], "True is not one of [1, 'a']"),
        ({"uniqueItems": True}, [1, True, "1", [1], [True], {"a": 1}], ""),
        ({"uniqueItems": True}, [{"a": 1, "b": 2}, {"b": 2, "a": 1.0}], "has non-unique elements"),
        (
            {"additionalProperties": False, "patternProperties": {"^a": {}}},
            {"ab": 1, "b": 2},
            "'b' does not match any of the regexes: '^a'",
        ),
        (
            {"additionalProperties": False, "properties": {"a": {}}},
            {"a": 1, "b": 2, "c": 3},
            "Additional properties are not allowed ('b', 'c' were unexpected)",
        ),
        ({"patternProperties": {"^a": {"type": "string"}}}, {"ab": 1}, "1 is not of type 'string'"),
    ],
)
def test_keywords_have_the_messages_of_jsonschema(
    schema: Any, arguments: Any, message: str, write: Write
) -> None:
    findings = tool_findings(write, {"properties": {"a": schema}}, {"a": arguments})
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(arguments))
    assert bool(errors) == bool(message)
    assert [message in finding.message for finding in findings] == [True] * len(errors)
    assert all(message in error.message for error in errors)


def test_the_errors_of_a_schema_are_freed_without_the_garbage_collector(write: Write) -> None:
    gc.collect()
    gc.disable()
    try:
        assert tool_findings(write, {"properties": {"a": {"type": "x" * 1000}}}, {})
        errors = [item for item in gc.get_objects() if type(item) is jsonschema.ValidationError]
    finally:
        gc.enable()
    assert not errors


VALUES = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        "a",
        "^[",
        "object",
        "(",
        [],
        ["a", "a"],
        [1],
        {},
        {"a": 1},
        {"type": 5},
    ]
)
KEYWORDS = st.sampled_from(
    [
        *(
            "type",
            "enum",
            "properties",
            "required",
            "pattern",
            "patternProperties",
            "items",
            "allOf",
        ),
        *(
            "minLength",
            "multipleOf",
            "$ref",
            "$anchor",
            "$defs",
            "definitions",
            "dependencies",
            "not",
        ),
        *("dependentRequired", "if", "title", "format", "contentSchema", "uniqueItems", "$id"),
    ]
)
SCHEMAS = st.recursive(
    st.dictionaries(KEYWORDS, VALUES, max_size=3),
    lambda inner: st.dictionaries(
        KEYWORDS, inner | st.lists(inner, max_size=2) | st.dictionaries(KEYWORDS, inner, max_size=2)
    ),
    max_leaves=6,
)


NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, "a", "b", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
SIMPLE_KEYWORDS: dict[str, st.SearchStrategy[Any]] = {
    "additionalProperties": st.booleans(),
    "description": st.just("x") | st.none(),
    "enum": st.lists(NAMES, max_size=3) | VALUES,
    "maximum": st.integers(-2, 2) | st.just(0.5) | st.just("1"),
    "minimum": st.integers(-2, 2) | st.just(True),
    "required": st.lists(NAMES, max_size=2),
    "title": st.just("x"),
    "maxLength": st.integers(-1, 1),
    "minLength": st.integers(0, 1) | st.just("1"),
    "pattern": st.just("b"),
}


def simple_schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    types = st.sampled_from([*TYPES, "object", "object", "text", ["string"]])
    nested = {"items": inner, "properties": st.dictionaries(NAMES, inner, max_size=3)}
    return st.fixed_dictionaries({"type": types}, optional={**SIMPLE_KEYWORDS, **nested})


@given(st.recursive(simple_schemas(st.nothing()), simple_schemas, max_leaves=5), VALUES)
@settings(max_examples=example_count(400))
def test_what_is_not_given_to_jsonschema_is_valid(schema: Any, value: Any) -> None:
    if is_simple(schema):
        jsonschema.Draft202012Validator.check_schema(schema)
        if certainly_matches(value, schema):
            assert jsonschema.Draft202012Validator(schema).is_valid(value)


def test_usual_tools_are_checked_without_jsonschema() -> None:
    properties = {
        "town": {"type": "string", "description": "Name of the town.", "enum": ["Oulu", "Turku"]},
        "days": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 7}},
    }
    schema = {"type": "object", "properties": properties, "required": ["town"]}
    assert tool_schema(schema).simple == schema
    assert certainly_matches({"town": "Oulu", "days": [1, 7]}, schema)
    for arguments in ({}, {"town": "Rome"}, {"town": 1}, {"town": "Oulu", "days": [0]}):
        assert not certainly_matches(arguments, schema)


@given(SCHEMAS)
def test_a_schema_is_invalid_for_the_same_reasons_as_by_the_meta_schema(
    schema: dict[str, Any],
) -> None:
    validator = jsonschema.Draft202012Validator(
        jsonschema.Draft202012Validator.META_SCHEMA,
        format_checker=jsonschema.FormatChecker(["regex"]),
    )
    problems = set()
    for error in validator.iter_errors(schema):
        path = "".join(f"[{key!r}]" for key in error.absolute_path)
        message = error.message if len(error.message) <= 120 else f"{error.message[:120]}…"
        problems.add(f"{message}{f' at {path[:80]}' if path else ''}")
    problem = tool_schema(schema).problem
    if problems:
        assert problem in problems
    else:
        assert not problem or problem.startswith('"type" is')
