"""The time for a file grows no faster than the file, whatever is in it.

A short run takes one position for each text and files of 64 kB; `--hostile N` takes each text in
each position of each format, and files of 1 MB.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from ftkit import FtkitError, measure, validate
from ftkit.compare.recordings import read_prompts
from ftkit.dataset.detect import Head
from ftkit.dataset.lenient_json import read
from ftkit.validation.provider_messages import interpret
from support.caches import forget_tool_schemas
from support.hostile_texts import (
    LINES,
    SCHEMAS,
    TEXTS,
    Make,
    grown_rules,
    texts_in_content,
    texts_in_samples,
)

MODEL = "gpt-4o-mini-2024-07-18"

BYTES_MODEL = "ftkit/smoke"
"""Model whose tokens are bytes. Counting those of other models takes most of the time."""

GROWTH = 2.6
"""Maximum factor of the time for twice as many bytes."""

NOISE = 0.12
"""Seconds below which a time says nothing."""

SHORT, LONG = 1 << 16, 1 << 20
"""Bytes of the largest file in a short run and in a long one."""

HANGS = 10.0
"""Seconds after which larger files are not tried."""

Run = Callable[[bytes], Any]


@pytest.fixture(autouse=True)
def collecting_no_garbage() -> Iterator[None]:
    """Collect garbage between the measurements only, and only what they left."""
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


@pytest.fixture
def largest(request: pytest.FixtureRequest) -> int:
    """Bytes of the largest file."""
    return LONG if request.config.option.hostile else SHORT


@pytest.fixture
def check(tmp_path: Path) -> Run:
    """Validate a file and count its tokens."""
    return checking(tmp_path / "data.jsonl", MODEL)


@pytest.fixture
def check_bytes(tmp_path: Path) -> Run:
    """Validate a file for a model whose tokens are bytes, and count them."""
    return checking(tmp_path / "data.jsonl", BYTES_MODEL)


def checking(path: Path, model: str) -> Run:
    """Return a function that validates a file for a model and counts its tokens."""

    def run(data: bytes) -> None:
        path.write_bytes(data)
        forget_tool_schemas()
        validate(path, model=model, workers=1)
        with suppress(FtkitError):  # there may be no example in it
            measure(path, [model], workers=1)

    run(b'{"messages": []}\n')  # imports what is imported when it is needed
    return run


def seconds(run: Run, data: bytes, times: int = 1) -> float:
    """Return the least CPU time of some runs."""
    durations = []
    for _ in range(times):
        gc.collect()
        begun = time.process_time()
        run(data)
        durations.append(time.process_time() - begun)
    return min(durations)


def assert_linear(name: str, run: Run, make: Make, largest: int) -> None:
    """Check that the time grows with the size.

    Where twice the size takes too long, four times the size are measured again: a larger file may
    just not fit in the processor's cache.
    """
    before = 0.0
    for size in (largest >> 3, largest >> 2, largest >> 1, largest):
        now = seconds(run, make(size))
        if before and now > max(NOISE, GROWTH * before):
            before, now = (seconds(run, make(size), 5) for size in (size // 4, size))
            assert now <= max(NOISE, GROWTH**2 * before), f"{name}: {before:.2f}, then {now:.2f} s"
        assert now < HANGS, f"{name}: {now:.0f} s for {size:,} bytes"
        before = now


@pytest.mark.parametrize("name", TEXTS)
def test_the_time_for_a_text_grows_with_its_length(name: str, check: Run, largest: int) -> None:
    assert_linear(name, check, dict(texts_in_content())[f"content: {name}"], largest)


@pytest.mark.parametrize("name", {**LINES, **SCHEMAS})
def test_the_time_for_a_structure_grows_with_its_size(name: str, check: Run, largest: int) -> None:
    assert_linear(name, check, {**LINES, **SCHEMAS}[name], largest)


def test_the_time_for_each_rule_grows_with_its_sample(check: Run, largest: int) -> None:
    step = 1 if largest == LONG else 10
    for name, make in islice(grown_rules(), 0, None, step):
        assert_linear(name, check, make, largest)


def test_hostile_growth_in_every_position(
    check_bytes: Run, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    """The tokens are bytes, since other tests count those of MODEL in each text."""
    if not request.config.option.hostile:
        pytest.skip("takes a quarter of an hour; run by `tox -e hostile`")
    number = 0
    for name, make in texts_in_samples():
        assert_linear(name, check_bytes, make, LONG)
        number += 1
    record_property("hostile", {"name": "growth in every position", "cases": number})


def _read_prompts(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with suppress(FtkitError):
        read_prompts(str(path))


@pytest.mark.parametrize("name", {**LINES, **SCHEMAS})
def test_the_time_of_other_parsers_grows_with_the_size(
    name: str, tmp_path: Path, largest: int
) -> None:
    def run(data: bytes) -> None:
        read(data)
        head = Head("data.jsonl", data, complete=False)
        _ = head.kind, head.kind_of_elements, head.spread, head.asks  # computed when asked for
        interpret(data.decode(errors="replace"))
        _read_prompts(tmp_path / "data.jsonl", data)

    assert_linear(name, run, {**LINES, **SCHEMAS}[name], largest)
