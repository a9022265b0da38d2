"""Conversion and fixes in the dashboard: from any file to training data."""

from __future__ import annotations

import json

import httpx
import pytest

from ftkit.dashboard.check_results import MAX_PREPARED_BYTES
from support.dashboard import settled, upload
from support.training import CITY_DATA, city_example, encode_jsonl

TABLE = b"Kundenfrage,Text,id\nWhat is it?,A thing,7\nWhere?,,8\n"


def convert(client: httpx.Client, content: bytes, name: str, query: str = "") -> tuple[str, str]:
    """Convert a file, and return its id and the result on the page."""
    id = upload(client, content, name, "user_data")
    return id, settled(client, f"/files/{id}/convert/result?{query}")


def test_a_table_with_usual_columns_becomes_examples(browser_client: httpx.Client) -> None:
    id, page = convert(browser_client, b"question,answer\nWhat?,That\n", "faq.csv")
    assert "1 row of CSV or TSV became 1 example." in page
    data = browser_client.get(f"/files/{id}/convert/data?")
    assert [message["content"] for message in json.loads(data.text)["messages"]] == [
        "What?",
        "That",
    ]
    assert data.headers["content-security-policy"] == "sandbox"
    assert data.headers["content-disposition"] == 'attachment; filename="faq.jsonl"'


def test_other_columns_are_chosen(browser_client: httpx.Client) -> None:
    id, page = convert(browser_client, TABLE, "faq.csv")
    assert "Choose the columns that hold the messages." in page
    assert "Kundenfrage (What is it?)" in page
    assert browser_client.get(f"/files/{id}/convert/data").status_code == 303
    query = "user=Kundenfrage&assistant=Text"
    page = settled(browser_client, f"/files/{id}/convert/result?{query}")
    assert "2 rows of CSV or TSV became 1 example." in page
    assert "rejected: " in page
    assert "line 3 /Text" in page
    assert "not used: id" in page
    assert "A thing" in browser_client.get(f"/files/{id}/convert/data?{query}").text


@pytest.mark.parametrize(
    ("content", "name", "line"),
    [
        (b"%PDF-1.7 ...", "paper.pdf", "PDF"),
        (b"question,answer\n", "head.csv", "only the names of the columns, and no rows. Add rows"),
        (
            b"text\n",
            "text.xlsx",
            "has the suffix .xlsx, but not the format Excel workbook (XLSX); save it",
        ),
        (
            b"x\n",
            "text.parquet",
            "The file has the suffix .parquet, but not the format Parquet; save it",
        ),
        (b"question,answer\ncaf\xe9,x\n", "latin.csv", "The text is not UTF-8"),
        (b"PK\x03\x04garbage", "broken.xlsx", "The file"),
    ],
)
def test_a_file_without_examples_is_explained_in_a_line(
    content: bytes, name: str, line: str, browser_client: httpx.Client
) -> None:
    _, page = convert(browser_client, content, name)
    headline = page.partition('class="headline"')[2].partition("</p>")[0]
    assert line in headline
    assert "/parts/" not in page
    assert "/blobs/" not in page


def test_a_column_that_does_not_exist_is_refused(browser_client: httpx.Client) -> None:
    _, page = convert(browser_client, TABLE, "faq.csv", "user=Frage&assistant=Text")
    assert "No column" in page
    assert "<option" in page


def test_an_encoding_is_asked_for(browser_client: httpx.Client) -> None:
    content = "question,answer\ncafé,naïve\n".encode("cp1252")
    id, page = convert(browser_client, content, "latin.csv")
    assert '<input name="encoding"' in page
    page = settled(browser_client, f"/files/{id}/convert/result?encoding=cp1252")
    assert "café" in page


def test_a_large_file_is_left_to_the_command_line(
    browser_client: httpx.Client,
) -> None:
    content = b"question,answer\n" + b"a" * (MAX_PREPARED_BYTES + 1)
    id, page = convert(browser_client, content, "large data.csv")
    fix = browser_client.get(f"/files/{id}/fix").text
    assert "ftkit fix &#39;large data.csv&#39; -o &#39;large data-fixed.jsonl&#39;" in fix
    assert "ftkit convert &#39;large data.csv&#39; --to chat -o &#39;large data.jsonl&#39;" in page


def test_safe_fixes_make_a_file_that_is_clean(browser_client: httpx.Client) -> None:
    rows = encode_jsonl([city_example("Berlin", "x")]).replace(b"}]}", b"},]}")
    id = upload(browser_client, CITY_DATA + rows)
    page = settled(browser_client, f"/files/{id}/fix/result")
    assert "13 examples with all safe fixes." in page
    assert "changed: json-syntax" in page
    fixed = browser_client.get(f"/files/{id}/fix/data").content
    other = upload(browser_client, fixed, "data-fixed.jsonl")
    assert "Train on this file" in settled(browser_client, f"/files/{other}/check")
