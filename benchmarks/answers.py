"""Measure the answers of the local service: alone and together, with several adapters.

    python benchmarks/answers.py [--layers 12] [--requests 16] [--tokens 64]

The base model has the sizes of SmolLM2-135M with fewer layers, and random weights, as have the three
adapters. All figures are of one run, with the service's own generation process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from ftkit.server.folder import Folder  # noqa: E402
from ftkit.server.recipes import builtin_recipes  # noqa: E402

ADAPTERS = 3
LONG_PROMPT_TOKENS = 3000


class Timing(Struct):
    """Times of the responses to one request, in seconds since the first request."""

    first: float
    end: float
    tokens: int


def build_base(folder: Path, layers: int) -> None:
    """Save a base model with random weights, and a tokenizer of bytes."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from ftkit.server.training.smoke import build_tokenizer

    tokenizer = build_tokenizer()
    torch.manual_seed(0)
    sizes = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": layers}
    heads = {"num_attention_heads": 9, "num_key_value_heads": 3}
    config = LlamaConfig(vocab_size=49152, max_position_embeddings=8192, **sizes, **heads)
    config.eos_token_id = None
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(folder)


def build_adapters(base: Path, folder: Folder) -> None:
    """Save adapters with random weights."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    for number in range(ADAPTERS):
        model = AutoModelForCausalLM.from_pretrained(base)
        config = LoraConfig(r=16, target_modules="all-linear", init_lora_weights=False)
        get_peft_model(model, config).save_pretrained(folder.adapter(f"ftjob-{number}", 1))


class Generation:
    """A generation process."""

    def __init__(self, root: Path, base: Path) -> None:
        command = [sys.executable, "-m", "ftkit.server.worker", "generate", str(root)]
        pipe, log = subprocess.PIPE, (root / "generate.log").open("w")
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, cwd=ROOT)
        self._fields = {"base": str(base), "recipe": builtin_recipes().find(str(base)).as_json()}
        self._count = 0

    def send(self, adapter: int, prompt: str, tokens: int) -> str:
        """Send a request and return its id."""
        assert self.process.stdin
        self._count += 1
        id, job = str(self._count), f"ftjob-{adapter}" if adapter < ADAPTERS else ""
        request = {**self._fields, "id": id, "job": job, "step": 1, "prompt": prompt}
        request |= {"max_tokens": tokens, "temperature": 0}
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        return id

    def wait(self, ids: list[str]) -> dict[str, Timing]:
        """Read the responses to requests that were just sent."""
        assert self.process.stdout
        start, timings = time.monotonic(), {id: Timing(0, 0, 0) for id in ids}
        while not all(timing.end for timing in timings.values()):
            response = json.loads(self.process.stdout.readline())
            timing, now = timings[response["id"]], time.monotonic() - start
            assert "error" not in response, response
            timing.first = timing.first or now
            timing.tokens += response.get("tokens", 0)
            if response.get("done"):
                timing.end = now
        return timings


@contextmanager
def generation(root: Path, base: Path) -> Iterator[Generation]:
    """Start a generation process, and end it."""
    process = Generation(root, base)
    try:
        yield process
    finally:
        assert process.process.stdin
        process.process.stdin.close()
        process.process.wait()


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--requests", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        build_base(root / "base", arguments.layers)
        build_adapters(root / "base", Folder(root))
        with generation(root, root / "base") as process:
            measure(process, arguments.requests, arguments.tokens)


def measure(process: Generation, count: int, tokens: int) -> None:
    """Measure and print the figures."""
    for adapter in range(ADAPTERS + 1):
        process.wait([process.send(adapter, "warm up", 2)])
    speeds: dict[str, float] = {}
    for name in ("one after the other", "together"):
        start = time.monotonic()
        total = 0
        batches = [range(count)] if name == "together" else [[n] for n in range(count)]
        for batch in batches:
            ids = [process.send(n % ADAPTERS, f"Question {n}?", tokens) for n in batch]
            total += sum(timing.tokens for timing in process.wait(ids).values())
        speeds[name] = total / (time.monotonic() - start)
        print(f"{count} requests over {ADAPTERS} adapters, {name}: {speeds[name]:,.0f} tokens/s")
    print(f"ratio: {speeds['together'] / speeds['one after the other']:.1f}")
    same = request_seconds(process, [0] * 9, tokens)
    switching = request_seconds(process, [0, 1, 2] * 3, tokens)
    print(f"a request after one for the same adapter: {same * 1000:,.0f} ms")
    print(f"a request after one for another adapter: {switching * 1000:,.0f} ms")
    alone = process.wait([process.send(0, "short", 2)]).popitem()[1]
    ids = [process.send(1, "long " * (LONG_PROMPT_TOKENS // 5), 2), process.send(0, "short", 2)]
    long, short = process.wait(ids).values()
    print(f"first token of a short prompt alone: {alone.first * 1000:,.0f} ms")
    print(f"the same right after a prompt of {LONG_PROMPT_TOKENS:,} tokens:", end=" ")
    print(f"{short.first * 1000:,.0f} ms, and {long.first * 1000:,.0f} ms for the long one")


def request_seconds(process: Generation, adapters: list[int], tokens: int) -> float:
    """Return the median duration of requests, one after the other."""
    times = sorted(
        process.wait([process.send(adapter, "Question?", tokens)]).popitem()[1].end
        for adapter in adapters
    )
    return times[len(times) // 2]


if __name__ == "__main__":
    main()
