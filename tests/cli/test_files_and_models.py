"""The commands `ftkit files` and `ftkit models`."""

from __future__ import annotations

import json
from pathlib import Path

from support.fake_provider import FakeProvider, error_body
from support.fixture_types import Run


def test_files_make_the_trip_there_and_back(
    fake_provider: FakeProvider, ftkit: Run, clean_file: str, tmp_path: Path
) -> None:
    id = ftkit("files", "upload", clean_file).stdout.strip()
    assert ftkit("files", "upload", clean_file).stdout.strip() == id
    assert id in ftkit("files", "list", "--purpose", "fine-tune").stdout
    assert json.loads(ftkit("files", "show", id, "--output", "json").stdout)["id"] == id
    assert (
        f"  size     {Path(clean_file).stat().st_size:,} bytes\n"
        in ftkit("files", "show", id).stdout
    )
    assert ftkit("files", "download", id, str(tmp_path / "back")).returncode == 0
    assert (
        (tmp_path / "back").read_bytes()
        == Path(clean_file).read_bytes()
        == ftkit("files", "download", id).stdout.encode()
    )
    assert "already exists" in ftkit("files", "download", id, str(tmp_path / "back")).stderr
    output = json.loads(ftkit("files", "download", id, "other", "--output", "json").stdout)
    assert output == {"id": id, "path": "other", "bytes": Path(clean_file).stat().st_size}
    assert "needs a PATH" in ftkit("files", "download", id, "--output", "json").stderr
    assert ftkit("files", "delete", id).returncode == 2
    assert ftkit("files", "delete", id, "--yes").stdout == f"deleted {id}\n"
    assert not fake_provider.files


def test_models_are_listed_and_only_tuned_ones_deleted(
    fake_provider: FakeProvider, ftkit: Run
) -> None:
    for id in ("gpt-4o", "ft:gpt-4o:me::1"):
        fake_provider.models[id] = {
            "id": id,
            "object": "model",
            "created": 1,
            "owned_by": "me",
            "shutdown_date": "2027-01-14",
        }
    assert "2027-01-14" in ftkit("models", "list").stdout
    assert "gpt-4o " not in ftkit("models", "list", "--tuned").stdout
    assert (
        json.loads(ftkit("models", "show", "gpt-4o", "--output", "json").stdout)["shutdown_date"]
        == "2027-01-14"
    )
    assert "  shut down on  2027-01-14\n" in ftkit("models", "show", "gpt-4o").stdout
    output = json.loads(
        ftkit("models", "delete", "ft:gpt-4o:me::1", "--yes", "--output", "json").stdout
    )
    assert output == {"id": "ft:gpt-4o:me::1", "deleted": True}
    assert set(fake_provider.models) == {"gpt-4o"}


def test_a_file_beside_a_download_is_left_alone(fake_provider: FakeProvider, ftkit: Run) -> None:
    id = fake_provider.add_file("data.jsonl", b"whole")["id"]
    Path("d.part").write_text("mine", "utf-8")
    assert ftkit("files", "download", id, "d").returncode == 0
    assert (Path("d").read_bytes(), Path("d.part").read_text("utf-8")) == (b"whole", "mine")


def test_a_model_s_weights_are_not_to_be_had_everywhere(ftkit: Run, tmp_path: Path) -> None:
    result = ftkit("models", "export", "ft:mini:me::1", str(tmp_path / "out"))
    assert result.returncode == 2
    assert "does not offer model weights" in result.stderr
    assert not (tmp_path / "out").exists()


def test_names_in_a_message_of_the_provider_stay_as_they_are(
    fake_provider: FakeProvider, ftkit: Run
) -> None:
    fake_provider.refuse["GET /files"] = (400, error_body("Unknown parameter: `limit`."))
    assert "Unknown parameter: `limit`" in ftkit("files", "list").stderr
