"""The page with the devices in a browser, while a job trains."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from support.browser import looks
from support.local_server import LocalServer
from support.nvml import build_nvml, needs_nvml
from support.training import city_example, encode_jsonl, method_with, start_job, wait_for_step

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.browser,
    needs_nvml,
    pytest.mark.skipif(find_spec("torch") is None, reason="needs PyTorch"),
]


def test_the_devices_are_shown_while_a_job_trains(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    for name, value in {**build_nvml(tmp_path), "FTKIT_TEST_NVML_PID": str(pid)}.items():
        monkeypatch.setenv(name, value)
    server = LocalServer(tmp_path / "data", {"mini": "ftkit/smoke"}, forked=False)
    with server, server.client() as client:
        examples = encode_jsonl([city_example(f"city {n}", f"ytic {n}") for n in range(50)])
        job = start_job(client, examples, model="mini", method=method_with(n_epochs=50))
        wait_for_step(client, job.id, 1)
        trainers = [
            child.pid
            for child in psutil.Process(server.pid).children()
            if "train" in child.cmdline()
        ]
        pid.write_text(str(trainers[0]))
        page.goto(server.url.removesuffix("/v1") + "/devices")
        page.get_by_text("database and logs of the service").wait_for()
        training = page.locator("tr", has_text="Training")
        training.get_by_text("GPU 0: 2.0 GiB").wait_for()
        training.get_by_text(re.compile(r"^\d\.\d$")).wait_for()
        page.locator("td", has_text="87%").wait_for()
        link = training.get_by_role("link", name=job.id)
        link.focus()
        seconds = training.get_by_text(re.compile(r"^\d+ s$|min$")).text_content()
        page.wait_for_function(
            "before => !document.querySelector('#state').textContent.includes(before)",
            arg=f"{seconds}" if seconds and seconds.endswith(" s") else "never",
        )
        assert link.evaluate("node => node === document.activeElement")
        looks(page, "devices")
        client.fine_tuning.jobs.cancel(job.id)
        training.wait_for(state="detached")
