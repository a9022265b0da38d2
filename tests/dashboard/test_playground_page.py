"""The playground: the models that it offers, and the facts about them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from ftkit.dashboard import choices
from ftkit.dashboard.app import DASHBOARD
from ftkit.server.app import ServerSettings, create_app
from ftkit.server.auth import LOCAL_TENANT
from support.browser import HOSTILE_TEXTS, TagCollector
from support.models import SMOKE
from support.tuned_models import add_tuned_model

FACTS = re.compile(r'<p data-facts data-base="(.*?)" data-job="(.*?)" data-step="(\d+)"')


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[TestClient]:
    """A browser at a service where the name "mini" stands for the smoke model."""
    app = create_app(ServerSettings(tmp_path, {"mini": SMOKE}, pages=DASHBOARD))
    with TestClient(app, "http://127.0.0.1") as client:
        yield client


def chosen(page: str) -> list[str | None]:
    """The chosen names of both sides."""
    tags = TagCollector(page).tags
    return [fields["value"] for tag, fields in tags if tag == "option" and "selected" in fields]


def facts(page: str) -> list[Any]:
    """Base model, whether there is an adapter, and step of both sides."""
    return [(base, bool(job), int(step)) for base, job, step in FACTS.findall(page)]


def test_a_fine_tuned_model_is_compared_with_its_base_model_under_the_name_of_the_job(
    browser: TestClient, tmp_path: Path
) -> None:
    final, checkpoint = add_tuned_model(tmp_path, LOCAL_TENANT, model="mini")
    for model, step in ((final, 4), (checkpoint, 2)):
        page = browser.get("/playground", params={"model": model}).text
        assert chosen(page) == ["mini", model]
        assert facts(page) == [(SMOKE, False, 0), (SMOKE, True, step)]
    assert ">Checkpoint<" in page


def test_the_newest_fine_tuned_model_is_shown_first(browser: TestClient, tmp_path: Path) -> None:
    add_tuned_model(tmp_path, LOCAL_TENANT)
    newest, _ = add_tuned_model(tmp_path, LOCAL_TENANT)
    assert chosen(browser.get("/playground").text) == [SMOKE, newest]


def test_without_a_fine_tuned_model_a_base_model_answers_alone(browser: TestClient) -> None:
    page = browser.get("/playground").text
    assert chosen(page) == ["mini", ""]
    assert "There is no fine-tuned model yet." in page
    assert "One model answers alone." in page


def test_the_address_names_both_models(browser: TestClient) -> None:
    params = {"model": SMOKE, "against": "Qwen/Qwen3-0.6B"}
    page = browser.get("/playground", params=params).text
    assert chosen(page) == ["Qwen/Qwen3-0.6B", SMOKE]
    alone = browser.get("/playground", params={"model": SMOKE, "against": ""}).text
    assert chosen(alone) == [SMOKE, ""]


def test_a_deleted_model_gets_one_line(browser: TestClient) -> None:
    response = browser.get("/playground", params={"model": "ft:mini::gone"})
    assert response.status_code == 200
    assert response.text.count("The model &#39;ft:mini::gone&#39; does not exist") == 1
    assert facts(response.text) == []
    part = browser.get("/playground/model", params={"name": "ft:mini::gone"})
    assert "does not exist" in part.text
    assert "<html" not in part.text


def test_a_base_model_without_a_name_is_not_compared(browser: TestClient, tmp_path: Path) -> None:
    model, _ = add_tuned_model(tmp_path, LOCAL_TENANT, model="other", base="/models/mine")
    page = browser.get("/playground", params={"model": model}).text
    assert chosen(page) == [model, ""]
    assert "--map NAME=/models/mine" in page


def test_only_the_models_of_the_account_are_shown(tmp_path: Path) -> None:
    app = create_app(ServerSettings(tmp_path, keys=("one", "two"), pages=DASHBOARD))
    with TestClient(app, "http://127.0.0.1") as client:
        tenants = [app_tenant(client, key) for key in ("one", "two")]
        own, _ = add_tuned_model(tmp_path, tenants[0], names={"training": "secret.jsonl"})
        assert own in client.get("/playground", headers=bearer("one")).text
        for path in ("/playground", f"/playground?model={own}", f"/playground/model?name={own}"):
            page = client.get(path, headers=bearer("two")).text
            assert "secret.jsonl" not in page
            assert facts(page) in ([], [(SMOKE, False, 0)])


def app_tenant(client: TestClient, key: str) -> str:
    app: Any = client.app
    while not hasattr(app, "state"):
        app = app._app
    return str(app.state.authenticator.tenant(bearer(key)))


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_hostile_names_stay_text(text: str, browser: TestClient, tmp_path: Path) -> None:
    before = TagCollector(browser.get("/playground", params={"model": SMOKE}).text).tags
    model, _ = add_tuned_model(tmp_path, LOCAL_TENANT, names={"training": text})
    page = browser.get("/playground", params={"model": model, "against": text}).text
    added = {tag for tag, _ in TagCollector(page).tags} - {tag for tag, _ in before}
    assert added <= {"code"}
    assert not [fields for _, fields in TagCollector(page).tags if "onerror" in fields]


def test_the_list_has_a_limit(
    browser: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choices, "MAX_CHOICES", 2)
    older, _ = add_tuned_model(tmp_path, LOCAL_TENANT)
    add_tuned_model(tmp_path, LOCAL_TENANT)
    page = browser.get("/playground").text
    assert older not in page
    assert "the newest 2 fine-tuned models" in page
    assert chosen(browser.get("/playground", params={"model": older}).text) == [SMOKE, older]
