"""The results of a job, stored when it succeeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.server.database import Database
from ftkit.server.database_reports import DatabaseReports
from ftkit.server.folder import Folder
from ftkit.server.lifecycle import transition
from ftkit.server.objects import FileObject, JobObject
from support.server_requests import create_job

pytestmark = pytest.mark.training


@pytest.mark.parametrize("status", ["running", "cancelled"])
def test_a_job_that_is_cancelled_as_it_ends_leaves_no_result_file(
    status: str, tmp_path: Path
) -> None:
    folder = Folder(tmp_path)
    store = Database(folder.database)
    job = store.get(JobObject, create_job(store))
    assert job
    folder.adapter(job.id, 4).mkdir(parents=True)
    transition(store, job.id, ("validating_files",), status, "")  # type: ignore[arg-type]
    DatabaseReports(store, folder, job.id).succeed(steps=4, tokens=100)
    results = [file for file in store.all(FileObject) if file.purpose == "fine-tune-results"]
    blobs = [path for path in folder.blobs.rglob("*") if path.is_file()]
    assert len(results) == len(blobs) == (status == "running")
