"""Images that are given by their URL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ftkit


@pytest.mark.parametrize(
    ("provider", "advice"),
    [
        ("openai", "keep it reachable until the job has run"),
        ("local", "this machine does not fetch images given by URL; embed it in base64"),
    ],
)
def test_the_advice_depends_on_whether_the_provider_fetches_images(
    provider: str, advice: str, tmp_path: Path
) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    messages = [{"role": "user", "content": [image]}, {"role": "assistant", "content": "Red."}]
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"messages": messages}) + "\n", "utf-8")
    model = "gpt-4o-2024-08-06" if provider == "openai" else "ftkit/smoke"
    report = ftkit.validate(path, provider=provider, model=model)
    messages = [item.message for item in report.files[0].findings if item.rule == "image-remote"]
    assert len(messages) == 1
    assert advice in messages[0]
