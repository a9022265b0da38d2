"""Verification of an archive against its manifest."""

from __future__ import annotations

from pathlib import Path

from ftkit.archive import layout
from ftkit.archive.manifest import encode_manifest, read_manifest
from ftkit.archive.verify import verify
from support.archives import add_job, save_archive
from support.fake_provider import FakeProvider


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
