"""Training jobs at the local server."""

from __future__ import annotations

import json
from typing import Any

import openai

from support.models import SMOKE

CITIES = (
    "Lima",
    "Oslo",
    "Rome",
    "Cairo",
    "Quito",
    "Paris",
    "Tokyo",
    "Delhi",
    "Accra",
    "Minsk",
    "Sofia",
    "Dhaka",
)


def asked(name: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Say {name}"}]


def example(name: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"messages": [*asked(name), {"role": "assistant", "content": answer, **more}]}


def jsonl(examples: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in examples)


SHORT = jsonl([example(name, name[::-1]) for name in CITIES])


def begin(
    client: openai.OpenAI,
    content: bytes = SHORT,
    validation: bytes | None = None,
    model: str = SMOKE,
    **more: Any,
) -> Any:
    file = client.files.create(file=("data.jsonl", content), purpose="fine-tune").id
    if validation:
        more["validation_file"] = client.files.create(
            file=("valid.jsonl", validation), purpose="fine-tune"
        ).id
    return client.fine_tuning.jobs.create(model=model, training_file=file, **more)


def method(kind: str = "supervised", **hyperparameters: Any) -> Any:
    return {"type": kind, kind: {"hyperparameters": hyperparameters}}


def answer(client: openai.OpenAI, model: str, name: str, **more: Any) -> str:
    said = client.chat.completions.create(
        model=model, messages=asked(name), **{"temperature": 0, "max_tokens": 40, **more}
    )  # type: ignore[arg-type]
    return said.choices[0].message.content
