"""The playground in a browser, with a model that was trained for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ftkit.server.auth import LOCAL_TENANT
from support import generation_process
from support.browser import HOSTILE_TEXTS, looks
from support.local_server import LocalServer
from support.models import SMOKE
from support.tuned_models import add_tuned_model

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

RUN_MODULE = [sys.executable, str(Path(generation_process.__file__))]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A service whose answers come from `generation_process`, which does what questions say."""
    folder = tmp_path_factory.mktemp("playground") / "data"
    constants = {"inference.RUN_MODULE": RUN_MODULE}
    with LocalServer(folder, {"mini": SMOKE}, constants=constants) as server:
        yield server


@pytest.fixture(scope="module")
def tuned(service: LocalServer) -> str:
    names = {"training": "cities.jsonl"}
    return add_tuned_model(service.folder, LOCAL_TENANT, model="mini", names=names)[0]


def address(service: LocalServer, path: str = "/playground") -> str:
    return service.url.removesuffix("/v1") + path


def ask(page: Page, text: str) -> None:
    page.fill("#question", text)
    page.keyboard.press("Enter")


def answers(page: Page) -> Locator:
    return page.locator("#turns > li:last-child .answer")


def wait_until_answered(page: Page, seconds: float = 20) -> None:
    page.wait_for_function(
        "() => document.querySelector('#stop').disabled"
        " && !document.querySelector('[aria-busy=true]')",
        timeout=seconds * 1000,
    )


def test_a_fine_tuned_model_is_asked_together_with_its_base_model(
    page: Page, service: LocalServer, tuned: str
) -> None:
    page.goto(address(service, f"/playground?model={tuned}"))
    ask(page, "say The capital of Peru is Lima.")
    wait_until_answered(page)
    ask(page, "say Yes.")
    wait_until_answered(page)
    base, own = answers(page).all()
    assert base.locator(".badge").text_content() == "Base model"
    assert own.locator(".badge").text_content() == "Fine-tuned"
    looks(page, "playground")
