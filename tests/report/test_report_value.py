"""A report as a Python value: a collection of findings, with its repr, HTML, JSON and rows."""

from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit import FileReport, Finding, Report, validate
from ftkit.report import RENDERERS
from ftkit.summary import COLUMNS, HTML_ROWS
from support.paths import BAD, MARV, SAMPLES


def report_of(*findings: Finding, file: str = "data.jsonl") -> Report:
    counts = {finding.rule: 1 for finding in findings}
    return Report(
        not findings,
        "openai",
        None,
        (FileReport(file, "chat", 12, 12, 800, len(findings), 0, 0, counts, findings),),
    )


def test_a_report_is_a_collection_of_the_findings_of_all_files() -> None:
    report = validate([BAD, MARV, BAD])
    assert list(report) == [finding for file in report.files for finding in file.findings]
    assert len(report) == len(list(report)) == 6
    assert not report_of()


def test_the_repr_is_short() -> None:
    report = validate([BAD, MARV])
    assert repr(report) == "<Report not ok: 2 files, 2 errors, 1 warning, 0 infos>"
    assert repr(report.files[0]) == (
        f"<FileReport {BAD!r}: chat, 12 examples, 2 errors, 1 warning, 0 infos>"
    )
    assert repr(report_of()) == "<Report ok: 1 file, 0 errors, 0 warnings, 0 infos>"


def test_the_dictionary_is_the_json_output() -> None:
    report = validate([BAD, MARV])
    assert report.to_dict() == json.loads(RENDERERS["json"](report))


def test_the_records_are_rows_of_a_table() -> None:
    report = validate([BAD, str(SAMPLES / "bad" / "json-syntax.jsonl")])
    records = report.to_records()
    assert [tuple(record) for record in records] == [COLUMNS] * len(report)
    assert [record["rule"] for record in records] == [finding.rule for finding in report]
    assert {record["file"] for record in records} == {file.file for file in report.files}
    assert records[0]["line"] is None


ALLOWED = {"p", "table", "tr", "th", "td"}


class Tags(HTMLParser):
    """Collects the tags and the text of a page; fails for an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not attrs
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


HOSTILE = st.sampled_from(
    [
        "<script>alert(1)</script>",
        "</td><img src=x onerror=alert(1)>",
        "&lt;b&gt;",
        "\x1b[31m",
        "\ud800",
    ]
)


@given(HOSTILE | st.text(), HOSTILE | st.text())
def test_nothing_in_a_report_can_become_html(message: str, name: str) -> None:
    finding = Finding("FT120", "json-syntax", "error", message, 4, 0, f'$["{message}"]')
    page = Tags()
    html = report_of(finding, file=name)._repr_html_()
    page.feed(html)
    assert page.tags == ALLOWED
    assert all(character.isprintable() for character in html)


def test_the_html_shows_the_first_findings_and_the_number_of_the_others() -> None:
    finding = Finding("FT120", "json-syntax", "error", "not JSON: 'x'", 4)
    html = report_of(*[finding] * (HTML_ROWS + 2))._repr_html_()
    assert html.count("<tr>") == HTML_ROWS + 1
    assert html.endswith("<p>and 2 more findings</p>")
    cells = [unescape(cell) for cell in re.findall("<td>(.*?)</td>", html)]
    assert cells[:8] == [
        "data.jsonl",
        "FT120",
        "json-syntax",
        "error",
        "4",
        "",
        "$",
        "not JSON: 'x'",
    ]
    assert report_of()._repr_html_() == "<p>1 file, 0 errors, 0 warnings, 0 infos</p>"


@pytest.mark.parametrize("encode", [msgspec.json.encode, msgspec.to_builtins])
def test_a_report_is_still_a_struct(encode: object) -> None:
    assert encode(report_of())  # type: ignore[operator]
