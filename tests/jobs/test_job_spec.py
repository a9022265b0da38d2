"""Job specs and the requests they become."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ftkit.catalog import load_catalog
from ftkit.client.client import Client
from ftkit.errors import UsageError
from ftkit.jobs.journal import Journal
from ftkit.jobs.spec import METADATA_KEY, JobSpec, check, request
from ftkit.jobs.submit import submit
from ftkit.jobs.uploads import hash_file, upload_requests
from support.connections import connect_to
from support.fake_provider import FakeProvider
from support.jobs import connect_with_small_parts
from support.models import MINI

FULL = JobSpec(
    MINI,
    "a.jsonl",
    "b.jsonl",
    "dpo",
    "mine",
    epochs=2,
    batch_size=4,
    lr_multiplier=0.5,
    beta=0.2,
    seed=7,
    metadata={"team": "x"},
    wandb_project="runs",
)


def api(name: str) -> Any:
    return load_catalog().providers[name].api


def test_the_request_speaks_the_dialect_of_the_service() -> None:
    inner = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 0.5, "beta": 0.2}
    body = request(FULL, api("openai"), "file-1", "file-2", "m-1")
    assert body == {
        "model": MINI,
        "training_file": "file-1",
        "validation_file": "file-2",
        "suffix": "mine",
        "seed": 7,
        "method": {"type": "dpo", "dpo": {"hyperparameters": inner}},
        "metadata": {"team": "x", METADATA_KEY: "m-1"},
        "integrations": [{"type": "wandb", "wandb": {"project": "runs"}}],
    }
    assert request(FULL, api("nebius"), "f", None)["hyperparameters"] == inner
    assert "method" not in request(FULL, api("nebius"), "f", None)
    assert request(FULL, api("azure"), "f", None)["trainingType"] == "GlobalStandard"
    developer = msgspec.structs.replace(FULL, training_type="Developer")
    assert request(developer, api("azure"), "f", None)["trainingType"] == "Developer"
    assert request(FULL, api("llmariner"), "f", None, "m-1")["method"] == {
        "type": "dpo",
        "hyperparameters": inner,
    }
    assert METADATA_KEY not in request(FULL, api("llmariner"), "f", None, "m-1").get("metadata", {})
    assert request(JobSpec(MINI, "a"), api("openai"), "f", None) == {
        "model": MINI,
        "training_file": "f",
        "method": {"type": "supervised"},
    }


def test_an_empty_suffix_is_not_sent_and_0_is() -> None:
    body = request(JobSpec(MINI, "a", suffix="", seed=0), api("nebius"), "f", None)
    assert "suffix" not in body
    assert body["seed"] == 0


REFUSED = [
    ("openai", {"suffix": "x" * 65}, "takes 1 to 64"),
    ("openai", {"suffix": ""}, "takes 1 to 64"),
    ("azure", {"suffix": "x" * 19}, "takes 1 to 18"),
    ("azure", {"suffix": "a.b"}, "only the characters"),
    ("azure", {"training_type": "global"}, "one of GlobalStandard, Standard, Developer"),
    ("openai", {"training_type": "Standard"}, "leave it out"),
    ("llmariner", {"epochs": 1}, "needs a `suffix`"),
    ("llmariner", {"suffix": "a"}, "set `epochs`"),
    ("openai", {"epochs": 51}, "1 to 50"),
    ("openai", {"batch_size": 257}, "1 to 256"),
    ("openai", {"seed": 2**31}, "0 to 2,147,483,647"),
    ("openai", {"lr_multiplier": 0.0}, "greater than 0"),
    ("nebius", {"lr_multiplier": 1.8}, "the learning rate itself"),
    ("openai", {"beta": 0.1}, "for `method` dpo"),
    ("openai", {"beta": 3.0, "method": "dpo"}, "at most 2"),
    ("openai", {"method": "reinforcement"}, "needs a `grader`"),
    ("openai", {"method": "reinforcement", "grader": {}, "validation": "b"}, "needs a `grader`"),
    ("openai", {"metadata": {str(n): "" for n in range(16)}}, "ftkit needs one"),
    ("openai", {"metadata": {"k" * 65: ""}}, "1 to 64 characters"),
    ("llmariner", {"metadata": {"a": "b"}, "suffix": "a", "epochs": 1}, "has no metadata"),
]


@pytest.mark.parametrize(("provider", "fields", "message"), REFUSED)
def test_what_a_service_would_refuse_is_refused_before(
    provider: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check(JobSpec(MINI, "a.jsonl", **fields), api(provider), provider)


@pytest.mark.parametrize("reached", [connect_to, connect_with_small_parts])
@pytest.mark.usefixtures("small_parts")
def test_what_a_dry_run_plans_is_what_is_sent(
    reached: Callable[[str], Client],
    fake_provider: FakeProvider,
    provider_url: str,
    order: JobSpec,
    journal: Journal,
) -> None:
    service = reached(provider_url)
    planned = upload_requests(order.training, hash_file(order.training), service.provider)
    submit(order, service, journal)
    sent = [
        (path.removeprefix("/v1"), body)
        for method, path, body in fake_provider.requests
        if method == "POST"
    ][:-1]
    upload = next(iter(fake_provider.uploads), "")
    assert [
        planned_body["path"].replace("<id of the upload>", upload) for planned_body in planned
    ] == [path for path, _ in sent]
    assert [
        planned_body["body"] for planned_body in planned if "bytes" in planned_body.get("body", {})
    ] == [body for path, body in sent if path == "/uploads"]
    (file,) = fake_provider.files.values()
    assert planned[0].get("form", planned[0].get("body"))["filename"] == file["filename"]
    ranges = [planned_body["bytes"] for planned_body in planned if "bytes" in planned_body]
    size = os.path.getsize(order.training)
    assert not ranges or (ranges[0][0], ranges[-1][1], len(ranges)) == (
        0,
        size,
        len(fake_provider.parts),
    )
