"""Connections to providers, and why they fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ftkit.catalog import find_provider
from ftkit.client.connect import account_of, connect
from ftkit.errors import ProviderError, UnknownOutcomeError, UsageError
from ftkit.jobs.spec import JobSpec, check
from support.connections import OPENAI_KEY, connect_to
from support.fake_provider import FakeProvider, error_body


@pytest.mark.parametrize("provider", ["openai", "nebius"])
def test_a_service_has_one_name_with_and_without_a_key(provider: str) -> None:
    keys = {"OPENAI_API_KEY": "k", "NEBIUS_API_KEY": "k"}
    assert account_of(provider) == connect(provider, environment=keys).account


@pytest.mark.parametrize(
    ("provider", "base_url", "message"),
    [
        ("mistral", "", "is not supported: it has its own API"),
        (
            "azure",
            "",
            r"set `base_url`, or write it under \[base-url\] in .*, e\.g\. https://RESOURCE",
        ),
        ("openai", "api.openai.com", "must be a URL"),
        ("openai", "http://[::1/v1", "must be a URL"),
        ("opnai", "", "did you mean 'openai'"),
    ],
)
def test_a_service_that_cannot_be_reached_so_says_why(
    provider: str, base_url: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        connect(provider, base_url, environment=OPENAI_KEY)


def test_what_a_service_lacks_is_said_before_anything_is_sent() -> None:
    local = find_provider("local")
    assert local.api
    spec = JobSpec("ftkit/smoke", "a.jsonl", wandb_project="mine")
    check(spec, local.api, local.title)
    api = msgspec.structs.replace(local.api, lacks=("integrations",))
    with pytest.raises(
        UsageError, match="this machine has no integrations; leave `wandb_project` out"
    ):
        check(spec, api, local.title)


def test_where_no_service_runs_on_this_machine_none_is_started_from_python(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"start one with `ftkit serve`, or set `base_url`"):
        connect("local", environment={"FTKIT_DATA_DIR": str(tmp_path)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            (401, error_body("Incorrect API key provided: sk-test")),
            "rejected the API key; check OPENAI_API_KEY",
        ),
        ((429, error_body("Rate limit reached", "rate_limit_exceeded")), "rate limit or quota"),
        (
            (403, error_body("Your organization cannot", "training_not_available")),
            "responded with 403: Your organization cannot",
        ),
        ((404, error_body("No such job")), "not found at"),
        ((200, b"<html>"), "cannot be read"),
    ],
)
def test_what_the_service_says_is_one_line_without_the_key(
    answer: Any, message: str, fake_provider: FakeProvider, provider_url: str
) -> None:
    fake_provider.refuse["GET /fine_tuning/jobs/ftjob-1"] = answer
    with pytest.raises(ProviderError, match=message) as raised:
        connect_to(provider_url).job("ftjob-1")
    assert "\n" not in str(raised.value)
    assert "sk-test" not in str(raised.value)


def test_no_connection_is_one_line() -> None:
    with pytest.raises(UnknownOutcomeError, match=r"no connection to http://127\.0\.0\.1:9/v1"):
        connect_to("http://127.0.0.1:9/v1").job("ftjob-1")


@pytest.mark.parametrize(
    "address", ["http://user:hunter2@127.0.0.1/v1", "https://", "http://127.0.0.1/v1\n"]
)
def test_an_address_with_a_password_or_none_at_all_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="base_url") as raised:
        connect("openai", address, environment=OPENAI_KEY)
    assert "hunter2" not in str(raised.value)
