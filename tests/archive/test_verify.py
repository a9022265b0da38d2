"""Verification of an archive against its manifest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ftkit.archive import layout
from ftkit.archive.manifest import Entry, encode_manifest, read_manifest
from ftkit.archive.read import open_archive
from ftkit.archive.verify import verify
from ftkit.errors import FileError
from support.archives import add_job, save_archive
from support.fake_provider import FakeProvider

RUN_AND_REPORT_MEMORY = """
import re, sys
from ftkit.cli import run
code = run(sys.argv[1:])
# Not ru_maxrss, which begins with the memory of the process that started this one.
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) >> 10, file=sys.stderr)
sys.exit(code)
"""
"""Run ftkit, and print the peak memory in MiB to standard error."""


def test_a_manifest_that_names_what_it_does_not_list_is_changed(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    job = add_job(fake_provider)
    save_archive(provider_url, tmp_path / "a")
    manifest = read_manifest(tmp_path / "a")
    manifest.contents[job["training_file"]] = "../outside.jsonl"
    (tmp_path / "a" / "manifest.json").write_bytes(encode_manifest(manifest))
    assert verify(tmp_path / "a").changed == ("manifest.json",)


def test_a_folder_in_the_place_of_a_file_is_a_change(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    job = add_job(fake_provider)
    save_archive(provider_url, tmp_path / "a")
    path = tmp_path / "a" / layout.job_folder(job["id"]) / "events.jsonl"
    path.unlink()
    path.mkdir()
    assert [Path(name).name for name in verify(tmp_path / "a").changed] == ["events.jsonl"]


def read_job(folder: Path, id: str) -> list[object]:
    archived = open_archive(folder).job(id)
    return [archived.job, *archived.events]


@pytest.mark.slow
def test_a_manifest_of_a_million_files_takes_less_than_500_mib(tmp_path: Path) -> None:
    entry = b'{"sha256":"' + b"0" * 64 + b'","size":0}'
    entries = b",".join(b'"f%d":%s' % (number, entry) for number in range(1_000_000))
    (tmp_path / layout.MANIFEST).write_bytes(
        b'{"account":"x","finished":true,"files":{' + entries + b"}}"
    )
    command = [sys.executable, "-c", RUN_AND_REPORT_MEMORY, "archive", "verify", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "gone: 999,990 more" in done.stdout
    assert done.returncode == 1
    *_, memory = done.stderr.splitlines()  # after lines of progress
    assert int(memory) < 500


@pytest.mark.parametrize(
    ("size", "name"), [(1 << 40, layout.MANIFEST), (1 << 40, "job.json"), (1 << 40, "events.jsonl")]
)
def test_a_file_that_is_too_large_to_be_read_as_a_whole_is_refused(
    size: int, name: str, fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    """A sparse file of a tebibyte, with its size in the manifest."""
    job = add_job(fake_provider)
    save_archive(provider_url, tmp_path / "a")
    manifest = read_manifest(tmp_path / "a")
    (path,) = (tmp_path / "a").rglob(name)
    if name != layout.MANIFEST:
        key = path.relative_to(tmp_path / "a").as_posix()
        manifest.files[key] = Entry("0" * 64, size)
        (tmp_path / "a" / layout.MANIFEST).write_bytes(encode_manifest(manifest))
    os.truncate(path, size)
    with pytest.raises(FileError, match="1,099,511,627,776 bytes, and at most"):
        read_job(tmp_path / "a", job["id"])


@pytest.mark.parametrize(
    "entry",
    [
        {"sha256": "0" * 64, "size": -1},
        {"sha256": "0" * 64, "size": 10**30},
        {"sha256": "0" * 64, "size": "1"},
        {"sha256": "0" * 63, "size": 1},
        {"sha256": None, "size": 1},
        ["0" * 64, 1],
    ],
)
def test_a_manifest_with_an_entry_that_no_file_has_is_damaged(
    entry: object, tmp_path: Path
) -> None:
    manifest = {"account": "x", "files": {"index.html": entry}}
    (tmp_path / layout.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(FileError, match=r"manifest.json is damaged \("):
        verify(tmp_path)
