"""instructor: response models, and its command line for files and jobs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import openai
import pytest
from pydantic import BaseModel, ConfigDict

from support.local_server import LocalServer, wait_for_job
from support.models import MINI
from support.training import CITY_DATA, question

# instructor uses what other packages deprecate.
pytestmark = [pytest.mark.clients, pytest.mark.filterwarnings("ignore")]


class Weather(BaseModel):
    """The weather in a city."""

    model_config = ConfigDict(extra="forbid")  # The untrained model would add properties.
    sky: Literal["clear", "grey"]
    warm: bool


@pytest.mark.parametrize("mode", ["TOOLS", "TOOLS_STRICT", "JSON_SCHEMA", "RESPONSES_TOOLS"])
def test_a_patched_client_returns_the_response_model(mode: str) -> None:
    import instructor

    client = instructor.from_openai(openai.OpenAI(), mode=instructor.Mode[mode])
    weather = client.chat.completions.create(
        model=MINI,
        messages=question("Lima"),  # type: ignore[arg-type]
        response_model=Weather,
        max_retries=1,
        temperature=0,
    )
    assert isinstance(weather, Weather)


def start_command(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-m", "instructor.cli.cli", *arguments]
    environment = {**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run_command(*arguments: str) -> str:
    with start_command(*arguments) as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


def test_its_command_line_uploads_lists_and_deletes_files(
    server: LocalServer, tmp_path: Path
) -> None:
    path = tmp_path / "cities.jsonl"
    path.write_bytes(CITY_DATA)
    (id,) = re.findall(r"File (\S+) uploaded", run_command("files", "upload", str(path)))
    assert id in run_command("files", "list")
    assert f"File {id} deleted successfully" in run_command("files", "delete", id)
    with server.client() as client, pytest.raises(openai.NotFoundError):
        client.files.retrieve(id)


def test_its_command_line_creates_a_job_from_a_file(server: LocalServer, tmp_path: Path) -> None:
    path = tmp_path / "cities.jsonl"
    path.write_bytes(CITY_DATA)
    options = ("--model", MINI, "--n-epochs", "1", "--batch-size", "12", "--poll", "1")
    with (
        start_command("jobs", "create-from-file", str(path), *options) as process,
        server.client() as client,
    ):
        assert process.stdout
        output = ""
        while not (ids := re.findall(r"job created with ID: (\S+)", output)):
            line = process.stdout.readline()
            assert line, output
            output += line
        job = wait_for_job(client, ids[0], "succeeded")
        time.sleep(5)  # The command polls once a second until it is interrupted.
        process.send_signal(signal.SIGINT)
        table, _ = process.communicate(timeout=120)
    assert job.hyperparameters.n_epochs == 1
    assert job.id in table
    assert job.fine_tuned_model in table
