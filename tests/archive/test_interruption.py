"""Archiving through faults, kills, lost keys and full disks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ftkit.archive.manifest import read_progress
from ftkit.archive.read import open_archive
from ftkit.archive.verify import verify
from ftkit.errors import ProviderError
from support.archives import (
    add_job,
    assert_hashes,
    manifest_without_date,
    save_archive,
    stored_content,
)
from support.disk import RUN_WITH_FILE_LIMIT, environment_without_coverage
from support.fake_provider import FakeProvider, error_body, random_faults
from support.fixture_types import Run
from support.paths import ROOT


@pytest.mark.parametrize("seed", range(6))
def test_faults_are_survived(
    seed: int, fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    fake_provider.is_admin = True
    fake_provider.pages = 3
    for number in range(7):
        add_job(fake_provider, number)
    save_archive(provider_url, tmp_path / "whole")
    fake_provider.faults, fake_provider.retry_after = random_faults(seed, 0.3), "0.01"
    saved = save_archive(provider_url, tmp_path / "a")
    assert saved.manifest.missing == []
    assert manifest_without_date(tmp_path / "a") == manifest_without_date(tmp_path / "whole")
    assert_hashes(tmp_path / "a")


def test_a_download_that_is_short_is_kept_and_tried_again(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    fake_provider.is_admin = True
    job = add_job(fake_provider)
    whole = stored_content(fake_provider, job["training_file"])
    fake_provider.faults = lambda method, path: (
        "short" if path == f"/v1/files/{job['training_file']}/content" else ""
    )
    saved = save_archive(provider_url, tmp_path / "a")
    assert [(one.what, one.reason) for one in saved.retryable] == [("file", "incomplete")]
    training = open_archive(tmp_path / "a").job(job["id"]).training
    assert training
    assert whole.startswith(training.read_bytes())
    fake_provider.faults = lambda method, path: ""
    assert save_archive(provider_url, tmp_path / "a").manifest.missing == []
    fetched = open_archive(tmp_path / "a").job(job["id"]).training
    assert fetched
    assert fetched.read_bytes() == whole


def test_no_event_of_5000_is_lost(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    job = add_job(fake_provider)
    for number in range(5000):
        fake_provider.add_event(job["id"], f"event {number}")
    save_archive(provider_url, tmp_path / "a")
    messages = [event.message for event in open_archive(tmp_path / "a").job(job["id"]).events]
    assert messages[-5000:] == [f"event {number}" for number in range(5000)]


def test_a_key_that_is_taken_away_on_the_way_ends_the_run(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    job = add_job(fake_provider)
    fake_provider.refuse[f"GET /fine_tuning/jobs/{job['id']}/events"] = (401, error_body("revoked"))
    with pytest.raises(ProviderError, match="rejected the API key"):
        save_archive(provider_url, tmp_path / "a")
    assert verify(tmp_path / "a").interrupted
    fake_provider.refuse.clear()
    save_archive(provider_url, tmp_path / "a")
    assert verify(tmp_path / "a").ok


def test_a_step_that_was_half_written_is_taken_back(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    add_job(fake_provider)
    save_archive(provider_url, tmp_path / "a")
    before = manifest_without_date(tmp_path / "a")
    (tmp_path / "a" / ".progress.jsonl").write_bytes(b'{"owner":"x "}\n{"owner":"job ft')
    assert len(read_progress(tmp_path / "a")) == 1
    assert (tmp_path / "a" / ".progress.jsonl").read_bytes().endswith(b"}\n")
    save_archive(provider_url, tmp_path / "a")
    assert manifest_without_date(tmp_path / "a") == before


@pytest.mark.parametrize("room", [0, 300, 700, 1200, 3000, 6000])
def test_a_full_disk_is_one_line_and_the_next_run_goes_on(
    room: int, fake_provider: FakeProvider, provider_url: str, ftkit: Run, tmp_path: Path
) -> None:
    for number in range(4):
        add_job(fake_provider, number)
    save_archive(provider_url, tmp_path / "whole")
    environment = {
        **environment_without_coverage(),
        "OPENAI_API_KEY": "sk-test",
        "FTKIT_BASE_URL": provider_url,
    }
    command = [sys.executable, "-c", RUN_WITH_FILE_LIMIT, str(room), "archive", "save", "a"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("ftkit: cannot write a")
    assert done.stderr.endswith("run the same command again to continue\n")
    assert done.stderr.count("\n") == 1
    assert ftkit("archive", "save", "a").returncode == 0
    assert manifest_without_date(tmp_path / "a") == manifest_without_date(tmp_path / "whole")
    assert_hashes(tmp_path / "a")


def test_a_small_disk_that_is_made_larger_is_gone_on_with(
    fake_provider: FakeProvider, provider_url: str, ftkit: Run, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(small)]
    if (
        os.name != "posix"
        or os.geteuid()
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("only root may mount a file system")
    try:
        for number in range(12):
            add_job(fake_provider, number)
        done = ftkit("archive", "save", str(small / "a"))
        assert done.returncode == 2
        assert "no space left on device" in done.stderr
        subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
        fake_provider.requests.clear()
        assert ftkit("archive", "save", str(small / "a")).returncode == 0
        assert_hashes(small / "a")
    finally:
        subprocess.run(["umount", str(small)], check=True)


SHORT = 80
"""Number of kills in a short run, as in CI."""


@pytest.mark.hostile
@pytest.mark.parametrize("block", range(4))
def test_a_run_that_is_killed_anywhere_is_gone_on_with_to_the_same_manifest(
    block: int,
    fake_provider: FakeProvider,
    provider_url: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    kills = (request.config.option.hostile or SHORT) // 4
    fake_provider.pages = 3
    for number in range(5):
        add_job(fake_provider, number)
    gone = add_job(fake_provider, 5)
    del fake_provider.files[gone["training_file"]], fake_provider.contents[gone["training_file"]]
    add_job(fake_provider, 6, id=fake_provider.created[-1])
    command = [
        sys.executable,
        str(ROOT / "tests" / "support" / "archive_killer.py"),
        provider_url,
        str(tmp_path),
        str(block * kills),
        str(block * kills + kills),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) >= kills * 9 // 10


def test_an_interrupted_run_waits_for_no_service_that_hangs(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    add_job(fake_provider)
    hangs = threading.Event()

    def hang(method: str, path: str) -> str:
        if path.endswith("/events"):
            hangs.set()
            time.sleep(20)
        return ""

    fake_provider.faults = hang
    environment = {**os.environ, "OPENAI_API_KEY": "sk-test", "FTKIT_BASE_URL": provider_url}
    command = [sys.executable, "-m", "ftkit", "archive", "save", str(tmp_path / "a")]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert hangs.wait(30)
        started = time.monotonic()
        run.send_signal(signal.SIGINT)
        assert run.wait(30) == 130
        assert time.monotonic() - started < 5
    fake_provider.faults = lambda method, path: ""
    save_archive(provider_url, tmp_path / "a")
    assert verify(tmp_path / "a").ok
