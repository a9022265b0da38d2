"""Who sees the dashboard: logins, cookies, origins and headers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from ftkit.dashboard.app import DASHBOARD
from ftkit.server.app import ServerSettings, create_app
from support.dashboard import KEY, ORIGIN, log_in


@pytest.fixture
def open_service(tmp_path: Path) -> Iterator[TestClient]:
    """A browser at a service without API keys."""
    app = create_app(ServerSettings(tmp_path, pages=DASHBOARD))
    with TestClient(app, "http://127.0.0.1", follow_redirects=False) as client:
        yield client


def test_a_service_without_keys_shows_its_pages(open_service: TestClient) -> None:
    response = open_service.get("/")
    assert response.status_code == 200
    assert "<h1>Jobs</h1>" in response.text
    assert "Log out" not in response.text


def test_pages_have_a_strict_policy_and_are_not_kept(open_service: TestClient) -> None:
    headers = open_service.get("/").headers
    assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_a_browser_without_a_login_is_sent_to_it_and_back(service: TestClient) -> None:
    response = service.get("/")
    assert (response.status_code, response.headers["location"]) == (303, "/login?next=/")
    form = service.get(response.headers["location"]).text
    assert '<input type="hidden" name="next" value="/">' in form
    log_in(service)
    assert "<h1>Jobs</h1>" in service.get("/").text
    assert service.get("/v1/models").status_code == 200


def test_the_cookie_is_for_pages_of_the_service_alone(service: TestClient) -> None:
    response = service.post("/login", data={"key": KEY}, headers=ORIGIN)
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie
    assert KEY not in cookie


def test_a_wrong_key_is_refused_in_one_line(service: TestClient) -> None:
    response = service.post("/login", data={"key": "sk-wrong"}, headers=ORIGIN)
    assert response.status_code == 401
    assert "This API key is not accepted." in response.text
    assert "sk-wrong" not in response.text
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize("origin", [{}, {"origin": "http://evil.example"}, {"origin": "null"}])
def test_a_cookie_changes_nothing_from_another_origin(
    service: TestClient, origin: dict[str, str]
) -> None:
    log_in(service)
    path = "/v1/fine_tuning/jobs/ftjob-1/cancel"
    assert service.post(path, headers=origin).status_code == 403
    assert service.post(path, headers=ORIGIN).status_code == 404
    assert service.post("/logout", headers=origin).status_code == 403
    assert service.get("/v1/models").status_code == 200


def test_a_key_in_the_request_counts_more_than_the_cookie(service: TestClient) -> None:
    log_in(service)
    wrong = {"authorization": "Bearer sk-wrong", **ORIGIN}
    assert service.get("/v1/models", headers=wrong).status_code == 401


def test_a_logout_ends_the_login_for_a_copy_of_the_cookie_as_well(service: TestClient) -> None:
    log_in(service)
    cookie = {"cookie": f"ftkit_session={service.cookies['ftkit_session']}"}
    assert service.get("/v1/models", headers=cookie).status_code == 200
    service.post("/logout", headers=ORIGIN)
    service.cookies.clear()
    assert service.get("/v1/models", headers=cookie).status_code == 401


@pytest.mark.parametrize(
    "next", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/\r\nx: y"]
)
def test_a_login_leads_to_pages_of_the_service_only(service: TestClient, next: str) -> None:
    response = service.post("/login", data={"key": KEY, "next": next}, headers=ORIGIN)
    assert response.headers["location"] == "/"


@pytest.mark.parametrize("name", ["../page.py", "/etc/passwd", "templates/base.html", "page.py"])
def test_only_scripts_and_styles_are_served(open_service: TestClient, name: str) -> None:
    assert open_service.get(f"/static/{name}").status_code == 404


def test_an_address_that_does_not_exist_is_a_page_for_browsers_only(
    open_service: TestClient,
) -> None:
    page = open_service.get("/nowhere", headers={"accept": "text/html,*/*;q=0.8"})
    assert (page.status_code, "There is no page /nowhere." in page.text) == (404, True)
    assert open_service.get("/nowhere").json()["error"]["code"] == "unknown_url"


def test_a_page_of_another_tenant_is_not_shown(service: TestClient) -> None:
    log_in(service)
    response = service.get("/jobs/ftjob-other")
    assert response.status_code == 404
