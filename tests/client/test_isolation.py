"""What leaves the machine, and where to: proxies, variables of the SDK, redirects; and what comes back."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import quote, unquote

import pytest

from ftkit import _local
from ftkit.client import pagination, sdk
from ftkit.client.client import Client
from ftkit.client.connect import connect
from ftkit.client.payloads import MAX_DEPTH
from ftkit.client.resources import Job, RemoteFile
from ftkit.errors import FileError, InvalidResponseError, ProviderError, UsageError
from ftkit.jobs.export import export
from support.commands import run_ftkit
from support.fake_provider import FakeProvider
from support.recording_server import Recorder, json_answer, recording_server

JOB = b'{"id": "ftjob-1", "status": "running"}'
NAMES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """A proxy that all variables name, and that refuses to connect."""
    with recording_server(json_answer(b"{}", 502)) as recorder:
        for name in NAMES:
            monkeypatch.setenv(name, recorder.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield recorder


def open_client(address: str, provider: str = "openai", **more: str) -> Client:
    variables = {"OPENAI_API_KEY": "sk-test", "FTKIT_RETRIES": "0", "FTKIT_TIMEOUT": "2", **more}
    return connect(provider, address, environment=variables)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_not_reached_through_a_proxy(host: str, proxy: Recorder) -> None:
    with recording_server(json_answer(JOB)) as service:
        address = f"http://{host}:{service.port}/v1"
        assert open_client(address).job("ftjob-1").id == "ftjob-1"
    assert not proxy.requests


def test_a_command_sends_the_prompt_to_loopback_and_not_to_a_proxy(
    proxy: Recorder, fake_provider: FakeProvider, provider_url: str
) -> None:
    environment = {"OPENAI_API_KEY": "sk-test", "FTKIT_BASE_URL": provider_url}
    assert run_ftkit("chat", "m", "a b", env=environment).stdout == "b a \n"
    assert not proxy.requests
    assert len(fake_provider.requests) == 1


def test_the_health_check_of_the_local_service_uses_no_proxy(
    proxy: Recorder, tmp_path: Any
) -> None:
    def prove_identity(handler: BaseHTTPRequestHandler) -> None:
        proof = _local.prove("a secret", handler.path.partition("challenge=")[2])
        json_answer(json.dumps({"proof": proof}).encode())(handler)

    with recording_server(prove_identity) as service:
        _local.announce(tmp_path, f"{service.url}/v1", "a secret")
        running = _local.find_running(tmp_path)
        status = run_ftkit("serve", "--data-dir", str(tmp_path), "status").stdout
    assert running == _local.Running(os.getpid(), f"{service.url}/v1", "a secret")
    assert status.startswith("running at")
    assert not proxy.requests


def test_other_hosts_are_reached_through_the_proxy(proxy: Recorder) -> None:
    with pytest.raises(ProviderError):
        open_client("http://service.test/v1").job("ftjob-1")
    with pytest.raises(ProviderError):
        open_client("https://service.test/v1").job("ftjob-1")
    assert [request[:2] for request in proxy.requests] == [
        ("GET", "http://service.test/v1/fine_tuning/jobs/ftjob-1"),
        ("CONNECT", "service.test:443"),
    ]


@pytest.fixture
def sdk_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """All variables that the SDK reads."""
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-secret")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "admin-secret")
    monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", "hook-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/secret")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Team: secret\nAuthorization: Bearer secret")


@pytest.mark.usefixtures("sdk_variables")
def test_the_variables_of_the_sdk_are_not_sent_to_other_providers() -> None:
    with recording_server(json_answer(JOB)) as service:
        client = open_client(f"{service.url}/v1")
        client.job("ftjob-1")
        client.create({"model": "m", "training_file": "f"})
        list(client.jobs())
        list(client.permissions("m"))
    assert len(service.requests) == 4
    assert "secret" not in str(service.requests)
    assert {headers["authorization"] for _, _, headers in service.requests} == {"Bearer sk-test"}


@pytest.mark.usefixtures("sdk_variables")
def test_the_variables_of_the_sdk_are_sent_to_openai() -> None:
    with recording_server(json_answer(JOB)) as service:
        client = sdk.open_sdk("sk-test", f"{service.url}/v1", is_isolated=False)
        client.fine_tuning.jobs.retrieve("ftjob-1")
        client.close()
    headers = service.requests[0][2]
    assert (headers["openai-organization"], headers["openai-project"]) == (
        "org-secret",
        "proj-secret",
    )


@pytest.mark.parametrize(
    ("provider", "address", "is_isolated"),
    [
        ("openai", "", False),
        ("openai", "https://eu.api.openai.com/v1", False),
        ("openai", "https://api.openai.com.evil.test/v1", True),
        ("openai", "https://evilapi.openai.com/v1", True),
        ("openai", "http://api.openai.com/v1", True),
        ("nebius", "", True),
        ("nebius", "https://api.openai.com/v1", True),
    ],
)
def test_only_openai_gets_the_variables(provider: str, address: str, is_isolated: bool) -> None:
    keys = {"OPENAI_API_KEY": "k", "NEBIUS_API_KEY": "k"}
    client = connect(provider, address, environment=keys)
    assert isinstance(client._client, sdk.IsolatedSdk) == is_isolated


def redirect(target: str, status: int = 307) -> Any:
    return json_answer(b"{}", status, Location=target)


def test_a_redirect_to_another_host_carries_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Team: secret")
    with (
        recording_server(json_answer(JOB)) as other,
        recording_server(redirect(f"{other.url}/stolen")) as service,
    ):
        client = open_client(f"{service.url}/v1")
        assert client.job("ftjob-1").id == "ftjob-1"
        (_, path, headers) = other.requests[0]
        assert path == "/stolen"
        assert "sk-test" not in str(headers)
        assert set(headers) <= set(sdk.CROSS_ORIGIN_HEADERS)
        with pytest.raises(InvalidResponseError, match=r"redirects the request to 127\.0\.0\.1"):
            client.create({"model": "m", "training_file": "f"})
        assert len(other.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_does_not_turn_the_creation_of_a_job_into_a_get(status: int) -> None:
    with recording_server(redirect("/v1/other", status)) as service:
        with pytest.raises(InvalidResponseError, match=r"redirects"):
            open_client(f"{service.url}/v1").create({"model": "m", "training_file": "f"})
        assert [method for method, _, _ in service.requests] == ["POST"]


def test_redirects_end() -> None:
    with recording_server(redirect("/v1/again")) as service:
        with pytest.raises(InvalidResponseError, match="redirects more than 5 times"):
            open_client(f"{service.url}/v1").job("ftjob-1")
        assert len(service.requests) == 6


def send_endlessly(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 65536)


def send_slowly(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


def test_an_endless_response_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk, "MAX_RESPONSE", 1 << 20)
    with (
        recording_server(send_endlessly) as service,
        pytest.raises(InvalidResponseError, match="longer than 1,048,576 bytes"),
    ):
        open_client(f"{service.url}/v1").job("ftjob-1")


def test_a_compressed_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk, "MAX_RESPONSE", 1 << 20)
    bomb = gzip.compress(bytes(32 << 20))
    for encoding, message in (("gzip", "longer than"), ("zstd", "encoding"), ("gzip, gzip", "enc")):
        with (
            recording_server(json_answer(bomb, Content_Encoding=encoding)) as service,
            pytest.raises(InvalidResponseError, match=message),
        ):
            open_client(f"{service.url}/v1").job("ftjob-1")


def test_a_response_that_drips_is_refused() -> None:
    with recording_server(send_slowly) as service:
        client = open_client(f"{service.url}/v1", FTKIT_TIMEOUT="0.5")
        begun = time.monotonic()
        with pytest.raises(InvalidResponseError, match=r"takes longer than 0\.5 s"):
            client.job("ftjob-1")
        with pytest.raises(InvalidResponseError, match=r"takes longer than 0\.5 s"):
            list(client.chat("m", [{"role": "user", "content": "a"}]))
        assert time.monotonic() - begun < 5


def drip_file(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/octet-stream")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b"a")
        handler.wfile.flush()
        time.sleep(0.1)


def test_a_download_that_drips_is_refused() -> None:
    with recording_server(drip_file) as service:
        client = open_client(f"{service.url}/v1", "local", FTKIT_TIMEOUT="0.5")
        begun = time.monotonic()
        with pytest.raises(InvalidResponseError, match=r"takes longer than 0\.5 s"):
            client.content("file-1")
        with pytest.raises(InvalidResponseError, match=r"takes longer than 0\.5 s"):
            client.adapter_file("ft:m:o::1", "adapter_config.json")
        assert time.monotonic() - begun < 5


def test_a_download_may_take_longer_than_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk, "PROGRESS", 2)

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(8):
            handler.wfile.write(b"a")
            handler.wfile.flush()
            time.sleep(0.1)

    with recording_server(send) as service:
        client = open_client(f"{service.url}/v1", FTKIT_TIMEOUT="0.5")
        assert client.content("file-1") == b"a" * 8


def test_a_response_that_announces_too_many_bytes_is_refused_at_once() -> None:
    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        handler.wfile.write(b"a")

    with recording_server(send) as service:
        client = open_client(f"{service.url}/v1", "local")
        for request in (
            lambda: client.content("file-1"),
            lambda: client.adapter_file("ft:m:o::1", "adapter_config.json"),
            lambda: client.job("ftjob-1"),
        ):
            with pytest.raises(InvalidResponseError, match="longer than"):
                request()


def test_an_id_that_is_too_long_for_a_url_is_an_error() -> None:
    with recording_server(json_answer(JOB)) as service:
        client = open_client(f"{service.url}/v1")
        with pytest.raises(UsageError, match=r"has no valid URL \(URL too long\)") as error:
            client.file("x" * 70_000)
        assert len(str(error.value)) < 1_000
        assert not service.requests


def test_a_list_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagination, "MAX_PAGES", 5)
    numbers = itertools.count()

    def page(handler: BaseHTTPRequestHandler) -> None:
        json_answer(b'{"data": [{"id": "%d"}], "has_more": true}' % next(numbers))(handler)

    with (
        recording_server(page) as service,
        pytest.raises(InvalidResponseError, match="does not end after 5 pages"),
    ):
        list(open_client(f"{service.url}/v1").jobs())


def test_a_list_whose_pages_repeat_ends() -> None:
    ids = itertools.cycle("abc")

    def page(handler: BaseHTTPRequestHandler) -> None:
        json_answer(b'{"data": [{"id": "%s"}], "has_more": true}' % next(ids).encode())(handler)

    with recording_server(page) as service:
        assert [job.id for job in open_client(f"{service.url}/v1").jobs()] == ["a", "b", "c"]


@pytest.mark.parametrize("value", ["0", "-1", "nan", "x", "inf", "86401"])
def test_the_timeout_is_a_positive_number_of_seconds(value: str) -> None:
    message = f"FTKIT_TIMEOUT must be a number of seconds above 0, up to 86,400, not '{value}'"
    with pytest.raises(UsageError, match=message):
        open_client("http://127.0.0.1:9/v1", FTKIT_TIMEOUT=value)
    open_client("http://127.0.0.1:9/v1", FTKIT_TIMEOUT="86400")


@pytest.mark.parametrize("value", ["-1", "1.5", "nan", "x", "101", "9" * 5000])
def test_the_number_of_retries_is_a_whole_number(value: str) -> None:
    with pytest.raises(UsageError, match="FTKIT_RETRIES must be a whole number from 0 to 100, not"):
        open_client("http://127.0.0.1:9/v1", FTKIT_RETRIES=value)
    open_client("http://127.0.0.1:9/v1", FTKIT_RETRIES="100")


def test_retries_can_be_turned_off() -> None:
    for retries, count in (("0", 1), ("1", 2)):
        with recording_server(json_answer(b"{}", 500)) as service:
            with pytest.raises(ProviderError):
                open_client(f"{service.url}/v1", FTKIT_RETRIES=retries).job("ftjob-1")
            assert len(service.requests) == count


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "no"}}',
        b"[" * 5000 + b"]" * 5000,
        b'{"id": "a", "x": ' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"id": "\\ud800"}',
        b'{"id": 5}',
        b"[]",
        b"null",
        b"\xff",
        b"",
    ],
)
def test_what_is_no_resource_is_refused(body: bytes) -> None:
    message = {"role": "user", "content": "a"}
    with recording_server(json_answer(body)) as service:
        client = open_client(f"{service.url}/v1")
        with pytest.raises(InvalidResponseError):
            client.job("ftjob-1")
        with pytest.raises(InvalidResponseError):
            client.act("ftjob-1", "cancel")
        with pytest.raises(InvalidResponseError):
            client.chat_completion("m", [message])
        with pytest.raises(InvalidResponseError):
            list(client.chat("m", [message]))
        if body:
            with pytest.raises(InvalidResponseError):
                client.delete_file("file-1")


def test_a_list_holds_jobs_that_are_nested_up_to_the_limit() -> None:
    """The archive stores what it can of them, and the other jobs."""
    deep = b"[" * (MAX_DEPTH - 3) + b"]" * (MAX_DEPTH - 3)
    body = b'{"data": [{"id": "a", "x": ' + deep + b'}, {"id": "b"}]}'
    with recording_server(json_answer(body)) as service:
        assert [job.id for job in open_client(f"{service.url}/v1").jobs()] == ["a", "b"]
        done = run_ftkit(
            *("jobs", "list", "--base-url", f"{service.url}/v1", "--output", "json"),
            env={"OPENAI_API_KEY": "sk-test"},
        )
        assert json.loads(done.stdout) == json.loads(body)["data"]


def test_ids_stay_as_they_are_and_texts_are_made_printable() -> None:
    """With a question mark in place of half of a surrogate pair, it would be another id."""
    odd = "a\ud83d"
    job = Job.read({"id": odd, "training_file": odd, "result_files": [odd], "status": odd})
    assert (job.id, job.training_file, job.result_files) == (odd, odd, (odd,))
    assert job.status == "a?"
    file = RemoteFile.read({"id": odd, "filename": odd})
    assert (file.id, file.name) == (odd, "a?")


def test_an_answer_about_another_job_or_file_is_refused() -> None:
    with recording_server(json_answer(JOB)) as service:
        client = open_client(f"{service.url}/v1")
        for request in (client.job, client.file, lambda job: client.act(job, "cancel")):
            assert request("ftjob-1").id == "ftjob-1"
            with pytest.raises(InvalidResponseError, match="it has the id 'ftjob-1'"):
                request("ftjob-2")


HOSTILE_IDS = ("a?b", "a#b", "a/../b", "..", ".", "a%2fb", "ü/日本", "a b", "a\nb", "a&b=c", "\\")


@pytest.mark.parametrize("id", HOSTILE_IDS)
def test_an_id_is_one_segment_of_the_path(id: str) -> None:
    with recording_server(json_answer(b'{"id": "x", "deleted": true}')) as service:
        client = open_client(f"{service.url}/v1")
        requests = [
            lambda: client.job(id),
            lambda: client.act(id, "cancel"),
            lambda: list(client.events(id)),
            lambda: list(client.checkpoints(id)),
            lambda: client.file(id),
            lambda: client.content(id),
            lambda: list(client.iter_content(id)),
            lambda: client.delete_file(id),
            lambda: client.model(id),
            lambda: client.delete_model(id),
        ]
        for request in requests:
            try:
                request()
            except InvalidResponseError as error:
                # The SDK refuses dots; the resource has another id.
                assert id in (".", "..") or "has the id 'x'" in str(error)  # noqa: PT017
    for _, path, _ in service.requests:
        assert path.count("/") <= 5
        assert not {"?", "#", " "} & set(path.partition("?limit=")[0])
        assert "/../" not in f"{path}/"
    assert id in (".", "..") or len(service.requests) == 10


def test_an_empty_id_is_an_error_of_the_user() -> None:
    with pytest.raises(UsageError, match="must not be empty"):
        open_client("http://127.0.0.1:9/v1").job("")


def test_an_id_that_is_no_text_is_an_error_of_the_user() -> None:
    with pytest.raises(UsageError, match="not valid text"):
        list(open_client("http://127.0.0.1:9/v1").jobs(after="a\udcff"))


@pytest.mark.parametrize("name", ["ft:a?b#c::1", "ft:a/../b::1", "ft:ü::1"])
def test_a_model_of_any_name_is_exported_and_nothing_else_is_touched(
    name: str, tmp_path: Any
) -> None:
    base = "org/日本 %41?"
    answer = json_answer(b"{}", X_Ftkit_Base=quote(base))
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "mine").write_text("mine")
    with recording_server(answer) as service:
        client = connect("local", f"{service.url}/v1", environment={})
        assert export(client, name, tmp_path / "out") == base
        with pytest.raises(FileError, match="already exists"):
            export(client, name, tmp_path / "out")
    paths = [path for _, path, _ in service.requests]
    assert [unquote(path.rpartition("/")[2]) for path in paths] == [name] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.part"]
    assert (tmp_path / "out.part" / "mine").read_text() == "mine"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2.5", 2.5), ("-1", 0), ("nan", 0), ("inf", 0), ("x", 0), ("", 0), ("1e9", 1e9)],
)
def test_an_odd_delay_counts_as_none(value: str, seconds: float) -> None:
    with recording_server(json_answer(b"{}", 429, Retry_After=value)) as service:
        with pytest.raises(ProviderError) as raised:
            open_client(f"{service.url}/v1").job("ftjob-1")
        assert raised.value.wait == seconds


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:9"),
        ("HTTP_PROXY", "foo://127.0.0.1:9"),
        ("SSL_CERT_FILE", "/nonexistent"),
    ],
)
def test_unusable_proxies_and_certificates_are_errors_of_the_user(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=r"proxies .* or certificates .* of the environment"):
        open_client("http://127.0.0.1:9/v1")


def test_a_file_with_a_damaged_compression_is_one_error() -> None:
    answer = json_answer(b"not gzip", Content_Encoding="gzip")
    with (
        recording_server(answer) as service,
        pytest.raises(
            InvalidResponseError, match=r"cannot read the file file-1: .* cannot be read"
        ),
    ):
        open_client(f"{service.url}/v1").content("file-1")
