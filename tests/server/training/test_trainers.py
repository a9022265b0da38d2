"""TRL's trainers as they are created for a job."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.server.database import Database
from ftkit.server.folder import Folder
from ftkit.server.objects import JobMethod, JobObject
from ftkit.server.recipes import builtin_recipes, resolve_hyperparameters
from support.models import SMOKE
from support.server_requests import create_job

pytestmark = pytest.mark.training

ROWS = {
    "supervised": {"input_ids": [5, 6, 7], "labels": [-100, 6, 7]},
    "dpo": {"prompt_ids": [5], "chosen_ids": [6, 7], "rejected_ids": [8, 7]},
}
"""A tokenized example, by method."""


@pytest.mark.parametrize("method", ROWS)
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of options that TRL sets itself
def test_a_single_process_uses_one_of_several_gpus(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from datasets import Dataset

    from ftkit.server.training import trainers
    from ftkit.server.training.base import load_base_model

    # transformers counts the GPUs, although the model stays on the CPU.
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(trainers, "device", lambda: "cuda")
    folder = Folder(tmp_path)
    store = Database(folder.database)
    job = store.get(JobObject, create_job(store))
    assert job
    job.method = JobMethod.of(method, job.hyperparameters)
    recipe = builtin_recipes().find(SMOKE)
    run = trainers.TrainingRun(
        job=job,
        job_folder=folder.job(job.id),
        output=folder.checkpoints(job.id),
        recipe=recipe,
        hyperparameters=resolve_hyperparameters(recipe, {}, method, examples=8),
        ranks=1,
    )
    data = {"training": Dataset.from_list([ROWS[method]] * 8)}
    trainer = trainers.create_trainer(run, load_base_model(SMOKE, recipe), folder, data, [])
    assert trainer.args.n_gpu == 1
