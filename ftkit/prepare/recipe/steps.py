"""Steps of recipes, and the schema of their options, which the signatures of the functions give."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, get_type_hints

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ftkit.errors import UsageError, did_you_mean
from ftkit.prepare.convert.convert import convert
from ftkit.prepare.convert.mapping import Fields
from ftkit.prepare.decontaminate import decontaminate
from ftkit.prepare.dedupe import dedupe
from ftkit.prepare.file_formats.base import ReadOptions
from ftkit.prepare.filter.filter import filter_rows
from ftkit.prepare.fix.fix import fix
from ftkit.prepare.mix import mix
from ftkit.prepare.sample import sample
from ftkit.prepare.screen.screen import screen
from ftkit.prepare.split.split import split

STEPS: dict[str, Callable[..., Any]] = {
    "convert": convert,
    "fix": fix,
    "split": split,
    "dedupe": dedupe,
    "decontaminate": decontaminate,
    "mix": mix,
    "sample": sample,
    "filter": filter_rows,
    "screen": screen,
}
"""Functions of the steps. Their keyword-only parameters are the keys of a step in a recipe."""

PATHS: dict[str, Any] = {"against": str | list[str], "grader": str, "lock": str}
"""Types of the parameters that name files."""

ELSEWHERE = frozenset(("moderation", "reading", "save"))
"""Parameters that are no keys: a recipe sends nothing, and has a table for options of readers."""

HOMES = {
    **dict.fromkeys((*ReadOptions.__struct_fields__, "format"), "[reading]"),
    **dict.fromkeys(Fields.__struct_fields__, "`field` of convert"),
}
"""Tables of keys that are easily looked for in another one."""

TYPES = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "object": "a table",
    "str": "text",
}
"""Types of values as error messages name them, by the names that msgspec gives them."""

_WRONG_TYPE = re.compile(r"Expected `(?P<expected>[^`]+)`, got `(?P<actual>\w+)`")
_PLACE = re.compile(r" - at `\$\.?(?P<place>.*)`$")
_CHOICE = re.compile(r"Invalid enum value (?P<value>.+)")
_MISSING = re.compile(r"Object missing required field `(?P<field>\w+)`")


@cache
def options_type(name: str) -> type[Struct]:
    """Return the type of the options of a step."""
    return parameters_type(name, STEPS[name])


def parameters_type(
    name: str, function: Callable[..., Any], only: Sequence[str] | None = None
) -> type[Struct]:
    """Return a struct of the keyword-only parameters of a function. Those left out are `UNSET`.

    Args:
        name: Name of the struct.
        function: The function.
        only: The parameters to take; all by default.
    """
    hints = get_type_hints(function)
    fields: list[Any] = []
    for parameter in inspect.signature(function).parameters.values():
        key = parameter.name
        is_left_out = key in ELSEWHERE or (only is not None and key not in only)
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or is_left_out:
            continue
        hint = PATHS.get(key, hints[key])
        is_required = parameter.default is inspect.Parameter.empty
        fields.append((key, hint) if is_required else (key, hint | UnsetType, UNSET))
    renamed = {field[0]: key_of(field[0]) for field in fields}
    return msgspec.defstruct(name, fields, kw_only=True, rename=renamed)


def key_of(parameter: str) -> str:
    """Return the key of a parameter, which has no underscore for a keyword of Python."""
    return parameter.rstrip("_")


def convert_table(table: Any, type: type[Struct], place: str) -> Any:
    """Return a table of a recipe as a struct.

    Raises:
        UsageError: A key is unknown or missing, or a value has the wrong type.
    """
    if not isinstance(table, Mapping):
        raise UsageError(f"{place} must be a table, not {table!r:.60}")
    names = type.__struct_encode_fields__
    for key in table:
        if key not in names:
            expected = did_you_mean(key, names, otherwise=f"; its keys are {', '.join(names)}")
            if key in HOMES:
                expected = f"; it is a key of {HOMES[key]}"
            raise UsageError(f"{place} has no key {key!r:.60}{expected}")
    try:
        return msgspec.convert(table, type)
    except msgspec.ValidationError as error:
        raise UsageError(_explain(str(error), place, table, type)) from None


def _explain(message: str, place: str, table: Mapping[str, Any], type: type[Struct]) -> str:
    """Return the message of a validation error in the words of the other messages."""
    if missing := _MISSING.match(message):
        return f"{place} needs the key {missing['field']!r}"
    where = _PLACE.search(message)
    key = where["place"] if where else ""
    name = re.split(r"[.\[]", key)[0]
    value = f"not {table[name]!r:.60}" if name in table else ""
    if wrong := _WRONG_TYPE.match(message):
        kinds = [TYPES.get(kind, kind) for kind in wrong["expected"].split(" | ")]
        expected = " or ".join(kind for kind in kinds if kind != "null")
        return f"{place}: {key} must be {expected}, {value}"
    if _CHOICE.match(message):
        hint = get_type_hints(type)[name]
        choices = re.findall(r"'([^']+)'", str(hint))
        return f"{place}: {key} must be {' or '.join(choices)}, {value}"
    return f"{place}: {message}"


def name_homes(message: str) -> str:
    """Return a message about options of readers with the table where a recipe has them."""
    names = "|".join(ReadOptions.__struct_fields__)
    return re.sub(rf"`({names})`", r"\g<0> in [reading]", message)


def values_of(options: Struct) -> dict[str, Any]:
    """Return the options that are set, by the names of the parameters."""
    return {
        name: value
        for name in options.__struct_fields__
        if (value := getattr(options, name)) is not UNSET
    }
