"""Plans: a job translated for another provider."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.client.resources import Job
from ftkit.jobs.spec import METADATA_KEY, check
from ftkit.migration.prepare import BOM, prepare
from ftkit.migration.source import SourceJob
from ftkit.migration.translate import MOVED_FROM, Translation, translate
from support.models import MINI

DAY = datetime.date(2026, 11, 21)


def old(
    provider: str = "openai",
    method: str = "supervised",
    hyperparameters: dict[str, Any] | None = None,
    **raw: Any,
) -> SourceJob:
    fields = {
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
    return SourceJob(provider, Job.read(fields), method, chosen, "data.jsonl", None)


def changes(translation: Translation) -> dict[str, tuple[str, str]]:
    return {change.what: (change.before, change.after) for change in translation.changes}


def test_between_services_of_one_dialect_all_goes_as_it_is() -> None:
    translation = translate(old(metadata={"team": "a", METADATA_KEY: "x"}), "azure", today=DAY)
    assert (translation.changes, translation.obstacles) == ((), ())
    order = translation.spec
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
    job: SourceJob, to: str, model: str | None, what: str, after: str
) -> None:
    translation = translate(job, to, model)
    assert changes(translation)[what][1] == after
    assert all(change.why for change in translation.changes)


@pytest.mark.parametrize(
    ("day", "is_obstacle"), [(datetime.date(2027, 1, 6), False), (datetime.date(2027, 1, 7), True)]
)
def test_a_base_that_is_trained_no_more_is_told(day: datetime.date, is_obstacle: bool) -> None:
    whys = [change.why for change in translate(old(), "openai", today=day).changes]
    assert any("does not train it after 2027-01-06" in why for why in whys) == is_obstacle


@pytest.mark.parametrize(
    ("job", "to", "message"),
    [
        (
            old(model="gpt-3.5-turbo"),
            "azure",
            "does not train gpt-3.5-turbo; set `model` to gpt-4.1-2025-04-14 or",
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
def test_what_cannot_go_says_why(job: SourceJob, to: str, message: str) -> None:
    assert any(message in obstacle for obstacle in translate(job, to, today=DAY).obstacles)


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
    translation = translate(job, to, None if to == "azure" else "m/m")
    target = load_catalog().providers[to]
    assert target.api
    if not translation.obstacles:
        check(translation.spec, target.api, target.title)


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
        new_path, changes_made = prepare(str(path), to, Path(folder) / "made")
        written = Path(new_path).read_bytes()
        assert [
            line.strip() for line in written.removeprefix(BOM).splitlines() if line.strip()
        ] == [row for row in rows if row.strip()]
        assert (new_path == str(path)) == (not changes_made)
        if changes_made:
            assert written.startswith(BOM) == (to == "azure" and any(row.strip() for row in rows))
            assert prepare(new_path, to, Path(folder) / "made") == (new_path, ())
        assert path.read_bytes() == data
        assert not list((Path(folder) / "made").glob("*.part"))


@pytest.mark.parametrize("to", ["nebius", "crusoe", "llmariner"])
def test_a_base_that_is_known_to_be_elsewhere_does_not_go(to: str) -> None:
    assert any(
        f"does not train {MINI}; set `model` to one of its base models" in obstacle
        for obstacle in translate(old(), to).obstacles
    )
    assert not any(
        "does not train" in obstacle for obstacle in translate(old(), to, "m/m").obstacles
    )


def test_any_base_can_go_home_where_its_name_can_stand_for_another() -> None:
    assert translate(old(), "local").obstacles == ()


def test_odd_values_of_a_job_stop_nothing() -> None:
    odd = old(
        hyperparameters={"n_epochs": float("inf"), "batch_size": float("nan")},
        integrations=5,
        metadata={"a": 5},
    )
    translation = translate(odd, "azure")
    assert translation.spec.epochs is translation.spec.batch_size is None
    assert translation.spec.metadata["a"] == "5"
