"""Profiles of AWS: keys are used, and what only AWS's own tools can do is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.dataset.aws_profile import profile_settings
from ftkit.errors import FileError

CREDENTIALS = """
[default]
aws_access_key_id = A
aws_secret_access_key = secret

[team]
aws_access_key_id = B
aws_secret_access_key = secret
aws_session_token = token
"""

CONFIG = """
[default]
region = eu-west-1

[profile team]
region = eu-central-1
endpoint_url = https://minio.example.com

[profile login]
sso_session = company
region = us-west-2
"""

KEYS = {"AWS_ACCESS_KEY_ID": "C", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture
def files(tmp_path: Path) -> None:
    folder = tmp_path / ".aws"
    folder.mkdir()
    (folder / "credentials").write_text(CREDENTIALS)
    (folder / "config").write_text(CONFIG)


@pytest.mark.usefixtures("files")
def test_the_keys_the_region_and_the_endpoint_of_a_profile_are_used() -> None:
    assert profile_settings({}) == {
        "region": "eu-west-1",
        "access_key_id": "A",
        "secret_access_key": "secret",
    }
    assert profile_settings({"AWS_PROFILE": "team"}) == {
        "region": "eu-central-1",
        "endpoint": "https://minio.example.com",
        "access_key_id": "B",
        "secret_access_key": "secret",
        "session_token": "token",
    }


@pytest.mark.usefixtures("files")
def test_the_environment_goes_before_the_profile() -> None:
    assert profile_settings(KEYS) == {"region": "eu-west-1"}
    set_ = {"AWS_REGION": "eu-north-1", "AWS_ENDPOINT_URL": "https://other", "AWS_PROFILE": "team"}
    assert "region" not in profile_settings(set_)
    assert "endpoint" not in profile_settings(set_)
    assert profile_settings({"AWS_SKIP_SIGNATURE": "true"}) == {"region": "eu-west-1"}


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"AWS_PROFILE": "other"}, "there is no AWS profile 'other'; check AWS_PROFILE"),
        (
            {"AWS_PROFILE": "login"},
            "the AWS profile 'login' has no keys of its own; export those of its login with: "
            'eval "$(aws configure export-credentials --profile login --format env)"',
        ),
        ({"AWS_ACCESS_KEY_ID": "A"}, "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is"),
    ],
)
def test_a_profile_without_keys_is_refused(variables: dict[str, str], reason: str) -> None:
    with pytest.raises(FileError) as caught:
        profile_settings(variables)
    assert str(caught.value).startswith(reason)


def test_without_files_there_are_no_settings() -> None:
    assert profile_settings({}) == {}


def test_a_damaged_file_is_named_without_its_content(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_text("aws_secret_access_key secret")
    with pytest.raises(FileError) as caught:
        profile_settings({"AWS_SHARED_CREDENTIALS_FILE": str(path)})
    assert str(caught.value) == f"cannot read the AWS profiles in {path}; check its lines"
