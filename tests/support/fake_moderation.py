"""Moderation and batches of the fake provider.

A text with "hate" or "violence" is flagged, and one with "unlucky" is limited for ever.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from support.fake_provider import FakeProvider

CATEGORIES = ("hate", "violence")

Answer = tuple[int, Any]


class FakeModeration:
    """Scores texts, alone or in batches.

    `limit` is the number of characters from which a text is limited for ever, `polls` the number of times that a batch is looked up until
    it has ended, `end` its last status, and `is_limited` true while all texts are.
    """

    def __init__(self, state: FakeProvider) -> None:
        self.state = state
        self.limit = 1 << 30
        self.polls = 2
        self.end = "completed"
        self.is_limited = False
        self.texts: list[str] = []
        self.batches: dict[str, dict[str, Any]] = {}

    def moderate(self, body: dict[str, Any]) -> Answer:
        """Score the texts of a request."""
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        if self.is_limited or any("unlucky" in text or len(text) > self.limit for text in texts):
            return 429, error("Rate limit reached for omni-moderation-latest")
        if any("odd" in text for text in texts):
            return 400, error("invalid input")
        self.texts += texts
        return 200, {
            "id": f"modr-{self.state.number()}",
            "model": body["model"],
            "results": [result(text) for text in texts],
        }

    def answer_batch(
        self, method: str, parts: list[str], query: dict[str, list[str]], body: Any
    ) -> Answer:
        """Create, list and look up batches."""
        match method, parts:
            case "POST", []:
                return 200, self.create(body)
            case "GET", []:
                return 200, self.state.page(list(self.batches.values())[::-1], query)
            case "GET", [id] if id in self.batches:
                return 200, self.progress(self.batches[id])
        return 404, error("no such batch")

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        lines = self.state.contents[body["input_file_id"]].splitlines()
        batch = {
            "id": f"batch_{self.state.number()}",
            "object": "batch",
            "status": "validating",
            "created_at": int(time.time()),
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
            "polls": 0,
            **body,
        }
        self.batches[batch["id"]] = batch
        return batch

    def progress(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch, which ends after some polls."""
        batch["polls"] += 1
        if batch["polls"] < self.polls or batch["status"] == self.end:
            return batch
        batch["status"] = self.end
        lines = map(json.loads, self.state.contents[batch["input_file_id"]].splitlines())
        outputs: dict[bool, list[str]] = {True: [], False: []}
        for line in list(lines) if self.end != "failed" else []:
            status, answer = self.moderate(line["body"])
            response = {"status_code": status, "request_id": "r", "body": answer}
            row = {"id": "x", "custom_id": line["custom_id"], "response": response, "error": None}
            outputs[status == 200].append(json.dumps(row) + "\n")
        if self.end == "expired":
            outputs[True] = outputs[True][: len(outputs[True]) // 2]
        if self.end == "failed":
            batch["errors"] = {"data": [{"message": "the file is empty", "code": "empty_file"}]}
        for name, key in ((True, "output_file_id"), (False, "error_file_id")):
            if outputs[name]:
                content = "".join(outputs[name]).encode()
                batch[key] = self.state.add_file("out.jsonl", content, "batch_output")["id"]
        batch["request_counts"]["completed"] = len(outputs[True])
        return batch


def error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": None}}


def result(text: str) -> dict[str, Any]:
    categories = {name: name in text for name in CATEGORIES}
    scores = {name: 0.9 if is_flagged else 0.01 for name, is_flagged in categories.items()}
    return {
        "flagged": any(categories.values()),
        "categories": categories,
        "category_scores": scores,
    }
