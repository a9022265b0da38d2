"""The user's own settings file, and the commands `ftkit config` and `ftkit login`."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest

from ftkit.client.key_store import store_key
from ftkit.errors import UsageError
from support.commands import run_ftkit
from support.fake_provider import FakeProvider
from support.fixture_types import Run
from support.paths import MARV
from support.recording_server import json_answer, recording_server
from support.terminal import run_in_terminal


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / ".config" / "ftkit" / "config.toml"
    path.parent.mkdir(parents=True)
    return path


def test_the_user_s_defaults_are_those_of_all_commands(
    fake_provider: FakeProvider, provider_url: str, settings_file: Path, tmp_path: Path
) -> None:
    settings_file.touch(0o600)
    settings_file.write_text(
        f'provider = "nebius"\noutput = "json"\nbase-url = "{provider_url}"\n'
        '[keys]\nnebius = "sk-test"\n'
    )
    job = fake_provider.add_job({"model": "m", "training_file": "f"})
    assert json.loads(run_ftkit("jobs", "list").stdout) == [job]
    assert json.loads(run_ftkit("validate", MARV).stdout)["provider"] == "nebius"
    (tmp_path / "pyproject.toml").write_text('[tool.ftkit]\noutput = "github"\n')
    assert not run_ftkit("validate", MARV).stdout.startswith("{")
    assert run_ftkit("jobs", "list", "--output", "text").stdout.startswith("  id")
    done = run_ftkit("jobs", "list", env={"FTKIT_PROVIDER": "openai"})
    assert (done.returncode, len(fake_provider.requests)) == (2, 2)  # the address is for nebius


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('provder = "x"', "has no setting 'provder'; did you mean 'provider'?"),
        ("provider = 3", "invalid value of provider"),
        ('output = "sk-secret"', "invalid value of output"),
        ("keys = 3", "invalid value of keys"),
        ("[keys", "TOMLDecodeError"),
    ],
)
def test_odd_settings_are_one_line_that_quotes_no_value(
    settings: str, message: str, settings_file: Path
) -> None:
    settings_file.write_text(settings)
    done = run_ftkit("validate", MARV)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert str(settings_file) in done.stderr
    assert message in done.stderr
    assert "sk-" not in done.stderr


@pytest.mark.parametrize("is_of_project", [True, False])
@pytest.mark.parametrize("command", [("validate", MARV), ("jobs", "list")])
def test_an_unknown_default_provider_is_an_error_of_its_file(
    is_of_project: bool, command: tuple[str, ...], settings_file: Path, tmp_path: Path
) -> None:
    project = tmp_path / "pyproject.toml"
    settings_file.write_text('provider = "nebbius"\n')
    if is_of_project:
        project.write_text('[tool.ftkit]\nprovider = "nebbius"\n')
    done = run_ftkit(*command)
    path = project if is_of_project else settings_file
    assert done.stderr.startswith(f"ftkit: {path}: unknown provider 'nebbius'; did you mean")
    assert done.returncode == 2
    assert "nebbius" not in run_ftkit(*command, "--provider", "nebius").stderr


def test_defaults_without_keys_may_be_readable_by_others(settings_file: Path) -> None:
    settings_file.write_text('provider = "local"\n')
    settings_file.chmod(0o644)
    assert "no key for nebius" in run_ftkit("jobs", "list", "--provider", "nebius").stderr
    settings_file.write_text('[keys]\nopenai = "sk-file"\n')
    assert "can be read by others" in run_ftkit("jobs", "list", "--provider", "nebius").stderr


def test_config_shows_where_each_setting_comes_from_and_no_key(
    settings_file: Path, tmp_path: Path
) -> None:
    settings_file.touch(0o600)
    settings_file.write_text(
        'provider = "azure"\n[keys]\nazure = "sk-secret-a"\n[base-url]\nazure = "https://a.test/v1"\n'
    )
    project = tmp_path / "pyproject.toml"
    project.write_text('[tool.ftkit]\nmodel = "m"\nignore = ["a", "b"]\n')
    variables = {"FTKIT_MAX_FINDINGS": "5", "FTKIT_TIMEOUT": "9", "NEBIUS_API_KEY": "sk-secret-b"}
    output = run_ftkit("config", "--output", "json", env=variables).stdout
    shown = json.loads(output)
    settings = {row["name"]: (row["value"], row["source"]) for row in shown["settings"]}
    assert settings["provider"] == ("azure", str(settings_file))
    assert settings["base-url"] == ("https://a.test/v1", str(settings_file))
    assert settings["model"] == ("m", str(project))
    assert settings["ignore"] == (["a", "b"], str(project))
    assert settings["max-findings"] == ("5", "FTKIT_MAX_FINDINGS")
    assert settings["timeout"] == ("9", "FTKIT_TIMEOUT")
    assert settings["output"] == ("text", "default")
    assert shown["keys"] == {"azure": str(settings_file), "nebius": "NEBIUS_API_KEY"}
    text = run_ftkit("config", env=variables).stdout
    assert "secret" not in output + text
    unset = [name for name, (value, _) in settings.items() if value is None]
    assert len(text.splitlines()) == 1 + len(settings) - len(unset) + 2 + 1
    assert text.splitlines()[-1] == f"  not set: {', '.join(unset)}"


def test_config_fits_a_terminal_with_a_settings_file_and_shows_its_path_below_the_home(
    settings_file: Path,
) -> None:
    settings_file.touch(0o600)
    settings_file.write_text('provider = "nebius"\n[keys]\nnebius = "sk-test"\n')
    _, shown = run_in_terminal("https://api.test/v1", "config", columns=80)
    lines = shown.decode().replace("\r", "").splitlines()
    rows = [line.split() for line in lines]
    assert ["provider", "nebius", "~/.config/ftkit/config.toml"] in rows
    assert ["key", "of", "nebius", "set", "~/.config/ftkit/config.toml"] in rows
    assert rows[0] == ["setting", "value", "source"]
    assert "  not set: format, model" in shown.decode()
    assert max(map(len, lines)) <= 80


def test_a_key_is_stored_after_a_request_that_shows_it_works(
    fake_provider: FakeProvider, provider_url: str, settings_file: Path, ftkit: Run
) -> None:
    settings_file.write_text("# mine\nprovider = 'nebius'  # cheap\n")
    place = ("--base-url", provider_url)
    refused = run_ftkit("login", "nebius", *place, input="sk-wrong-key\n")
    assert (refused.returncode, len(fake_provider.requests)) == (2, 1)
    assert refused.stderr == (
        "ftkit: Nebius Token Factory rejected this API key, which was not stored; create a key in"
        " the provider's console\n"
    )
    assert settings_file.read_text() == "# mine\nprovider = 'nebius'  # cheap\n"
    done = run_ftkit("login", "nebius", *place, input="\ufeffsk-test\n")
    assert (done.returncode, len(fake_provider.requests)) == (0, 2)
    assert done.stdout == (f"stored the key of Nebius Token Factory in {settings_file}\n")
    assert settings_file.read_text() == (
        "# mine\nprovider = 'nebius'  # cheap\n"
        f'\n[keys]\n"nebius" = "sk-test"\n\n[base-url]\n"nebius" = "{provider_url}"\n'
    )
    assert settings_file.stat().st_mode & 0o777 == 0o600
    assert run_ftkit("jobs", "list").returncode == 0
    assert "sk-" not in done.stdout + done.stderr + refused.stdout + refused.stderr


def test_a_key_is_typed_without_being_shown(provider_url: str, tmp_path: Path) -> None:
    code, shown = run_in_terminal(
        provider_url,
        *("login", "nebius", "--base-url", provider_url),
        answers={b"API key of Nebius Token Factory: ": b"sk-test\n"},
    )
    assert code == 0
    assert b"sk-" not in shown
    stored = tomllib.loads((tmp_path / ".config" / "ftkit" / "config.toml").read_text())
    assert stored["keys"] == {"nebius": "sk-test"}


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("", "no key was given"),
        ("a,b", "one key"),
        ("a b", "contains a space"),
        ("a" * 10_001, "longer than 10,000 characters"),
    ],
)
def test_what_is_no_key_is_refused_before_any_request(
    typed: str, message: str, fake_provider: FakeProvider, ftkit: Run
) -> None:
    done = ftkit("login", "openai", input=typed)
    assert (done.returncode, fake_provider.requests) == (2, [])
    assert message in done.stderr


def test_the_default_base_url_gets_no_key_of_a_login(
    fake_provider: FakeProvider, ftkit: Run
) -> None:
    done = ftkit("login", "azure", input="sk-test\n")
    assert "gives each user an address" in done.stderr
    assert not fake_provider.requests


def test_a_key_is_not_stored_if_another_host_responds(settings_file: Path) -> None:
    with (
        recording_server(json_answer(b'{"data": []}')) as other,
        recording_server(json_answer(b"{}", 307, Location=f"{other.url}/jobs")) as provider,
    ):
        done = run_ftkit("login", "nebius", "--base-url", f"{provider.url}/v1", input="sk-test\n")
    assert len(other.requests) == 1
    assert done.returncode == 2
    assert "comes from 127.0.0.1, which gets no API key" in done.stderr
    assert not settings_file.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        'provider = "azure"  # mine',
        '[keys]\nopenai = "old"\nx = "y"\n[base-url]\n',
        "[ keys ] # c\n  'openai' = \"old\"\n",
        '[base-url]\nopenai = "u"\n\n[keys]\n# none\n',
    ],
)
def test_storing_a_key_changes_nothing_else(text: str, settings_file: Path) -> None:
    expected = tomllib.loads(text)
    settings_file.write_text(text)
    store_key(settings_file, "openai", 'k"\\')
    expected.setdefault("keys", {})["openai"] = 'k"\\'
    assert tomllib.loads(settings_file.read_text()) == expected
    assert settings_file.read_text().count("#") == text.count("#")


@pytest.mark.parametrize("text", ['keys = {x = "y"}\n', 'provider = """\n[keys]\n"""\n'])
def test_a_file_that_cannot_be_changed_safely_is_left_alone(text: str, settings_file: Path) -> None:
    settings_file.write_text(text)
    with pytest.raises(UsageError, match="cannot be changed safely") as raised:
        store_key(settings_file, "openai", "sk-secret")
    assert "secret" not in str(raised.value)
    assert settings_file.read_text() == text


def test_a_project_cannot_say_where_a_login_sends_the_key(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    (tmp_path / "facts.toml").write_text(f'[providers.openai.api]\nbase_url = "{provider_url}"\n')
    (tmp_path / "pyproject.toml").write_text('[tool.ftkit]\nfacts = "facts.toml"\n')
    done = run_ftkit("login", "openai", input="sk-test\n")
    assert done.returncode == 2
    assert "which says where the API key of openai is sent" in done.stderr
    assert not fake_provider.requests


@pytest.mark.parametrize("arguments", ["validate x", "jobs list", "login openai"])
def test_a_pipe_is_no_settings_file(arguments: str, settings_file: Path) -> None:
    os.mkfifo(settings_file)
    done = run_ftkit(*arguments.split(), input="sk-test-key")
    assert done.returncode == 2
    assert done.stderr == f"ftkit: cannot read {settings_file}: it is not a regular file\n"
