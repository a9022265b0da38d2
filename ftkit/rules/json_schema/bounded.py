"""JSON Schema validation that ends after a number of steps, whoever wrote the schema.

References, alternatives and patterns of a schema of a few kilobytes can keep a validator busy for
ever. Here each keyword that is applied is a step of a `Budget`, with further steps for the lists
and texts that it goes through, and patterns are matched by RE2, in linear time. Steps are counted,
not timed, so the result is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache
from itertools import islice
from typing import Any

import jsonschema
import msgspec
from jsonschema.exceptions import ValidationError
from jsonschema_specifications import REGISTRY
from referencing import Registry

from ftkit._text import excerpt
from ftkit.rules.json_schema.budget import TOO_DEEP, Budget, UncheckedError
from ftkit.rules.json_schema.patterns import PatternError, compile_pattern, is_pattern

VOCABULARIES = (
    *("core", "applicator", "unevaluated", "validation"),
    *("meta-data", "format-annotation", "content"),
)
"""Vocabularies of the meta-schema, in its order."""

MAX_KEYWORDS_DEEP = 150
"""Maximum keywords inside each other, which take up to four frames of Python's stack each."""

DESCENDING = frozenset(
    {"additionalProperties", "allOf", "anyOf", "contains", "dependentSchemas", "items"}
    | {"oneOf", "prefixItems", "propertyNames"}
)
"""Keywords that take a step for each element of theirs and of the value."""

TYPES = {
    str: ("string",),
    bool: ("boolean",),
    int: ("integer", "number"),
    float: ("number",),
    list: ("array",),
    dict: ("object",),
    type(None): ("null",),
}
"""JSON types of the values of a Python type. A float may be an integer, too."""

TYPE_AND_ANNOTATIONS = frozenset({"type", "title", "description"})
"""Keys of a schema that has no keyword to check but `type`."""

# The figures below were measured with CPython 3.11, jsonschema 4.26 and google-re2 1.1, and
# rounded. A step, `items` over a list of integers, takes about 2.3 µs. In that time `required` goes
# through 16 names, the search for an anchor through 40 characters, hashing through 230, `repr`
# through 550, the JSON encoder through 4,900, and RE2 through at least 10,000 instructions times
# characters.
ITEMS_PER_STEP = 16
"""Elements, or characters of a keyword's value, that take as long as one step elsewhere."""

CHARACTERS_PER_STEP = 500
"""Characters of JSON that are compared, hashed or shown in the time of one step."""

INSTRUCTIONS_PER_STEP = 2_000
"""Instructions of a pattern, times characters of a text, that take as long as one step."""

SCHEMA_PER_STEP = 20
"""Characters of a schema that are searched for an anchor in the time of one step."""

VALUES_SHOWN = 60
"""Maximum values of an `enum` in a message, which is cut anyway."""

_encode = msgspec.json.Encoder().encode

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]
"""Check of a keyword: takes the validator, the keyword's value, the instance and the schema."""


_budget: ContextVar[Budget] = ContextVar("budget")
"""Budget of the validation that is going on."""


def bounded_errors(
    validator: Any, value: Any, budget: Budget, limit: int | None = None
) -> list[ValidationError]:
    """Return the errors of a value, or the first `limit`.

    Args:
        validator: A validator that `bounded_validator` or `meta_validator` returned.
        value: The value.
        budget: The steps that may be taken.
        limit: Maximum number of errors.

    Raises:
        UncheckedError: The value takes too many steps or too much of the stack, or the schema has a
            keyword that is not checked.
    """
    token = _budget.set(budget)
    budget.schema = validator.schema
    try:
        return list(islice(validator.iter_errors(value), limit))
    except RecursionError:
        raise UncheckedError(TOO_DEEP) from None
    finally:
        budget.depth = 0
        budget.matching.clear()
        _budget.reset(token)


def bounded_validator(schema: Any) -> Any:
    """Return a validator of a JSON Schema (2020-12). It never fetches a `$ref`."""
    return _validator_class()(schema, registry=Registry())


@cache
def meta_validator() -> Any:
    """Return the validator of schemas: the meta-schema of JSON Schema 2020-12 in one piece.

    The original is spread over seven documents, and takes ten times as many steps.
    """
    base, properties, definitions = "https://json-schema.org/draft/2020-12/", {}, {}
    for name in (*(f"meta/{part}" for part in VOCABULARIES), "schema"):
        contents: Any = REGISTRY.contents(base + name)
        properties.update(contents["properties"])
        definitions.update(contents.get("$defs", {}))
    schema = _encode(
        {"type": ["object", "boolean"], "properties": properties, "$defs": definitions}
    )
    for document in ("meta/validation", "meta/core"):
        schema = schema.replace(b'"$ref":"%b#' % document.encode(), b'"$ref":"#')
    schema = schema.replace(b'"$dynamicRef":"#meta"', b'"$ref":"#"')
    return _validator_class()(
        msgspec.json.decode(schema),
        registry=Registry(),
        format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER,
    )


@cache
def _validator_class() -> Any:
    original = jsonschema.Draft202012Validator
    keywords = {
        **original.VALIDATORS,
        "$ref": _once(_reference(original.VALIDATORS["$ref"])),
        "$dynamicRef": _reference(original.VALIDATORS["$dynamicRef"]),
        "additionalProperties": _additional_properties,
        "const": _comparison(original.VALIDATORS["const"]),
        "dependentRequired": _comparison(original.VALIDATORS["dependentRequired"]),
        "enum": _enum,
        "format": _format,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "properties": _properties,
        "unevaluatedItems": _unchecked("unevaluatedItems"),
        "unevaluatedProperties": _unchecked("unevaluatedProperties"),
        "uniqueItems": _unique_items,
    }
    validator_class: Any = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
        original, {name: _bounded(name, check) for name, check in keywords.items()}
    )
    validator_class.evolve = _bounded_evolve(validator_class.evolve)
    return validator_class


def _bounded_evolve(evolve: Callable[..., Any]) -> Callable[..., Any]:
    """Return an `evolve`, to the validator of an inner schema, that takes steps from the budget.

    It goes through all keys of the schema, keywords or not. `$schema`, which would make it switch
    to unbounded checks, is removed here, and not once for all, since a `const` or an `enum` may
    hold one as data, and a `$ref` may refer to that.
    """

    def bounded_evolve(validator: Any, **changes: Any) -> Any:
        schema = changes.get("schema")
        if isinstance(schema, dict):
            if len(schema) >= ITEMS_PER_STEP:
                _budget.get().spend(len(schema) // ITEMS_PER_STEP)
            if "$schema" in schema:
                changes["schema"] = {name: schema[name] for name in schema if name != "$schema"}
        return evolve(validator, **changes)

    return bounded_evolve


def _bounded(name: str, check: Keyword) -> Keyword:
    """Return a check that takes its steps from the budget."""
    per_step = 1 if name in DESCENDING else ITEMS_PER_STEP

    def bounded(validator: Any, keyword: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        budget = _budget.get()
        items = len(value) if isinstance(value, (list, dict)) else 0
        if name != "enum":
            items += len(keyword) if isinstance(keyword, (str, list, dict)) else 0
        budget.spend(1 + items // per_step)
        budget.depth += 1
        if budget.depth > MAX_KEYWORDS_DEEP:
            raise UncheckedError(TOO_DEEP)
        try:
            for error in check(validator, keyword, value, schema) or ():
                # An error passes through every enclosing keyword. Only the innermost, which makes
                # its message, counts its size.
                if "counted" not in vars(error):
                    vars(error)["counted"] = True
                    for inner in error.context:
                        inner.parent = None  # breaks a cycle, which would keep large texts
                    shown = keyword[:VALUES_SHOWN] if name == "enum" else keyword
                    budget.spend((_size(value) + _size(shown)) // CHARACTERS_PER_STEP)
                budget.spend(1)
                yield error
        finally:
            budget.depth -= 1

    return bounded


def _size(value: Any) -> int:
    """Return the number of characters of a value as JSON."""
    return len(_encode(value))


def _reference(check: Keyword) -> Keyword:
    """Return a check of `$ref`; the search for an anchor goes through the whole schema."""

    def reference(
        validator: Any, target: str, value: Any, schema: Any
    ) -> Iterator[ValidationError] | None:
        if target != "#" and not target.startswith("#/"):
            budget = _budget.get()
            budget.spend(_size(budget.schema) // SCHEMA_PER_STEP)
        return check(validator, target, value, schema)

    return reference


def _once(check: Keyword) -> Keyword:
    """Return a check of `$ref` that is skipped for values that matched it before.

    Alternatives that refer to themselves would check each level of a value twice as often as the
    level above.
    """

    def once(validator: Any, target: str, value: Any, schema: Any) -> Iterator[ValidationError]:
        matching = _budget.get().matching
        key = id(schema), id(value)
        if key not in matching:
            errors = list(check(validator, target, value, schema) or ())
            if not errors:
                matching[key] = schema, value
            yield from errors

    return once


def _comparison(check: Keyword) -> Keyword:
    """Return a check that goes through all of the keyword's value."""

    def comparison(
        validator: Any, keyword: Any, value: Any, schema: Any
    ) -> Iterator[ValidationError] | None:
        _budget.get().spend(_size(keyword) // CHARACTERS_PER_STEP)
        return check(validator, keyword, value, schema)

    return comparison


def _enum(validator: Any, values: list[Any], value: Any, schema: Any) -> Iterator[ValidationError]:
    sets = _budget.get().sets
    if id(values) not in sets:
        _budget.get().spend(_size(values) // CHARACTERS_PER_STEP)
        sets[id(values)] = set(map(_hashable, values))
    if _hashable(value) not in sets[id(values)]:
        yield ValidationError(f"{value!r} is not one of {values[:VALUES_SHOWN]!r}")


def _unchecked(keyword: str) -> Keyword:
    """Return a check of a keyword that jsonschema checks in unbounded time."""

    def unchecked(
        validator: Any, value: Any, instance: Any, schema: Any
    ) -> Iterator[ValidationError]:
        raise UncheckedError(f"ftkit does not check {keyword}")

    return unchecked


def _matches(pattern: str, text: str) -> bool:
    """Return True if a pattern matches somewhere in a text.

    Raises:
        UncheckedError: RE2 cannot match the pattern, or the budget is spent.
    """
    try:
        compiled = compile_pattern(pattern)
    except PatternError as error:
        raise UncheckedError(f"the pattern {excerpt(pattern, 60)} {error.reason}") from None
    _budget.get().spend(compiled.size * (len(text) + 1) // INSTRUCTIONS_PER_STEP)
    return compiled.matches(text)


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _matches(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: dict[str, Any], value: Any, schema: Any
) -> Iterator[ValidationError]:
    for pattern, inner in patterns.items() if isinstance(value, dict) else ():
        for key, item in value.items():
            _budget.get().spend(1)
            if _matches(pattern, key):
                yield from validator.descend(item, inner, path=key, schema_path=pattern)


def _properties(
    validator: Any, properties: dict[str, Any], value: Any, schema: Any
) -> Iterator[ValidationError]:
    for name, inner in properties.items() if isinstance(value, dict) else ():
        if name in value and not _has_only_type(inner, value[name]):
            yield from validator.descend(value[name], inner, path=name, schema_path=name)


def _has_only_type(schema: Any, value: Any) -> bool:
    """Return True if a schema has no keyword but the type of the value. Most schemas have none."""
    return (
        isinstance(schema, dict)
        and schema.keys() <= TYPE_AND_ANNOTATIONS
        and isinstance(schema.get("type"), str)
        and schema["type"] in TYPES.get(type(value), ())
    )


def _additional_properties(
    validator: Any, allowed: Any, value: Any, schema: Any
) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    patterns = schema.get("patternProperties", {})
    extras = [key for key in value if key not in schema.get("properties", {})]
    for pattern in patterns:
        _budget.get().spend(len(extras))
        extras = [key for key in extras if not _matches(pattern, key)]
    if isinstance(allowed, dict):
        for key in extras:
            yield from validator.descend(value[key], allowed, path=key)
    elif not allowed and extras:
        keys = ", ".join(map(repr, sorted(extras)))
        if patterns:
            verb = "does" if len(extras) == 1 else "do"
            regexes = ", ".join(map(repr, sorted(patterns)))
            yield ValidationError(f"{keys} {verb} not match any of the regexes: {regexes}")
        else:
            verb = "was" if len(extras) == 1 else "were"
            yield ValidationError(
                f"Additional properties are not allowed ({keys} {verb} unexpected)"
            )


def _unique_items(
    validator: Any, is_unique: Any, value: Any, schema: Any
) -> Iterator[ValidationError]:
    if is_unique and isinstance(value, list):
        _budget.get().spend(_size(value) // CHARACTERS_PER_STEP)
        if len(set(map(_hashable, value))) < len(value):
            yield ValidationError(f"{value!r} has non-unique elements")


def _hashable(value: Any) -> Any:
    """Return a hashable value that is equal for equal JSON values; 1 equals 1.0 but not true."""
    if isinstance(value, list):
        return (list, *map(_hashable, value))
    if isinstance(value, dict):
        return dict, frozenset((key, _hashable(item)) for key, item in value.items())
    return (bool, value) if isinstance(value, bool) else value


def _format(validator: Any, name: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    """Check the formats of patterns in the meta-schema. Other schemas' formats are not checked."""
    is_checked = name == "regex" and validator.format_checker and isinstance(value, str)
    if is_checked and not is_pattern(value):
        yield ValidationError(f"{value!r} is not a 'regex'")
