"""The loss of a job beside that of TRL alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.chat_templates import build_tokenizer, template_paths
from support.local_server import LocalServer, wait_for_job
from support.training import CITIES, encode_jsonl, method_with, start_job

pytestmark = pytest.mark.training

EXAMPLES = [
    {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": f"Where is {city}?"},
            {"role": "assistant", "content": f"{city} is {'far ' * (index % 4)}away."},
            {"role": "user", "content": "And now?"},
            {"role": "assistant", "content": f"Still {city}."},
        ]
    }
    for index, city in enumerate(CITIES)
]
EPOCHS, BATCH, SEED = 2, 4, 3


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with the chat template of Llama 3."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = build_tokenizer("llama3")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = tmp_path_factory.mktemp("base") / "llama"
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def train_with_trl(base: Path, output: Path) -> list[float]:
    """Return the losses of TRL with assistant-only loss, with the service's recipe."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
    from trl import SFTConfig, SFTTrainer

    from ftkit.server.recipes import builtin_recipes, micro_batch_size

    recipe = builtin_recipes().find(str(base))
    micro = micro_batch_size(recipe, BATCH)
    set_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = (
        template_paths()["llama3"].with_name("llama3_training.jinja").read_text("utf-8")
    )
    config = SFTConfig(
        output_dir=str(output),
        assistant_only_loss=True,
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=BATCH // micro,
        learning_rate=recipe.learning_rate.supervised,
        seed=SEED,
        logging_steps=1,
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        report_to=[],
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base),
        args=config,
        train_dataset=Dataset.from_list(EXAMPLES),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def job_losses(client: Any, model: str) -> list[float]:
    """Return the losses of a job at the service."""
    method = method_with(n_epochs=EPOCHS, batch_size=BATCH)
    job = start_job(client, encode_jsonl(EXAMPLES), model=model, seed=SEED, method=method)
    wait_for_job(client, job.id, "succeeded")
    events = client.fine_tuning.jobs.list_events(job.id, limit=100)
    metrics = [event.data for event in events if event.type == "metrics"]
    return [item["train_loss"] for item in sorted(metrics, key=lambda item: item["step"])]


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of options that TRL sets itself
def test_the_loss_is_that_of_trl_with_assistant_only_loss(base: Path, tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data", {"llama": str(base)}) as server:
        losses = job_losses(server.client(), "llama")
    expected = train_with_trl(base, tmp_path / "trl")
    assert losses == pytest.approx(expected, abs=1e-3), json.dumps([losses, expected])
