"""Requests of the client, one by one."""

from __future__ import annotations

import datetime
import json
from typing import Any

import httpx
import pytest
import respx

from ftkit.client.resources import Event, Job, RemoteFile, RemoteModel
from ftkit.errors import NotFoundError, ProviderError, UnknownOutcomeError, UsageError
from support.api_requests import REQUESTS
from support.mock_transport import JOB, list_body, mock_service

"""For each kind of request its method and path, the answer, the call, and what the call gives."""


@pytest.mark.parametrize("kind", REQUESTS)
def test_each_request_is_sent_once_to_its_path_with_the_key(
    kind: str, router: respx.MockRouter
) -> None:
    method, path, answer, ask, gives = REQUESTS[kind]
    route = router.route(method=method, url=path).respond(200, json=answer)
    assert ask(mock_service(router)) == gives
    assert route.call_count == 1
    assert route.calls[0].request.headers["Authorization"] == "Bearer sk-test"


BODIES: dict[str, Any] = {
    "create": {"model": "m", "training_file": "file-1", "seed": 1},
    "upload": {
        "bytes": 3,
        "filename": "a.jsonl",
        "mime_type": "application/jsonl",
        "purpose": "fine-tune",
    },
    "completion": {"part_ids": ["part_1"]},
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_holds_what_was_asked_and_no_more(kind: str, router: respx.MockRouter) -> None:
    method, path, answer, ask, _ = REQUESTS[kind]
    route = router.route(method=method, url=path).respond(200, json=answer)
    ask(mock_service(router))
    assert json.loads(route.calls[0].request.content) == BODIES[kind]


def test_azure_gets_a_body_with_a_cancel(router: respx.MockRouter) -> None:
    route = router.post("/fine_tuning/jobs/ftjob-1/cancel").respond(200, json=JOB)
    mock_service(router, "azure").act("ftjob-1", "cancel")
    assert json.loads(route.calls[0].request.content) == {}


def test_a_list_asks_for_the_next_page_after_the_last_item(router: respx.MockRouter) -> None:
    pages = [{**list_body({**JOB, "id": "ftjob-2"}), "has_more": True}, list_body(JOB)]
    route = router.get("/fine_tuning/jobs").mock(
        side_effect=[httpx.Response(200, json=page) for page in pages]
    )
    assert [job.id for job in mock_service(router).jobs(metadata={"a": "b"})] == [
        "ftjob-2",
        "ftjob-1",
    ]
    asked = [dict(call.request.url.params) for call in route.calls]
    assert asked == [
        {"limit": "100", "metadata[a]": "b"},
        {"limit": "100", "metadata[a]": "b", "after": "ftjob-2"},
    ]


TROUBLES: dict[str, tuple[Any, type[ProviderError], str]] = {
    "401": (
        httpx.Response(401, json={"error": {"message": "Incorrect API key provided: sk-test"}}),
        ProviderError,
        "rejected the API key",
    ),
    "404": (
        httpx.Response(404, json={"error": {"message": "No such thing"}}),
        NotFoundError,
        "not found at OpenAI (No such thing)",
    ),
    "429": (
        httpx.Response(429, json={"error": {"message": "Slow down"}}),
        ProviderError,
        "rate limit or quota of OpenAI exceeded",
    ),
    "500": (
        httpx.Response(500, json={"error": {"message": "Oops"}}),
        UnknownOutcomeError,
        "responded with 500: Oops",
    ),
    "a page of HTML": (
        httpx.Response(502, text="<html>\n<h1>Bad gateway</h1>"),
        UnknownOutcomeError,
        "responded with 502",
    ),
    "an error that is no object": (
        httpx.Response(400, json=["no"]),
        ProviderError,
        "responded with 400",
    ),
    "a time-out": (httpx.ReadTimeout("too slow"), UnknownOutcomeError, "cannot"),
    "a broken connection": (httpx.ConnectError("refused"), UnknownOutcomeError, "cannot"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("kind", [kind for kind in REQUESTS if kind != "shutdown date"])
def test_trouble_with_any_request_is_one_line(
    kind: str, trouble: str, router: respx.MockRouter
) -> None:
    method, path, _, ask, _ = REQUESTS[kind]
    answer, raised, message = TROUBLES[trouble]
    router.route(method=method, url=path).mock(side_effect=[answer])
    with pytest.raises(raised) as caught:
        ask(mock_service(router))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "sk-test" not in str(caught.value)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_model_whose_end_cannot_be_asked_for_has_none(
    trouble: str, router: respx.MockRouter
) -> None:
    router.get("/models/ft:m").mock(side_effect=[TROUBLES[trouble][0]])
    assert mock_service(router).shutdown_date("ft:m") == ""


def test_what_a_job_leaves_out_is_empty() -> None:
    assert (
        Job.read({"id": "a", "error": {"code": None, "message": None, "param": None}}).error_code
        == ""
    )


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_client_is_closed_at_the_end_of_its_block(kind: str, router: respx.MockRouter) -> None:
    method, path, answer, ask, gives = REQUESTS[kind]
    route = router.route(method=method, url=path).respond(200, json=answer)
    with mock_service(router) as client:
        assert ask(client) == gives
    with pytest.raises(UsageError, match="the client is closed; make another"):
        ask(client)
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("sent", "time"),
    [
        (1735732800, "2025-01-01 12:00:00+00:00"),
        (1735732800.0, "2025-01-01 12:00:00+00:00"),
        ("1735732800", "2025-01-01 12:00:00+00:00"),
        (253402300799, "9999-12-31 23:59:59+00:00"),
        *[(value, None) for value in (0, -1, 253402300800, 1e300, "soon", None, True, [1], {})],
    ],
)
def test_times_are_in_utc_or_missing(sent: Any, time: str | None) -> None:
    expected = datetime.datetime.fromisoformat(time) if time else None
    fields = {"created_at": sent, "created": sent, "finished_at": sent, "estimated_finish": sent}
    job = Job.read(fields)
    read = [job.created_at, job.finished_at, job.estimated_finish]
    read += [kind.read(fields).created_at for kind in (Event, RemoteFile, RemoteModel)]
    assert read == [expected] * 6
    assert all(found is None or found.tzinfo is datetime.UTC for found in read)
