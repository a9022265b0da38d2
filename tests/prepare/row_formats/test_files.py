"""A small file of each provider's format and of each kind of log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftkit import validate
from ftkit.prepare.convert.convert import convert

DATA = Path(__file__).parents[1] / "data" / "providers"
DETECTED = {"bedrock-titan": "completions", "mistral": "chat", "together": "chat"}
"""Formats that are detected as OpenAI's, which read their rows alike."""

LOSSES = {
    "anthropic": ["/messages/1/content/0", "/messages/2/content/0/is_error"],
    "bedrock-nova": ["/messages/1/content/0"],
    "evals": ["/expected", "/expected"],
    "opentelemetry": [
        "/attributes/gen_ai.output.messages/0/parts/0",
        "/attributes/4/value/stringValue/0/parts/0",
    ],
    "responses": ["/input/1"],
}
NAMES = sorted(path.stem for path in DATA.glob("*.jsonl") if not path.stem.startswith("batch-"))


def files(name: str) -> list[Path]:
    return sorted(DATA.glob("batch-*")) if name == "batch" else [DATA / f"{name}.jsonl"]


@pytest.mark.parametrize("name", [*NAMES, "batch"])
def test_a_file_is_detected_and_becomes_a_valid_one(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    prepared = convert(files(name), to="chat", on_loss="allow", prove=True)
    assert prepared.write(out)
    audit = prepared.audit
    assert audit.is_balanced
    assert (audit.written, audit.total("rejected")) == (audit.read - audit.total("merged"), 0)
    assert [entry.pointer for entry in audit.entries if entry.effect == "loss"] == LOSSES.get(
        name, []
    )
    named = convert(files(name), to="chat", from_=name, on_loss="allow")
    assert list(named) == [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    errors = {
        finding.rule for finding in validate(out, format="chat") if finding.severity == "error"
    }
    assert errors <= {"examples-too-few"}


TARGETS = ["anthropic", "gemini", "mistral", "together"]


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("name", [*NAMES, "batch"])
def test_a_file_is_proven_in_the_formats_of_other_providers(name: str, to: str) -> None:
    prepared = convert(files(name), to=to, from_=name, on_loss="allow", prove=True)
    assert list(prepared)
    reasons = {
        entry.reason for entry in prepared.audit.entries if entry.effect in ("loss", "rejected")
    }
    assert not [reason for reason in reasons if "differs" in reason]
    allowed = {"roles do not alternate from user to assistant"} if to == "together" else set()
    assert {
        entry.reason for entry in prepared.audit.entries if entry.effect == "rejected"
    } <= allowed
