"""Training jobs at the local server."""

from __future__ import annotations

import json
import time
from typing import Any

import openai

from support.local_server import event_messages
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


def question(name: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Say {name}"}]


def city_example(name: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"messages": [*question(name), {"role": "assistant", "content": answer, **more}]}


def encode_jsonl(examples: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in examples)


CITY_DATA = encode_jsonl([city_example(name, name[::-1]) for name in CITIES])


def start_job(
    client: openai.OpenAI,
    content: bytes = CITY_DATA,
    validation: bytes | None = None,
    model: str = SMOKE,
    seed: int = 3,
    **more: Any,
) -> Any:
    """Start a job. What it learns must not depend on chance, so it has a seed."""
    file = client.files.create(file=("data.jsonl", content), purpose="fine-tune").id
    if validation:
        more["validation_file"] = client.files.create(
            file=("valid.jsonl", validation), purpose="fine-tune"
        ).id
    return client.fine_tuning.jobs.create(model=model, training_file=file, seed=seed, **more)


def method_with(kind: str = "supervised", **hyperparameters: Any) -> Any:
    return {"type": kind, kind: {"hyperparameters": hyperparameters}}


def ask_model(client: openai.OpenAI, model: str, name: str, **more: Any) -> str:
    response = client.chat.completions.create(
        model=model, messages=question(name), **{"temperature": 0, "max_tokens": 40, **more}
    )  # type: ignore[arg-type]
    return response.choices[0].message.content


def wait_for_step(client: openai.OpenAI, job: str, step: int, seconds: float = 240) -> None:
    """Wait until the job has reported a training step."""
    deadline = time.monotonic() + seconds
    while not any(text.startswith(f"Step {step}/") for text in event_messages(client, job)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def steps(client: openai.OpenAI, job: str) -> list[str]:
    """Return "Step N/TOTAL" of each step that the job has reported, oldest first."""
    return [
        text.partition(":")[0] for text in event_messages(client, job) if text.startswith("Step")
    ]
