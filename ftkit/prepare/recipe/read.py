"""Reading of recipes: TOML files with sources, steps and outputs."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ftkit.catalog.load import read_toml
from ftkit.dataset.object_location import is_url
from ftkit.dataset.object_ranges import find_objects
from ftkit.dataset.object_writer import writable_location
from ftkit.errors import FileError, UsageError, did_you_mean
from ftkit.prepare.file_formats import file_formats
from ftkit.prepare.file_formats.base import ReadOptions
from ftkit.prepare.file_formats.parquet import PARQUET
from ftkit.prepare.outputs import check_name, refuse_overwriting
from ftkit.prepare.recipe.steps import (
    PATHS,
    STEPS,
    convert_table,
    options_type,
    parameters_type,
    values_of,
)
from ftkit.prepare.split.decide import SUBSETS
from ftkit.validation.validate import validate

SPLIT, MIX, CONVERT = "split", "mix", "convert"
"""Steps with a place of their own: the last one, and the first ones."""

CHECKS = ("format", "provider", "model", "grader", "select", "ignore", "fail_on")
"""Parameters of `ftkit.validate` that are keys of `[validate]`."""


class OutputNames(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Table `outputs`: names of the files to write, as the recipe has them."""

    file: str = ""
    """The output of a recipe without a split."""
    train: str = ""
    validation: str = ""
    test: str = ""
    map: str = ""
    rejects: str = ""


class WeightedSource(Struct, frozen=True):
    """A source of a mixture."""

    file: str
    weight: float


class RecipeStep(Struct, frozen=True):
    """A step: its name, and the arguments of its function."""

    name: str
    arguments: dict[str, Any]
    place: str
    """Place in the recipe, for error messages."""


class Recipe(Struct, frozen=True, kw_only=True):
    """A recipe.

    Attributes:
        path: Path of its file.
        names: Name in the recipe of each file to read, by path.
        groups: Paths to read: one group, or one for each source of a mixture.
        weights: Weights of the groups, or None.
        reading: Options of the readers.
        format: Name of the format of the files, which is detected by default.
        steps: The steps, in order.
        outputs: Names of the files to write.
        validation: Arguments of `ftkit.validate`, or None to leave it out.
    """

    path: str
    names: dict[str, str]
    groups: list[list[str]]
    weights: list[float] | None
    reading: ReadOptions
    format: str | None
    steps: list[RecipeStep]
    outputs: OutputNames
    validation: dict[str, Any] | None

    def path_of(self, name: str) -> str:
        """Return the path of a file that the recipe names, or its URL."""
        return name if is_url(name) else str(Path(self.path).parent / name)

    @property
    def data(self) -> dict[str, str]:
        """Names of the files for the rows: by subset, or one for all."""
        names = msgspec.structs.asdict(self.outputs)
        return {key: names[key] for key in ("file", *SUBSETS) if names[key]}

    @property
    def lock(self) -> Path | None:
        """The lock file of the split, which is read and written."""
        lock = self.steps[-1].arguments.get("lock") if self.steps else None
        return Path(lock) if lock else None

    def targets(self) -> dict[str, str]:
        """Return the path or URL of each file to write, by its key in `outputs`, or `lock`."""
        names = msgspec.structs.asdict(self.outputs)
        paths = {key: self.path_of(name) for key, name in names.items() if name}
        return paths | ({"lock": str(self.lock)} if self.lock else {})

    def inputs(self) -> Iterator[str]:
        """Yield the paths of all files that are read and not written."""
        yield self.path
        yield from self.names
        for arguments in (*(step.arguments for step in self.steps), self.validation or {}):
            for key, value in arguments.items():
                if key in PATHS and key != "lock":
                    yield from [value] if isinstance(value, str) else value


class _Tables(Struct, frozen=True):
    """Top level of a recipe."""

    sources: str | list[Any]
    outputs: dict[str, Any]
    steps: list[dict[str, Any]] = []
    reading: dict[str, Any] = {}
    validate: bool | dict[str, Any] = True


class _Reading(ReadOptions, frozen=True, kw_only=True):
    """Table `reading`: the options of the readers."""

    format: str | None = None


def read_recipe(path: str | os.PathLike[str], write_to: Sequence[str] = ()) -> Recipe:
    """Return the recipe in a TOML file. Paths in it are relative to its folder.

    Args:
        path: The recipe.
        write_to: URLs that the recipe may write to: those of outputs, or of what they begin with.

    Raises:
        FileError: The recipe cannot be read, or a source does not exist.
        UsageError: The recipe is invalid, or writes to another URL.
    """
    name = os.fspath(path)
    tables = convert_table(read_toml(name), _Tables, name)
    folder = os.path.dirname(name)
    weights, sources = _sources(tables.sources, name)
    groups = [list(dict.fromkeys(_expand(source, folder))) for source in sources]
    reading = convert_table(tables.reading, _Reading, f"{name}: reading")
    options = {key: getattr(reading, key) for key in ReadOptions.__struct_fields__}
    recipe = Recipe(
        path=name,
        names={path: short for group in groups for path, short in group},
        groups=[[path for path, _ in group] for group in groups],
        weights=weights,
        reading=ReadOptions(**options),
        format=_file_format(reading.format, name),
        steps=[_step(table, number, name) for number, table in enumerate(tables.steps, 1)],
        outputs=convert_table(tables.outputs, OutputNames, f"{name}: outputs"),
        validation=_validation(tables.validate, name),
    )
    _check(recipe, tables.reading)
    _refuse_outside(recipe, write_to)
    return recipe


def _sources(value: str | list[Any], name: str) -> tuple[list[float] | None, list[list[str]]]:
    """Return the weights of a mixture, or None, and the patterns of each group of files."""
    items = [value] if isinstance(value, str) else value
    if items and all(isinstance(item, str) for item in items):
        return None, [items]
    if not items or any(isinstance(item, str) for item in items):
        raise UsageError(
            f"{name}: sources must be a list of files, or, for mix, of tables such as {{ file = "
            '"a.jsonl", weight = 0.5 }'
        )
    weighted = [
        convert_table(item, WeightedSource, f"{name}: source {number}")
        for number, item in enumerate(items, 1)
    ]
    return [source.weight for source in weighted], [[source.file] for source in weighted]


def _expand(patterns: list[str], folder: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the name of each file that patterns match, in a fixed order."""
    for pattern in patterns:
        if is_url(pattern):
            yield from ((url, url.url) for url in find_objects(pattern))
            continue
        path = os.path.join(folder, pattern)
        if os.path.exists(path) or not glob.has_magic(pattern):
            yield path, pattern
            continue
        matches = sorted(glob.glob(pattern, root_dir=folder or None, recursive=True))
        files = [match for match in matches if os.path.isfile(os.path.join(folder, match))]
        if not files:
            raise FileError(f"no file matches {path!r}")
        yield from ((os.path.join(folder, match), match) for match in files)


def _file_format(format: str | None, name: str) -> str | None:
    if format is not None and format not in file_formats():
        hint = did_you_mean(format, file_formats())
        raise UsageError(f"{name}: reading: there is no format of files {format!r}{hint}")
    return format


def _step(table: dict[str, Any], number: int, recipe: str) -> RecipeStep:
    place = f"{recipe}: step {number}"
    options = dict(table)
    name = options.pop("step", None)
    if not isinstance(name, str) or name not in STEPS:
        hint = did_you_mean(name, STEPS) if isinstance(name, str) else ""
        problem = "has no key 'step'" if name is None else f"cannot be {name!r:.60}{hint}"
        raise UsageError(f"{place} {problem}; the steps are {', '.join(STEPS)}")
    place = f"{place} ({name})"
    arguments = values_of(convert_table(options, options_type(name), place))
    return RecipeStep(name, _with_paths(arguments, recipe), place)


def _with_paths(arguments: dict[str, Any], recipe: str) -> dict[str, Any]:
    """Return arguments with paths that are relative to the recipe."""
    folder = os.path.dirname(recipe)
    for key in PATHS.keys() & arguments.keys():
        value = arguments[key]
        if isinstance(value, str) and key != "against":
            if is_url(value):
                raise UsageError(f"{recipe}: {key} must be a local file, not {value}")
            arguments[key] = os.path.join(folder, value)
        else:
            patterns = [value] if isinstance(value, str) else value
            arguments[key] = [path for path, _ in _expand(patterns, folder)]
    return arguments


def _validation(value: bool | dict[str, Any], recipe: str) -> dict[str, Any] | None:
    if value is False:
        return None
    type = parameters_type("validate", validate, CHECKS)
    table = {} if value is True else value
    arguments = _with_paths(values_of(convert_table(table, type, f"{recipe}: validate")), recipe)
    try:
        validate([{}], **arguments)  # so that a wrong argument is not found out at the end
    except UsageError as error:
        error.args = (f"{recipe}: validate: {error}", *error.args[1:])
        raise
    return arguments


def _check(recipe: Recipe, reading: Mapping[str, Any]) -> None:
    """Raise `UsageError` if the parts of a recipe do not fit together."""
    names = [step.name for step in recipe.steps]
    for step in recipe.steps:
        if step.name == SPLIT and step is not recipe.steps[-1]:
            raise UsageError(f"{step.place}: a split must be the last step")
        if step.name == MIX and (step is not recipe.steps[0] or not recipe.weights):
            raise UsageError(
                f"{step.place}: mix must be the first step, of sources such as "
                '{ file = "a.jsonl", weight = 0.5 }'
            )
        if step.arguments.get("from_") in file_formats():
            raise UsageError(f"{step.place}: set the format of files by `format` in [reading]")
    if recipe.weights and names[:1] != [MIX]:
        raise UsageError(f"{recipe.path}: sources with weights need mix as the first step")
    for path, number in Counter(path for group in recipe.groups for path in group).items():
        if number > 1:
            raise UsageError(f"{recipe.path}: {path} is in two sources; name it in one of them")
    if reading and names[:1] != [CONVERT]:
        raise UsageError(f"{recipe.path}: [reading] needs convert as the first step")
    _check_outputs(recipe)


def _check_outputs(recipe: Recipe) -> None:
    subsets = ["file"]
    if recipe.steps and recipe.steps[-1].name == SPLIT:
        ratio = recipe.steps[-1].arguments.get("ratio", SUBSETS)
        subsets = list(SUBSETS[: len(ratio)])
    if list(recipe.data) != subsets:
        raise UsageError(
            f"{recipe.path}: outputs must name {' and '.join(subsets)}, and no other file for rows"
        )
    for name in recipe.data.values():
        check_name(recipe.path_of(name))
        if recipe.validation is not None and name.endswith(PARQUET):
            raise UsageError(
                f"{recipe.path}: {name} cannot be validated; write JSON Lines, or set "
                "validate = false"
            )
    refuse_overwriting(list(recipe.targets().values()), recipe.inputs())


def _refuse_outside(recipe: Recipe, write_to: Sequence[str]) -> None:
    """Raise `UsageError` if an output is not below the folder of the recipe or the current one.

    An output with a URL must be below one of `write_to`. A recipe may be somebody else's, such as
    in a pull request that CI checks, where credentials for other objects are at hand.
    """
    for allowed in write_to:
        if not is_url(allowed) or not allowed.partition("://")[2].strip("/"):
            raise UsageError(
                f"`write_to` must be a URL with a bucket, such as s3://bucket/data, not {allowed!r}"
            )
    folders = [os.path.realpath(folder) for folder in (os.path.dirname(recipe.path), "")]
    for path in recipe.targets().values():
        if is_url(path):
            writable_location(path)
            if not any(_is_at(path, allowed) for allowed in write_to):
                raise UsageError(
                    f"{recipe.path} writes to {path}; allow it by `write_to` with this URL, or "
                    "with that of a folder above it"
                )
            continue
        target = os.path.realpath(path)
        if not any(os.path.commonpath((target, folder)) == folder for folder in folders):
            raise UsageError(
                f"{recipe.path}: {path} is outside of the folder of the recipe and of the current "
                "folder; a recipe writes to these only"
            )


def _is_at(url: str, allowed: str) -> bool:
    """Return True if a URL, which has no dots between slashes, is another one or below it."""
    return url == allowed or url.startswith(f"{allowed.rstrip('/')}/")
