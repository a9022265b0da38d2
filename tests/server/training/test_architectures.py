"""Training on text with the architectures of the recommended base models."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from msgspec.structs import replace

from ftkit.catalog.base_models import base_models
from ftkit.server.database import Database
from ftkit.server.folder import Folder
from ftkit.server.objects import JobObject
from ftkit.server.recipes import builtin_recipes, resolve_hyperparameters
from support.server_requests import create_job
from support.text_models import ARCHITECTURES, build_text_model
from support.training import CITIES, city_example

pytestmark = pytest.mark.training


def test_each_recommended_base_model_has_a_tested_architecture() -> None:
    assert all(name.startswith(tuple(ARCHITECTURES)) for name in base_models())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of options that TRL sets itself
def test_an_architecture_is_trained(architecture: str, tmp_path: Path) -> None:
    from datasets import Dataset

    from ftkit.server.training.base import load_base_model
    from ftkit.server.training.trainers import TrainingRun, create_trainer

    name = str(tmp_path / "base")
    build_text_model(architecture, Path(name))
    recipe = replace(builtin_recipes().find(name), batch_size=4)
    base = load_base_model(name, recipe)
    encoder = base.encoder(base.max_tokens("supervised"))
    examples = [city_example(city, city[::-1]) for city in CITIES]
    sequences = [item for example in examples for item in encoder.encode(example, "chat")]
    columns = ("input_ids", "labels")
    data = Dataset.from_dict(
        {column: [getattr(item, column) for item in sequences] for column in columns}
    )
    folder = Folder(tmp_path / "data")
    store = Database(folder.database)
    job = store.get(JobObject, create_job(store))
    assert job
    job.base = name
    settings = resolve_hyperparameters(recipe, {"n_epochs": 1}, "supervised", len(sequences))
    run = TrainingRun(
        job, folder.job(job.id), folder.checkpoints(job.id), recipe, settings, ranks=1
    )
    trainer = create_trainer(run, base, folder, {"training": data}, [])
    trainer.args.save_strategy = "no"
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 3
    assert all(map(math.isfinite, losses))
    adapters = [key for key, value in trainer.model.named_parameters() if value.requires_grad]
    assert adapters
    assert not any("visual" in key or "vision" in key for key in adapters)
