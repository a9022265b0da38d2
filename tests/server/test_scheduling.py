"""Whose job starts next: limits, round robin between tenants, priorities."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit.server.errors import InvalidRequestError
from ftkit.server.scheduling import (
    INTERRUPTED,
    MAX_POSITION,
    Capacity,
    WaitingJob,
    choose_job,
    explain_position,
    explain_wait,
    read_priority,
)


def job(tenant: str, rank: int = 0, number: int = 0) -> WaitingJob:
    return WaitingJob(f"{tenant}{number}", tenant, rank, number)


CHOICES = {
    "nothing waits": ([], {}, {}, Capacity(1), None),
    "the oldest": ([job("a", 0, 2), job("b", 0, 1)], {}, {}, Capacity(1), "b"),
    "full": ([job("a")], {"b": 2}, {}, Capacity(2), None),
    "no capacity": ([job("a")], {}, {}, Capacity(0), None),
    "fewest processes": ([job("a", 0, 1), job("b", 0, 2)], {"a": 1}, {"b": 9}, Capacity(3), "b"),
    "longest wait": ([job("a", 0, 1), job("b", 0, 2)], {}, {"a": 2, "b": 1}, Capacity(1), "b"),
    "first turn": ([job("a", 0, 1), job("b", 0, 2)], {}, {"a": 1}, Capacity(1), "b"),
    "limit of a key": ([job("a")], {"a": 1}, {}, Capacity(4, 1), None),
    "another key": ([job("a"), job("b")], {"a": 2}, {"b": 9}, Capacity(4, 2), "b"),
    "priorities are a key's own": ([job("a", 10, 2), job("b", -10, 1)], {}, {}, Capacity(1), "b"),
    "shared priorities": (
        [job("a", 1, 2), job("b", 0, 1)],
        {"a": 1},
        {"a": 9},
        Capacity(2, None, True),
        "a",
    ),
    "turns among equal shared priorities": (
        [job("a", 1, 1), job("b", 1, 2)],
        {},
        {"a": 9, "b": 8},
        Capacity(1, None, True),
        "b",
    ),
    "interrupted": ([job("a", INTERRUPTED, 2), job("b")], {"a": 1}, {"a": 9}, Capacity(2), "a"),
    "interrupted, at the limit": (
        [job("a", INTERRUPTED), job("b")],
        {"a": 1},
        {},
        Capacity(2, 1),
        "b",
    ),
}


@pytest.mark.parametrize("name", CHOICES)
def test_the_next_job_follows_from_turns_priorities_and_limits(name: str) -> None:
    waiting, running, turns, capacity, tenant = CHOICES[name]
    chosen = choose_job(waiting, running, turns, capacity)
    assert (chosen and chosen.tenant) == tenant


# Each tenant submits jobs of a priority, which run for a number of starts.
TENANTS = st.lists(st.tuples(st.integers(-10, 10), st.integers(1, 6)), min_size=2, max_size=6)


def longest_wait(
    tenants: list[tuple[int, int]], capacity: Capacity, starts: int = 60
) -> dict[str, int]:
    """Return for each tenant the most starts of others while it waited without a process.

    Every tenant always has waiting jobs.
    """
    running: list[tuple[str, int]] = []  # tenant, and the start at which it ends
    turns: dict[str, int] = {}
    waits: Counter[str] = Counter()
    longest: Counter[str] = Counter()
    for start in range(1, starts + 1):
        running = [(tenant, end) for tenant, end in running if end > start]
        counts = Counter(tenant for tenant, _ in running)
        waiting = [job(str(index), rank) for index, (rank, _) in enumerate(tenants)]
        chosen = choose_job(waiting, counts, turns, capacity)
        assert sum(counts.values()) <= capacity.total
        assert max(counts.values(), default=0) <= (capacity.per_tenant or capacity.total)
        if chosen is None:
            continue
        turns[chosen.tenant] = start
        running.append((chosen.tenant, start + tenants[int(chosen.tenant)][1]))
        for other in waiting:
            is_passed_over = other != chosen and not counts[other.tenant]
            waits[other.tenant] = waits[other.tenant] + 1 if is_passed_over else 0
            longest[other.tenant] = max(longest[other.tenant], waits[other.tenant])
    return longest


@given(TENANTS, st.integers(1, 4), st.none() | st.integers(1, 3))
@settings(deadline=None)
def test_each_other_tenant_passes_over_a_waiting_one_at_most_once(
    tenants: list[tuple[int, int]], total: int, limit: int | None
) -> None:
    waits = longest_wait(tenants, Capacity(total, limit))
    assert max(waits.values(), default=0) <= len(tenants) - 1


def test_shared_priorities_can_starve_a_tenant() -> None:
    assert longest_wait([(10, 1), (0, 1)], Capacity(1, None, True))["1"] == 60


@pytest.mark.parametrize(
    ("text", "priority"), [("0", 0), ("10", 10), ("-10", -10), ("7", 7), ("-0", 0)]
)
def test_a_priority_is_an_integer(text: str, priority: int) -> None:
    assert read_priority({"ftkit_priority": text}) == priority


@pytest.mark.parametrize("metadata", [None, {}, {"priority": "5"}])
def test_the_priority_is_0_by_default(metadata: dict[str, str] | None) -> None:
    assert read_priority(metadata) == 0


@pytest.mark.parametrize(
    "text", ["11", "-11", "high", "1.5", "", " 1", "+1", "٣", "1\n", "9" * 512]
)
def test_another_priority_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        read_priority({"ftkit_priority": text})
    start = "Invalid 'metadata.ftkit_priority': expected an integer from -10 to 10, got '"
    assert str(error.value) == f"{start}{text[:256]}'."
    assert (error.value.param, error.value.code) == ("metadata", "invalid_value")


@pytest.mark.parametrize(
    ("running", "capacity", "reason"),
    [
        ({"a": 2}, Capacity(4, 2), "2 of 2 jobs of this key are running"),
        ({"a": 1}, Capacity(4, 1), "1 of 1 jobs of this key is running"),
        ({"a": 1, "b": 3}, Capacity(4, 2), "4 of 4 jobs of all keys are running"),
        ({"b": 1}, Capacity(1), "1 of 1 jobs of all keys is running"),
        ({"a": 1, "b": 1}, Capacity(3, 2), ""),
    ],
)
def test_the_reason_of_a_wait_names_the_limit(
    running: dict[str, int], capacity: Capacity, reason: str
) -> None:
    assert explain_wait(job("a"), running, capacity) == reason


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (1, "1 job of this key is before it"),
        (2, "2 jobs of this key are before it"),
        (MAX_POSITION, "1,000 or more jobs of this key are before it"),
    ],
)
def test_the_position_of_a_job_is_the_number_of_jobs_before_it(before: int, reason: str) -> None:
    assert explain_position(before) == reason
