"""Tables fit the terminal, and are shorten nowhere else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit._text import shorten
from ftkit.report.columns import MIN_WIDTH, fields, table
from support.fake_provider import FakeProvider
from support.terminal import run_in_terminal

NAME = "ft:gpt-4o-mini-2024-07-18:my-organisation:sports-headlines:Ab3dE5f"


def lines_of(shown: bytes) -> list[str]:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "").splitlines()


@given(st.text("abc…", max_size=60), st.integers(3, 80))
def test_a_cut_text_fits_and_keeps_both_ends(text: str, width: int) -> None:
    shown = shorten(text, width)
    assert len(shown) <= width
    assert shown == text or (text.startswith(shown.partition("…")[0]) and text.endswith(shown[-1]))


@given(
    st.lists(
        st.tuples(st.text("a", max_size=90), st.text("b", max_size=9), st.text("c", max_size=90)),
        min_size=1,
    )
)
def test_only_the_columns_that_are_named_are_cut(rows: list[tuple[str, str, str]]) -> None:
    shown = table(rows, left=3, width=60, long=[2, 0])
    least = 2 * 3 + 9 + 2 * MIN_WIDTH
    assert all(len(line) <= max(60, least) for line in shown.splitlines())
    assert [row[1] in line for row, line in zip(rows, shown.splitlines(), strict=True)] == [
        True
    ] * len(rows)


def test_fields_without_a_value_are_left_out_and_control_characters_shown() -> None:
    assert (
        fields([("a", ""), ("long", "x\x1b[2J"), ("b", "-"), ("c", "d")])
        == "  long  x\\x1b[2J\n  c     d\n"
    )
    assert fields([]) == ""


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    "command",
    ["jobs list", "jobs checkpoints ID", "jobs show ID", "files list", "models list", "providers"],
)
def test_what_is_listed_fits_the_terminal(
    command: str, columns: int, fake_provider: FakeProvider, provider_url: str
) -> None:
    id = "ftjob-abcdefghijklmnopqrstuvwx"
    fake_provider.jobs[id] = {
        **fake_provider.add_job({"model": "gpt-4o-mini-2024-07-18", "training_file": "file-0"}),
        "id": id,
    }
    fake_provider.jobs[id] |= {
        "fine_tuned_model": NAME,
        "error": {"code": "a", "message": "words " * 40},
    }
    del fake_provider.jobs[fake_provider.created[0]]
    fake_provider.checkpoints[id] = [
        {
            "id": "ftckpt_abcdefghijklmnopqrstuvwx",
            "object": "fine_tuning.job.checkpoint",
            "created_at": 1,
            "step_number": 500,
            "fine_tuned_model_checkpoint": f"{NAME}:ckpt-step-500",
            "metrics": {"step": 5, "train_loss": 0.5, "full_valid_loss": 0.7},
        }
    ]
    fake_provider.add_file(f"{'name-' * 20}.jsonl", b"x" * 1234567)
    fake_provider.models[NAME] = {
        "id": NAME,
        "object": "model",
        "created": 1,
        "owned_by": "x" * 40,
        "shutdown_date": "2027-01-14",
    }
    code, shown = run_in_terminal(provider_url, *command.replace("ID", id).split(), columns=columns)
    assert code == 0
    assert lines_of(shown)
    assert all(len(line) <= columns for line in lines_of(shown))
