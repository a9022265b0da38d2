"""Resources whose ids hold half of a surrogate pair, which no request can name."""

from __future__ import annotations

import pytest

from support.archives import add_job
from support.fake_provider import FakeProvider
from support.fixture_types import Run

HALF = "\ud83d"


@pytest.mark.parametrize(
    "command",
    [
        *("jobs list", "jobs show JOB", "jobs events JOB", "jobs metrics JOB", "jobs doctor JOB"),
        *("jobs watch JOB", "jobs checkpoints JOB", "jobs export JOB", "files list"),
        *("models list", "models show JOB", "chat JOB hello"),
    ],
)
@pytest.mark.parametrize("output", ["text", "json"])
def test_commands_show_resources_that_no_request_can_name(
    command: str, output: str, fake_provider: FakeProvider, ftkit: Run
) -> None:
    job = add_job(fake_provider, fine_tuned_model=f"ft:{HALF}", model=HALF)
    job["training_file"] = job["result_files"][0] = f"file-{HALF}"
    fake_provider.jobs["odd"] = {**job, "id": f"ftjob-{HALF}"}
    arguments = command.replace("JOB", job["id"]).split()
    done = ftkit(*arguments, "--output", output)
    assert done.returncode in (0, 1, 2)
    assert "Traceback" not in done.stderr
    assert done.returncode != 2 or done.stderr.count("\n") == 1
