"""Training on images through the service, and answers to them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from ftkit.server.recipes import builtin_recipes, micro_batch_size
from support.local_server import LocalServer, event_messages, wait_for_job
from support.models import SMOKE
from support.processes import wait_for_worker
from support.training import encode_jsonl, method_with, start_job
from support.vision_models import (
    build_vision_model,
    color_example,
    color_question,
    data_url,
    image_bytes,
    image_part,
)

pytestmark = pytest.mark.training

ANSWERS = {"red": "R", "blue": "B"}
EXAMPLES = [color_example(color, answer) for _ in range(6) for color, answer in ANSWERS.items()]
EPOCHS, BATCH, SEED, MULTIPLIER = 4, 4, 3, 50
STEPS = EPOCHS * len(EXAMPLES) // BATCH
ENDS = {"qwen2_5_vl": "<|im_end|>", "idefics3": "<end_of_utterance>"}
TOWERS = {"qwen2_5_vl": "model.language_model", "idefics3": "model.text_model"}
"""End of turn, and path of the language model, of each base model."""


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("base")
    return {name: build_vision_model(name, folder / name) for name in ENDS}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, bases: dict[str, Path]
) -> Iterator[LocalServer]:
    models = {name: str(folder) for name, folder in bases.items()}
    with LocalServer(tmp_path_factory.mktemp("service") / "data", models, max_jobs=2) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: LocalServer) -> Iterator[openai.OpenAI]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def jobs(client: openai.OpenAI, server: LocalServer) -> dict[str, Any]:
    """A job on each base model; that on Qwen has a validation file, and is killed after an epoch."""
    method = method_with(n_epochs=EPOCHS, batch_size=BATCH, learning_rate_multiplier=MULTIPLIER)
    started = {
        name: start_job(
            client,
            encode_jsonl(EXAMPLES),
            encode_jsonl(EXAMPLES[:2]) if name == "qwen2_5_vl" else None,
            model=name,
            seed=SEED,
            method=method,
        )
        for name in ENDS
    }
    killed = started["qwen2_5_vl"].id
    wait_for_step(client, killed, 4)
    os.kill(wait_for_worker(server.folder, "train", killed), signal.SIGKILL)
    return {name: wait_for_job(client, job.id, "succeeded") for name, job in started.items()}


def wait_for_step(client: openai.OpenAI, job: str, step: int) -> None:
    while not any(text.startswith(f"Step {step}/") for text in event_messages(client, job)):
        wait_for_job(client, job, "validating_files", "queued", "running")
        time.sleep(0.05)


def train_with_trl(name: str, base: Path, output: Path) -> list[float]:
    """Return the losses of TRL's own training on images, with the service's recipe."""
    from datasets import Dataset
    from peft import LoraConfig
    from PIL import Image
    from transformers import AutoModelForImageTextToText, set_seed
    from trl import SFTConfig, SFTTrainer

    from ftkit.server.training.base import load_base_model

    recipe = builtin_recipes().find(str(base))
    micro = micro_batch_size(recipe, BATCH)
    set_seed(SEED)
    vision = load_base_model(str(base), recipe).vision
    assert vision
    content = [{"type": "image"}, {"type": "text", "text": "Which color?"}]
    prompt = vision.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    space = " " if name == "idefics3" else ""
    rows = [
        {
            "prompt": prompt,
            "completion": space + answer + ENDS[name],
            "images": [Image.new("RGB", (56, 56), color)],
        }
        for _ in range(6)
        for color, answer in ANSWERS.items()
    ]
    config = SFTConfig(
        output_dir=str(output),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=BATCH // micro,
        learning_rate=recipe.learning_rate.supervised * MULTIPLIER,
        seed=SEED,
        max_length=None,
        logging_steps=1,
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        report_to=[],
        disable_tqdm=True,
    )
    layers = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"
    trainer = SFTTrainer(
        model=AutoModelForImageTextToText.from_pretrained(base),
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=vision.processor,
        peft_config=LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            target_modules=rf"{TOWERS[name]}\..*\.({layers})",
            task_type="CAUSAL_LM",
        ),
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def job_losses(client: openai.OpenAI, job: Any) -> list[float]:
    events: list[Any] = list(client.fine_tuning.jobs.list_events(job.id, limit=100))
    metrics = [event.data for event in events if "train_loss" in (event.data or {})]
    return [item["train_loss"] for item in sorted(metrics, key=lambda item: item["step"])]


def ask_color(client: openai.OpenAI, model: str, color: str) -> Any:
    return client.chat.completions.create(
        model=model, messages=color_question(color), temperature=0, max_tokens=10
    )  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of options that TRL sets itself
def test_the_loss_is_that_of_trl_even_if_the_job_was_killed(
    name: str,
    jobs: dict[str, Any],
    client: openai.OpenAI,
    bases: dict[str, Path],
    tmp_path: Path,
) -> None:
    restarted = any("is restarted" in text for text in event_messages(client, jobs[name].id))
    assert restarted == (name == "qwen2_5_vl")
    losses = job_losses(client, jobs[name])
    expected = train_with_trl(name, bases[name], tmp_path / "trl")
    assert losses == pytest.approx(expected, rel=0.05), json.dumps([losses, expected])
    # After a restart, dropout has other random numbers.
    steps = STEPS // EPOCHS if restarted else STEPS
    assert losses[:steps] == pytest.approx(expected[:steps], abs=1e-3)


@pytest.mark.parametrize("name", ENDS)
def test_a_model_learns_to_tell_images_apart(
    name: str, jobs: dict[str, Any], client: openai.OpenAI
) -> None:
    answers = {
        color: ask_color(client, jobs[name].fine_tuned_model, color).choices[0].message.content
        for color in ANSWERS
    }
    assert answers == ANSWERS


def test_images_count_as_tokens_and_answers_stream(
    jobs: dict[str, Any], client: openai.OpenAI
) -> None:
    model = jobs["idefics3"].fine_tuned_model
    with_image = ask_color(client, model, "red").usage.prompt_tokens
    text = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Which color?"}], max_tokens=1
    )
    assert text.usage
    assert with_image - text.usage.prompt_tokens > 20
    assert jobs["idefics3"].trained_tokens > EPOCHS * len(EXAMPLES) * with_image
    chunks = client.chat.completions.create(
        model=model, messages=color_question("blue"), temperature=0, stream=True
    )  # type: ignore[call-overload]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWERS["blue"]


def test_the_validation_file_may_have_images(jobs: dict[str, Any], client: openai.OpenAI) -> None:
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(jobs["qwen2_5_vl"].id))
    losses = [checkpoint.metrics.full_valid_loss for checkpoint in checkpoints]
    assert len(losses) == 3
    assert losses[0] is not None
    assert losses[0] < 0.5


@pytest.mark.parametrize("name", ENDS)
def test_only_the_language_model_has_an_adapter(
    name: str, jobs: dict[str, Any], server: LocalServer
) -> None:
    from safetensors import safe_open

    (adapter,) = (server.folder / "jobs" / jobs[name].id).glob(f"adapter-{STEPS}")
    with safe_open(adapter / "adapter_model.safetensors", "pt") as weights:
        keys = list(weights.keys())
    layers = {key.rpartition(".lora_")[0] for key in keys}
    assert len(layers) == 2 * 7
    assert all(layer.startswith(f"base_model.model.{TOWERS[name]}.") for layer in layers)


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of PEFT's call of transformers
def test_a_merged_model_has_its_processor(
    name: str, jobs: dict[str, Any], server: LocalServer, bases: dict[str, Path], tmp_path: Path
) -> None:
    from ftkit.server.training.base import load_base_model
    from ftkit.server.training.images import decode_images
    from ftkit.server.training.loading import add_adapter, load_base
    from ftkit.server.training.merging import merge

    adapter = server.folder / "jobs" / jobs[name].id / f"adapter-{STEPS}"
    shutil.copytree(adapter, tmp_path / "merged")
    base, merged = str(bases[name]), str(tmp_path / "merged")
    merge(base, tmp_path / "merged")
    (tmp_path / "merged" / "adapter_config.json").unlink(missing_ok=True)
    vision = load_base_model(merged, builtin_recipes().find(merged)).vision
    assert vision
    inputs = vision.inputs([vision.token], [decode_images([data_url(image_bytes("red"))])])
    tuned = add_adapter(load_base(base), adapter).eval()
    logits = load_base(merged).eval()(**inputs).logits
    assert (logits - tuned(**inputs).logits).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("model", "examples", "reason"),
    [
        (SMOKE, EXAMPLES, "line 1: the base model does not support images"),
        (
            "idefics3",
            [*EXAMPLES, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/a.png"}}]}, EXAMPLES[0]["messages"][1]]}],
            "line 13: image 1 is not embedded, and this service fetches no addresses; write data:",
        ),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_trained_on_fails_before_training(
    model: str, examples: list[Any], reason: str, client: openai.OpenAI
) -> None:
    job = wait_for_job(client, start_job(client, encode_jsonl(examples), model=model).id, "failed")
    assert job.error.code == "invalid_training_file"
    assert reason in job.error.message
    assert "Fine-tuning job started" not in event_messages(client, job.id)


RED = image_bytes("red")


@pytest.mark.parametrize(
    ("model", "parts", "reason"),
    [
        (SMOKE, [image_part(RED)], "does not support images"),
        (
            "idefics3",
            [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}],
            "image 1 is not embedded",
        ),
        ("idefics3", [image_part(b"no image")], "image 1 is not a PNG"),
        ("idefics3", [image_part(RED)] * 10, "exceed the limit of 512 tokens"),
        ("idefics3", [{"type": "text", "text": "an <image>"}], "stands for an image"),
        ("idefics3", [{"type": "image_url"}], "needs its image_url"),
        ("idefics3", [{"type": "image_url", "image_url": data_url(RED)}], "expected `object`"),
    ],
)
def test_an_image_that_cannot_be_answered_is_refused(
    model: str, parts: list[Any], reason: str, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.BadRequestError, match=reason) as error:
        client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": parts}], max_tokens=1
        )
    assert str(error.value.param).startswith("messages")
