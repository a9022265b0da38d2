"""Limits of request bodies, queries and ids of the local server."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import msgspec
import openai
import pytest

from ftkit.server.bodies import read_body
from ftkit.server.completion_bodies import ChatBody
from ftkit.server.training.messages import template_messages
from support.models import SMOKE
from support.server_requests import raw_request, upload_file

LONG = "x" * 900_000

CHAT = {"model": SMOKE, "messages": [{"role": "user", "content": "x"}]}
TEXT = {"model": SMOKE, "prompt": "x"}
PARTS = {"role": "user", "content": [{"type": "text", "text": "x"}] * 129}
JOB = {"model": SMOKE, "training_file": "file-1"}
UPLOAD = {"bytes": 1, "filename": "a.jsonl", "mime_type": "text/plain", "purpose": "fine-tune"}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("chat/completions", {**CHAT, "stop": LONG}, "stop"),
        ("chat/completions", {**CHAT, "stop": ["x" * 257]}, "stop[0]"),
        ("chat/completions", {**CHAT, "stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ("chat/completions", {**CHAT, "model": LONG}, "model"),
        ("chat/completions", {**CHAT, "user": LONG}, "user"),
        ("chat/completions", {**CHAT, "metadata": {"a": LONG}}, "metadata[...]"),
        ("chat/completions", {**CHAT, "messages": CHAT["messages"] * 2049}, "messages"),
        ("chat/completions", {**CHAT, LONG: 1}, None),
        ("chat/completions", {**CHAT, "messages": [{"role": LONG}]}, "messages[0].role"),
        ("chat/completions", {**CHAT, "messages": [PARTS]}, "messages[0].content"),
        ("completions", {**TEXT, "stop": LONG}, "stop"),
        ("fine_tuning/jobs", {**JOB, "model": LONG}, "model"),
        ("fine_tuning/jobs", {**JOB, "training_file": LONG}, "training_file"),
        ("fine_tuning/jobs", {**JOB, "validation_file": LONG}, "validation_file"),
        ("fine_tuning/jobs", {**JOB, "suffix": LONG}, "suffix"),
        ("fine_tuning/jobs", {**JOB, "metadata": {LONG: "x"}}, None),
        ("uploads", {**UPLOAD, "filename": LONG}, "filename"),
        ("uploads", {**UPLOAD, "mime_type": LONG}, "mime_type"),
        ("uploads", {**UPLOAD, "purpose": LONG}, "purpose"),
        ("uploads/upload_1/complete", {"part_ids": [LONG]}, "part_ids[0]"),
        ("uploads/upload_1/complete", {"part_ids": ["a"], "md5": LONG}, "md5"),
    ],
)
def test_a_field_that_is_too_long_is_refused_and_not_repeated(
    path: str, body: Any, param: str | None, client: openai.OpenAI
) -> None:
    start = time.monotonic()
    status, answer = raw_request(client, "POST", path, body)
    assert status == 400
    assert time.monotonic() - start < 2
    assert param is None or answer["error"]["param"] == param
    assert len(str(answer)) < 2000


@pytest.mark.parametrize("path", ["fine_tuning/jobs", "uploads", "uploads/upload_1/complete"])
def test_a_body_without_a_prompt_has_at_most_a_mebibyte(path: str, client: openai.OpenAI) -> None:
    assert raw_request(client, "POST", path, b"[" * (1 << 20) + b"[")[0] == 413


@pytest.mark.parametrize(
    "path",
    ["files/ID", "uploads/ID/cancel", "fine_tuning/jobs/ID", "models/ID", "files?after=ID"],
)
@pytest.mark.parametrize(
    "id", ["x" * 50_000, quote("é\0\\\"'😀"), "%ff%fe", "..%2f..%2fetc%2fpasswd"]
)
def test_an_odd_id_is_not_found_and_not_repeated_at_length(
    path: str, id: str, client: openai.OpenAI
) -> None:
    method = "POST" if path.endswith("cancel") else "GET"
    status, answer = raw_request(client, method, path.replace("ID", id))
    assert status == 404
    assert len(str(answer)) < 2000


@pytest.mark.parametrize("seed", [2**63, -(2**200), 10**4000])
def test_a_huge_number_is_an_error_of_the_request(seed: int, client: openai.OpenAI) -> None:
    body = b'{"model": "ftkit/smoke", "training_file": "file-1", "seed": %d}' % seed
    assert raw_request(client, "POST", "fine_tuning/jobs", body)[0] == 400


def test_text_that_is_no_unicode_is_refused(client: openai.OpenAI) -> None:
    body = b'{"model": "\\ud800", "training_file": "file-1"}'
    assert raw_request(client, "POST", "fine_tuning/jobs", body)[0] == 400
    assert raw_request(client, "POST", "completions", b'{"model": "a", "prompt": "\xff"}')[0] == 400


@pytest.mark.parametrize(
    "key", ["é", "😀", "a\\b", "\\u00e9", 'a"b', "a.b", "$", "'", "[0]", "]", "\0"]
)
def test_jobs_are_found_by_any_metadata_key(key: str, client: openai.OpenAI) -> None:
    file = upload_file(client).id
    job = client.fine_tuning.jobs.create(
        model=SMOKE, training_file=file, metadata={key: "é\\", "other": "x"}
    )
    client.fine_tuning.jobs.cancel(job.id)
    for value, count in (("é\\", 1), ("e", 0)):
        query = f"metadata[{quote(key)}]={quote(value)}&metadata[other]=x"
        status, page = raw_request(client, "GET", f"fine_tuning/jobs?{query}")
        assert (status, len(page["data"])) == (200, count)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "text"},
        {"type": "refusal", "text": "x"},
        {"type": "image_url", "text": "x"},
    ],
)
def test_a_part_that_would_be_ignored_is_refused(
    part: dict[str, Any], client: openai.OpenAI
) -> None:
    body: dict[str, Any] = {**CHAT, "messages": [{"role": "user", "content": [part]}]}
    with pytest.raises(openai.BadRequestError, match="content"):
        client.post("/chat/completions", body=body, cast_to=object)


def test_a_tool_call_in_a_prompt_keeps_its_id_as_in_training() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "result"},
    ]
    body = read_body(msgspec.json.encode({"model": SMOKE, "messages": messages}), ChatBody)
    prompt = template_messages(msgspec.to_builtins(body.messages))
    assert prompt == template_messages(messages)
