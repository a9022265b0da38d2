"""Metrics of a job, from its result files."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.errors import FtkitError
from ftkit.jobs.metrics import Metrics, assess, is_plottable, read_results
from ftkit.report.metrics import draw, render_metrics_text, sparkline
from ftkit.report.metrics_page import render_metrics_html
from support.fake_provider import FakeProvider, base64_content
from support.fixture_types import Run
from support.jobs import RESULTS, add_jobs
from support.paths import GOLDEN


def test_checkpoints_and_metrics_are_shown(
    fake_provider: FakeProvider, ftkit: Run, tmp_path: Path
) -> None:
    add_jobs(fake_provider, 1)
    (id,) = fake_provider.created
    assert "has no metrics yet" in ftkit("jobs", "metrics", id).stderr
    fake_provider.checkpoints[id] = [
        {
            "id": "ftckpt-1",
            "object": "fine_tuning.job.checkpoint",
            "created_at": 1,
            "fine_tuning_job_id": id,
            "step_number": 5,
            "fine_tuned_model_checkpoint": "ft:x:ckpt-step-5",
            "metrics": {"step": 5, "train_loss": 0.5, "full_valid_loss": 0.7},
        }
    ]
    assert "ft:x:ckpt-step-5" in ftkit("jobs", "checkpoints", id).stdout
    assert "step 5 (0.7)" in ftkit("jobs", "metrics", id).stdout
    fake_provider.jobs[id]["result_files"] = [
        fake_provider.add_file("results.csv", base64_content(RESULTS))["id"]
    ]
    shown = ftkit("jobs", "metrics", id).stdout
    assert "lowest validation loss: step 3 (1.2)" in shown
    assert "overfitting from step 5" in shown
    assert ftkit("jobs", "metrics", id, "--output", "csv").stdout.startswith("step,train_loss")
    output = json.loads(ftkit("jobs", "metrics", id, "--output", "json").stdout)
    assert output["verdict"] == {"best_step": 3, "best_loss": 1.2, "parts_at": 5}
    for kind, begins in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("html", b"<!doctype html>")):
        assert ftkit("jobs", "metrics", id, "--plot", str(tmp_path / f"a.{kind}")).returncode == 0
        assert (tmp_path / f"a.{kind}").read_bytes().startswith(begins)
    assert ftkit("jobs", "metrics", id, "--plot", "a.gif").returncode == 2


def test_the_metrics_of_a_running_job_are_those_of_its_events(
    fake_provider: FakeProvider, ftkit: Run
) -> None:
    job = fake_provider.add_job({"model": "m", "training_file": "f"})
    job["status"] = "running"
    for step, loss in enumerate([3.0, 2.0, 1.0, 0.5], 1):
        data = {"step": step, "total_steps": 9, "train_loss": loss, "note": "x", "flag": True}
        fake_provider.add_event(job["id"], f"Step {step}", type="metrics", data=data)
    fake_provider.checkpoints[job["id"]] = [
        {
            "id": "ftckpt-1",
            "step_number": 2,
            "fine_tuned_model_checkpoint": "c",
            "metrics": {"step": 2, "full_valid_loss": 1.5},
        }
    ]
    output = json.loads(ftkit("jobs", "metrics", job["id"], "--output", "json").stdout)
    assert output["columns"] == ["step", "train_loss", "full_valid_loss"]
    assert [row["train_loss"] for row in output["rows"]] == [3.0, 2.0, 1.0, 0.5]
    assert [row["full_valid_loss"] for row in output["rows"]] == [None, 1.5, None, None]
    assert "train       █▅▂▁  3 to 0.5" in ftkit("jobs", "metrics", job["id"]).stdout


def test_the_table_of_a_preference_job_has_its_margins_and_leaves_out_what_they_sum_up() -> None:
    results = read_results(
        b"step,train_loss,train_rewards_chosen,train_rewards_rejected,train_rewards_margins\n"
        b"1,0.7,0.25,0.125,0.125\n2,0.5,1.5,-0.5,2\n"
    )
    shown = render_metrics_text(results, assess(results)).splitlines()
    assert shown[0].split() == ["step", "train_loss", "train_rewards_margins"]
    assert "2 more columns of rewards and log probabilities: see `--output csv`" in shown[3]
    assert shown[6].split() == ["margins", "▁█", "0.125", "to", "2"]


def test_the_table_leaves_out_the_last_columns_on_a_narrow_terminal() -> None:
    results = read_results(RESULTS)
    shown = render_metrics_text(results, assess(results), width=50).splitlines()
    assert shown[0].split() == ["step", "train_loss", "train_accuracy", "valid_loss"]
    assert "  without valid_mean_token_accuracy: see `--output" in shown
    assert all(len(line) <= 50 for line in shown[:-3])


def test_a_result_file_is_read_by_the_names_of_its_columns() -> None:
    results = read_results(RESULTS)
    assert results == read_results(base64_content(RESULTS))
    assert results.rows[3]["valid_loss"] is None
    assert assess(results).best_step == 3
    assert assess(read_results(b"\xef\xbb\xbfstep, train_loss\n1,x\n2,0.5\n")).best_step is None
    with pytest.raises(FtkitError, match="no column 'step'"):
        read_results(b"<html>, no\n")


@given(st.binary(max_size=300))
def test_any_result_file_is_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(FtkitError):
        render_metrics_text(results := read_results(content), assess(results))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.integers(1, 60))
def test_a_sparkline_fits_its_width(values: list[float], width: int) -> None:
    assert 1 <= len(sparkline(values, width)) <= min(width, len(values))


def test_the_metrics_are_printed_as_they_were_looked_at() -> None:
    shown = render_metrics_text(read_results(RESULTS), assess(read_results(RESULTS)))
    path = GOLDEN / "metrics.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(shown, "utf-8")
    assert shown == path.read_text("utf-8")


def test_a_drawing_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FtkitError, match="cannot write"):
        draw(Metrics(("step",), ()), "x", tmp_path / "no" / "a.png")


def test_the_table_of_losses_says_how_many_steps_it_leaves_out(
    fake_provider: FakeProvider, ftkit: Run
) -> None:
    results = b"step,train_loss\n" + b"".join(
        f"{step},{3 / step}\n".encode() for step in range(1, 321)
    )
    file = fake_provider.add_file("results.csv", results)["id"]
    job = fake_provider.add_job({"model": "m", "training_file": "f"})
    job.update(status="succeeded", result_files=[file])
    shown = ftkit("jobs", "metrics", job["id"]).stdout.splitlines()
    assert "  20 of 320 steps; `--output csv` has all of them" in shown
    assert shown[1:4] == ["     1      3.0000", "    17      0.1765", "    34      0.0882"]
    assert ftkit("jobs", "metrics", job["id"], "--output", "csv").stdout.splitlines()[1] == "1,3.0"
    rows = ftkit("jobs", "metrics", job["id"], "--output", "json").stdout
    assert '"step": 320,' in rows
    assert len(json.loads(rows)["rows"]) == 320


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ("1,2,10", ["1", "2", "10"]),
        ("0.5,2,1e-5", ["0.5000", "2.0000", "0.0000"]),
        ("2e-5,1e-5,0", ["2.000e-05", "1.000e-05", "0.000e+00"]),
        ("nan,,0.25", ["nan", "-", "0.2500"]),
        ("1e300,1,0.5", ["1.000e+300", "1.000e+00", "5.000e-01"]),
        (",,", ["-", "-", "-"]),
    ],
)
def test_the_numbers_of_a_column_have_as_many_decimals(values: str, shown: list[str]) -> None:
    content = "step,odd\n" + "".join(
        f"{step},{value}\n" for step, value in enumerate(values.split(","), 1)
    )
    results = read_results(content.encode())
    lines = render_metrics_text(results, assess(results)).splitlines()[1:4]
    assert [line.split()[1] for line in lines] == shown


def test_losses_that_are_no_numbers_are_shown_and_not_judged() -> None:
    results = read_results(
        b"step,train_loss,valid_loss\n1,2.0,nan\n2,nan,1.5\n3,1.0,inf\nnan,1,1\n"
    )
    assert [row["step"] for row in results.rows] == [1, 2, 3]
    assert assess(results).best_step == 2
    assert "nan" in render_metrics_text(results, assess(results))


def test_a_chart_may_have_any_title(tmp_path: Path) -> None:
    metrics = read_results(b"step,train_loss\n1,0.5\n2,0.4\n")
    title = "$\\x$ <b>\x1b\udcff"
    draw(metrics, title, tmp_path / "chart.svg")
    assert "&lt;b&gt;" in (tmp_path / "chart.svg").read_text("utf-8")
    assert "<title>$\\x$ &lt;b&gt;\\x1b\\udcff</title>" in render_metrics_html(metrics, title)


def test_a_number_too_large_for_a_float_is_not_finite() -> None:
    assert not is_plottable(10**400)
    assert is_plottable(-1.5)
