"""Jobs at the fake provider."""

from __future__ import annotations

from typing import Any

import msgspec

from ftkit.client.client import Client
from support.connections import connect_to
from support.fake_provider import FakeProvider
from support.models import GPT_35, MINI

RESULTS = b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n" + b"".join(
    f"{step},{2 - step / 10:.2f},0.5,{loss},0.4\n".encode()
    for step, loss in enumerate(["2.0", "1.5", "1.2", "", "1.4", "1.6"], 1)
)


def add_jobs(fake_provider: FakeProvider, number: int) -> None:
    for index in range(number):
        job = fake_provider.add_job(
            {"model": MINI if index % 2 else GPT_35, "training_file": "file-0"}
        )
        job["status"] = "failed" if index % 3 == 0 else "succeeded"


class UpdatingDict(dict[str, Any]):
    def __init__(self, real: dict[str, Any], more: dict[str, Any]) -> None:
        super().__init__(real)
        self.more = more

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value | self.more)


def connect_with_small_parts(url: str) -> Client:
    service = connect_to(url)
    small = msgspec.structs.replace(service.provider.file_bytes, value=1000)
    service.provider = msgspec.structs.replace(service.provider, file_bytes=small)
    return service
