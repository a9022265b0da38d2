"""Hostile archives, given to every command that reads one."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from random import Random

import pytest

from ftkit.archive.layout import FILES, MODELS
from ftkit.archive.manifest import encode_manifest, read_manifest
from ftkit.archive.read import ArchivedJob, open_archive
from ftkit.cli import run
from ftkit.errors import FileError
from support.fake_provider import FakeProvider
from support.hostile import Cases
from support.hostile_archives import HostileArchive
from support.paths import ROOT

JOB = "ftjob-9s9ncm0hcfxRGydwKjAtMadx"
"""The job of the sample archive."""


@pytest.fixture
def template(
    tmp_path: Path,
    fake_provider: FakeProvider,
    provider_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The sample archive, as that of an account at the fake provider, which has lost everything."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("FTKIT_BASE_URL", provider_url)
    monkeypatch.setenv("FTKIT_STATE_DIR", str(tmp_path / "state"))
    folder = tmp_path / "template"
    shutil.copytree(ROOT / "samples" / "archive", folder)
    manifest = read_manifest(folder)
    manifest.account = f"openai {provider_url}"
    (folder / "manifest.json").write_bytes(encode_manifest(manifest))
    return folder


def run_command(*arguments: str) -> tuple[int, str, str]:
    """Run a command in this process, with streams as a terminal has them."""
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace")
    with redirect_stdout(out), redirect_stderr(err):
        code = run(list(arguments))
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    return code, texts[0], texts[1]


def check_command(codes: tuple[int, ...], *arguments: str) -> tuple[int, str]:
    """Run a command, and check that it ends as documented and with a clear message."""
    code, out, err = run_command(*arguments)
    assert code in codes, err
    assert "Traceback" not in out + err
    assert "[Errno" not in err
    if code == 2:
        assert err.startswith("ftkit: ")
        assert err.count("\n") == 1
        assert len(err) < 2000
    return code, out


def read_everything(folder: Path, lenient: bool) -> None:
    archive = open_archive(folder, lenient)
    properties = [name for name, value in vars(ArchivedJob).items() if hasattr(value, "__get__")]
    for job in (*archive.jobs(), archive.job(JOB)):
        for name in properties:
            if not name.startswith("_") and name != "metrics":
                getattr(job, name)
        job.metrics()
    for path, resources in ((FILES, archive.files), (MODELS, archive.models)):
        stored = [repr(raw) for raw in archive.json(path, [])]
        assert bool(resources) == bool(stored)
        assert all(repr(resource.raw) in stored for resource in resources.values())


def outside_content(outside: Path) -> Iterator[tuple[Path, bytes]]:
    for path in sorted(outside.rglob("*")):
        if path.is_file():
            yield path, path.read_bytes()


def use(chance: Random, archive: HostileArchive) -> str:
    """Give the archive to one of the commands, and return the command and its exit code."""
    place = f"{archive.folder}/{JOB}"
    output = chance.choice(("text", "json"))
    kind = chance.choice(
        ("migrate", "migrate", "migrate --archive", "compare", "read", "read", "archive")
    )
    if kind == "read":
        with suppress(FileError):
            read_everything(archive.folder, chance.random() < 0.5)
            return "read"
        return "read: refused"
    to = ("--to", chance.choice(("openai", "nebius", "local")), "--dry-run", "--output", output)
    arguments = {
        "migrate": ((0, 1, 2), ("migrate", place, *to)),
        "migrate --archive": ((0, 1, 2), ("migrate", "--archive", str(archive.folder), *to)),
        "compare": ((0, 2), ("compare", place, place, "--prompts", place, "--output", output)),
        "archive": ((0, 1, 2), ("archive", "save", str(archive.folder), "--output", output)),
    }
    codes, command = arguments[kind]
    code, _ = check_command(codes, *command)
    return f"{kind}: {code}"


def test_hostile_archives(hostile: Cases, template: Path, tmp_path: Path) -> None:
    """Commands on a damaged or forged archive end as documented, and damage is never intact."""
    for number, chance in hostile:
        folder, outside = tmp_path / "a", tmp_path / "outside"
        outside.mkdir()
        (outside / "secret").write_bytes(b"mine")
        archive = HostileArchive(chance, template, folder, outside)
        before = list(outside_content(outside))
        with hostile.case(number, archive.description):
            code, out = check_command(
                (0, 1, 2), "archive", "verify", str(folder), "--output", "json"
            )
            assert code != 0 or not archive.is_damaged
            if archive.extra and code != 2:
                assert archive.extra.encode("utf-8", "backslashreplace").decode() in [
                    path.encode("utf-8", "backslashreplace").decode()
                    for path in json.loads(out)["unknown"]
                ]
            hostile.count_outcome(f"verify: {code}")
            hostile.count_outcome(use(chance, archive))
            assert list(outside_content(outside)) == before
        shutil.rmtree(folder)
        shutil.rmtree(outside)
