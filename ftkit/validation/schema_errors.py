"""Where a JSON value does not fit the types of a format: their JSON Schema, held against the value by jsonschema.

The schema is generated from the same types that the fast decoder uses. A union is entered by its tag (`role`, `type`), so
that an error speaks of the message that is meant and not of all that it might have been.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator

from ftkit.dataset import types as examples
from ftkit.dataset.formats import schema
from ftkit.dataset.lenient_json import join
from ftkit.rules.nodes import SchemaError

JSON_TYPES = {"string": str, "array": list, "object": dict, "boolean": bool, "null": type(None)}


def broken_places(value: Any, format: str) -> list[SchemaError]:
    """Every place where `value` does not fit the format called `format`, in the order of the document."""
    return [_broken(error, value) for error in _validator(format).iter_errors(value)]


@cache
def _validator(format: str) -> Validator:
    written = schema(format)
    keywords = {
        "$ref": _reference(written["$defs"]),
        "anyOf": _any_of,
        "properties": _properties,
        "required": _required,
        "enum": _enum,
        "items": _items,
        "additionalProperties": _additional,
        "type": _type,
    }
    made: Any = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
        jsonschema.Draft202012Validator, keywords
    )
    checked: Validator = made(written)
    return checked


def _fail(
    keyword: str, value: Any, path: tuple[str | int, ...] = (), known: tuple[str, ...] = ()
) -> ValidationError:
    error = ValidationError(keyword, validator=keyword, instance=value, path=path)
    _notes(error)["known"] = known
    return error


def _notes(error: ValidationError) -> dict[str, Any]:
    """What this module notes on an error: its `owner` type and `field`, and the keys or tags that are `known`."""
    return vars(error)


def _own(error: ValidationError, owner: str, field: str) -> ValidationError:
    """Note which field of which type the error is about; the innermost type says it first."""
    _notes(error).setdefault("owner", owner)
    _notes(error).setdefault("field", field)
    return error


def _reference(definitions: dict[str, Any]) -> Any:
    def reference(validator: Any, ref: str, value: Any, schema: Any) -> Iterator[ValidationError]:
        name = ref.rpartition("/")[2]
        config = getattr(examples, name).__struct_config__
        if config.tag_field and (
            not isinstance(value, dict) or value.get(config.tag_field) != config.tag
        ):
            yield from _tagged(
                validator, {"propertyName": config.tag_field, "mapping": {config.tag: ref}}, value
            )
        else:
            yield from validator.descend(value, definitions[name])

    return reference


def _any_of(validator: Any, branches: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    tag = schema.get("discriminator")
    if tag:
        yield from _tagged(validator, tag, value)
        return
    fitting = [branch for branch in branches if _fits(validator, branch, value)]
    if fitting:
        yield from validator.descend(value, fitting[0])
    else:
        yield _fail("type", value)


def _fits(validator: Any, branch: Any, value: Any) -> bool:
    if "$ref" in branch or "discriminator" in branch:
        return isinstance(value, dict)
    return "type" not in branch or isinstance(value, JSON_TYPES[branch["type"]])


def _tagged(validator: Any, tag: Any, value: Any) -> Iterator[ValidationError]:
    name, known = tag["propertyName"], tuple(tag["mapping"])
    if not isinstance(value, dict):
        yield _fail("items", value)
    elif name not in value:
        near = next((key for key in value if key.lower() == name), None)
        if near:
            yield _own(_fail("additionalProperties", value[near], (near,), (name,)), "User", near)
        else:
            yield _own(_fail("discriminator-missing", value, (name,), known), "", name)
    elif not isinstance(value[name], str) or value[name] not in known:
        yield _own(_fail("discriminator", value[name], (name,), known), "", name)
    else:
        yield from validator.descend(value, {"$ref": tag["mapping"][value[name]]})


def _properties(
    validator: Any, properties: Any, value: Any, schema: Any
) -> Iterator[ValidationError]:
    if isinstance(value, dict):
        for name, inner in properties.items():
            if name in value:
                for error in validator.descend(value[name], inner, path=name):
                    yield _own(error, schema["title"], name)


def _required(validator: Any, names: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, dict):
        # A type that refuses other keys refuses this one in another case, too, and says so better.
        lowered = (
            {key.lower() for key in value} if schema.get("additionalProperties") is False else ()
        )
        for name in names:
            if name not in value and name not in lowered:
                yield _own(_fail("required", value, (name,)), schema["title"], name)


def _additional(validator: Any, allowed: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, dict) and allowed is False:
        known = tuple(schema["properties"])
        for name in value:
            if name not in known:
                yield _own(
                    _fail("additionalProperties", value[name], (name,), known),
                    schema["title"],
                    name,
                )


def _enum(validator: Any, values: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if not any(type(value) is type(each) and value == each for each in values):
        yield _fail("enum", value)


def _items(validator: Any, inner: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            for error in validator.descend(item, inner, path=index):
                if "$ref" in inner and error.validator == "type" and len(error.path) == 1:
                    error.validator = "items"
                yield error


def _type(validator: Any, name: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(value, JSON_TYPES[name]):
        yield _fail("type", value)


def _broken(error: ValidationError, root: Any) -> SchemaError:
    path, parent = "$", root
    for step in list(error.absolute_path)[:-1]:
        parent = parent[step]
    for step in error.absolute_path:
        path = f"{path}[{step}]" if isinstance(step, int) else join(path, step)
    notes, keyword = _notes(error), str(error.validator)
    owner, field, known = notes.get("owner", ""), notes.get("field", ""), notes.get("known", ())
    return SchemaError(
        owner, field, keyword, path, error.instance, parent, known, tuple(error.absolute_path)
    )
