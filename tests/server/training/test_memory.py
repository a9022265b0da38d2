"""The longest sequences that fit the memory, by the estimate and in real training."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ftkit.server.recipes import builtin_recipes

pytestmark = pytest.mark.training

RECIPE = builtin_recipes().find("some/base")

STEP = """
import json, sys
from pathlib import Path
from datasets import Dataset
from msgspec.structs import replace
from peft import LoraConfig
from transformers import LlamaConfig, LlamaForCausalLM
from trl import SFTConfig, SFTTrainer
from ftkit.server.recipes import builtin_recipes
from ftkit.server.training.memory import fitting_tokens
from ftkit.server.training.smoke import build_tokenizer

sizes, checkpointing, memory, output = json.loads(sys.argv[1])
config = LlamaConfig(**sizes)
recipe = replace(builtin_recipes().find("some/base"), gradient_checkpointing=checkpointing)
tokens = fitting_tokens(config, recipe, "supervised", memory)
ids = [index % config.vocab_size for index in range(tokens)]
# The shorter example has the others padded, which takes a mask.
data = Dataset.from_dict({name: [ids, ids[:-1]] for name in ("input_ids", "labels")})
SFTTrainer(
    model=LlamaForCausalLM(config),
    args=SFTConfig(
        output_dir=output, max_steps=1, per_device_train_batch_size=2, max_length=None, bf16=False,
        use_cpu=True, report_to=[], save_strategy="no", gradient_checkpointing=checkpointing,
    ),
    train_dataset=data,
    processing_class=build_tokenizer(),
    peft_config=LoraConfig(r=recipe.rank, target_modules="all-linear", task_type="CAUSAL_LM"),
).train()
status = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
print(json.dumps([tokens, peak]))
"""
"""Trains one step with sequences of the length that fits a memory. Prints length and peak."""

SIZES = {
    "vocab_size": 8000,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 1 << 20,
}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_sequences_of_the_estimated_length_fit_the_memory_and_use_most_of_it(
    checkpointing: bool, tmp_path: Path
) -> None:
    memory = 2 << 30
    argument = json.dumps([SIZES, checkpointing, memory, str(tmp_path)])
    result = subprocess.run(
        [sys.executable, "-c", STEP, argument], capture_output=True, text=True, check=True
    )
    tokens, peak = json.loads(result.stdout.splitlines()[-1])
    assert 0.5 * memory < peak < memory, (tokens, peak)


def fitting(memory: int, method: str = "supervised", **changes: Any) -> int:
    from transformers import LlamaConfig

    from ftkit.server.training.memory import fitting_tokens

    recipe = replace(RECIPE, **changes)
    return fitting_tokens(LlamaConfig(**SIZES), recipe, method, memory)


def test_what_saves_memory_leaves_room_for_longer_sequences() -> None:
    tokens = fitting(4 << 30)
    assert tokens % 64 == 0
    assert fitting(8 << 30) > tokens
    assert fitting(4 << 30, gradient_checkpointing=False) < tokens
    assert fitting(4 << 30, micro_batch=1) > tokens
    assert fitting(4 << 30, quantization="4bit") > tokens
    assert fitting(4 << 30, method="dpo") < tokens


def test_a_model_that_does_not_fit_still_has_a_limit() -> None:
    assert fitting(1 << 20) == 256


@pytest.mark.parametrize(
    ("membership", "file"),
    [
        ("0::/system.slice/ftkit.service\n", "system.slice/ftkit.service/memory.max"),
        ("0::/system.slice/ftkit.service\n", "memory.max"),
        ("4:memory:/ftkit\n", "memory/ftkit/memory.limit_in_bytes"),
        ("", "memory/memory.limit_in_bytes"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
def test_the_memory_is_limited_by_the_control_group(
    membership: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftkit.server import control_groups
    from ftkit.server.training.device import device_memory

    (tmp_path / "self").write_text(membership)
    limit = tmp_path / "groups" / file
    limit.parent.mkdir(parents=True)
    limit.write_text("12345\n")
    monkeypatch.setattr(control_groups, "MEMBERSHIP", tmp_path / "self")
    monkeypatch.setattr(control_groups, "MOUNT_POINT", tmp_path / "groups")
    assert device_memory() == 12345
