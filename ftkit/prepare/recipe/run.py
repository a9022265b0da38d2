"""Runs of recipes: the steps are composed, and all outputs are written, or none."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ftkit.dataset.reader import open_stored
from ftkit.errors import UsageError
from ftkit.prepare.audit import FINDINGS, Audit
from ftkit.prepare.file_formats import read_dataset, read_file
from ftkit.prepare.outputs import Target, check_target, find_existing, open_outputs
from ftkit.prepare.prepared import Prepared, Read, prepare_files
from ftkit.prepare.recipe.read import CONVERT, SPLIT, Recipe, RecipeStep, read_recipe
from ftkit.prepare.recipe.steps import STEPS, name_homes
from ftkit.prepare.split.split import Split, split
from ftkit.summary import Report
from ftkit.validation.validate import validate

FIX = "fix"
"""Step that reads the files itself if it is the first one, as it takes lines that are no JSON."""

COMPARE_BYTES = 1 << 20
"""Bytes of an output that are compared at a time with what is there."""

Advance = Callable[[str, int], object]
"""Called with the name of a file and the bytes that were read of it since the last call."""


class Stage(Struct):
    """A step of a run, or the reading of a source."""

    name: str
    audit: Audit
    forbids_losses: bool = False


class RecipeResult(Struct):
    """Result of a run.

    Attributes:
        stages: The steps, in order, each with its own audit.
        is_check: True if nothing was to be written.
        rows: Rows of each output, by path; empty if rows were rejected without a file for them, or
            values were lost that must not be.
        changed: Paths of the outputs whose content is new.
        split: The split at the end, if any.
        validation: Findings in the outputs.
    """

    stages: list[Stage]
    is_check: bool
    rows: dict[str, int] = {}
    changed: list[str] = []
    split: Split | None = None
    validation: Report | None = None

    def total(self, effect: Any) -> int:
        """Return the number of entries with an effect in all steps."""
        return sum(stage.audit.total(effect) for stage in self.stages)

    @property
    def has_forbidden_losses(self) -> bool:
        """True if values were lost and must not be."""
        return any(stage.forbids_losses and stage.audit.total("loss") for stage in self.stages)

    @property
    def ok(self) -> bool:
        """True if the outputs are complete, valid and leak-free, and a check finds no change.

        Losses that the recipe allows do not count.
        """
        findings = (effect for effect in FINDINGS if effect != "loss")
        is_complete = bool(self.rows) and not any(map(self.total, findings))
        is_valid = self.validation is None or self.validation.ok
        is_leak_free = self.split is None or self.split.is_leak_free
        return is_complete and is_valid and is_leak_free and not (self.is_check and self.changed)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        split = self.split.to_dict() if self.split else {}
        return {
            "ok": self.ok,
            "steps": [{"step": stage.name, **stage.audit.to_dict()} for stage in self.stages],
            "outputs": [{"file": path, "rows": count} for path, count in self.rows.items()],
            "changed": self.changed,
            "leaks": split.get("leaks"),
            "shared": split.get("shared", []),
            "validation": self.validation.to_dict() if self.validation else None,
        }


def run_recipe(
    path: str | os.PathLike[str], *, check: bool = False, write_to: Sequence[str] = ()
) -> RecipeResult:
    """Run the recipe in a TOML file. All outputs are written, or none; see `open_outputs`.

    Args:
        path: The recipe.
        check: Write nothing, but tell which outputs would change.
        write_to: URLs that the recipe may write to: those of outputs, or of folders above them.

    Raises:
        FileError: A file cannot be read or written.
        UsageError: The recipe is invalid.
    """
    return run(read_recipe(path, write_to), check)


def run(
    recipe: Recipe, check: bool = False, advance: Advance = lambda name, size: None
) -> RecipeResult:
    """Run a recipe. See `run_recipe`.

    Args:
        recipe: The recipe.
        check: Write nothing, but tell which outputs would change.
        advance: Called while JSON Lines are read.
    """
    paths = recipe.targets()
    if not check:
        for path in paths.values():
            check_target(path)
    former = {key: find_existing(path) for key, path in paths.items()}
    result = RecipeResult([], check)
    with tempfile.TemporaryDirectory(prefix="ftkit-") as folder:
        staged = {
            key: Path(folder, f"{number}{os.path.splitext(path)[1]}")
            for number, (key, path) in enumerate(paths.items())
        }
        try:
            output = _compose(recipe, result, advance)
            is_written = _write(recipe, output, staged)
        except UsageError as error:
            error.args = (name_homes(str(error)), *error.args[1:])
            raise
        if not is_written or result.has_forbidden_losses:
            return result
        rows = output.sizes if isinstance(output, Split) else {"file": output.audit.written}
        result.rows = {paths[subset]: count for subset, count in rows.items()}
        changed = [key for key in paths if _differs(staged[key], former[key])]
        result.changed = [paths[key] for key in changed]
        if recipe.validation is not None:
            result.validation = _validate(recipe, staged)
        if not check:
            _publish(recipe, {key: (staged[key], paths[key]) for key in changed})
    return result


def _write(recipe: Recipe, output: Prepared | Split, staged: Mapping[str, Path]) -> bool:
    """Write all outputs to temporary files; return False if rows are rejected without a file."""
    map, rejects = staged.get("map"), staged.get("rejects")
    if isinstance(output, Prepared):
        return output.write(staged["file"], map, rejects)
    paths = {subset: staged[subset] for subset in recipe.data}
    names: dict[Target, str] = {paths[subset]: name for subset, name in recipe.data.items()}
    return output.write(paths, map, rejects, staged.get("lock"), names)


def _compose(recipe: Recipe, result: RecipeResult, advance: Advance) -> Prepared | Split:
    """Return the result of the steps. Rows are made as they are read, unless there is a split."""

    def add(name: str, prepared: Prepared) -> Prepared:
        audit = prepared.audit
        audit.names, audit.advance = recipe.names, advance
        result.stages.append(Stage(name, audit, not prepared.allows_losses))
        prepared.allows_losses = True  # all losses are reported before the run fails
        return prepared

    first = recipe.steps[0].name if recipe.steps else ""
    value: Any
    if first == FIX:
        value = recipe.groups[0]
    elif recipe.weights:
        names = (", ".join(recipe.names[path] for path in group) for group in recipe.groups)
        parts = [
            add(f"read {name}", _read(recipe, group, first))
            for name, group in zip(names, recipe.groups, strict=True)
        ]
        value = list(zip(parts, recipe.weights, strict=True))
    else:
        value = add("read", _read(recipe, recipe.groups[0], first))
    for step in recipe.steps:
        if step.name == SPLIT:
            result.split = split(value, **step.arguments)
            result.stages.append(Stage(SPLIT, result.split.audit))
            return result.split
        value = add(step.name, _run_step(step, value))
    output: Prepared = value
    return output


def _read(recipe: Recipe, paths: list[str], first: str) -> Prepared:
    """Return the rows of files. Only a conversion reads chats, and files with options."""
    read: Read = read_dataset
    if first == CONVERT:
        read = partial(read_file, options=recipe.reading, name=recipe.format)
    return prepare_files(paths, [], "sources", read=read)


def _run_step(step: RecipeStep, value: Any) -> Prepared:
    try:
        prepared: Prepared = STEPS[step.name](value, **step.arguments)
    except UsageError as error:
        error.args = (f"{step.place}: {error}", *error.args[1:])
        raise
    return prepared


def _differs(new: Path, old: str | None) -> bool:
    """Return True if a file is not equal to the former one, or did not exist."""
    if old is None:
        return True
    with new.open("rb") as file, open_stored(old) as former:
        while data := file.read(COMPARE_BYTES):
            if data != former.read(len(data)):
                return True
        return bool(former.read(1))


def _validate(recipe: Recipe, staged: Mapping[str, Path]) -> Report:
    """Return the findings in the files with rows, under the names of the outputs."""
    data = {subset: staged[subset] for subset in recipe.data}
    validation = data.pop("validation", None)
    report = validate(list(data.values()), validation_file=validation, **recipe.validation or {})
    names = {str(staged[subset]): recipe.path_of(name) for subset, name in recipe.data.items()}
    files = tuple(replace(file, file=names[file.file]) for file in report.files)
    return replace(report, files=files)


def _publish(recipe: Recipe, files: Mapping[str, tuple[Path, str]]) -> None:
    """Copy temporary files to their paths or URLs, given by their keys in `outputs`."""
    with open_outputs() as outputs:
        for key, (new, path) in files.items():
            with new.open("rb") as source:
                shutil.copyfileobj(source, outputs.open(path, is_data=key in recipe.data))
