"""The form for a new job: verdict and estimate before the job, and the request that creates it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from ftkit.dashboard import choices
from ftkit.server.auth import Authenticator
from support.dashboard import KEY, settled, upload
from support.local_server import LocalServer, wait_for_job
from support.training import CITY_DATA, city_example, encode_jsonl
from support.tuned_models import add_tuned_model

PREFERENCES = encode_jsonl(
    [
        {
            "input": {"messages": [{"role": "user", "content": f"Say {number}"}]},
            "preferred_output": [{"role": "assistant", "content": f"It is {number}"}],
            "non_preferred_output": [{"role": "assistant", "content": "no"}],
        }
        for number in range(12)
    ]
)


def plan(client: httpx.Client, file: str, model: str = "ftkit/smoke", **values: str) -> str:
    query = httpx.QueryParams({"file": file, "model": model, **values})
    return settled(client, f"/new/preview?{query}")


def request_body(page: str) -> dict[str, object]:
    match = re.search(r'id="job-body">(.*?)</script>', page)
    assert match, page
    return dict(json.loads(match[1]))


@pytest.mark.training
def test_the_plan_is_what_the_job_does(browser_client: httpx.Client, server: LocalServer) -> None:
    file = upload(browser_client, CITY_DATA)
    page = plan(browser_client, file, n_epochs="2", batch_size="5", suffix="cities", seed="3")
    body = request_body(page)
    assert "<dt>steps</dt><dd>6<" in page
    response = browser_client.post("/v1/fine_tuning/jobs", json=body)
    assert response.status_code == 200, response.text
    with server.client() as client:
        job = wait_for_job(client, response.json()["id"], "succeeded")
        points = client.fine_tuning.jobs.checkpoints.list(job.id).data
    assert (job.hyperparameters.n_epochs, job.hyperparameters.batch_size) == (2, 5)
    assert (job.seed, job.user_provided_suffix) == (3, "cities")
    assert max(point.step_number for point in points) == 6
    tokens = re.search(r"<dt>tokens</dt><dd>([0-9,]+)<", page)
    assert tokens
    assert job.trained_tokens == 2 * int(tokens[1].replace(",", ""))


@pytest.mark.training
def test_a_large_file_is_estimated_by_a_sample(browser_client: httpx.Client) -> None:
    rows = encode_jsonl([city_example(f"{number:05}", "yes") for number in range(20_001)])
    page = plan(browser_client, upload(browser_client, rows), n_epochs="1", batch_size="10")
    assert "about, by a sample" in page
    assert "<dt>examples</dt><dd>20,001<" in page
    assert "<dt>steps</dt><dd>2,001<" in page


@pytest.mark.training
def test_preferences_are_trained_by_dpo(browser_client: httpx.Client) -> None:
    file = upload(browser_client, PREFERENCES)
    page = plan(browser_client, file, beta="0.5")
    assert "preferences (DPO)" in page
    assert request_body(page)["method"] == {
        "type": "dpo",
        "dpo": {"hyperparameters": {"beta": 0.5}},
    }


@pytest.mark.training
def test_an_overlap_with_the_validation_file_is_named(browser_client: httpx.Client) -> None:
    file = upload(browser_client, CITY_DATA)
    page = plan(browser_client, file, validation=file)
    assert "12 examples of the training file are in the validation file, too" in page


@pytest.mark.training
def test_files_of_different_formats_are_refused(browser_client: httpx.Client) -> None:
    file, other = upload(browser_client, CITY_DATA), upload(browser_client, PREFERENCES)
    page = plan(browser_client, file, validation=other)
    assert "choose files of the same format" in page
    assert "data-create disabled" in page


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"n_epochs": "51"}, "Epochs must be a whole number from 1 to 50, or empty."),
        ({"batch_size": "x"}, "The batch size must be a whole number from 1 to 256"),
        ({"learning_rate_multiplier": "nan"}, "must be a number above 0, or empty"),
        ({"seed": "-1"}, "The seed must be a whole number from 0"),
        ({"priority": "99"}, "The priority must be a whole number from -10 to 10."),
        ({"model": "gpt-9"}, "The model &#39;gpt-9&#39; is not available on this service."),
    ],
)
def test_an_invalid_value_is_named_and_the_job_cannot_be_created(
    values: dict[str, str], line: str, browser_client: httpx.Client
) -> None:
    page = plan(browser_client, upload(browser_client, CITY_DATA), **values)
    assert line in page
    assert "data-create disabled" in page
    assert "job-body" not in page


def test_a_file_with_errors_cannot_be_trained_on(browser_client: httpx.Client) -> None:
    file = upload(browser_client, CITY_DATA + b"{}\n")
    page = plan(browser_client, file)
    assert "The training file is not ready: " in page
    assert f'href="/files/{file}"' in page
    assert "data-create disabled" in page


def test_a_failed_check_of_the_training_file_can_be_repeated(
    browser_client: httpx.Client, server: LocalServer
) -> None:
    content = encode_jsonl([city_example(f"r{number}", "x") for number in range(12)])
    name = hashlib.sha256(content).hexdigest()
    file = upload(browser_client, content)
    (blob,) = server.folder.glob(f"blobs/**/{name}")
    aside = blob.rename(blob.with_suffix(".aside"))
    page = plan(browser_client, file)
    assert "The training file was not checked: " in page
    assert "Try again" in page
    assert f'href="/files/{file}"' in page
    aside.rename(blob)
    assert "was not checked" in plan(browser_client, file)
    assert "was not checked" not in plan(browser_client, file, again="1", n_epochs="0")


@pytest.mark.training
def test_a_base_model_that_cannot_be_loaded_is_named(browser_client: httpx.Client) -> None:
    file = upload(browser_client, CITY_DATA)
    page = plan(browser_client, file, other="nobody/nothing")
    assert "the base model nobody/nothing cannot be loaded" in page
    assert "Try again" in page
    assert "data-create disabled" in page


def test_lists_have_limits_and_say_what_to_do(
    service: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choices, "MAX_CHOICES", 4)
    service.headers["authorization"] = f"Bearer {KEY}"
    tenant = Authenticator((KEY,), ()).tenant_of_key(KEY)
    models = [add_tuned_model(tmp_path, tenant)[0] for _ in range(2)]  # two of each job
    files = [upload(service, b"%d\n" % number) for number in range(4)]
    page = service.get("/new").text
    assert "The list" not in page
    assert 'name="other"' not in page
    assert 'name="other" value="ft:x"' in service.get("/new", params={"other": "ft:x"}).text
    models.append(add_tuned_model(tmp_path, tenant)[0])
    files.append(upload(service, b"4\n"))
    page = service.get("/new").text
    assert "The lists have the newest 4 files." in page
    assert "The list has the newest 4 fine-tuned models. Type the name of an older one." in page
    assert files[0] not in page
    assert models[0] not in page
    assert 'name="other"' in page
    page = service.get("/new", params={"file": files[0], "model": models[0]}).text
    for value in (files[0], models[0]):
        assert f'<option value="{value}" selected>' in page


def test_a_model_of_the_address_that_does_not_exist_is_no_choice(
    browser_client: httpx.Client,
) -> None:
    file = upload(browser_client, CITY_DATA)
    page = browser_client.get("/new", params={"file": file, "model": "ft:x"}).text
    assert 'value="ft:x"' not in page


def test_the_first_visit_asks_for_a_file(browser_client: httpx.Client) -> None:
    assert "Choose a training file" in browser_client.get("/new/preview").text
