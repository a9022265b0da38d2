"""Check on a GPU what the tests cannot check without one: python benchmarks/gpu.py.

Trains and answers with a random model of the given size, through the code of `ftkit serve`, and
prints a table in Markdown. Without a GPU it says so and exits 0. Exits 1 if a check fails.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from msgspec import Struct
from msgspec.structs import replace
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback
from transformers.utils import is_flash_attn_2_available

from ftkit.server.folder import Folder
from ftkit.server.generation.engine import Engine
from ftkit.server.generation.prompts import Request
from ftkit.server.objects import JobHyperparameters, JobMethod, JobObject
from ftkit.server.recipes import Recipe, ResolvedHyperparameters, builtin_recipes
from ftkit.server.training.base import load_base_model
from ftkit.server.training.device import compute_dtype, device
from ftkit.server.training.memory import measure_footprint, training_bytes
from ftkit.server.training.smoke import build_tokenizer
from ftkit.server.training.trainers import TrainingRun, create_trainer

STEPS = 4
"""Number of training steps of a check; the first one is not timed."""

LOSS_TOLERANCE = 0.05
"""Maximum relative difference of losses that should be equal, in bfloat16."""

QUANTIZED_TOLERANCE = 0.5
"""Maximum relative difference of the first loss with 4-bit weights."""

BATCH = 16
"""Number of prompts that are answered at a time."""


class Size(Struct, frozen=True):
    """Size of the random model, and length of the sequences in tokens."""

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int
    tokens: int


GPU = Size(hidden=2048, layers=24, heads=16, key_value_heads=8, vocabulary=32_000, tokens=2048)
"""1.3 billion weights."""

CPU = Size(hidden=64, layers=2, heads=4, key_value_heads=4, vocabulary=512, tokens=64)
"""For a test of this script without a GPU."""


class Measurement(Struct, frozen=True):
    """Result of a training.

    Attributes:
        losses: Loss of each step.
        speed: Tokens per second, from the second step on.
        peak: Maximum memory of the GPU in bytes, or 0 without one.
        estimate: Memory that ftkit expected, in bytes.
    """

    losses: list[float]
    speed: float
    peak: int
    estimate: float

    def __str__(self) -> str:
        memory = f", {self.peak / 2**30:.1f} GiB" if self.peak else ""
        expected = f" (estimate {self.estimate / 2**30:.1f} GiB)"
        return f"{self.speed:,.0f} tokens/s{memory}{expected}, loss {self.losses[-1]:.3f}"


def build_base(folder: Path, size: Size) -> None:
    """Save a random model and its tokenizer."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    config = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.hidden * 3,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_value_heads,
        max_position_embeddings=size.tokens * 2,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).to(compute_dtype()).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


class Checks:
    """The checks, which share a base model.

    Args:
        folder: Folder with the base model.
        size: Its size.
    """

    def __init__(self, folder: Path, size: Size) -> None:
        self._base, self._size = folder, size
        default = builtin_recipes().find("default")
        self._recipe = replace(default, dropout=0.0, processes=1, tokens=size.tokens)

    def all(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Yield the names of the checks, and functions that return the figures."""
        yield f"LoRA in {str(compute_dtype()).removeprefix('torch.')}", self.lora
        yield "gradient checkpointing keeps the losses", self.checkpointing
        yield "QLoRA in 4 bits", self.quantization
        yield "packing keeps the losses", self.packing
        yield "flash attention keeps the losses", self.flash_attention
        yield "two adapters answer in one batch", self.adapters

    def lora(self) -> str:
        """Train an adapter."""
        return str(self._train(self._recipe))

    def checkpointing(self) -> str:
        """Compare the losses with and without gradient checkpointing."""
        size = {"micro_batch": 1, "batch_size": 1}
        without = self._train(replace(self._recipe, gradient_checkpointing=False, **size))
        check_close(without.losses, self._train(replace(self._recipe, **size)).losses)
        return f"without: {without}"

    def quantization(self) -> str:
        """Train on a base model in 4 bits, whose first loss is near the other one's."""
        plain = self._train(self._recipe)
        quantized = self._train(replace(self._recipe, quantization="4bit"))
        check_close(quantized.losses[:1], plain.losses[:1], QUANTIZED_TOLERANCE)
        return str(quantized)

    def packing(self) -> str:
        """Compare padded and packed batches of sequences of unequal length."""
        recipe = replace(self._recipe, batch_size=8, micro_batch=8)
        padded = self._train(recipe, unequal=True)
        packed = self._train(replace(recipe, packing=True), unequal=True)
        check_close(padded.losses, packed.losses)
        return f"{packed.speed / padded.speed:.2f} times the speed of padded batches"

    def flash_attention(self) -> str:
        """Compare flash attention with PyTorch's."""
        if not is_flash_attn_2_available():
            return "skipped: flash-attn is not installed, so PyTorch's attention is used"
        flash = self._train(replace(self._recipe, attention="flash_attention_2"))
        sdpa = self._train(replace(self._recipe, attention="sdpa"))
        check_close(flash.losses, sdpa.losses)
        return f"{flash.speed / sdpa.speed:.2f} times the speed of sdpa"

    def adapters(self) -> str:
        """Compare answers of two adapters in one batch with those of each alone."""
        with tempfile.TemporaryDirectory() as name:
            folder = Folder(Path(name))
            self._save_adapters(folder)
            answers: defaultdict[str, list[float]] = defaultdict(list)
            engine = Engine(folder, partial(note_logprobs, answers), fail)
            prompts = torch.randint(0, 256, (BATCH, 32)).tolist()
            requests = {f"{row}": self._request(row, ids) for row, ids in enumerate(prompts)}
            for request in requests.values():  # loads base model and adapters
                engine.add(replace(request, max_tokens=2))
            run_until_idle(engine)
            answers.clear()
            begun = time.monotonic()
            for request in requests.values():
                engine.add(request)
            run_until_idle(engine)
            seconds = time.monotonic() - begun
            together = dict(answers)
            answers.clear()
            for id in ("0", "1"):
                engine.add(requests[id])
                run_until_idle(engine)
                # Rounding differs with the size of a batch, and later tokens depend on earlier ones.
                if not torch.allclose(
                    *map(torch.tensor, (together[id][:2], answers[id][:2])), atol=0.05
                ):
                    raise AssertionError(f"the answer of adapter {id} differs in a batch")
        return f"{BATCH * 32 / seconds:,.0f} tokens/s for {BATCH} prompts"

    def _request(self, row: int, ids: list[int]) -> Request:
        """Return a request for a completion with one of two adapters."""
        return Request(
            id=f"{row}",
            base=str(self._base),
            job=f"ftjob-{row % 2}",
            step=1,
            recipe=self._recipe,
            prompt=ids,
            max_tokens=32,
            temperature=0,
            logprobs=0,
        )

    def _save_adapters(self, folder: Folder) -> None:
        for number in range(2):
            torch.manual_seed(number)
            base = LlamaForCausalLM.from_pretrained(self._base, dtype=compute_dtype())
            config = LoraConfig(r=8, target_modules="all-linear", init_lora_weights=False)
            get_peft_model(base, config).save_pretrained(folder.adapter(f"ftjob-{number}", 1))

    def _train(self, recipe: Recipe, unequal: bool = False) -> Measurement:
        """Train for some steps through the code of the service."""
        if device() == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        count = STEPS * recipe.batch_size
        lengths = [self._size.tokens // (1 + index % 4 * unequal) for index in range(count)]
        ids = [[(index + at) % 256 for at in range(length)] for index, length in enumerate(lengths)]
        data = Dataset.from_dict({"input_ids": ids, "labels": ids})
        base = load_base_model(str(self._base), recipe)
        with tempfile.TemporaryDirectory() as folder:
            run = new_run(str(self._base), recipe, Path(folder))
            clock = Clock()
            trainer = create_trainer(run, base, Folder(Path(folder)), {"training": data}, [clock])
            trainer.args.save_strategy = "no"
            trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        if not all(map(math.isfinite, losses)):
            raise AssertionError(f"losses that are not finite: {losses}")
        tokens = sum(lengths) * (STEPS - 1) / STEPS
        peak = torch.cuda.max_memory_allocated() if device() == "cuda" else 0
        footprint = measure_footprint(base.config)
        estimate = training_bytes(footprint, recipe, "supervised", self._size.tokens)
        return Measurement(losses, tokens / clock.seconds, peak, estimate)


def note_logprobs(answers: defaultdict[str, list[float]], id: str, **response: Any) -> None:
    """Note the log probabilities of a response of the engine."""
    answers[id] += [entry["logprob"] for entry in response.get("logprobs", [])]


def fail(id: str, error: Exception) -> None:
    """Fail the check: a request failed."""
    raise AssertionError(f"request {id} failed") from error


def run_until_idle(engine: Engine) -> None:
    """Generate all answers."""
    while not engine.is_idle:
        engine.step()


def new_run(base: str, recipe: Recipe, folder: Path) -> TrainingRun:
    """Return a run of one epoch."""
    hyperparameters = JobHyperparameters(
        n_epochs=1, batch_size=recipe.batch_size, learning_rate_multiplier=1.0
    )
    job = JobObject(
        tenant="",
        model=base,
        base=base,
        training_file="",
        validation_file=None,
        hyperparameters=hyperparameters,
        method=JobMethod.of("supervised", hyperparameters),
        user_provided_suffix=None,
        seed=1,
        metadata=None,
        hashes={},
        names={},
    )
    resolved = ResolvedHyperparameters(1, recipe.batch_size, 1.0, 2e-4, 0.1)
    return TrainingRun(job, folder, folder / "checkpoints", recipe, resolved, ranks=1)


def check_close(first: list[float], second: list[float], tolerance: float = LOSS_TOLERANCE) -> None:
    """Raise AssertionError if losses differ by more than a share of their size."""
    for one, other in zip(first, second, strict=True):
        if abs(one - other) > tolerance * abs(other):
            raise AssertionError(f"the losses differ: {first} and {second}")


class Clock(TrainerCallback):  # type: ignore[misc]
    """Trainer callback that times all steps but the first.

    Attributes:
        seconds: Duration of these steps.
    """

    def __init__(self) -> None:
        self._begun = 0.0
        self.seconds = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note the time of the first step, and the duration since then."""
        if device() == "cuda":
            torch.cuda.synchronize()
        if state.global_step == 1:
            self._begun = time.monotonic()
        self.seconds = time.monotonic() - self._begun


def main() -> int:
    """Run the checks. Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cpu", action="store_true", help="test this script with a tiny model")
    arguments = parser.parse_args()
    if device() != "cuda" and not arguments.cpu:
        print("There is no CUDA device, so there is nothing to check.")
        return 0
    failed = False
    machine = torch.cuda.get_device_name() if device() == "cuda" else "CPU"
    print(
        f"{machine}, PyTorch {torch.__version__}\n\n| check | result |\n| --- | --- |", flush=True
    )
    with tempfile.TemporaryDirectory() as folder:
        size = CPU if arguments.cpu else GPU
        build_base(Path(folder), size)
        for name, check in Checks(Path(folder), size).all():
            try:
                result = check()
            except Exception as error:
                failed = True
                result = f"FAILED: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            print(f"| {name} | {result} |", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
