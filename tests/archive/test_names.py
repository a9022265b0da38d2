"""Safe file names in an archive."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.archive import access, layout
from ftkit.archive.manifest import Manifest, encode_manifest
from ftkit.archive.read import open_archive
from ftkit.errors import FileError
from support.archives import add_job
from support.fake_provider import FakeProvider
from support.fixture_types import Run

NAMES = [
    "../../x",
    "a\0b",
    "x" * 300,
    "ftjob-Ab",
    "ftjob-aB",
    "con",
    "..",
    "/etc/passwd",
    "a b",
    "é",
    "C:\\x",
    "-rf",
    "<script>alert(1)</script>",
]


def test_hostile_names_stay_inside_and_apart(
    fake_provider: FakeProvider, ftkit: Run, tmp_path: Path
) -> None:
    file = fake_provider.add_file("../../../etc/x\0" + "y" * 300, b"data")
    for number, id in enumerate(NAMES):
        job = add_job(fake_provider, number, training_file=file["id"])
        fake_provider.events[id], fake_provider.checkpoints[id] = (
            fake_provider.events.pop(job["id"]),
            fake_provider.checkpoints.pop(job["id"]),
        )
        fake_provider.jobs[id] = {
            **fake_provider.jobs.pop(job["id"]),
            "id": id,
            "model": "<img src=x onerror=alert(1)>",
            "organization_id": "../o",
        }
    before = set(tmp_path.iterdir())
    done = ftkit("archive", "save", "a")
    assert done.returncode == 0, done.stderr
    assert set(tmp_path.iterdir()) - before == {tmp_path / "a"}
    archive = open_archive("a")
    assert {archived.id for archived in archive.jobs() if len(archived.events) == 4} == set(NAMES)
    assert {(one.what, one.reason) for one in archive.manifest.missing} == {
        ("permissions", "forbidden")
    }
    paths = [path.relative_to("a").as_posix() for path in Path("a").rglob("*")]
    assert len({path.lower() for path in paths}) == len(paths)
    assert all(re.fullmatch(r"\.lock|[A-Za-z0-9_./-]{1,130}", path) for path in paths)
    page = Path("a/index.html").read_text("utf-8")
    assert "<img" not in page
    assert "<script>alert" not in page


@given(st.lists(st.text(max_size=70), unique=True, max_size=30))
def test_names_are_safe_and_differ_not_only_in_case(ids: list[str]) -> None:
    names = [layout.name_of(id) for id in ids]
    assert len({name.lower() for name in names}) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,64}", name) for name in names)
    assert all(
        access.resolve_file(Path("/a"), f"{layout.job_folder(id)}/job.json").is_relative_to(
            "/a/jobs"
        )
        for id in ids
    )


def test_a_name_made_to_look_like_that_of_another_is_another() -> None:
    name = layout.name_of("ftjob-ABC")
    assert layout.name_of("ftjob-abc") == "ftjob-abc"
    assert layout.name_of(name.lower()).lower() != name.lower()


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/passwd", "a/../../x", "a//b", "C:/x", "a\\b", "", ".", "a/b/c/d", "jobs/..x/y"]
    + [
        "jobs/con/job.json",
        "files/NUL.jsonl",
        "jobs/x./y",
        "a\0b",
        ".lock",
        "jobs/\u017f",
        "x" * 200,
    ],
)
def test_a_manifest_that_leads_out_of_the_archive_is_not_followed(
    path: str, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    manifest = Manifest(account="x", contents={"file-1": path})
    (tmp_path / "a" / "manifest.json").write_bytes(encode_manifest(manifest))
    if path:
        with pytest.raises(FileError, match="do not trust"):
            open_archive(tmp_path / "a").file("file-1")
    with pytest.raises(FileError, match="do not trust"):
        access.resolve_file(tmp_path, path)
