"""Continuous batching: a completion is the same alone and in a batch, on every architecture."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ftkit.server.folder import Folder
from ftkit.server.recipes import builtin_recipes
from support.models import SMOKE
from support.text_models import ARCHITECTURES, build_text_model
from support.training import CITIES, question
from support.vision_models import build_vision_model, color_question

pytestmark = pytest.mark.training

X, Y = 87, 88
"""Tokens of the smoke model."""

Responses = dict[str, list[dict[str, Any]]]


class Driver:
    """An engine in this process, and the responses to its requests."""

    def __init__(self, base: str, folder: Path) -> None:
        from ftkit.server.generation.engine import Engine

        self.base = base
        self.responses: Responses = defaultdict(list)
        self.errors: dict[str, Exception] = {}
        self.engine = Engine(
            Folder(folder),
            lambda request, **response: self.responses[request].append(response),
            self.errors.__setitem__,
        )

    def add(self, id: str, **fields: Any) -> None:
        self.engine.add(self.request(id, **fields))

    def request(self, id: str, **fields: Any) -> Any:
        from ftkit.server.generation.prompts import Request

        fields = {"job": "", "step": 0, "temperature": 0, **fields}
        recipe = builtin_recipes().find(self.base)
        return Request(id=id, base=self.base, recipe=recipe, **fields)

    def finish(self) -> None:
        while not self.engine.is_idle:
            self.engine.step()
        assert not self.errors, self.errors

    def text(self, id: str, index: int = 0) -> str:
        parts = [item for item in self.responses[id] if item.get("index") == index]
        return "".join(item.get("text", "") for item in parts)


def texts_of_all(driver: Driver, requests: dict[str, dict[str, Any]], steps: int) -> dict[str, str]:
    """Add the requests some steps after each other, and return the texts of all."""
    driver.responses.clear()
    for id, request in requests.items():
        driver.add(id, **request)
        for _ in range(steps):
            driver.engine.step()
    driver.finish()
    return {id: driver.text(id) for id in requests}


def check_batches(driver: Driver, requests: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the texts of requests, which are the same alone, at once and one after the other."""
    alone = {}
    for id, request in requests.items():
        alone |= texts_of_all(driver, {id: request}, 0)
    assert len(set(alone.values())) > 1
    assert texts_of_all(driver, requests, 0) == alone
    assert texts_of_all(driver, requests, 2) == alone
    return alone


def text_requests() -> dict[str, dict[str, Any]]:
    """Requests with prompts and completions of different lengths."""
    sizes = [(1, 40), (60, 9), (200, 25), (9, 30), (120, 3), (30, 60)]
    return {
        f"{length}": {"prompt": " ".join(CITIES * 9)[:length], "max_tokens": tokens}
        for length, tokens in sizes
    }


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_completion_is_that_of_transformers_in_any_batch(
    architecture: str, tmp_path: Path
) -> None:
    import torch

    build_text_model(architecture, tmp_path / "base")
    driver = Driver(str(tmp_path / "base"), tmp_path)
    requests = text_requests()
    texts = check_batches(driver, requests)
    base = driver.engine._base
    for id, request in requests.items():
        inputs = base.tokenizer(request["prompt"], return_tensors="pt")
        with torch.inference_mode():
            ids = base.model.generate(
                **inputs, max_new_tokens=request["max_tokens"], do_sample=False
            )
        new = ids[0][inputs["input_ids"].shape[1] :]
        assert texts[id] == base.tokenizer.decode(new, skip_special_tokens=True)


@pytest.mark.parametrize("name", ["qwen2_5_vl", "idefics3", "gemma3"])
def test_completions_of_images_and_of_text_share_a_batch(name: str, tmp_path: Path) -> None:
    import torch

    from ftkit.server.generation.prompts import encode

    build_vision_model(name, tmp_path / "base")
    driver = Driver(str(tmp_path / "base"), tmp_path)
    messages = {
        "red": color_question("red"),
        "text": question("Lima"),
        "blue": color_question("blue", "What do you see in this picture?"),
    }
    requests = {id: {"messages": item, "max_tokens": 20} for id, item in messages.items()}
    texts = check_batches(driver, requests)
    base = driver.engine._base
    for id, request in requests.items():
        prompt = encode(driver.request(id, **request), base)
        with torch.inference_mode():
            ids = base.model.generate(
                **prompt.inputs,
                max_new_tokens=20,
                do_sample=False,
                eos_token_id=prompt.template.chat.end_ids,
            )
        new = ids[0][prompt.inputs["input_ids"].shape[1] :]
        assert texts[id] == base.tokenizer.decode(new, skip_special_tokens=True)


def test_long_prompts_are_computed_in_parts_between_the_steps_of_others(tmp_path: Path) -> None:
    driver = Driver(SMOKE, tmp_path)
    driver.add("early", prompt="Lima", max_tokens=100)
    driver.engine.step()
    driver.add("long", prompt="x" * 1900, max_tokens=1)
    driver.add("short", prompt="Oslo", max_tokens=1)
    first: list[str] = []
    while not driver.engine.is_idle:
        driver.engine.step()
        first += [id for id in driver.responses if id not in first]
    assert first == ["early", "short", "long"]


def test_a_sampled_completion_follows_its_seed_in_any_batch(tmp_path: Path) -> None:
    driver = Driver(SMOKE, tmp_path)
    request = {"prompt": "x", "max_tokens": 12, "temperature": 1.2, "top_p": 0.9, "seed": 5}
    alone = texts_of_all(driver, {"a": request}, 0)["a"]
    others = {f"{n}": {**request, "seed": n} for n in range(6)}
    assert texts_of_all(driver, others, 1)["5"] == alone
    driver.add("n", **request, n=3)
    driver.finish()
    assert driver.text("n", 0) == alone
    assert len({driver.text("n", index) for index in range(3)}) == 3


def test_sequences_that_take_too_much_memory_are_computed_again_later(tmp_path: Path) -> None:
    driver = Driver(SMOKE, tmp_path)
    requests = text_requests()
    expected = texts_of_all(driver, requests, 1)
    driver.engine._base.cache_bytes = 900_000
    largest = preempted = 0
    driver.responses.clear()
    for id, request in requests.items():
        driver.add(id, **request)
    while not driver.engine.is_idle:
        driver.engine.step()
        if len(driver.engine._batch.sequences) > 1:
            largest = max(largest, driver.engine._batch.size)
        preempted = max(preempted, len(driver.engine._preempted))
    assert {id: driver.text(id) for id in requests} == expected
    assert 0 < largest <= 900_000
    assert preempted


@pytest.mark.parametrize("failing", ["200", "1", "30"])
def test_a_sequence_that_fails_leaves_the_others_as_they_are(failing: str, tmp_path: Path) -> None:
    driver = Driver(SMOKE, tmp_path)
    expected = texts_of_all(driver, text_requests(), 0)
    driver.responses.clear()
    for id, request in text_requests().items():
        driver.add(id, **request)
    failed = False
    while not driver.engine.is_idle:
        driver.engine.step()
        batch = driver.engine._batch
        if batch.sequences:
            positions = batch._cache.layers[0].keys.shape[-2]
            assert positions == max(len(sequence.ids) for sequence in batch.sequences) - 1
        for sequence in batch.sequences:
            if sequence.request == failing and len(batch.sequences) > 2:
                sequence.sampler = None  # its next token cannot be chosen
                failed = True
    assert failed
    assert driver.errors.keys() == {failing}
    for id in text_requests().keys() - {failing}:
        assert driver.text(id) == expected[id]


def test_a_tenant_with_many_requests_does_not_delay_others(tmp_path: Path) -> None:
    driver = Driver(SMOKE, tmp_path)
    for number in range(70):
        driver.add(f"many {number}", tenant="many", prompt="x", max_tokens=20)
    for _ in range(3):
        driver.engine.step()
    driver.add("one", tenant="one", prompt="x", max_tokens=20)
    driver.finish()
    ends = [id for id, items in driver.responses.items() if items[-1].get("done")]
    assert len(ends) == 71
    order = list(driver.responses)
    assert order.index("one") < order.index("many 69")


def test_a_request_for_another_base_waits_for_those_before_it(tmp_path: Path) -> None:
    build_text_model("HuggingFaceTB/SmolLM3", tmp_path / "base")
    driver = Driver(SMOKE, tmp_path)
    driver.add("first", prompt="x", max_tokens=20)
    driver.engine.step()
    driver.base = str(tmp_path / "base")
    driver.add("other", prompt="x", max_tokens=5)
    driver.base = SMOKE
    driver.add("last", prompt="x", max_tokens=5)
    driver.finish()
    assert list(driver.responses) == ["first", "other", "last"]


def test_a_cancelled_request_ends_at_once_and_others_go_on(tmp_path: Path) -> None:
    driver = Driver(SMOKE, tmp_path)
    expected = texts_of_all(driver, text_requests(), 0)
    for id, request in text_requests().items():
        driver.add(id, **request)
    driver.responses.clear()
    for _ in range(8):
        driver.engine.step()
    driver.engine.cancel("200")
    driver.engine.cancel("1")
    driver.finish()
    assert all(not item.get("done") for item in driver.responses["200"])
    for id in ("60", "9", "120", "30"):
        assert driver.text(id) == expected[id]


def save_adapters(folder: Folder, count: int) -> list[str]:
    """Save adapters of different ranks with random weights, and return the names of their jobs."""
    import torch
    from peft import LoraConfig, get_peft_model

    from ftkit.server.training.smoke import build_model

    jobs = [f"ftjob-{number}" for number in range(count)]
    for number, job in enumerate(jobs):
        torch.manual_seed(number)
        config = LoraConfig(r=2 + number, target_modules="all-linear", init_lora_weights=False)
        get_peft_model(build_model(), config).save_pretrained(folder.adapter(job, 1))
    return jobs


@pytest.mark.filterwarnings("ignore")  # of PEFT
def test_each_sequence_of_a_batch_has_its_adapter_of_which_few_stay_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from peft import PeftModel

    from ftkit.server.generation import adapters
    from ftkit.server.training.smoke import build_model

    monkeypatch.setattr(adapters, "MAX_ADAPTERS", 2)
    driver, folder = Driver(SMOKE, tmp_path), Folder(tmp_path)
    jobs = ["", *save_adapters(folder, 4)]
    requests = {
        f"{job} {number}": {"job": job, "step": 1, "prompt": city, "max_tokens": 20}
        for number, city in enumerate(CITIES[:2])
        for job in jobs
    }
    texts = check_batches(driver, requests)
    for id, request in requests.items():
        model = build_model()
        if request["job"]:
            path = folder.adapter(request["job"], 1)
            model = PeftModel.from_pretrained(model, str(path)).eval()
        inputs = driver.engine._base.tokenizer(request["prompt"], return_tensors="pt")
        with torch.inference_mode():
            ids = model.generate(**inputs, max_new_tokens=20, do_sample=False)
        new = ids[0][inputs["input_ids"].shape[1] :]
        assert texts[id] == driver.engine._base.tokenizer.decode(new, skip_special_tokens=True)
    texts_of_all(driver, {f"{job}": {**request, "job": job} for job in jobs[1:]}, 0)
    driver.add("next", job=jobs[1], step=1, prompt="x", max_tokens=1)
    driver.finish()
    weights = [name for name, _ in driver.engine._base.model.named_parameters()]
    names = {name.split("lora_A.")[1].split(".")[0] for name in weights if "lora_A." in name}
    assert len(names) == 2


@pytest.mark.parametrize("change", [{"presence_penalty": 2.0}, {"frequency_penalty": 2.0}])
def test_penalties_change_the_sampled_tokens(change: dict[str, Any], tmp_path: Path) -> None:
    driver = Driver(SMOKE, tmp_path)
    request = {"prompt": "xxxx", "max_tokens": 30}
    plain = texts_of_all(driver, {"a": request}, 0)
    assert texts_of_all(driver, {"a": {**request, **change}}, 0) != plain


def test_a_bias_forces_or_excludes_a_token(tmp_path: Path) -> None:
    driver = Driver(SMOKE, tmp_path)
    request = {"prompt": "xxxx", "max_tokens": 5, "logprobs": 0}
    driver.add("x", **request, logit_bias={X: 100.0})
    driver.add("y", **request, logit_bias={X: -100.0, Y: 100.0})
    driver.finish()
    assert (driver.text("x"), driver.text("y")) == ("xxxxx", "yyyyy")


def test_the_probabilities_are_those_of_the_model(tmp_path: Path) -> None:
    import torch

    driver = Driver(SMOKE, tmp_path)
    text = " ".join(CITIES)
    driver.add("scored", prompt=text, max_tokens=0, logprobs=3, echo=True)
    driver.add("new", prompt=text, max_tokens=4, logprobs=2)
    driver.finish()
    base = driver.engine._base
    (*parts, end, _) = driver.responses["scored"]
    assert (driver.text("scored"), end["finish_reason"], end["tokens"]) == (text, "length", 0)
    found = [entry for part in parts for entry in part["logprobs"]]
    assert "".join(entry["token"] for entry in found) == text
    assert found[0]["logprob"] is None
    ids = base.tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logprobs = base.model(ids).logits[0].float().log_softmax(-1)
    for position, entry in enumerate(found[1:]):
        expected = float(logprobs[position][ids[0][position + 1]])
        assert entry["logprob"] == pytest.approx(expected, abs=1e-4)
        top = [other["logprob"] for other in entry["top_logprobs"]]
        assert top == pytest.approx(logprobs[position].topk(3).values.tolist(), abs=1e-4)
    new = [entry for item in driver.responses["new"] for entry in item.get("logprobs", [])]
    assert len(new) == 4
    assert new[0]["logprob"] == pytest.approx(float(logprobs[-1].max()), abs=1e-4)
    assert all(entry["logprob"] == entry["top_logprobs"][0]["logprob"] for entry in new)


@pytest.mark.parametrize("threads", [1, 0, 3])
def test_a_base_model_answers_with_the_threads_of_its_recipe(threads: int, tmp_path: Path) -> None:
    import torch

    from ftkit.server.generation.base import DEFAULT_THREADS, LoadedBase

    recipe = msgspec.structs.replace(builtin_recipes().find(SMOKE), threads=threads)
    try:
        LoadedBase(SMOKE, recipe, Folder(tmp_path))
        assert torch.get_num_threads() == (threads or DEFAULT_THREADS)
    finally:
        torch.set_num_threads(DEFAULT_THREADS)
