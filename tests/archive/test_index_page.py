"""The HTML index of an archive."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ftkit.archive import index, layout, pages
from ftkit.archive.read import open_archive
from ftkit.archive.store import ArchiveStore
from ftkit.catalog import load_catalog
from support.archives import RESULTS, add_job, save_archive
from support.browser import HOSTILE_TEXTS, TagCollector, needs_browser, rendered_dom
from support.fake_provider import FakeProvider


def in_page(
    monkeypatch: pytest.MonkeyPatch, archive: Path, folder: Path, script: str
) -> list[list[str]]:
    """The rows of the index that are shown after the script has run in it: job, status, training loss."""
    monkeypatch.setattr(index, "SCRIPT", index.SCRIPT + script)
    archived = open_archive(archive)
    store = ArchiveStore(archive)
    with store.locked():
        pages.write_pages(
            archived, archived.jobs(), store, load_catalog(), lambda done, total: None
        )
    shown = rendered_dom((archive / layout.INDEX).read_text("utf-8"), folder)
    rows = re.findall(r"<tr( hidden=\"\")?>(<td.*?)</tr>", shown, re.DOTALL)
    cells = [
        re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for hidden, row in rows if not hidden
    ]
    return [[re.sub(r"<[^>]+>", "", row[index]) for index in (0, 1, 9)] for row in cells]


@needs_browser
@pytest.mark.parametrize(
    ("script", "shown"),
    [
        ("", [2, 1, 0]),
        ("find.value = 'FAILED'; find.dispatchEvent(new Event('input'))", [1]),
        ("find.value = 'ft: succeeded'; find.dispatchEvent(new Event('input'))", [2, 0]),
        ("find.value = 'nothing of the kind'; find.dispatchEvent(new Event('input'))", []),
        ("heads[2].querySelector('button').click()", [0, 1, 2]),
        ("heads[9].querySelector('button').click()", [2, 0, 1]),
        (
            "heads[9].querySelector('button').click(); heads[9].querySelector('button').click()",
            [0, 2, 1],
        ),
    ],
)
def test_the_index_is_searched_and_sorted_in_a_browser(
    script: str,
    shown: list[int],
    fake_provider: FakeProvider,
    provider_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three jobs; the second failed and has no losses, which come last however they are sorted."""
    ids = [add_job(fake_provider, 0)["id"]]
    ids.append(
        add_job(
            fake_provider,
            1,
            status="failed",
            fine_tuned_model="",
            result_files=[],
            hyperparameters={},
        )["id"]
    )
    fake_provider.checkpoints[ids[1]] = []
    last = add_job(fake_provider, 2)
    fake_provider.contents[last["result_files"][0]] = RESULTS.replace(b"30,0.100", b"30,0.900")
    ids.append(last["id"])
    save_archive(provider_url, tmp_path / "archive")
    assert [row[0] for row in in_page(monkeypatch, tmp_path / "archive", tmp_path, script)] == [
        ids[number] for number in shown
    ]


@needs_browser
def test_nothing_that_a_service_says_runs_in_the_index(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    for number, text in enumerate(HOSTILE_TEXTS):
        job = add_job(fake_provider, number)
        fake_provider.jobs[job["id"]] |= {
            "model": text,
            "fine_tuned_model": text,
            "status": text,
            "organization_id": text,
            "created_at": text,
            "trained_tokens": text,
            "hyperparameters": {"n_epochs": text},
        }
        fake_provider.models[text] = {"id": text, "shutdown_date": text}
    save_archive(provider_url, tmp_path / "archive")
    shown = rendered_dom((tmp_path / "archive" / layout.INDEX).read_text("utf-8"), tmp_path)
    assert "<title>ftkit archive</title>" in shown
    tags = [name for name, _ in TagCollector(shown).tags]
    assert tags.count("script") == 1
    assert tags.count("tr") == 1 + len(open_archive(tmp_path / "archive").jobs())
    assert not {"img", "h2", "svg/onload=document.title='pwned'"} & set(tags)
    assert "Content-Security-Policy" in shown


def test_no_value_of_a_service_is_markup_in_the_page_of_a_job(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    texts = [
        *HOSTILE_TEXTS,
        "[x](javascript:alert(1))",
        "](javascript:alert(1))",
        "```\n<b>",
        "|a|",
    ]
    for number, text in enumerate(texts):
        job = add_job(fake_provider, number)
        name = job["fine_tuned_model"]
        fake_provider.models[name]["shutdown_date"] = text
        fake_provider.files[job["training_file"]]["filename"] = text
        fake_provider.contents[job["result_files"][0]] = (
            b"step,train_loss," + text.encode() + b"\n1,2"
        )
        fake_provider.jobs[job["id"]] |= {
            "status": text,
            "model": text,
            "metadata": {text: text},
            "hyperparameters": {text: text},
            "error": {"message": text, "code": text},
            "method": {"type": text},
            "seed": text,
            "organization_id": text,
        }
    save_archive(provider_url, tmp_path / "archive")
    pages = [
        *(tmp_path / "archive" / "jobs").glob("*/README.md"),
        tmp_path / "archive" / "README.md",
    ]
    assert len(pages) == len(texts) + 1
    for page in pages:
        outside_code = re.sub(r"```text\n.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        assert not re.search(r"(?<!\\)<", outside_code)
        links = re.findall(r"(?<!\\)\]\(([^)]*)\)", outside_code)
        assert all(re.fullmatch(r"[A-Za-z0-9./_-]+", link) for link in links), links
