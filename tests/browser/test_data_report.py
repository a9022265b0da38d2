"""The reports of `ftkit validate --html` and `ftkit estimate --html`, in a browser."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.browser import HOSTILE_TEXTS, looks
from support.commands import run_ftkit
from support.fixture_types import Write
from support.paths import SAMPLES

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

MANY = 200_000


def report(page: Page, command: str, *arguments: str) -> Page:
    """The report of a command on files, shown."""
    done = run_ftkit(command, *arguments, "--html", "report.html")
    assert done.stderr.endswith("wrote report.html\n"), done.stderr
    page.goto(Path("report.html").resolve().as_uri())
    return page


def chat(number: int, question: str = "What is it?", role: str = "user") -> dict[str, Any]:
    return {
        "messages": [
            {"role": "system", "content": "Answer briefly."},
            {"role": role, "content": f"{question} {number}"},
            {"role": "assistant", "content": f"It is number {number}."},
        ]
    }


def write_lines(write: Write, values: list[Any]) -> str:
    return str(write(json.dumps(value, ensure_ascii=False).encode() for value in values))


@pytest.mark.parametrize("name", ["marv", "tool-calls", "preference", "completions", "images"])
def test_a_clean_file_looks_right(name: str, page: Page) -> None:
    looks(report(page, "validate", str(SAMPLES / f"{name}.jsonl")), f"validate-{name}")


def test_several_files_look_right(page: Page) -> None:
    bad = sorted(map(str, (SAMPLES / "bad").glob("*.jsonl")))[:4]
    shown = report(page, "validate", *bad, str(SAMPLES / "marv.jsonl"))
    looks(shown, "validate-several")
    link = shown.get_by_role("link", name="marv.jsonl")
    link.click()
    assert shown.evaluate("location.hash") == link.get_attribute("href")


def test_an_estimate_looks_right(page: Page) -> None:
    shown = report(page, "estimate", str(SAMPLES / "marv.jsonl"))
    looks(shown, "estimate")
    first = shown.locator("tbody[data-list=f1-models] th").first
    cheapest = first.inner_text()
    shown.get_by_role("button", name="cost").focus()
    shown.keyboard.press("Enter")
    assert first.inner_text() != cheapest
    shown.keyboard.press("Enter")
    assert first.inner_text() == cheapest


def test_a_finding_is_marked_in_its_conversation(page: Page, write: Write) -> None:
    key = "sk-proj-" + "a1B2c3D4e5F6g7H8" * 3
    values = [chat(number) for number in range(60)]
    values[20]["messages"][1]["content"] = f"My key is {key}."
    values[30] = chat(30, role="human")
    values[40] = {**chat(2), "note": "of mine"}
    shown = report(page, "validate", write_lines(write, values))
    looks(shown, "validate-findings")
    rule = shown.locator("details.rule", has_text="role-unknown")
    assert rule.locator(".marked .role").all_inner_texts() == ["human"]
    assert "line 31" in rule.locator("article").inner_text()


def test_hostile_examples_stay_text(page: Page, write: Write) -> None:
    values: list[Any] = []
    for text in HOSTILE_TEXTS:
        value = chat(len(values), question=text)
        value["messages"][1]["name"] = text
        values += [value, chat(1, question=text, role=text), {text: text}]
    values += [chat(0, question="x" * 1_000_000), chat(0, role="y" * 1_000_000)]
    values += [{"z" * 1_000_000: 1}]
    shown = report(page, "validate", write_lines(write, values))
    looks(shown, "validate-hostile")
    assert shown.title().endswith("/data.jsonl")
    assert shown.locator("h1").all_inner_texts() == [shown.title()]
    assert not shown.evaluate("document.body.innerText.includes('\\u202e')")
    links = shown.locator("a").evaluate_all("links => links.map(link => link.protocol)")
    assert set(links) == {"file:"}
    assert Path("report.html").stat().st_size < 3_000_000


def test_a_report_on_200_000_examples_is_small_and_opens_fast(page: Page, write: Write) -> None:
    def values() -> Any:
        for number in range(MANY):
            value = chat(number)
            if number % 50 == 0:
                value["messages"][1]["role"] = f"role {number}"
            if number % 51 == 0:
                value["messages"][2]["content"] = ""
            if number % 7 == 0:
                value = chat(number % 70)
            yield json.dumps(value).encode()

    report(page, "validate", str(write(values())))
    assert Path("report.html").stat().st_size < 3_000_000
    start = time.monotonic()
    page.reload()
    page.get_by_role("button", name="Next").first.click()
    assert time.monotonic() - start < 10
    rule = page.locator("details.rule", has_text="role-unknown")
    assert rule.locator("tbody tr:visible").count() == 10
    assert rule.locator("nav output").inner_text().startswith("11–20 of ")
    looks(page, "validate-many")
