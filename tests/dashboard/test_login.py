"""Logins: sessions, cookies, throttling and where a login leads."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from ftkit.server import sessions
from ftkit.server.sessions import (
    COOKIE,
    FAILURE_SECONDS,
    MAX_FAILURES,
    SESSION_SECONDS,
    LoginLimit,
    Sessions,
    session_token,
)
from support.dashboard import KEY, ORIGIN, log_in


class Clock:
    """A clock that a test sets."""

    time = 1_000.0

    def __call__(self) -> float:
        return self.time


def test_a_login_leads_to_the_page_that_was_requested(service: TestClient) -> None:
    response = service.get("/?status=failed&q=a%26b")
    assert response.headers["location"] == "/login?next=/%3Fstatus%3Dfailed%26q%3Da%2526b"
    assert response.headers["cache-control"] == "no-store"
    form = service.get(response.headers["location"]).text
    assert 'value="/?status=failed&amp;q=a%26b"' in form
    assert log_in(service, next="/?status=failed&q=a%26b") == "/?status=failed&q=a%26b"
    assert service.get("/login?next=/files").headers["location"] == "/files"


@pytest.mark.parametrize(
    "next",
    [
        "//evil.example",
        "///evil.example",
        "http:evil.example",
        "https://evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\u2028/x",
        "javascript:alert(1)",
        " /x",
        "",
        "/\r\nset-cookie: a=b",
    ],
)
def test_a_login_never_leads_away(service: TestClient, next: str) -> None:
    form = service.get("/login", params={"next": next}).text
    assert '<input type="hidden" name="next" value="/">' in form
    assert log_in(service, next=next) == "/"
    assert service.get("/login", params={"next": next}).headers["location"] == "/"


def test_a_login_gets_a_new_token_whatever_the_browser_sent(service: TestClient) -> None:
    service.cookies.set(COOKIE, "chosen-by-another", "127.0.0.1")
    log_in(service)
    first = service.cookies[COOKIE]
    assert first != "chosen-by-another"
    log_in(service, "sk-second")
    second = service.cookies[COOKIE]
    service.cookies.clear()
    for token, status in ((first, 401), (second, 200), ("chosen-by-another", 401)):
        cookie = {"cookie": f"{COOKIE}={token}"}
        assert service.get("/v1/models", headers=cookie).status_code == status


def test_the_cookie_is_secure_over_https(service: TestClient) -> None:
    secure = {"host": "ftkit.example", "origin": "https://ftkit.example"}
    response = service.post("/login", data={"key": KEY}, headers=secure)
    cookie = response.headers["set-cookie"]
    assert "; Secure" in cookie
    assert f"Max-Age={SESSION_SECONDS}" in cookie
    assert "domain" not in cookie.lower()
    plain = service.post("/login", data={"key": KEY}, headers=ORIGIN).headers["set-cookie"]
    assert "; Secure" not in plain


def test_two_cookies_of_the_name_are_none(service: TestClient) -> None:
    """A page on another port of the host could set one for some paths."""
    log_in(service)
    token = service.cookies[COOKIE]
    service.cookies.clear()
    for cookies, status in (
        (f"other=1; {COOKIE}={token}", 200),
        (f'broken="; {COOKIE}={token}; @=;;', 200),
        (f"{COOKIE}={token}; {COOKIE}=x", 401),
        (f"x{COOKIE}={token}", 401),
    ):
        response = service.get("/v1/models", headers={"cookie": cookies})
        assert response.status_code == status, cookies


def test_a_login_of_one_key_sees_nothing_of_another(service: TestClient) -> None:
    first = {"authorization": f"Bearer {KEY}"}
    file = {"file": ("a.jsonl", b"{}")}
    service.post("/v1/files", data={"purpose": "fine-tune"}, files=file, headers=first)
    log_in(service, "sk-second")
    assert service.get("/v1/files").json()["data"] == []
    log_in(service)
    assert len(service.get("/v1/files").json()["data"]) == 1


def test_failed_logins_are_limited_and_then_allowed_again(
    service: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(MAX_FAILURES):
        response = service.post("/login", data={"key": "sk-guess"}, headers=ORIGIN)
        assert response.status_code == 401
    response = service.post("/login", data={"key": KEY}, headers=ORIGIN)
    assert response.status_code == 429
    assert "Too many failed logins from your address. Try again in " in response.text
    assert 1 <= int(response.headers["retry-after"]) <= FAILURE_SECONDS
    assert "set-cookie" not in response.headers
    monkeypatch.setattr(sessions, "FAILURE_SECONDS", 0)
    log_in(service)


def test_failed_logins_count_by_address_and_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    limit = LoginLimit(clock)
    for _ in range(MAX_FAILURES):
        limit.count_failure("2001:db8::1")
    assert limit.wait_seconds("2001:db8::ffff") == FAILURE_SECONDS
    assert limit.wait_seconds("2001:db8:0:1::1") == 0
    assert limit.wait_seconds("127.0.0.1") == 0
    monkeypatch.setattr(sessions, "MAX_ADDRESSES", 2)
    for address in ("a", "b"):
        limit.count_failure(address)
    assert limit.wait_seconds("2001:db8::1") == 0


def test_a_login_ends_after_a_week() -> None:
    clock = Clock()
    logins = Sessions(clock)
    token = logins.start("tenant")
    clock.time += SESSION_SECONDS - 1
    assert logins.tenant(token) == "tenant"
    clock.time += 1
    assert logins.tenant(token) is None


def test_the_number_of_logins_is_bounded_for_each_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 3)
    clock = Clock()
    logins = Sessions(clock)
    other, tokens = logins.start("other"), [logins.start("tenant") for _ in range(5)]
    assert [logins.tenant(token) for token in tokens] == [None, None, *["tenant"] * 3]
    assert logins.tenant(other) == "other"
    clock.time += SESSION_SECONDS
    logins.start("tenant")
    assert len(logins._sessions) == 1


def test_tokens_are_long_different_and_not_kept() -> None:
    logins = Sessions()
    tokens = {logins.start("tenant") for _ in range(100)}
    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 43
    assert not any(token in str(logins._sessions) for token in tokens)


@pytest.mark.parametrize("cookies", ["", ";", "=", "a", f"{COOKIE}", f"{COOKIE}=;", "\xff=\xfe"])
def test_a_cookie_header_without_a_token_has_none(cookies: str) -> None:
    assert session_token(cookies) == ""


def test_a_page_that_updates_itself_is_sent_to_the_login(service: TestClient) -> None:
    part = {"hx-current-url": "http://127.0.0.1/?page=2"}
    for path, headers in (("/jobs/a/live", part), ("/?page=2", {"sec-fetch-mode": "cors"})):
        response = service.get(path, headers=headers)
        assert response.status_code == 401
        assert response.headers["hx-redirect"] == "/login?next=/%3Fpage%3D2"
        assert response.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("url", ["http://[", "", "//evil.example", "\xff"])
def test_an_odd_address_of_a_page_leads_to_a_page_of_the_service(
    service: TestClient, url: str
) -> None:
    response = service.get("/files/a/check", headers={"hx-current-url": url.encode("latin-1")})
    form = service.get(response.headers["hx-redirect"]).text
    assert '<input type="hidden" name="next" value="/">' in form


def test_a_form_that_is_too_large_is_refused(service: TestClient) -> None:
    response = service.post("/login", data={"key": "x" * 100_000}, headers=ORIGIN)
    assert response.status_code == 413


@pytest.mark.parametrize("origin", [{}, {"origin": "null"}, {"origin": "http://evil.example"}])
def test_another_page_cannot_log_a_browser_in(service: TestClient, origin: dict[str, str]) -> None:
    response = service.post("/login", data={"key": KEY}, headers=origin)
    assert response.status_code == 403
    assert "set-cookie" not in response.headers


def test_no_page_can_be_framed_or_kept(service: TestClient) -> None:
    responses = [service.get("/login"), service.post("/login", data={"key": "x"}, headers=ORIGIN)]
    log_in(service)
    responses += [service.get("/"), service.get("/jobs"), service.get("/?page=x")]
    for response in responses:
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["cross-origin-resource-policy"] == "same-origin"
        assert KEY not in response.text
