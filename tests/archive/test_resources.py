"""Jobs, hyperparameters and result files as providers send them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.archive import layout
from ftkit.archive.read import find_job, open_archive
from ftkit.archive.serialize import to_json
from ftkit.archive.verify import verify
from ftkit.client.resources import Job
from ftkit.errors import FileError
from ftkit.jobs.metrics import decode_results
from support.archives import add_job, save_archive
from support.fake_provider import FakeProvider, base64_content


def test_a_job_is_found_by_its_place(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    plain, mixed = add_job(fake_provider), add_job(fake_provider, 1)
    fake_provider.jobs["ftjob-ABC"] = {**fake_provider.jobs.pop(mixed["id"]), "id": "ftjob-ABC"}
    save_archive(provider_url, tmp_path / "a")
    for place in (f"a/{plain['id']}", f"a/jobs/{plain['id']}", f"{tmp_path}/a/{plain['id']}/"):
        archived = find_job(place)
        assert archived
        assert archived.id == plain["id"]
    for place in ("a/ftjob-ABC", f"a/jobs/{layout.name_of('ftjob-ABC')}"):
        archived = find_job(place)
        assert archived
        assert archived.id == "ftjob-ABC"
    assert find_job("ftjob-1") is None
    with pytest.raises(FileError, match="has no job"):
        find_job("a/ftjob-none")


DIALECTS = [
    ({"hyperparameters": {"n_epochs": 3}}, {"n_epochs": 3}),
    (
        {
            "hyperparameters": {"n_epochs": 3},
            "method": {
                "type": "dpo",
                "dpo": {"hyperparameters": {"n_epochs": "auto", "beta": 0.1}},
            },
        },
        {"n_epochs": 3, "beta": 0.1},
    ),
    ({"method": {"type": "supervised", "hyperparameters": {"batch_size": 2}}}, {"batch_size": 2}),
    ({"hyperparameters": {"n_epochs": "auto"}}, {"n_epochs": "auto"}),
    ({"hyperparameters": None, "method": None}, {}),
]


@pytest.mark.parametrize(("raw", "expected"), DIALECTS)
def test_hyperparameters_are_found_wherever_they_stand(
    raw: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert Job.read({"id": "j", **raw}).hyperparameters == expected


@given(st.binary(max_size=200))
def test_a_plain_result_file_is_not_taken_for_base64(data: bytes) -> None:
    csv = b"step,train_loss\n" + data
    assert decode_results(csv) == csv
    assert decode_results(base64_content(csv)) == csv


def test_a_column_that_could_be_base64_is_left_alone() -> None:
    assert decode_results(b"step\n12\n34") == b"step\n12\n34"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
        lambda inner: st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=8,
    )
)
def test_what_the_service_sent_is_written_without_a_loss(value: Any) -> None:
    assert repr(json.loads(to_json(value))) == repr(value)


@pytest.mark.parametrize(
    "odd",
    [
        {"created_at": 1_760_000_000_000},
        {"created_at": "2025-10-09T00:00:00Z"},
        {"created_at": -(10**17)},
        {"error": "lost"},
        {"metadata": {"a": 5}},
        {"result_files": "file-1"},
        {"result_files": None},
        {"trained_tokens": "many"},
        {"hyperparameters": [1], "method": "x"},
        {"estimated_finish": {}},
    ],
)
def test_fields_of_other_types_than_documented_stop_nothing(
    odd: dict[str, Any], fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    add_job(fake_provider)
    job = add_job(fake_provider, 1, **odd)
    fake_provider.events[job["id"]][0]["created_at"] = "yesterday"
    fake_provider.checkpoints[job["id"]][0] |= {"metrics": [1], "step_number": "last"}
    fake_provider.models[job["fine_tuned_model"]]["created"] = "long ago"
    fake_provider.files[job["training_file"]]["bytes"] = "1.5 MB"
    save_archive(provider_url, tmp_path / "a")
    archived = open_archive(tmp_path / "a").job(job["id"])
    assert archived.job.raw == job
    assert len(archived.events) == len(fake_provider.events[job["id"]])
    assert verify(tmp_path / "a").ok


def test_result_files_may_be_named_by_objects(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    job = add_job(fake_provider)
    job["result_files"] = [{"id": id} for id in job["result_files"]]
    save_archive(provider_url, tmp_path / "a")
    assert len(open_archive(tmp_path / "a").job(job["id"]).results) == 1


@pytest.mark.parametrize(
    "rows", [b"1,0.9\n2,nan\n3,nan", b"1,inf\n2,-inf", b"nan,1\n2,0.5\n3,0.4", b"inf,1"]
)
def test_losses_that_are_no_numbers_stop_nothing(
    rows: bytes, fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    job = add_job(fake_provider)
    fake_provider.contents[job["result_files"][0]] = b"step,train_loss\n" + rows
    save_archive(provider_url, tmp_path / "a")
    assert verify(tmp_path / "a").ok
    assert "nan," not in (tmp_path / "a" / "index.html").read_text("utf-8")
