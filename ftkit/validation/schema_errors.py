"""Schema errors: validates a JSON value against the JSON Schema of a format with jsonschema.

The schema is generated from the types that the fast decoder uses. The branch of a union is chosen
by its tag (`role`, `type`), so that an error is about the intended message type and not about all
types.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any

import jsonschema
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator

from ftkit.dataset import types as examples
from ftkit.dataset.formats import schema
from ftkit.dataset.lenient_json import MAX_PLACES, join
from ftkit.rules.nodes import SchemaError

JSON_TYPES = {"string": str, "array": list, "object": dict, "boolean": bool, "null": type(None)}


def schema_errors(value: Any, format: str) -> list[SchemaError]:
    """Return the first `MAX_PLACES` places where a value does not fit a format, in order."""
    errors = islice(_validator(format).iter_errors(value), MAX_PLACES)
    return [_schema_error(error, value) for error in errors]


@cache
def _validator(format: str) -> Validator:
    definition = schema(format)
    keywords = {
        "$ref": _reference(definition["$defs"]),
        "anyOf": _any_of,
        "properties": _properties,
        "required": _required,
        "enum": _enum,
        "items": _items,
        "additionalProperties": _additional,
        "type": _type,
    }
    validator_class: Any = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
        jsonschema.Draft202012Validator, keywords
    )
    validator: Validator = validator_class(definition)
    return validator


def _fail(
    keyword: str, value: Any, path: tuple[str | int, ...] = (), allowed: tuple[str, ...] = ()
) -> ValidationError:
    """Return an error for the value, at a path below the value being validated."""
    error = ValidationError(keyword, validator=keyword, instance=value, path=path)
    _notes(error)["allowed"] = allowed
    return error


def _notes(error: ValidationError) -> dict[str, Any]:
    """Return the notes of this module on an error: its `owner`, `field` and `allowed` keys."""
    return vars(error)


def _own(error: ValidationError, owner: str, field: str) -> ValidationError:
    """Note the type and the field of an error, unless an inner type has noted its own."""
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
    """Validate a value against the type that its tag names."""
    name, tags = tag["propertyName"], tuple(tag["mapping"])
    if not isinstance(value, dict):
        yield _fail("items", value)
    elif name not in value:
        near = next((key for key in value if key.lower() == name), None)
        if near:
            yield _own(_fail("additionalProperties", value[near], (near,), (name,)), "User", near)
        else:
            yield _own(_fail("discriminator-missing", value, (name,), tags), "", name)
    elif not isinstance(value[name], str) or value[name] not in tags:
        yield _own(_fail("discriminator", value[name], (name,), tags), "", name)
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
        # If unknown keys are refused, `additionalProperties` reports the same key in another case.
        lowered = (
            {key.lower() for key in value} if schema.get("additionalProperties") is False else ()
        )
        for name in names:
            if name not in value and name not in lowered:
                yield _own(_fail("required", value, (name,)), schema["title"], name)


def _additional(validator: Any, allowed: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, dict) and allowed is False:
        keys = tuple(schema["properties"])
        for name in value:
            if name not in keys:
                error = _fail("additionalProperties", value[name], (name,), keys)
                yield _own(error, schema["title"], name)


def _enum(validator: Any, values: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if not any(type(value) is type(allowed) and value == allowed for allowed in values):
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


def _schema_error(error: ValidationError, root: Any) -> SchemaError:
    path, parent = "$", root
    steps = tuple(error.absolute_path)
    for step in steps[:-1]:
        parent = parent[step]
    for step in steps:
        path = f"{path}[{step}]" if isinstance(step, int) else join(path, step)
    notes = _notes(error)
    return SchemaError(
        owner=notes.get("owner", ""),
        field=notes.get("field", ""),
        keyword=str(error.validator),
        path=path,
        value=error.instance,
        parent=parent,
        allowed=notes.get("allowed", ()),
        steps=steps,
    )
