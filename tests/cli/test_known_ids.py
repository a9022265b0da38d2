"""Commands that find the account of a job, file or model in the journal."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftkit.cli.connection import CONNECTION, _select_account
from ftkit.jobs.journal import Journal
from ftkit.jobs.resource_index import Resource, ResourceIndex
from support.commands import run_ftkit
from support.fake_provider import FakeProvider, serving
from support.fixture_types import Run

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
TUNED = "ft:llama:me::1"
KEY = {"NEBIUS_API_KEY": "sk-test"}


@pytest.fixture
def nebius(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[FakeProvider, str]]:
    """A provider other than the default one, at an address of its own, and the only key."""
    monkeypatch.setenv("FTKIT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("NEBIUS_API_KEY", "sk-test")
    state = FakeProvider()
    state._number = 10_000  # ids that are long enough to be shortened
    with serving(state) as url:
        yield state, url


def submit(url: str, file: str, *options: str) -> subprocess.CompletedProcess[str]:
    place = ("--provider", "nebius", "--base-url", url)
    done = run_ftkit("submit", file, "--model", LLAMA, "--yes", *place, *options)
    assert done.returncode == 0, done.stderr
    return done


def tune(state: FakeProvider) -> str:
    """Return the last job, which now has a model."""
    id = state.created[-1]
    state.jobs[id] |= {"status": "succeeded", "fine_tuned_model": TUNED}
    state.models[TUNED] = {"id": TUNED, "object": "model", "created": 1, "owned_by": "me"}
    return id


def test_the_commands_that_are_printed_work_as_printed(
    nebius: tuple[FakeProvider, str], clean_file: str
) -> None:
    state, url = nebius
    follow = submit(url, clean_file).stderr.splitlines()[-1]
    id = tune(state)
    assert follow == f"Follow it: ftkit jobs watch {id}"
    watched = run_ftkit(*shlex.split(follow)[3:])
    assert (watched.returncode, watched.stdout.splitlines()[-1]) == (0, f"model {TUNED}")
    chat = watched.stderr.splitlines()[-1]
    assert chat == f"Chat with it: ftkit chat {TUNED}"
    assert run_ftkit(*shlex.split(chat)[4:], input="one two\n").stdout == "two one \n"


CHANGES = (
    "jobs cancel JOB",
    "files delete FILE --yes",
    "models delete MODEL --yes",
)


@pytest.mark.parametrize(
    "command",
    [
        *CHANGES,
        "jobs show JOB",
        "jobs watch JOB",
        "jobs events JOB",
        "jobs checkpoints JOB",
        "jobs doctor JOB",
        "jobs list --after JOB",
        "migrate JOB --to local --dry-run",
        "files show FILE",
        "files download FILE",
        "models show MODEL",
        "chat MODEL hello",
        "compare MODEL MODEL --prompts PROMPTS --yes",
    ],
)
@pytest.mark.parametrize("form", ["id", "prefix", "last"])
def test_commands_find_the_account_by_id_prefix_and_last(
    command: str, form: str, nebius: tuple[FakeProvider, str], clean_file: str
) -> None:
    state, url = nebius
    submit(url, clean_file)
    ids = {"JOB": tune(state), "FILE": next(iter(state.files)), "MODEL": TUNED}
    assert run_ftkit("jobs", "show", ids["JOB"]).returncode == 0  # its model is known from here on
    names = ids if form == "id" else {name: id[:-1] for name, id in ids.items()}
    names = dict.fromkeys(ids, "@last") if form == "last" else names
    state.requests.clear()
    words = [{**names, "PROMPTS": clean_file}.get(word, word) for word in command.split()]
    done = run_ftkit(*words)
    if form == "prefix" and command in CHANGES:
        assert (done.returncode, state.requests) == (2, [])
        return
    assert done.returncode in (0, 1), done.stderr
    assert state.requests


def test_ids_that_were_listed_are_known(nebius: tuple[FakeProvider, str]) -> None:
    state, url = nebius
    job = state.add_job({"model": "m", "training_file": "f"})["id"]
    file = state.add_file("data.jsonl", b"{}")["id"]
    tune(state)
    for kind in ("jobs", "files", "models"):
        listed = run_ftkit(kind, "list", "--provider", "nebius", "--base-url", url)
        assert listed.returncode == 0
    for words in (("jobs", "show", job), ("files", "show", file), ("models", "show", TUNED)):
        assert run_ftkit(*words).returncode == 0


def test_a_prefix_of_several_ids_is_refused(
    nebius: tuple[FakeProvider, str], clean_file: str
) -> None:
    state, url = nebius
    submit(url, clean_file)
    submit(url, clean_file, "--again")
    state.requests.clear()
    done = run_ftkit("jobs", "show", "ftjob-1000")
    ids = ", ".join(state.created[::-1])
    assert done.stderr == (
        f"ftkit: 'ftjob-1000' is the beginning of several jobs: {ids}; type more of it\n"
    )
    assert (done.returncode, state.requests) == (2, [])


@pytest.mark.parametrize(
    "command", ["jobs cancel job-1", "jobs cancel job-1234", "jobs cancel j", "jobs show job-1"]
)
@pytest.mark.parametrize("is_chosen", [True, False])
def test_an_id_that_the_journal_lacks_is_not_taken_for_another(
    command: str, is_chosen: bool, fake_provider: FakeProvider, provider_url: str, ftkit: Run
) -> None:
    job = fake_provider.add_job({"id": "job-12345", "model": "m", "training_file": "f"})
    assert ftkit("jobs", "list").returncode == 0
    fake_provider.requests.clear()
    place = ("--base-url", provider_url) if is_chosen else ()
    done = ftkit(*command.split(), *place)
    assert (done.returncode, job["status"]) == (2, "validating_files")
    assert f"job {command.split()[2]}: not found" in done.stderr


def test_a_prefix_is_expanded_in_the_account_of_the_command_line(
    fake_provider: FakeProvider, provider_url: str, ftkit: Run
) -> None:
    place = ("--base-url", provider_url)
    outcomes = []
    for id in ("job-12345", "job-12346"):
        fake_provider.add_job({"id": id, "model": "m", "training_file": "f"})
        assert ftkit("jobs", "list").returncode == 0
        outcomes.append(ftkit("jobs", "show", "job-1234", *place).stderr)
    assert outcomes[0] == "job-1234 is job-12345\n"
    assert "cannot find the job job-1234: not found" in outcomes[1]


def test_another_server_that_lists_an_id_does_not_take_it_over(
    nebius: tuple[FakeProvider, str], fake_provider: FakeProvider, ftkit: Run, clean_file: str
) -> None:
    state, url = nebius
    submit(url, clean_file)
    fake_provider.jobs |= state.jobs
    assert ftkit("jobs", "list").returncode == 0
    fake_provider.requests.clear()
    assert run_ftkit("jobs", "cancel", state.created[0]).returncode == 0
    assert not fake_provider.requests


def test_an_id_that_several_accounts_list_is_refused(
    nebius: tuple[FakeProvider, str], fake_provider: FakeProvider, provider_url: str, ftkit: Run
) -> None:
    state, url = nebius
    id = state.add_job({"model": "m", "training_file": "f"})["id"]
    fake_provider.jobs |= state.jobs
    assert ftkit("jobs", "list").returncode == 0
    place = ("--provider", "nebius", "--base-url", url)
    assert run_ftkit("jobs", "list", *place).returncode == 0
    refused = ftkit("jobs", "show", id)
    assert refused.stderr == (
        f"ftkit: several accounts have {id}; choose one with {' '.join(place)} or "
        f"--provider openai --base-url {provider_url}\n"
    )
    assert refused.returncode == 2
    assert ftkit("jobs", "show", id, *place).returncode == 0


def test_a_local_service_with_another_port_has_the_same_jobs(tmp_path: Path) -> None:
    index = ResourceIndex(Journal(tmp_path))
    for port in (1, 2):
        index.record("job", ["ftjob-1"], f"local http://127.0.0.1:{port}/v1")
    resources = index.find("job", "ftjob-1")
    newest = Resource("ftjob-1", "local http://127.0.0.1:2/v1", is_created=False)
    assert _select_account(resources, None, CONNECTION) == newest


def test_a_base_model_is_chosen_even_if_a_tuned_one_starts_with_its_name(
    fake_provider: FakeProvider, ftkit: Run
) -> None:
    for id in (LLAMA, f"{LLAMA}.ft-1"):
        fake_provider.models[id] = {"id": id, "object": "model", "created": 1, "owned_by": "me"}
    assert ftkit("models", "list").returncode == 0
    chosen = {
        name: json.loads(ftkit("chat", name, "hello", "--output", "json").stdout)["model"]
        for name in (LLAMA, f"{LLAMA}.ft-")
    }
    assert chosen == {LLAMA: LLAMA, f"{LLAMA}.ft-": f"{LLAMA}.ft-1"}


def test_the_provider_of_the_command_line_takes_precedence(
    nebius: tuple[FakeProvider, str], fake_provider: FakeProvider, ftkit: Run, clean_file: str
) -> None:
    state, url = nebius
    submit(url, clean_file)
    state.requests.clear()
    fake_provider.jobs |= state.jobs
    assert ftkit("jobs", "show", state.created[0], "--provider", "openai").returncode == 0
    assert not state.requests


def test_another_key_is_not_sent_to_an_address_from_the_journal(
    nebius: tuple[FakeProvider, str], clean_file: str
) -> None:
    state, url = nebius
    submit(url, clean_file)
    state.requests.clear()
    command = ("jobs", "show", state.created[0])
    done = run_ftkit(*command, env={"NEBIUS_API_KEY": "sk-another"})
    assert (done.returncode, state.requests) == (2, [])
    assert "sk-" not in done.stderr
    advice = done.stderr.rpartition(" add ")[2]
    assert run_ftkit(*command, *advice.split(), env=KEY).returncode == 0


def test_the_journal_holds_no_key_that_was_sent_to_an_address(
    nebius: tuple[FakeProvider, str], clean_file: str, tmp_path: Path
) -> None:
    submit(nebius[1], clean_file)
    stored = b"".join(path.read_bytes() for path in (tmp_path / "state").iterdir())
    assert b"nebius http" in stored
    assert b"sk-test" not in stored


def test_reading_commands_need_no_journal(nebius: tuple[FakeProvider, str], tmp_path: Path) -> None:
    state, url = nebius
    id = state.add_job({"model": "m", "training_file": "f"})["id"]
    (tmp_path / "state").write_text("not a folder")
    done = run_ftkit("jobs", "show", id, "--provider", "nebius", "--base-url", url)
    assert (done.returncode, done.stderr) == (0, "")
