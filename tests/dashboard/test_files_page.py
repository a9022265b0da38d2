"""Files in the dashboard: findings, reports, and what happens to results."""

from __future__ import annotations

import json
import re
import time

import httpx
import pytest

from support.browser import HOSTILE_TEXTS, TagCollector
from support.dashboard import POLLED, results, settled, upload
from support.local_server import LocalServer
from support.training import CITY_DATA, city_example, encode_jsonl

BROKEN = CITY_DATA + b'{"messages": [{"role": "user", "content": "x"},],}\n'


def test_a_file_is_checked_and_leads_to_a_job(browser_client: httpx.Client) -> None:
    id = upload(browser_client, CITY_DATA)
    first = browser_client.get(f"/files/{id}").text
    page = settled(browser_client, f"/files/{id}")
    assert "Waiting for other checks" not in first
    assert "Ready to train" in page or "All clear" in page
    assert f'href="/new?file={id}"' in page
    assert "<dt>examples</dt><dd>12<" in page


def test_a_result_is_made_once_for_each_content_and_name(
    browser_client: httpx.Client, server: LocalServer
) -> None:
    content = encode_jsonl([city_example(f"a{n}", "b") for n in range(12)])
    first, second = (upload(browser_client, content, "one.jsonl") for _ in range(2))
    settled(browser_client, f"/files/{first}/check")
    assert POLLED not in browser_client.get(f"/files/{second}/check").text
    other = upload(browser_client, content, "two.jsonl")
    assert POLLED in browser_client.get(f"/files/{other}/check").text
    settled(browser_client, f"/files/{other}/check")
    report = browser_client.get(f"/files/{other}/report").text
    assert "two.jsonl" in report
    assert "one.jsonl" not in report


def test_results_are_removed_with_the_last_file_of_their_content(
    browser_client: httpx.Client, server: LocalServer
) -> None:
    content = encode_jsonl([city_example(f"c{n}", "d") for n in range(12)])
    before = results(server.folder)
    first, second = (upload(browser_client, content) for _ in range(2))
    settled(browser_client, f"/files/{first}/check")
    assert len(results(server.folder)) == len(before) + 2
    browser_client.delete(f"/v1/files/{first}")
    assert len(results(server.folder)) == len(before) + 2
    browser_client.delete(f"/v1/files/{second}")
    assert results(server.folder) == before
    assert browser_client.get(f"/files/{second}").status_code == 404


def test_a_file_that_is_deleted_during_its_check_leaves_nothing(
    browser_client: httpx.Client, server: LocalServer
) -> None:
    content = encode_jsonl([city_example(f"e{n}", "f" * 100) for n in range(20_000)])
    before = results(server.folder)
    id = upload(browser_client, content)
    assert POLLED in browser_client.get(f"/files/{id}/check").text
    browser_client.delete(f"/v1/files/{id}")
    deadline = time.monotonic() + 60
    while list((server.folder / "parts").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert results(server.folder) == before


def test_a_report_is_in_a_sandbox(browser_client: httpx.Client) -> None:
    id = upload(browser_client, CITY_DATA, "report.jsonl")
    assert browser_client.get(f"/files/{id}/report").status_code == 303
    settled(browser_client, f"/files/{id}/check")
    response = browser_client.get(f"/files/{id}/report")
    policy = response.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none';")
    assert "allow-same-origin" not in policy
    assert "unsafe" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", response.text, re.DOTALL)
    assert scripts
    assert response.headers["x-content-type-options"] == "nosniff"


def test_hostile_texts_and_names_stay_text(browser_client: httpx.Client) -> None:
    rows = [city_example(text, text) for text in HOSTILE_TEXTS]
    rows += [{"messages": [{"role": text, "content": text}]} for text in HOSTILE_TEXTS]
    rows += [city_example("x " * 500_000, "y")]
    name = HOSTILE_TEXTS[0].replace("/", "") + HOSTILE_TEXTS[1] + ".jsonl"
    id = upload(browser_client, encode_jsonl(rows), name)
    settled(browser_client, f"/files/{id}/check")
    for path in ("/files", f"/files/{id}", f"/new?file={id}", f"/files/{id}/fix"):
        page = browser_client.get(path)
        assert page.status_code == 200
        tags = TagCollector(page.text).tags
        assert not [tag for tag, _ in tags if tag in ("img", "svg", "iframe")]
        assert not [name for _, values in tags for name in values if name.startswith("on")]
        assert all("src" in values or "type" in values for tag, values in tags if tag == "script")


def test_a_broken_file_names_the_line_and_offers_the_fix(browser_client: httpx.Client) -> None:
    id = upload(browser_client, BROKEN)
    page = settled(browser_client, f"/files/{id}/check")
    assert "Not ready to train: " in page
    assert "line 13: not JSON" in page
    assert f'href="/files/{id}/fix"' in page
    assert "Train on this file" not in page


def test_many_findings_keep_the_page_small(browser_client: httpx.Client) -> None:
    row = json.dumps({"messages": [{"role": "human", "content": "x"}] * 3}).encode()
    id = upload(browser_client, row + b"\n" + (row + b"\n") * 2_999, "many.jsonl")
    page = settled(browser_client, f"/files/{id}/check")
    assert "9,000" in page
    assert len(page) < 50_000
    assert len(browser_client.get(f"/files/{id}/report").content) < 3_000_000


LONG = "x" * 1_000_000
WORDS = "xxx " * 250_000  # tiktoken 0.8 takes minutes for a word of that length


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": WORDS}, {"role": "assistant", "content": "y"}]},
        {"messages": [{"role": LONG, "content": "x"}]},
        {"messages": [{"role": "user", LONG: "x"}]},
        {LONG: 1},
        LONG,
    ],
    ids=["content", "role", "key of a message", "key", "no example"],
)
def test_a_line_of_a_million_characters_keeps_the_pages_small(
    row: object, browser_client: httpx.Client
) -> None:
    id = upload(browser_client, CITY_DATA + json.dumps(row).encode() + b"\n")
    assert len(settled(browser_client, f"/files/{id}/check")) < 20_000
    assert len(browser_client.get(f"/files/{id}/report").content) < 200_000
    for path in (f"/files/{id}/fix", f"/files/{id}/convert", f"/new?file={id}"):
        assert len(settled(browser_client, path)) < 30_000


@pytest.mark.parametrize("path", ["", "/check", "/report", "/convert", "/fix/result", "/fix/data"])
def test_a_file_that_does_not_exist_is_not_found(path: str, browser_client: httpx.Client) -> None:
    response = browser_client.get(f"/files/file-other{path}")
    assert response.status_code == 404
    assert "No such File object: file-other" in response.text


def test_sizes_have_a_unit_and_the_exact_number_of_bytes(browser_client: httpx.Client) -> None:
    id = upload(browser_client, b"x" * 2_500_000, "large.csv", "user_data")
    size = '<span title="2,500,000 bytes">2.4 MiB</span>'
    for path in ("/files", f"/files/{id}", f"/files/{id}/convert"):
        assert size in browser_client.get(path).text, path
    training = upload(browser_client, CITY_DATA, "size.jsonl")
    assert ">size.jsonl (1.2 KiB, " in browser_client.get(f"/new?file={training}").text


def test_the_list_has_pages(browser_client: httpx.Client) -> None:
    ids = [upload(browser_client, b"%d\n" % number, f"{number}.jsonl") for number in range(60)]
    first = browser_client.get("/files").text
    assert f"/files/{ids[-1]}" in first
    assert f"/files/{ids[0]}" not in first
    older = re.search(r'href="(/files\?after=[^"]+)"', first)
    assert older
    assert f"/files/{ids[0]}" in browser_client.get(older[1]).text


@pytest.mark.parametrize("text", ["GREEN", "grün", "a'b", "100%", "_x_"])
def test_the_search_finds_files_by_name_and_keeps_to_it(
    text: str, browser_client: httpx.Client
) -> None:
    names = [f"{number} {text} é.jsonl" for number in range(51)]
    ids = [upload(browser_client, b"%d\n" % number, name) for number, name in enumerate(names)]
    other = upload(browser_client, b"0\n", "other green gr\u00dcn axb 100 axxb.jsonl")
    page = browser_client.get("/files", params={"q": text.lower()}).text
    assert f"/files/{ids[-1]}" in page
    assert f"/files/{ids[0]}" not in page
    assert f"/files/{other}" in page or text != "GREEN"
    assert f"/files/{other}" not in page or text == "GREEN"
    older = re.search(r'href="(/files\?q=[^"]+)"', page)
    assert older
    assert f"/files/{ids[0]}" in browser_client.get(older[1].replace("&amp;", "&")).text


def test_the_search_finds_a_file_by_its_id(browser_client: httpx.Client) -> None:
    first, second = (upload(browser_client, b"1\n") for _ in range(2))
    page = browser_client.get("/files", params={"q": first[5:20]}).text
    assert f"/files/{first}" in page
    assert f"/files/{second}" not in page


def test_a_search_without_a_file_says_so(browser_client: httpx.Client) -> None:
    page = browser_client.get("/files", params={"q": '"><b>'}).text
    assert "No file matches." in page
    assert "<b>" not in page
