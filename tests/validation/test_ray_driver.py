"""Driver of a Ray cluster: its messages. None of this needs Ray."""

from __future__ import annotations

import pytest

from ftkit.cli.command import with_options
from ftkit.cli.validate import validate
from ftkit.validation.ray_driver import describe_failure

DIED = "a task's worker process died 6 times, maybe for lack of memory; "
FEWER = "give the nodes fewer processors (ray start --num-cpus)"


class OutOfMemoryError(Exception):
    """Stands for Ray's exception of that name."""


@pytest.mark.parametrize(
    ("has_inputs", "advice"),
    [
        (False, FEWER),
        (True, f"if very many examples share a prompt, use `--ignore` FT22; otherwise, {FEWER}"),
    ],
    ids=["scanning", "comparing"],
)
def test_a_task_that_dies_each_time_says_what_to_change(has_inputs: bool, advice: str) -> None:
    message = describe_failure(OutOfMemoryError("killed"), has_inputs).decode()
    assert with_options(message, validate) == f"{DIED}{advice}"


def test_any_other_error_of_a_task_is_named() -> None:
    message = describe_failure(ValueError("wrong\nnumber"), has_inputs=True)
    assert message == b"a task failed: ValueError: wrong number"
