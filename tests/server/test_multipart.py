"""Forms with files: their headers."""

from __future__ import annotations

import contextlib
import time

import openai
import pytest

from ftkit.server.errors import InvalidRequestError
from ftkit.server.multipart import parse_header

FORM = (
    b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    b"--x\r\nContent-Disposition: form-data; %s\r\n\r\n{}\r\n--x--\r\n"
)


def post(
    client: openai.OpenAI, disposition: bytes, content_type: str = "multipart/form-data; boundary=x"
) -> tuple[int, str]:
    """Return the status, and the file name or the message of the error."""
    import httpx

    response = httpx.post(
        f"{client.base_url}files",
        content=FORM % disposition,
        headers={"Content-Type": content_type},
        timeout=20,
    )
    answer = response.json()
    return response.status_code, answer.get("filename") or answer["error"]["message"]


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b'name="file"; filename="a.jsonl"', "a.jsonl"),
        (b"name=file; filename=a.jsonl", "a.jsonl"),
        (b"name=file; filename=my file.jsonl", "my file.jsonl"),
        (b'NAME="file" ; FileName = "a;b.jsonl" ;', "a;b.jsonl"),
        (b'name="file"; filename="a\\"b\\\\c.jsonl"', 'a"b\\c.jsonl'),
        (b'name="file"; filename="C:\\data.jsonl"', "C:\\data.jsonl"),
        ('name="file"; filename="é.jsonl"'.encode(), "é.jsonl"),
        (b"name=\"file\"; filename*=UTF-8''%C3%A9%20b.jsonl", "é b.jsonl"),
        (b'name="file"; filename="a"; filename*=utf-8\'en\'b.jsonl', "b.jsonl"),
        (b"name=\"file\"; filename*=iso-8859-1''%E9.jsonl", "é.jsonl"),
        (b"name=\"file\"; filename*=utf-8''%FF.jsonl", "\N{REPLACEMENT CHARACTER}.jsonl"),
        (b'name="file"; filename="first"; filename="second"', "first"),
    ],
)
def test_a_file_name_is_read_as_clients_write_it(
    disposition: bytes, name: str, client: openai.OpenAI
) -> None:
    assert post(client, disposition) == (200, name)


@pytest.mark.parametrize(
    "disposition",
    [
        b'name="file"; filename*0=a; filename*1=b',
        b"name=\"file\"; filename*=utf-8''a; filename*0=b",
        b"name=\"file\"; filename*0*=utf-8''a; filename*1=b; filename*=c",
        b'name="file"; filename*=a',
        b"name=\"file\"; filename*=''a",
        b"name=\"file\"; filename*=none''a",
        b"name=\"file\"; filename*=idna''a",
        b'name="file"; filename="a',
        b'name="file"; filename="a\\"',
        b'name="file"; ="a"; filename="b"',
        b'name="file"; filename',
        b'name="file"; filename="a"b"',
        b'name="file"; filename="' + b"a" * 9000 + b'"',
        b"; " * 3000 + b'name="file"',
    ],
)
def test_a_file_name_that_is_malformed_is_refused(
    disposition: bytes, client: openai.OpenAI
) -> None:
    assert post(client, disposition)[0] == 400


@pytest.mark.parametrize(
    "parameters",
    [
        '; a="' + ";" * 60_000,
        "; a" * 20_000,
        '; a="' * 12_000,
        "; boundary=" + "x" * 60_000,
        '; a="' + "\\" * 60_000,
    ],
)
def test_a_long_content_type_is_refused_at_once(parameters: str, client: openai.OpenAI) -> None:
    start = time.monotonic()
    assert post(client, b'name="file"', f"multipart/form-data{parameters}")[0] == 400
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "x" * 71,
        "multipart/mixed; boundary=x",
        "application/json",
    ],
)
def test_a_body_that_is_no_form_is_refused(content_type: str, client: openai.OpenAI) -> None:
    assert post(client, b'name="file"', content_type)[0] == 400


@pytest.mark.parametrize("piece", ['; a="', '; a="b" ', '; a="\\', "; a=b", ";", " ", '"', "\\"])
def test_a_header_is_parsed_in_linear_time(piece: str) -> None:
    def duration(length: int) -> float:
        header = ("form-data" + piece * length)[:length]
        start = time.perf_counter()
        for _ in range(20):
            with contextlib.suppress(InvalidRequestError):
                parse_header(header)
        return time.perf_counter() - start

    assert duration(8000) < 0.5
