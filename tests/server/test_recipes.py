"""Recipes: files that replace built-in values, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.errors import FileError, UsageError
from ftkit.server.recipes import (
    builtin_recipes,
    load_recipes,
    micro_batch_size,
    resolve_hyperparameters,
    restore_recipe,
)
from support.models import SMOKE

BASE = "Qwen/Qwen3-0.6B"


def write_recipe(folder: Path, text: str) -> str:
    path = folder / "recipe.toml"
    path.write_text(text, "utf-8")
    return str(path)


def test_a_file_replaces_single_values_of_the_default_and_of_a_base(tmp_path: Path) -> None:
    recipes = load_recipes(
        write_recipe(
            tmp_path,
            f"""
            [default]
            rank = 8
            learning_rate.dpo = 1e-6
            ["{BASE}"]
            alpha = 64
            """,
        )
    )
    builtin, recipe = builtin_recipes().find(BASE), recipes.find(BASE)
    assert (recipe.rank, recipe.alpha, recipe.learning_rate.dpo) == (8, 64, 1e-6)
    assert recipe.learning_rate.supervised == builtin.learning_rate.supervised
    assert recipe.batch_size == builtin.batch_size
    assert recipes.find("other/model").alpha == builtin.alpha
    # A table of a base model, also a built-in one, comes before the default.
    assert recipes.find(SMOKE).rank == builtin_recipes().find(SMOKE).rank != 8


def test_a_folder_is_named_by_any_path_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path)
    recipes = load_recipes(write_recipe(tmp_path, '["./base"]\nrank = 3\n'))
    assert recipes.find(str(tmp_path / "base")).rank == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rank = 8", "rank is outside of a table; write it below [default]"),
        ("[default]\nlearning_rate = { dpo = inf }", "Expected `float` <= 1000000.0"),
        ("[default]\nrank = 99999999999999999999", "[default]: Expected `int` <= 2147483648"),
        ("[default]\nranks = 8", "[default]: Object contains unknown field `ranks`"),
        ("[default]\nrank = 0", "[default]: Expected `int` >= 1 - at `rank`"),
        ('["a/b"]\nrank = "8"', "[a/b]: Expected `int`, got `str` - at `rank`"),
        ("[default]\ndropout = 1.0", "Expected `float` < 1.0 - at `dropout`"),
        ("[default]\nlearning_rate = { ppo = 1.0 }", "unknown field `ppo` - at `learning_rate`"),
        ("[default]\nlearning_rate = { dpo = 0 }", "Expected `float` > 0.0"),
        ('[default]\nquantization = "8bit"', "Invalid enum value '8bit' - at `quantization`"),
        ("[default]\ntargets = []", "Expected `array` of length >= 1 - at `targets`"),
        ("[default]\nnodes = 2", "a job trains on the GPUs of one node"),
        ("[default]\nsave_total_limit = 0", "Expected `int` >= 1 - at `save_total_limit`"),
        ("[default]\ntokens = 0", "Expected `int` >= 1 - at `tokens`"),
        ('[default]\nattention = "fast"', "Invalid enum value 'fast' - at `attention`"),
        ("[default]\ntemplate = { tokenize = true }", "`template` cannot set tokenize"),
        ("[default]\ntemplate = { max_length = 9 }", "`template` cannot set max_length"),
        ("[default", "is not TOML"),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_its_name_and_the_key(
    tmp_path: Path, text: str, message: str
) -> None:
    path = write_recipe(tmp_path, text)
    with pytest.raises(UsageError) as error:
        load_recipes(path)
    assert path in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"missing\.toml"):
        load_recipes(str(tmp_path / "missing.toml"))


def test_the_recipe_of_a_job_survives_versions_with_other_fields() -> None:
    stored = {**builtin_recipes().find(BASE).as_json(), "rank": 5, "gone": True}
    del stored["packing"]
    assert restore_recipe(BASE, stored).rank == 5
    assert restore_recipe(BASE, stored).packing is False
    assert restore_recipe(SMOKE, {}) == builtin_recipes().find(SMOKE)


@pytest.mark.parametrize(("batch", "micro"), [(4, 2), (3, 1), (1, 1), (2, 2), (9, 1)])
def test_forward_passes_divide_a_batch_evenly(batch: int, micro: int) -> None:
    assert micro_batch_size(builtin_recipes().find(BASE), batch) == micro


def test_hyperparameters_that_a_job_sets_come_before_the_recipe() -> None:
    recipe = builtin_recipes().find(BASE)
    requested = {"n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": 0.5, "beta": 0.3}
    resolved = resolve_hyperparameters(recipe, requested, "dpo", examples=100)
    assert resolved.learning_rate == recipe.learning_rate.dpo / 2
    shown = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 0.5}
    assert resolved.as_json("dpo") == {**shown, "beta": 0.3}
    assert resolved.as_json("supervised") == shown


def test_a_batch_is_at_most_the_whole_file() -> None:
    assert (
        resolve_hyperparameters(builtin_recipes().find(BASE), {}, "supervised", 3).batch_size == 3
    )
