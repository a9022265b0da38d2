"""Models of the local server and their export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from ftkit.client.connect import connect
from ftkit.server import lifecycle
from ftkit.server.database import Database
from ftkit.server.errors import MissingObjectError
from ftkit.server.folder import Folder
from ftkit.server.models import ModelRegistry
from ftkit.server.objects import JobObject, ModelObject
from support.local_server import LocalServer
from support.models import SMOKE
from support.server_requests import upload_file


def test_models_are_listed_and_bases_cannot_be_deleted(client: openai.OpenAI) -> None:
    assert {SMOKE, "gpt-3.5-turbo"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve(SMOKE).id == SMOKE
    for model in (SMOKE, "ft:x:y:z"):
        with pytest.raises(openai.NotFoundError):
            client.models.delete(model)


def test_with_keys_only_models_that_the_operator_named_are_loaded(tmp_path: Path) -> None:
    models = {"named": "own/model"}
    with (
        LocalServer(tmp_path / "data", models, keys=("one",)) as server,
        server.client("one") as client,
    ):
        file = upload_file(client).id
        assert {model.id for model in client.models.list()} == {SMOKE, "named"}
        assert client.models.retrieve("named").id == "named"
        for name in ("own/model", "Qwen/Qwen3-0.6B", "jobs/none", "/etc", ".", "none"):
            with pytest.raises(openai.BadRequestError) as refused:
                client.fine_tuning.jobs.create(model=name, training_file=file)
            assert refused.value.code == "model_not_found"
            with pytest.raises(openai.NotFoundError) as missing:
                client.completions.create(model=name, prompt="x")
            expected = (
                f"The model '{name}' does not exist; `GET /v1/models` lists the existing ones."
            )
            for error in (refused.value, missing.value):
                assert error.body["message"] == expected  # type: ignore[index]
        assert not (server.folder / "generate.log").exists()


def test_the_command_that_maps_a_name_quotes_it_for_the_shell(store: Database) -> None:
    with pytest.raises(MissingObjectError, match=r"--map 'a;b \$\(c\)=Qwen/Qwen3-0\.6B'$"):
        ModelRegistry(store, {}).find("a;b $(c)", "t")


def test_a_tuned_model_needs_a_base_that_the_operator_still_names(store: Database) -> None:
    model = ModelObject(id="ft:a", tenant="t", base="own/model", job="ftjob-1", step=1)
    store.add(model)
    named = ModelRegistry(store, {"named": "own/model"}, uses_hub=False)
    assert named.find("ft:a", "t").base == "own/model"
    assert ModelRegistry(store, {}).find("ft:a", "t").base == "own/model"
    for registry, tenant in (
        (ModelRegistry(store, {}, uses_hub=False), "t"),
        (named, "other"),
    ):
        with pytest.raises(MissingObjectError, match="does not exist"):
            registry.find("ft:a", tenant)


@pytest.fixture
def tuned_model(local_server: LocalServer, client: openai.OpenAI) -> Iterator[str]:
    """A tuned model that the service has, with the files of its adapter."""
    store, folder = Database(local_server.folder / "service.db"), Folder(local_server.folder)
    job = client.fine_tuning.jobs.create(
        model=SMOKE, training_file=upload_file(client).id, suffix="mine"
    )
    client.fine_tuning.jobs.cancel(job.id)
    thing = store.get(JobObject, job.id)
    assert thing
    name = lifecycle.tuned_name(thing)
    adapter = folder.adapter(job.id, 3)
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    lifecycle.add_model(store, thing, name, 3)
    lifecycle.add_checkpoint(store, thing, 3, {"train_loss": 0.5}, 3)
    yield name
    store.close()


def test_a_tuned_model_is_exported_whole_or_not_at_all(
    tuned_model: str, local_server: LocalServer, tmp_path: Path
) -> None:
    from ftkit.errors import FileError, NotFoundError, UsageError
    from ftkit.jobs.export import export

    service = connect("local", local_server.url)
    assert export(service, tuned_model, tmp_path / "a") == SMOKE
    assert (tmp_path / "a" / "adapter_model.safetensors").read_bytes() == b"weights"
    with pytest.raises(FileError, match="already exists"):
        export(service, tuned_model, tmp_path / "a")
    with pytest.raises(NotFoundError):
        export(service, "ft:none:a::b", tmp_path / "b")
    with pytest.raises(UsageError, match="does not offer model weights"):
        export(
            connect("openai", local_server.url, environment={"OPENAI_API_KEY": "x"}),
            tuned_model,
            tmp_path / "b",
        )
    assert not (tmp_path / "b").exists()
    assert not (tmp_path / "b.part").exists()


def test_deleting_the_last_model_of_an_adapter_deletes_the_adapter(
    tuned_model: str, local_server: LocalServer, client: openai.OpenAI
) -> None:
    job = next(
        job.id for job in client.fine_tuning.jobs.list() if tuned_model.endswith(job.id[6:14])
    )
    (checkpoint,) = client.fine_tuning.jobs.checkpoints.list(job)
    adapter = local_server.folder / "jobs" / job / "adapter-3"
    assert client.models.retrieve(tuned_model).owned_by == "org-local"
    client.models.delete(tuned_model)
    assert adapter.exists()
    client.models.delete(checkpoint.fine_tuned_model_checkpoint)
    assert not adapter.exists()


def test_a_base_model_has_the_preferred_name_if_that_stands_for_it(store: Database) -> None:
    aliases = {"mini": "own/model", "other": "own/model", "Qwen/Qwen3-0.6B": "own/else"}
    registry = ModelRegistry(store, aliases)
    names = [registry.name_of("own/model", preferred) for preferred in ("", "other", "own/else")]
    assert names == ["mini", "other", "mini"]
    assert registry.name_of("Qwen/Qwen3-1.7B") == "Qwen/Qwen3-1.7B"
    assert registry.name_of("Qwen/Qwen3-0.6B") is None  # that name stands for another model
    assert registry.name_of("/models/mine") is None
    assert ModelRegistry(store, {}, uses_hub=False).name_of("own/model") is None
