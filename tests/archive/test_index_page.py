"""The HTML pages of an archive, and its READMEs."""

from __future__ import annotations

import re
from pathlib import Path

from ftkit.archive import layout
from ftkit.archive.read import open_archive
from support.archives import add_job, save_archive
from support.browser import HOSTILE_TEXTS, TagCollector, needs_browser, rendered_dom
from support.fake_provider import FakeProvider


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
    assert "<title>Fine-tuning jobs</title>" in shown
    tags = [name for name, _ in TagCollector(shown).tags]
    assert tags.count("script") == 1
    assert tags.count("tr") == 1 + len(open_archive(tmp_path / "archive").jobs())
    assert not {"img", "h3", "svg/onload=document.title='pwned'"} & set(tags)
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
    htmls = list((tmp_path / "archive" / "jobs").glob("*/index.html"))
    assert len(htmls) == len(texts)
    for html in htmls:
        tags = TagCollector(html.read_text("utf-8")).tags
        assert not {"script", "img"} & {name for name, _ in tags}
        links = [attributes["href"] for name, attributes in tags if name == "a"]
        assert all(re.fullmatch(r"#main|[A-Za-z0-9./_-]+", link or "") for link in links), links
