"""Files of the local server."""

from __future__ import annotations

import io
from typing import Any

import openai
import pytest

from support.fixture_types import Write
from support.local_server import LocalServer
from support.models import SMOKE
from support.server_requests import CLEAN_DATA, upload_file


def test_a_file_makes_the_trip_there_and_back(client: openai.OpenAI) -> None:
    file = upload_file(client)
    assert (file.bytes, file.filename, file.status, file.purpose) == (
        len(CLEAN_DATA),
        "data.jsonl",
        "processed",
        "fine-tune",
    )
    assert client.files.content(file.id).read() == CLEAN_DATA
    assert client.files.retrieve(file.id).id == file.id
    assert file.id in [listed.id for listed in client.files.list(purpose="fine-tune")]
    assert file.id not in [listed.id for listed in client.files.list(purpose="batch")]
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError) as error:
        client.files.content(file.id)
    assert error.value.body["message"] == f"No such File object: {file.id}"  # type: ignore[index]


@pytest.mark.parametrize(
    ("range", "part"),
    [
        ("bytes=2-4", slice(2, 5)),
        ("bytes=5-", slice(5, None)),
        ("bytes=5-999999999", slice(5, None)),
        ("bytes=-5", slice(-5, None)),
        (f"bytes=-{len(CLEAN_DATA) - 1}", slice(1, None)),
    ],
)
def test_a_part_of_a_file_is_sent(range: str, part: slice, client: openai.OpenAI) -> None:
    file = upload_file(client)
    response = client.files.with_raw_response.content(file.id, extra_headers={"Range": range})
    assert (response.status_code, response.content) == (206, CLEAN_DATA[part])


@pytest.mark.parametrize(
    "range", ["bytes=-0", "bytes=-999999", "bytes=999999-", "bytes=4-2", "bytes=0-0,2-3", "bytes=-"]
)
def test_a_file_is_sent_whole_if_the_range_is_none_of_its_parts(
    range: str, client: openai.OpenAI
) -> None:
    file = upload_file(client)
    response = client.files.with_raw_response.content(file.id, extra_headers={"Range": range})
    assert (response.status_code, response.content) == (200, CLEAN_DATA)


def test_no_browser_shows_a_file_or_runs_it_as_a_script(client: openai.OpenAI) -> None:
    file = upload_file(client, b"document.title = 1")
    headers = client.files.with_raw_response.content(file.id).headers
    assert headers["content-disposition"] == "attachment"
    assert headers["content-security-policy"] == "sandbox"
    assert headers["x-content-type-options"] == "nosniff"


def test_deleting_a_file_leaves_another_with_the_same_content(client: openai.OpenAI) -> None:
    one, two = upload_file(client), upload_file(client, name="other.jsonl")
    client.files.delete(one.id)
    assert client.files.content(two.id).read() == CLEAN_DATA


@pytest.mark.parametrize(
    "name",
    [
        "../../x.jsonl",
        "/etc/passwd.jsonl",
        "a" * 400 + ".jsonl",
        "ünïcode \N{PILE OF POO}.jsonl",
        "CON.jsonl",
    ],
)
def test_a_file_s_name_is_kept_and_never_a_path(
    name: str, client: openai.OpenAI, local_server: LocalServer
) -> None:
    file = upload_file(client, name=name)
    assert file.filename.endswith(".jsonl")
    assert client.files.content(file.id).read() == CLEAN_DATA
    assert not [
        path
        for path in local_server.folder.rglob("*")
        if path.name.endswith(".jsonl") and path.parent.parent.name != "jobs"
    ]


@pytest.mark.parametrize(
    ("upload", "param", "message"),
    [
        ({"file": ("data.txt", CLEAN_DATA), "purpose": "fine-tune"}, "file", "Must be .jsonl"),
        ({"file": ("data.jsonl", b""), "purpose": "fine-tune"}, "file", "empty"),
        (
            {"file": ("data.jsonl", CLEAN_DATA), "purpose": "nonsense"},
            "purpose",
            "'nonsense' is not one of",
        ),
    ],
)
def test_a_bad_upload_is_refused_in_the_service_s_words(
    upload: Any, param: str, message: str, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client.files.create(**upload)
    assert error.value.param == param
    assert message in error.value.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--x",
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{}',
    ],
)
def test_a_form_that_is_cut_off_is_refused_and_leaves_nothing(
    body: bytes, client: openai.OpenAI, local_server: LocalServer
) -> None:
    before = sorted(local_server.folder.rglob("*"))
    import httpx

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = httpx.post(f"{client.base_url}files", content=body, headers=kind, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert sorted(local_server.folder.rglob("*")) == before


def test_uploads_come_from_streams_too(client: openai.OpenAI) -> None:
    file = client.files.create(file=("s.jsonl", io.BytesIO(CLEAN_DATA)), purpose="fine-tune")
    assert file.bytes == len(CLEAN_DATA)


def test_a_file_of_a_user_is_no_job_s_business(client: openai.OpenAI, write: Write) -> None:
    file = client.files.create(file=("notes.txt", b"hello"), purpose="user_data")
    with pytest.raises(openai.BadRequestError) as error:
        client.fine_tuning.jobs.create(model=SMOKE, training_file=file.id)
    assert error.value.code == "invalid_file_purpose"
