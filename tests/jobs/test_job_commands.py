"""The commands that list, show and steer jobs."""

from __future__ import annotations

import json
from pathlib import Path

from ftkit.client.resources import Job
from support.fake_provider import FakeProvider
from support.fixture_types import Run
from support.jobs import add_jobs
from support.models import GPT_35, MINI


def test_a_model_of_the_settings_is_for_training_and_chooses_no_jobs(
    fake_provider: FakeProvider, ftkit: Run, tmp_path: Path
) -> None:
    add_jobs(fake_provider, 2)
    (tmp_path / "pyproject.toml").write_text('[tool.ftkit]\nmodel = "gpt-4.1-2025-04-14"\n')
    result = ftkit(
        "jobs", "list", "--output", "json", env={"FTKIT_MODEL": "gpt-4.1-mini-2025-04-14"}
    ).stdout
    assert len(json.loads(result)) == 2


def test_jobs_are_listed_through_all_pages(fake_provider: FakeProvider, ftkit: Run) -> None:
    fake_provider.pages = 7
    add_jobs(fake_provider, 60)
    assert len(ftkit("jobs", "list").stdout.splitlines()) == 21
    output = json.loads(ftkit("jobs", "list", "--all", "--output", "json").stdout)
    assert [job["id"] for job in output] == fake_provider.created[::-1]
    output = json.loads(
        ftkit(
            "jobs", "list", "--all", "--status", "failed", "--model", GPT_35, "--output", "json"
        ).stdout
    )
    assert len(output) == 10
    after = json.loads(
        ftkit(
            "jobs", "list", "--after", fake_provider.created[2], "--all", "--output", "json"
        ).stdout
    )
    assert [job["id"] for job in after] == fake_provider.created[:2][::-1]
    assert ftkit("jobs", "list", "--status", "paused", "--output", "json").stdout == "[]\n"


def test_a_page_that_is_not_wanted_is_not_fetched(fake_provider: FakeProvider, ftkit: Run) -> None:
    add_jobs(fake_provider, 250)
    ftkit("jobs", "list", "--limit", "5")
    assert len(fake_provider.requests) == 1


def test_a_job_is_shown_steered_and_its_events_are_in_order(
    fake_provider: FakeProvider, ftkit: Run
) -> None:
    add_jobs(fake_provider, 1)
    (id,) = fake_provider.created
    fake_provider.add_event(id, "second")
    assert (
        json.loads(ftkit("jobs", "show", id, "--output", "json").stdout) == fake_provider.jobs[id]
    )
    assert f"  job       {id}\n" in ftkit("jobs", "show", id).stdout
    for action, status in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        assert ftkit("jobs", action, id).stdout == f"job {id} is {status}\n"
    shown = ftkit("jobs", "events", id).stdout.splitlines()
    assert [line.rpartition("  ")[2] for line in shown] == [
        f"Created fine-tuning job: {id}",
        "second",
    ]


def test_what_a_provider_lacks_is_said_and_not_tried(
    fake_provider: FakeProvider, ftkit: Run
) -> None:
    done = ftkit(
        "jobs",
        "pause",
        "ftjob-1",
        "--provider",
        "nebius",
        env={"NEBIUS_API_KEY": "sk-test", "FTKIT_PROVIDER": "nebius"},
    )
    assert done.returncode == 2
    assert "Nebius Token Factory has no pause" in done.stderr
    assert not fake_provider.requests


def test_what_the_service_leaves_out_is_empty() -> None:
    job = Job.read({"id": "a", "error": {"code": None, "message": None}, "result_files": None})
    assert (job.error, job.result_files, job.status, job.is_over) == ("", (), "unknown", False)


def test_the_model_that_was_made_last_answers_to_last(
    fake_provider: FakeProvider, ftkit: Run, clean_file: str
) -> None:
    assert (
        ftkit("chat", "@last", "one two").stderr
        == "ftkit: @last: no job has been submitted from this machine\n"
    )
    assert (
        "@last: no job has been submitted to provider openai from this machine"
        in ftkit("chat", "@last", "one two", "--provider", "openai").stderr
    )
    assert ftkit("submit", clean_file, "--model", MINI, "--yes").returncode == 0
    assert "has no model" in ftkit("chat", "@last", "one two").stderr
    fake_provider.jobs[fake_provider.created[0]]["fine_tuned_model"] = "ft:mini:me::1"
    assert ftkit("chat", "@last", "one two").stdout == "two one \n"


def test_the_finish_of_a_job_is_expected_until_it_has_ended(
    fake_provider: FakeProvider, ftkit: Run
) -> None:
    job = fake_provider.add_job({"model": "m", "training_file": "f"})
    job |= {"status": "running", "estimated_finish": 1_760_000_000}
    assert "  expected  2025-10-09 08:53:20\n" in ftkit("jobs", "show", job["id"]).stdout
    job |= {"status": "succeeded", "finished_at": 1_760_000_001}
    shown = ftkit("jobs", "show", job["id"]).stdout
    assert "expected" not in shown
    assert "  finished  2025-10-09 08:53:21\n" in shown


def test_a_job_shows_what_was_chosen_for_it(fake_provider: FakeProvider, ftkit: Run) -> None:
    job = fake_provider.add_job({"model": "m", "training_file": "f"})
    chosen = {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.5}
    job |= {
        "method": {"type": "dpo", "dpo": {"hyperparameters": {**chosen, "beta": 0.1}}},
        "metadata": {"team": "x", "run": "2"},
    }
    fake_provider.jobs[job["id"]] = job | {
        "seed": 0,
        "user_provided_suffix": "mine",
        "finished_at": 1_760_000_000,
    }
    rows = dict(
        line.strip().split("  ", 1) for line in ftkit("jobs", "show", job["id"]).stdout.splitlines()
    )
    values = {name: value.strip() for name, value in rows.items()}
    assert (
        values.items()
        >= {
            "method": "dpo",
            "epochs": "3",
            "batch size": "4",
            "lr multiplier": "1.5",
            "beta": "0.1",
            "suffix": "mine",
            "seed": "0",
            "finished": "2025-10-09 08:53:20",
            "metadata": "team=x, run=2",
        }.items()
    )


def test_last_at_the_local_service_does_not_start_it(ftkit: Run) -> None:
    done = ftkit("chat", "@last", "Hi", "--provider", "local")
    assert done.returncode == 2
    message = "ftkit: @last: no job has been submitted to provider local from this machine"
    assert done.stderr.splitlines()[-1] == message
    assert "starting" not in done.stderr.lower()


NO_ACCOUNT = {"FTKIT_PROVIDER": "nebius", "FTKIT_BASE_URL": ""}


def test_an_id_that_the_journal_does_not_know_is_named_if_there_is_no_key(ftkit: Run) -> None:
    done = ftkit("jobs", "show", "nonsense", env=NO_ACCOUNT)
    assert done.returncode == 2
    message = "the journal has no job 'nonsense'; looked for it at nebius: no key for"
    assert message in done.stderr
