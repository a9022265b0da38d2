"""Tables fit the terminal, and are shorten nowhere else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit._text import shorten
from ftkit.report.columns import display_width, fields, table, wrap_paragraphs
from support.fake_provider import FakeProvider
from support.paths import MARV
from support.terminal import run_in_terminal

NAME = "ft:gpt-4o-mini-2024-07-18:my-organisation:sports-headlines:Ab3dE5f"


def lines_of(shown: bytes) -> list[str]:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "").splitlines()


@given(st.text("abc…", max_size=60), st.integers(3, 80))
def test_a_cut_text_fits_and_keeps_both_ends(text: str, width: int) -> None:
    shown = shorten(text, width)
    assert len(shown) <= width
    assert shown == text or (text.startswith(shown.partition("…")[0]) and text.endswith(shown[-1]))


CELL = st.text("ab", min_size=1, max_size=70)
WIDE_CELL = st.text("a\u65e5", min_size=1, max_size=35)


@given(st.lists(st.tuples(CELL, WIDE_CELL, CELL, CELL), min_size=1), st.integers(80, 300))
def test_a_table_fits_the_terminal_and_has_every_cell_whole(
    rows: list[tuple[str, ...]], width: int
) -> None:
    shown = table([("id", "x", "y", "z"), *rows], left=2, width=width)
    assert all(display_width(line) <= width for line in shown.splitlines())
    assert [cell in shown.split() for row in rows for cell in row] == [True] * 4 * len(rows)


def test_rows_are_stacked_on_a_narrow_terminal_without_the_empty_columns() -> None:
    rows = [("id", "status", "owner", "model"), (NAME, "failed", "-", NAME), ("b", "ok", "-", "-")]
    assert table(rows, left=4, width=80) == (
        f"  id:\n  {NAME}\n    status failed\n    model {NAME}\n  b\n    status ok\n"
    )
    assert table(rows, left=4, width=100).splitlines()[2] == f"    status failed · model {NAME}"


def test_spaces_that_align_a_cell_are_left_out_of_stacked_rows() -> None:
    rows = [("id", "a", "b", "c"), ("x" * 30, "1 ", "2* ", " 3")]
    assert table(rows, width=32).splitlines()[2:] == ["    a 1 · b 2* · c 3"]


def test_columns_without_values_are_left_out_before_rows_are_stacked() -> None:
    rows = [("id", "a long title", "n"), ("x", "-", "10")]
    assert table(rows, width=12) == "  id   n\n  x   10\n"
    assert table(rows, width=40) == "  id  a long title   n\n  x              -  10\n"


def test_wide_and_coloured_characters_are_measured_as_they_are_shown() -> None:
    assert display_width("\x1b[2m\u65e5\u672c\x1b[0me\u0301") == 5


def test_fields_without_a_value_are_left_out_and_control_characters_shown() -> None:
    assert (
        fields([("a", ""), ("long", "x\x1b[2J"), ("b", "-"), ("c", "d")])
        == "  long  x\\x1b[2J\n  c     d\n"
    )
    assert fields([]) == ""


def test_the_lines_of_a_paragraph_are_joined_before_it_is_wrapped() -> None:
    text = "One two\nthree four five\nsix.\n\nSeven."
    assert wrap_paragraphs(text, 20) == "One two three four\nfive six.\n\nSeven.\n"
    assert wrap_paragraphs(text, None) == f"{text}\n"


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
    ids = {NAME, f"{NAME}:ckpt-step-500", f"{'name-' * 20}.jsonl"}
    whole = [word for line in lines_of(shown) for word in line.split() if word in ids]
    assert bool(whole) == (command != "providers")
    for line in lines_of(shown):
        # A name that is too wide for the terminal is not cut.
        assert len(line) <= columns or line.split()[-1] in ids
        assert "…" not in line


@pytest.mark.parametrize(
    "command",
    [
        ("catalog",),
        ("rules",),
        ("serve", "bases"),
        ("estimate", MARV, "--on", "2026-11-20"),
        ("estimate", MARV, "--model", "gpt-4o-mini-2024-07-18"),
    ],
    ids=" ".join,
)
def test_a_table_of_facts_fits_80_columns(command: tuple[str, ...]) -> None:
    _, shown = run_in_terminal("http://127.0.0.1:1", *command, columns=80)
    lines = lines_of(shown)
    assert lines
    assert all(len(line) <= 80 for line in lines)
    assert not any(line.endswith("…") for line in lines)
