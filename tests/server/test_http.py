"""Requests and responses of the local server."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import FileObject, Model, Upload
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.uploads import UploadPart

from ftkit.server.bodies import read_body
from ftkit.server.completion_bodies import ChatBody
from ftkit.server.errors import InvalidRequestError, ServiceError
from ftkit.server.folder import Writer
from ftkit.server.multipart import Form, read_form
from support.local_server import LocalServer
from support.models import SMOKE
from support.property_tests import example_count
from support.server_requests import raw_request, upload_file


def test_objects_are_those_of_openai_s_published_types(client: openai.OpenAI) -> None:
    file = upload_file(client)
    job = client.fine_tuning.jobs.create(model=SMOKE, training_file=file.id, metadata={"team": "a"})
    upload = client.uploads.create(
        bytes=1, filename="a.jsonl", mime_type="application/jsonl", purpose="fine-tune"
    )
    part = client.uploads.parts.create(upload.id, data=b"x")
    events = client.fine_tuning.jobs.list_events(job.id).data
    for kind, value in (
        (FileObject, file),
        (FineTuningJob, job),
        (Upload, upload),
        (UploadPart, part),
        (Model, client.models.retrieve(SMOKE)),
    ):
        kind.model_validate(value.to_dict(), strict=True)
    assert events
    for event in events:
        FineTuningJobEvent.model_validate(event.to_dict(), strict=True)
    client.fine_tuning.jobs.cancel(job.id)


@pytest.mark.parametrize(
    "path",
    [
        "evals",
        "fine_tuning/checkpoints/c/permissions",
        "files/a/b/c",
        "fine_tuning/jobs/x/nonsense",
    ],
)
def test_what_is_not_there_answers_in_openai_s_shape(path: str, client: openai.OpenAI) -> None:
    status, answer = raw_request(client, "GET", path)
    assert status in (404, 405)
    assert set(answer["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "path",
    [
        "embeddings",
        "moderations",
        "images/generations",
        "audio/speech",
        "audio/transcriptions",
        "batches",
        "assistants",
        "vector_stores",
        "realtime/sessions",
        "responses/input_tokens",
        "responses/compact",
    ],
)
def test_an_endpoint_that_is_not_there_names_those_that_are(
    path: str, client: openai.OpenAI
) -> None:
    status, answer = raw_request(client, "POST", path, {})
    error = answer["error"]
    assert (status, error["code"]) == (404, "unknown_url")
    assert error["message"] == (
        f"Unknown request URL: POST /v1/{path}. This service fine-tunes models and answers with"
        " them. It has /v1/files, /v1/uploads, /v1/fine_tuning/jobs, /v1/models,"
        " /v1/chat/completions, /v1/completions and /v1/responses."
    )


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    for name in ("gpt-4o", "ft:none"):
        with pytest.raises(openai.NotFoundError) as error:
            client.models.retrieve(name)
        assert (error.value.code, error.value.param) == ("model_not_found", "model")


def test_fields_of_files_without_a_value_are_left_out(client: openai.OpenAI) -> None:
    id = upload_file(client).id
    (file,) = raw_request(client, "GET", "files?limit=1")[1]["data"]
    for document in (file, raw_request(client, "GET", f"files/{id}")[1]):
        assert document["id"] == id
        assert None not in document.values()


REQUEST_ID = re.compile("req_[A-Za-z0-9]{32}")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "v1/models", {}, 200),
        ("GET", "health", {}, 200),
        ("POST", "v1/chat/completions", {}, 400),
        ("GET", "v1/models", {"Host": "evil.example"}, 403),
        ("GET", "v1/none", {}, 404),
        ("DELETE", "v1/files", {}, 405),
    ],
)
def test_every_response_has_an_id(
    method: str, path: str, headers: dict[str, str], status: int, client: openai.OpenAI
) -> None:
    import httpx

    address = str(client.base_url).removesuffix("v1/") + path
    ids = []
    for _ in range(2):
        sent = {"x-request-id": "mine", "x-client-request-id": "mine", **headers}
        response = httpx.request(method, address, headers=sent, timeout=60)
        assert response.status_code == status
        ids += response.headers.get_list("x-request-id")
    assert len(set(ids)) == 2
    assert all(REQUEST_ID.fullmatch(id) for id in ids)


def test_a_response_to_what_is_not_http_has_an_id(local_server: LocalServer) -> None:
    address = urlsplit(local_server.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        response = connection.makefile("rb").read().decode()
    assert response.startswith("HTTP/1.1 400 Bad Request\r\n")
    assert REQUEST_ID.search(response)


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000, b'{"model": 1}'])
def test_a_body_that_is_no_request_is_refused(body: bytes, client: openai.OpenAI) -> None:
    status, answer = raw_request(client, "POST", "fine_tuning/jobs", body)
    assert status == 400
    assert answer["error"]["message"]


def test_a_body_without_end_is_refused(client: openai.OpenAI) -> None:
    assert (
        raw_request(client, "POST", "chat/completions", b'{"model": "' + b"x" * (17 << 20))[0]
        == 413
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1:evil.example"},
        {"Host": "127.0.0.1:evil.example:8642"},
        {"Host": "127.0.0.1:"},
        {"Host": "127.0.0.1@evil.example"},
        {"Host": "127.0.0.1 evil.example"},
        {"Host": "[::1].evil.example"},
        {"Host": "[::1]evil]"},
        {"Host": ""},
        {"Origin": "https://evil.example"},
        {"Origin": "https://127.0.0.1.evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://["},
        {"Origin": "evil://127.0.0.1"},
    ],
)
def test_a_page_of_another_origin_is_not_answered(
    headers: dict[str, str], client: openai.OpenAI
) -> None:
    import httpx

    base = str(client.base_url)
    for address in (f"{base}models", base.replace("/v1/", "/health")):
        answer = httpx.get(address, headers=headers, timeout=60)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "LocalHost:65535", "[::1]:8642"])
def test_names_of_this_machine_are_answered(host: str, client: openai.OpenAI) -> None:
    import httpx

    assert (
        httpx.get(f"{client.base_url}models", headers={"Host": host}, timeout=60).status_code == 200
    )


def test_a_form_of_many_fields_or_headers_is_refused() -> None:
    form = Form(None, 100)  # type: ignore[arg-type]
    for _ in range(32):
        form.on_part_begin()
        form.on_header_end()
    with pytest.raises(InvalidRequestError, match="more than 32 fields"):
        form.on_part_begin()
    for _ in range(31):
        form.on_header_end()
    with pytest.raises(InvalidRequestError, match="more than 32 headers"):
        form.on_header_end()


@pytest.mark.parametrize(
    "query",
    [
        "limit=" + "9" * 5000,
        "limit=0",
        "order=up",
        "&".join(f"metadata[{number}]=x" for number in range(17)),
        "&".join(f"metadata[{number}]=x" for number in range(3000)),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(query: str, client: openai.OpenAI) -> None:
    status, body = raw_request(client, "GET", f"fine_tuning/jobs?{query}")
    assert (status, body["error"]["type"]) == (400, "invalid_request_error")


def test_what_fails_unforeseen_has_openai_s_shape_too(
    client: openai.OpenAI, local_server: LocalServer
) -> None:
    file = upload_file(client, b'{"only": "once"}')
    next(
        path
        for path in local_server.folder.rglob("blobs/*/*")
        if path.read_bytes() == b'{"only": "once"}'
    ).unlink()
    assert raw_request(client, "GET", f"files/{file.id}/content")[0] == 500
    assert (
        raw_request(client, "GET", f"files/{file.id}/content")[1]["error"]["type"] == "server_error"
    )
    with pytest.raises(openai.InternalServerError) as error:
        client.files.content(file.id)
    assert error.value.request_id
    assert REQUEST_ID.fullmatch(error.value.request_id)


@given(st.binary(max_size=300), st.lists(st.integers(1, 400), max_size=6))
@settings(max_examples=example_count(60))
def test_a_form_is_read_however_it_is_cut(content: bytes, cuts: list[int]) -> None:
    import asyncio
    import tempfile

    body = (
        b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
        + content
        + b"\r\n--x--\r\n"
    )
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]

    async def chunks() -> Any:
        for start, end in itertools.pairwise(places):
            yield body[start:end]

    with tempfile.TemporaryDirectory() as folder, Writer(Path(folder) / "new") as writer:
        if b"\r\n--x" in content:
            return
        form = asyncio.run(read_form("multipart/form-data; boundary=x", chunks(), writer, 1000))
        assert form.fields == {"purpose": "fine-tune"}
        assert form.file_name == "a.jsonl"
        writer.finish()
        assert writer.path.read_bytes() == content


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["model", "messages", "n", "stop", "seed", "x"]), inner, max_size=4
            )
        ),
    )
)
def test_any_body_is_read_or_refused(value: Any) -> None:
    with contextlib.suppress(ServiceError):
        assert read_body(json.dumps(value).encode(), ChatBody).messages
