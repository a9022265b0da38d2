"""Providers and keys from settings and facts files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftkit.errors import FtkitError
from support.fake_provider import FakeProvider
from support.fixture_types import Run

HOUSE = '[providers.openai.api]\nbase_url = "http://models.example/v1"\nkeys = ["NEBIUS_API_KEY"]\n'
OURS = '[providers.openai]\ntitle = "ours"\n'


@pytest.mark.parametrize(
    "command",
    [
        ["jobs", "list"],
        ["jobs", "list", "--provider", "nebius"],
        ["archive", "save", "a"],
        ["chat", "m", "hello"],
        ["models", "list"],
    ],
)
def test_facts_that_a_project_names_do_not_say_where_keys_are_sent(
    command: list[str], fake_provider: FakeProvider, ftkit: Run, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.ftkit]\nfacts = "house.toml"\n')
    (tmp_path / "house.toml").write_text(HOUSE)
    done = ftkit(*command, env={"NEBIUS_API_KEY": "sk-test", "FTKIT_PROVIDER": "openai"})
    assert done.returncode == 2
    assert (
        "names house.toml, which says where the API key of openai is sent"
        in done.stderr.splitlines()[-1]
    )
    assert not fake_provider.requests


def test_facts_that_a_project_names_hold_where_they_send_no_key(
    fake_provider: FakeProvider, ftkit: Run, clean_file: str, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.ftkit]\nfacts = "house.toml"\n')
    (tmp_path / "house.toml").write_text(OURS)
    assert ftkit("jobs", "list").returncode == 0
    (tmp_path / "house.toml").write_text(HOUSE)
    assert ftkit("validate", clean_file).returncode == 0
    (tmp_path / "house.toml").write_text(HOUSE.replace("NEBIUS", "OPENAI"))
    assert ftkit("jobs", "list", "--facts", "house.toml").returncode == 0
    assert ftkit("jobs", "list", env={"FTKIT_FACTS": "house.toml"}).returncode == 0


def test_an_address_that_is_set_for_one_provider_gets_no_key_of_another(
    fake_provider: FakeProvider, ftkit: Run
) -> None:
    done = ftkit("jobs", "list", "--provider", "azure", env={"AZURE_OPENAI_API_KEY": "sk-test"})
    assert done.returncode == 2
    assert "FTKIT_BASE_URL is for openai; it is ignored for azure" in done.stderr
    assert not fake_provider.requests
    meant = {"AZURE_OPENAI_API_KEY": "sk-test", "FTKIT_PROVIDER": "azure"}
    for command in (["jobs", "list"], ["jobs", "list", "--provider", "azure"]):
        assert ftkit(*command, env=meant).returncode == 0


def test_a_service_on_this_machine_needs_no_key(fake_provider: FakeProvider, ftkit: Run) -> None:
    fake_provider.key = "none"
    assert ftkit("jobs", "list", env={"OPENAI_API_KEY": ""}).returncode == 0
    assert "rejected the API key" in ftkit("jobs", "list").stderr


def test_providers_are_listed_with_what_they_lack(ftkit: Run) -> None:
    shown = ftkit("providers").stdout
    assert "unsupported  events, checkpoints, pause, large uploads, metadata" in shown
    assert "Mistral: not supported" in shown
    assert set(json.loads(ftkit("providers", "--output", "json").stdout)) == {
        "providers",
        "unsupported",
    }


@pytest.mark.parametrize(
    ("content", "needed", "message"),
    [
        (None, False, "none"),
        ("[keys]\nother = 'x'\n", False, "none"),
        ("[keys]\nother = 'x'\n", True, "no key for mine"),
        ("not toml", True, "cannot read"),
        ("[keys]\nmine = 7\n", True, "no key for mine"),
        ("[keys]\nmine = ' k '\n", True, "k"),
    ],
)
def test_a_key_is_found_in_the_user_s_file_or_its_absence_is_said(
    content: str | None, needed: bool, message: str, tmp_path: Path
) -> None:
    from ftkit.client.credentials import config_file, find_key

    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    if content is not None:
        path = config_file(environment)
        path.parent.mkdir()
        path.write_text(content)
        path.chmod(0o600)
    try:
        assert find_key("mine", ("MINE_API_KEY",), environment, needed) == message
    except FtkitError as problem:
        assert message in str(problem)  # noqa: PT017
