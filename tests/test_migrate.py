"""A job moves to another service: what is carried, what is translated, what is left behind, and that it moves once."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, Write, lines
from hypothesis import given
from hypothesis import strategies as st
from service import Service as Fake
from service import error

from ftkit.client.resources import Job
from ftkit.jobs.spec import METADATA_KEY, check
from ftkit.migration.prepare import BOM, prepare
from ftkit.migration.translate import MOVED_FROM, Old, Translation, translate

MINI = "gpt-4o-mini-2024-07-18"
DAY = datetime.date(2026, 11, 21)


def old(
    provider: str = "openai",
    method: str = "supervised",
    hyperparameters: dict[str, Any] | None = None,
    **raw: Any,
) -> Old:
    given = {
        "id": "ftjob-1",
        "model": MINI,
        "fine_tuned_model": f"ft:{MINI}:org:mine:abc",
        "seed": 7,
        "status": "succeeded",
        **raw,
    }
    chosen = (
        {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.8}
        if hyperparameters is None
        else hyperparameters
    )
    return Old(provider, Job.read(given), method, chosen, "data.jsonl", None)


def changes(made: Translation) -> dict[str, tuple[str, str]]:
    return {change.what: (change.before, change.after) for change in made.changes}


def test_between_services_of_one_dialect_all_goes_as_it_is() -> None:
    made = translate(old(metadata={"team": "a", METADATA_KEY: "x"}), "azure", today=DAY)
    assert (made.changes, made.obstacles) == ((), ())
    order = made.order
    assert (
        order.model,
        order.epochs,
        order.batch_size,
        order.lr_multiplier,
        order.seed,
        order.suffix,
    ) == (
        MINI,
        3,
        4,
        1.8,
        7,
        "mine",
    )
    assert order.metadata == {"team": "a", MOVED_FROM: "openai/ftjob-1"}


@pytest.mark.parametrize(
    ("job", "to", "model", "what", "after"),
    [
        (old(), "local", "Qwen/Qwen3-0.6B", "learning rate", ""),
        (old(), "local", "Qwen/Qwen3-0.6B", "model", "Qwen/Qwen3-0.6B"),
        (old(), "nebius", "Qwen/Qwen3-0.6B", "learning rate", ""),
        (
            old("nebius", hyperparameters={"learning_rate_multiplier": 2e-5}),
            "local",
            "m/m",
            "learning rate",
            "",
        ),
        (old(hyperparameters={"n_epochs": "auto"}), "azure", None, "epochs", ""),
        (old(hyperparameters={"n_epochs": 90, "batch_size": 1}), "local", "m/m", "epochs", "50"),
        (old(hyperparameters={"n_epochs": 1.5}), "azure", None, "epochs", "2"),
        (old(fine_tuned_model=""), "llmariner", "m/m", "suffix", "ftjob-1"),
        (
            old(user_provided_suffix="my.model with a long name"),
            "azure",
            None,
            "suffix",
            "my-model-with-a-lo",
        ),
        (old(metadata={"team": "a"}), "llmariner", "m/m", "metadata", ""),
        (old(integrations=[{"type": "wandb"}]), "azure", None, "integrations", ""),
        (old(model=f"ft:{MINI}:org::x"), "azure", None, "model", MINI),
    ],
)
def test_what_means_something_else_there_is_changed_and_told(
    job: Old, to: str, model: str | None, what: str, after: str
) -> None:
    made = translate(job, to, model)
    assert changes(made)[what][1] == after
    assert all(change.why for change in made.changes)


@pytest.mark.parametrize(
    ("day", "told"), [(datetime.date(2027, 1, 6), False), (datetime.date(2027, 1, 7), True)]
)
def test_a_base_that_is_trained_no_more_is_told(day: datetime.date, told: bool) -> None:
    whys = [change.why for change in translate(old(), "openai", today=day).changes]
    assert any("trains it no more since 2027-01-06" in why for why in whys) == told


@pytest.mark.parametrize(
    ("job", "to", "said"),
    [
        (
            old(model="gpt-3.5-turbo"),
            "azure",
            "does not train gpt-3.5-turbo; name gpt-4.1-2025-04-14 or",
        ),
        (old(method="reinforcement"), "local", "does not train with the method 'reinforcement'"),
        (old(hyperparameters={}), "llmariner", "does not choose the epochs itself"),
        (
            old("nebius", hyperparameters={"n_epochs": 1, "learning_rate_multiplier": 0.5}),
            "nebius",
            "takes the learning rate itself",
        ),
    ],
)
def test_what_cannot_go_says_why(job: Old, to: str, said: str) -> None:
    assert any(said in obstacle for obstacle in translate(job, to, today=DAY).obstacles)


@given(
    st.sampled_from(["openai", "azure", "nebius", "crusoe", "local"]),
    st.sampled_from(["azure", "nebius", "crusoe", "local", "llmariner"]),
    st.dictionaries(
        st.sampled_from(["n_epochs", "batch_size", "learning_rate_multiplier", "beta"]),
        st.none() | st.integers(-5, 999) | st.floats(0.0001, 9) | st.just("auto"),
    ),
    st.text(max_size=80),
    st.dictionaries(st.text(min_size=1, max_size=64), st.text(max_size=512), max_size=16),
)
def test_an_order_without_obstacles_is_one_that_the_target_takes(
    source: str, to: str, hyperparameters: dict[str, Any], suffix: str, metadata: dict[str, str]
) -> None:
    from ftkit.catalog import load_catalog

    job = old(
        source, hyperparameters=hyperparameters, user_provided_suffix=suffix, metadata=metadata
    )
    made = translate(job, to, None if to == "azure" else "m/m")
    target = load_catalog().providers[to]
    assert target.api
    if not made.obstacles:
        check(made.order, target.api, target.title)


@given(
    st.lists(st.sampled_from([b'{"a": 1}', b"", b"  ", b'{"b": "\xc3\xa4"}']), max_size=6),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["openai", "azure"]),
)
def test_preparing_a_file_keeps_every_line_that_says_something(
    rows: list[bytes], mark: bool, returns: bool, to: str
) -> None:
    import tempfile

    data = (BOM if mark else b"") + (b"\r\n" if returns else b"\n").join(rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.jsonl"
        path.write_bytes(data)
        made, told = prepare(str(path), to, Path(folder) / "made")
        written = Path(made).read_bytes()
        assert [
            line.strip() for line in written.removeprefix(BOM).splitlines() if line.strip()
        ] == [row for row in rows if row.strip()]
        assert (made == str(path)) == (not told)
        if told:
            assert written.startswith(BOM) == (to == "azure" and any(row.strip() for row in rows))
            assert prepare(made, to, Path(folder) / "made") == (made, ())
        assert path.read_bytes() == data
        assert not list((Path(folder) / "made").glob("*.part"))


@pytest.fixture
def done(fake: Fake, write: Write) -> str:
    """A job at the service that has succeeded; returns its id."""
    file = fake.add_file("data.jsonl", b"\xef\xbb\xbf" + b"\r\n".join(lines(20)))
    job = fake.add_job({"model": MINI, "training_file": file["id"]})
    job |= {
        "status": "succeeded",
        "fine_tuned_model": f"ft:{MINI}:me:mine:1",
        "hyperparameters": {"n_epochs": 2, "batch_size": 1, "learning_rate_multiplier": 1.8},
    }
    return str(job["id"])


def test_a_job_moves_once_and_the_link_is_kept(fake: Fake, ftkit: Run, url: str, done: str) -> None:
    first = ftkit("migrate", done, "--to", "openai", "--to-base-url", url, "--yes")
    assert first.returncode == 0, first.stderr
    assert "CRLF -> LF" in first.stdout
    new = fake.jobs[fake.created[-1]]
    assert new["metadata"][MOVED_FROM] == f"openai/{done}"
    assert new["method"]["supervised"]["hyperparameters"] == {
        "n_epochs": 2,
        "batch_size": 1,
        "learning_rate_multiplier": 1.8,
    }
    assert fake.contents[new["training_file"]] == b"".join(line + b"\n" for line in lines(20))
    again = ftkit(
        "migrate", done, "--to", "openai", "--to-base-url", url, "--yes", "--output", "json"
    )
    assert json.loads(again.stdout)[0]["to"] == new["id"]
    assert len(fake.created) == 2


def test_a_job_that_has_moved_moves_no_second_time_whatever_has_changed(
    fake: Fake, ftkit: Run, url: str, done: str
) -> None:
    command = ("migrate", done, "--to", "openai", "--to-base-url", url, "--yes")
    fake.jobs[done] |= {"status": "running", "hyperparameters": {"n_epochs": "auto"}}
    assert ftkit(*command).returncode == 0
    new = fake.created[-1]
    fake.jobs[done] |= {"status": "succeeded", "hyperparameters": {"n_epochs": 3}}
    for more in ([], ["--epochs", "5"], ["--suffix", "other"]):
        told = ftkit(*command, *more)
        assert told.returncode == 0
        assert f"{done} -> {new} was there already, and is " in told.stdout
    assert fake.created[-1] == new
    again = ftkit(*command, "--epochs", "5", "--suffix", "other", "--again")
    assert "created" in again.stdout
    assert "epochs: 3 -> 5 (as asked)" in again.stdout
    assert "suffix: mine -> other (as asked)" in again.stdout
    assert fake.created[-1] != new


def test_a_new_job_that_failed_is_1_until_it_is_done_again(
    fake: Fake, ftkit: Run, url: str, done: str, tmp_path: Path
) -> None:
    command = ("migrate", done, "--to", "openai", "--to-base-url", url, "--yes")
    assert ftkit(*command).returncode == 0
    fake.jobs[fake.created[-1]]["status"] = "failed"
    assert ftkit("archive", str(tmp_path / "old"), "--status", "succeeded").returncode in (0, 1)
    every = ("migrate", "--all", str(tmp_path / "old"), *command[2:])
    assert (ftkit(*command).returncode, ftkit(*every).returncode) == (1, 1)
    told = ftkit(*every[:-1], "--again", "--dry-run")
    assert (
        "to OpenAI, for $0.00 where" in told.stdout
    )  # nobody was asked whether it failed, so it counts as moved
    told = ftkit(*every[:-1], "--again")
    assert "which failed; goes again" in told.stdout
    assert "to OpenAI, for $0.00 where" not in told.stdout
    assert ftkit(*every, "--again").returncode == 0


def test_two_equal_jobs_are_two_where_the_service_keeps_no_metadata(
    fake: Fake, ftkit: Run, url: str, done: str
) -> None:
    twin = fake.add_job({"model": MINI, "training_file": fake.jobs[done]["training_file"]})
    twin |= {key: fake.jobs[done][key] for key in ("status", "hyperparameters", "fine_tuned_model")}
    command = ("--to", "llmariner", "--to-base-url", url, "--model", "m/m", "--yes")
    for job in (done, twin["id"]):
        told = ftkit("migrate", job, *command, env={"LLMARINER_API_KEY": "sk-test"})
        assert "created" in told.stdout, told.stderr
    assert len(fake.created) == 4


def test_a_validation_file_is_judged_as_one_and_named(
    fake: Fake, ftkit: Run, url: str, done: str
) -> None:
    small = fake.add_file("valid.jsonl", b"\r\n".join(lines(3)))
    fake.jobs[done]["validation_file"] = small["id"]
    told = ftkit("migrate", done, "--to", "openai", "--to-base-url", url, "--dry-run")
    assert told.returncode == 0, told.stdout
    assert "validation file, ends of lines: CRLF -> LF" in told.stdout
    bad = fake.add_file("bad.jsonl", b"\n\n\n" + b"\n".join(lines(12, {4: b"oops"})))
    fake.jobs[done]["validation_file"] = bad["id"]
    told = ftkit("migrate", done, "--to", "openai", "--to-base-url", url, "--dry-run")
    assert told.returncode == 1
    line = fake.contents[bad["id"]].split(b"\n").index(b"oops") + 1
    assert f"cannot go: validation file, line {line}: json-syntax" in told.stdout


def test_an_archive_is_not_taken_for_a_job(
    fake: Fake, ftkit: Run, done: str, tmp_path: Path
) -> None:
    assert ftkit("archive", str(tmp_path / "old")).returncode in (0, 1)
    told = ftkit("migrate", str(tmp_path / "old"), "--to", "local", "--dry-run")
    assert told.returncode == 2
    assert "is an archive; name a job in it" in told.stderr


def test_a_job_that_cannot_go_is_1_and_sends_nothing(
    fake: Fake, ftkit: Run, url: str, done: str
) -> None:
    file = fake.jobs[done]["training_file"]
    fake.contents[file] = b"\n".join(lines(20, {4: b"oops"}))
    fake.files[file]["bytes"] = len(fake.contents[file])
    told = ftkit("migrate", done, "--to", "openai", "--to-base-url", url, "--yes")
    assert told.returncode == 1
    assert "cannot go: line 4: json-syntax" in told.stdout
    assert len(fake.created) == 1


def test_migrating_asks_first(fake: Fake, ftkit: Run, url: str, done: str) -> None:
    assert ftkit("migrate", done, "--to", "openai", "--to-base-url", url).returncode == 2
    assert len(fake.created) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a job, or an archive"),
        (["ftjob-none"], "does not have it"),
        (["nowhere/jobs/x"], "is in no archive"),
        (["--all", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_migrated_is_one_line_and_2(
    arguments: list[str], said: str, ftkit: Run, url: str
) -> None:
    told = ftkit("migrate", *arguments, "--to", "openai", "--to-base-url", url, "--yes")
    assert told.returncode == 2
    assert said in told.stderr
    assert "Traceback" not in told.stderr


def test_an_archive_moves_as_a_whole_after_a_table(
    fake: Fake, ftkit: Run, url: str, done: str, tmp_path: Path
) -> None:
    failed = fake.add_job({"model": MINI, "training_file": "file-none"})
    failed["status"] = "failed"
    lost = fake.add_job({"model": MINI, "training_file": "file-gone"})
    lost["status"] = "succeeded"
    assert ftkit("archive", str(tmp_path / "old")).returncode in (0, 1)
    before = len(fake.created)
    told = ftkit(
        "migrate", "--all", str(tmp_path / "old"), "--to", "openai", "--to-base-url", url, "--yes"
    )
    assert told.returncode == 1, told.stderr
    assert "its training file could not be had" in told.stdout
    assert len(fake.created) == before + 1
    again = ftkit(
        "migrate", "--all", str(tmp_path / "old"), "--to", "openai", "--to-base-url", url, "--yes"
    )
    assert f"is {fake.created[-1]}" in again.stdout
    assert len(fake.created) == before + 1
    one = next(path for path in (tmp_path / "old" / "jobs").iterdir() if done in path.name)
    assert (
        "was there already"
        in ftkit("migrate", str(one), "--to", "openai", "--to-base-url", url, "--yes").stdout
    )


def test_a_plan_needs_no_key_and_sends_nothing(
    fake: Fake, ftkit: Run, url: str, done: str, tmp_path: Path
) -> None:
    assert ftkit("archive", "old").returncode == 0
    before = len(fake.requests)
    alone = {"OPENAI_API_KEY": "", "FTKIT_BASE_URL": ""}
    for to, code in (
        ("openai", 0),
        ("azure", 0),
        ("nebius", 0),
        ("llmariner", 0),
        ("local", 0),
        ("mistral", 2),
    ):
        told = ftkit(
            "migrate",
            "--all",
            "old",
            "--to",
            to,
            "--model",
            MINI if to == "azure" else "m/m",
            "--dry-run",
            env=alone,
        )
        assert told.returncode == (1 if to == "openai" else code), (to, told.stdout, told.stderr)
    assert len(fake.requests) == before


def test_the_new_job_can_be_followed(fake: Fake, ftkit: Run, url: str, done: str) -> None:
    fake.on_job = lambda job: job.update(status="succeeded", fine_tuned_model="ft:new")
    told = ftkit("migrate", done, "--to", "openai", "--to-base-url", url, "--yes", "--watch")
    assert told.stdout.splitlines()[-1].startswith("model "), told.stderr


def test_a_file_that_is_not_whole_does_not_go(
    fake: Fake, ftkit: Run, done: str, tmp_path: Path, url: str
) -> None:
    place = tmp_path / "old" / done
    assert ftkit("archive", str(tmp_path / "old")).returncode in (0, 1)
    file = next((tmp_path / "old" / "files").iterdir())
    content = file.read_bytes()
    file.write_bytes(b"\n".join(content.splitlines()[:12]))
    told = ftkit("migrate", str(place), "--to", "openai", "--to-base-url", url, "--yes")
    assert "is changed since it was archived" in told.stdout
    file.unlink()
    gone = ftkit(
        "migrate", "--all", str(tmp_path / "old"), "--to", "openai", "--to-base-url", url, "--yes"
    )
    assert "is gone since it was archived" in gone.stdout
    id = fake.jobs[done]["training_file"]
    fake.files[id]["bytes"] += 1
    assert ftkit("archive", str(tmp_path / "old")).returncode == 1
    part = ftkit("migrate", str(place), "--to", "openai", "--to-base-url", url, "--yes")
    assert "a part of it" in part.stdout
    assert (told.returncode, gone.returncode, part.returncode) == (1, 1, 1)
    assert len(fake.created) == 1


@pytest.mark.parametrize("of", ["the service", "an archive"])
def test_a_validation_file_that_could_not_be_had_is_named(
    of: str, fake: Fake, ftkit: Run, url: str, done: str, tmp_path: Path
) -> None:
    fake.jobs[done]["validation_file"] = "file-gone"
    if of == "an archive":
        ftkit("archive", str(tmp_path / "old"))
    job = str(tmp_path / "old" / done) if of == "an archive" else done
    told = ftkit("migrate", job, "--to", "openai", "--to-base-url", url, "--yes")
    assert told.returncode == 0, told.stderr
    assert "validation file: file-gone -> left behind" in told.stdout


@pytest.mark.parametrize("to", ["nebius", "crusoe", "llmariner"])
def test_a_base_that_is_known_to_be_elsewhere_does_not_go(to: str) -> None:
    assert any(
        f"does not train {MINI}; name a base that it has" in each
        for each in translate(old(), to).obstacles
    )
    assert not any("does not train" in each for each in translate(old(), to, "m/m").obstacles)


def test_any_base_can_go_home_where_its_name_can_stand_for_another() -> None:
    assert translate(old(), "local").obstacles == ()


def test_odd_values_of_a_job_stop_nothing() -> None:
    odd = old(
        hyperparameters={"n_epochs": float("inf"), "batch_size": float("nan")},
        integrations=5,
        metadata={"a": 5},
    )
    made = translate(odd, "azure")
    assert made.order.epochs is made.order.batch_size is None
    assert made.order.metadata["a"] == "5"


def test_a_job_that_is_refused_does_not_hold_up_the_others(
    fake: Fake, ftkit: Run, url: str, done: str, tmp_path: Path
) -> None:
    for _ in range(2):
        job = fake.add_job({"model": MINI, "training_file": fake.jobs[done]["training_file"]})
        job |= {"status": "succeeded", "hyperparameters": {"n_epochs": 2}}
    assert ftkit("archive", str(tmp_path / "old")).returncode in (0, 1)
    before, answer = len(fake.created), fake.answer

    def refusing(method: str, path: str, query: Any, body: Any) -> Any:
        old = (body.get("metadata") or {}).get(MOVED_FROM) if isinstance(body, dict) else None
        return (
            (400, error("not this one"))
            if old == f"openai/{fake.created[1]}"
            else answer(method, path, query, body)
        )

    fake.answer = refusing  # type: ignore[method-assign]
    told = ftkit(
        "migrate", "--all", str(tmp_path / "old"), "--to", "openai", "--to-base-url", url, "--yes"
    )
    assert told.returncode == 1
    assert f"ftkit: {fake.created[1]} was not moved: " in told.stderr
    assert "not this one" in told.stderr
    assert len(fake.created) == before + 2


def test_a_new_job_that_is_gone_moves_again_and_one_that_failed_is_told(
    fake: Fake, ftkit: Run, url: str, done: str, tmp_path: Path
) -> None:
    command = (
        "migrate",
        "--all",
        str(tmp_path / "old"),
        "--to",
        "openai",
        "--to-base-url",
        url,
        "--yes",
    )
    assert ftkit("archive", str(tmp_path / "old")).returncode in (0, 1)
    assert ftkit(*command).returncode == 0
    new = fake.created[-1]
    fake.jobs[new]["status"] = "failed"
    assert f"is {new}, which failed" in ftkit(*command).stdout
    again = ftkit(*command, "--again")
    assert again.stdout.count("created") == 1, again.stderr
    assert ftkit(*command, "--again").stdout.count("created") == 0
    new = fake.created[-1]
    del fake.jobs[new]
    assert ftkit(*command).returncode == 0
    assert fake.created[-1] != new


def test_names_play_no_tricks_on_the_terminal(
    fake: Fake, ftkit: Run, url: str, done: str, tmp_path: Path
) -> None:
    fake.jobs[done] |= {
        "user_provided_suffix": "a\x07b",
        "metadata": {"k\x1b[2J": "v"},
        "integrations": ["\x07"],
    }
    told = ftkit(
        "migrate", done, "--to", "openai", "--model", "m/\x07", "--to-base-url", url, "--yes"
    )
    assert "\x07" not in told.stdout
    assert "m/\\x07" in told.stdout


def test_a_download_that_is_too_short_does_not_go(
    fake: Fake, ftkit: Run, url: str, done: str
) -> None:
    fake.files[fake.jobs[done]["training_file"]]["bytes"] += 1
    for _ in range(2):
        told = ftkit("migrate", done, "--to", "openai", "--to-base-url", url, "--yes")
        assert (told.returncode, "bytes, and sent" in told.stderr) == (2, True)
    assert len(fake.created) == 1
