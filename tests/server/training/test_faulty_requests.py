"""Requests that fail alone: others, and the process, go on."""

from __future__ import annotations

import io
import itertools
import json
import queue
from pathlib import Path
from typing import Any

import pytest

from ftkit.server.commands import RequestReader
from ftkit.server.folder import Folder
from ftkit.server.recipes import builtin_recipes
from support.models import SMOKE

pytestmark = pytest.mark.training


class Requests(queue.Queue[dict[str, Any]]):
    """Queue of requests that raises `queue.Empty` after the last one."""

    def get(self, block: bool = True, timeout: float | None = None) -> dict[str, Any]:
        return super().get(block=False)


def request(id: str, **fields: Any) -> dict[str, Any]:
    recipe = builtin_recipes().find(SMOKE).as_json()
    prompt = {"prompt": "x", "max_tokens": 3, "temperature": 0}
    return {"id": id, "base": SMOKE, "job": "", "step": 0, "recipe": recipe, **prompt, **fields}


def process(folder: Path, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the responses of the process to requests."""
    from ftkit.server.generation.process import process_requests

    reader, responses = RequestReader(), io.StringIO()
    reader.requests = Requests()
    for item in requests:
        reader.requests.put(item)
    with pytest.raises(queue.Empty):
        process_requests(folder, reader, responses)
    return [json.loads(line) for line in responses.getvalue().splitlines()]


@pytest.mark.parametrize("fields", [{"logit_bias": {"05": 1}}, {"n": "x"}, {"prompt": {}}])
def test_a_malformed_request_does_not_end_the_process(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    responses = process(tmp_path, request("bad", **fields), request("good"))
    errors = [item for item in responses if "error" in item]
    assert [(item["id"], item["code"]) for item in errors] == [("bad", "server_error")]
    assert {"id": "good", "done": True, "prompt_tokens": 1} in responses


def answer(id: str, responses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item for item in responses if item["id"] == id]


def save_adapter(folder: Path, job: str, value: float) -> None:
    """Save an adapter whose weights all have one value."""
    import torch
    from peft import LoraConfig, get_peft_model

    from ftkit.server.training.smoke import build_model

    model = get_peft_model(build_model(), LoraConfig(r=2, target_modules="all-linear"))
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_" in name:
                weights.fill_(value)
    model.save_pretrained(Folder(folder).adapter(job, 1))


@pytest.mark.filterwarnings("ignore")  # of PEFT
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "fields", [{"temperature": 1}, {"max_tokens": 1, "logprobs": 2, "echo": True}, {"n": 3}]
)
def test_a_model_whose_training_diverged_does_not_disturb_others(
    value: float, fields: dict[str, Any], tmp_path: Path
) -> None:
    save_adapter(tmp_path, "ftjob-1", value)
    good = request("good", max_tokens=20, seed=1, temperature=1)
    alone = process(tmp_path, good)
    responses = process(tmp_path, good, request("bad", job="ftjob-1", step=1, **fields))
    assert answer("good", responses) == alone
    (error,) = answer("bad", responses)
    assert error["code"] == "invalid_value"
    assert "diverged" in error["error"]


def test_an_exception_of_one_sequence_ends_only_its_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftkit.server.generation.output import Output

    good = request("good", max_tokens=20)
    alone = process(tmp_path, good)
    add = Output.add

    def fail(output: Output, token: int, probabilities: Any) -> bool:
        if output.tokens == 4 and output._format.stops == ["bad"]:
            raise IndexError
        return add(output, token, probabilities)

    monkeypatch.setattr(Output, "add", fail)
    bad = request("bad", max_tokens=20, stop=["bad"], n=3)
    responses = process(tmp_path, good, bad)
    assert answer("good", responses) == alone
    assert [item["code"] for item in answer("bad", responses) if "error" in item] == [
        "server_error"
    ]
    assert "error" in answer("bad", responses)[-1]


def by_choice(response: dict[str, Any]) -> tuple[str, int]:
    return response["id"], response.get("index", 99)


@pytest.fixture(scope="module")
def batch(
    tmp_path_factory: pytest.TempPathFactory,
) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Requests that share a batch, and one that follows, each with its responses when it is alone."""
    texts = ["x" * 9, "Lima " * 40, "Oslo", "Rome " * 20]
    requests = [
        request(f"{number}", prompt=text, max_tokens=4 + 3 * number, n=1 + number)
        for number, text in enumerate(texts)
    ]
    folder = tmp_path_factory.mktemp("alone")
    return [(item, process(folder, item)) for item in [*requests, request("later")]]


@pytest.mark.parametrize("function", ["join", "keep", "trim"])
@pytest.mark.parametrize("call", [1, 2, 3, 4, 5])
def test_a_change_of_the_batch_without_memory_fails_requests_and_never_corrupts_others(
    function: str,
    call: int,
    batch: list[tuple[dict[str, Any], list[dict[str, Any]]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ftkit.server.generation import cache

    work, calls = getattr(cache, function), itertools.count(1)

    def fail_once(*arguments: Any) -> Any:
        if next(calls) == call:
            if function == "join":  # some layers are changed already
                arguments[0].layers[0].keys = arguments[0].layers[0].keys[:0]
            raise MemoryError
        return work(*arguments)

    monkeypatch.setattr(cache, function, fail_once)
    responses = process(tmp_path, *(item for item, _ in batch))
    for item, expected in batch:
        *_, end = received = answer(item["id"], responses)
        if end.get("code") != "out_of_memory":
            assert sorted(received, key=by_choice) == sorted(expected, key=by_choice)


def test_choices_that_do_not_fit_into_memory_wait_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftkit.server.generation import base, cache

    long = request("long", prompt="x" * 400, n=8, max_tokens=5)
    early = request("early", prompt="Lima", max_tokens=30)
    alone = process(tmp_path, early) + process(tmp_path, long)
    join, largest = cache.join, 0

    def join_and_measure(first: Any, second: Any) -> None:
        nonlocal largest
        join(first, second)
        largest = max(largest, cache.size(first))

    monkeypatch.setattr(cache, "join", join_and_measure)
    monkeypatch.setattr(base, "device_memory", lambda: 11_000_000)
    short = [request(f"{number}", max_tokens=30) for number in range(9)]
    responses = process(tmp_path, early, long, *short)
    both = answer("early", responses) + answer("long", responses)
    assert sorted(both, key=by_choice) == sorted(alone, key=by_choice)
    assert 0 < largest <= 5_000_000


def test_large_requests_of_a_tenant_do_not_precede_those_of_others(tmp_path: Path) -> None:
    large = [request(f"{number}", tenant="many", n=64) for number in range(4)]
    responses = process(tmp_path, *large, request("one", tenant="one", max_tokens=1))
    ends = [item["id"] for item in responses if "done" in item]
    assert ends == ["0", "one", "1", "2", "3"]


@pytest.mark.parametrize("fields", [{"prompt": []}, {"prompt": [261]}, {"logit_bias": {"261": 1}}])
def test_tokens_that_the_model_does_not_compute_are_refused(
    fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftkit.server.training import smoke

    monkeypatch.setattr(smoke, "VOCABULARY_SIZE", 261)  # the tokenizer has one more
    responses = process(tmp_path, request("bad", **fields), request("good"))
    assert [item["code"] for item in answer("bad", responses)] == ["invalid_value"]
    assert "done" in answer("good", responses)[-1]


def test_a_failure_of_the_device_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from ftkit.server.generation.base import LoadedBase

    if not hasattr(torch, "AcceleratorError"):
        pytest.skip("this version of PyTorch has no exception for it")

    def fail(*_: Any) -> None:
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(LoadedBase, "forward", fail)
    with pytest.raises(torch.AcceleratorError):
        process(tmp_path, request("bad"))
