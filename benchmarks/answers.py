"""Measure the answers of the local service: alone and together, with several adapters.

    python benchmarks/answers.py [--layers 12] [--requests 16] [--tokens 64] [--load]

The base model has the sizes of SmolLM2-135M with fewer layers, and random weights, as have the three
adapters. All figures are of one run, with the service's own generation process. With `--load`, a
service with three fine-tuned models of `ftkit/smoke` gets 64 chats at a time and 200 requests at
once, from two tenants.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
from msgspec import Struct

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from ftkit.server.folder import Folder  # noqa: E402
from ftkit.server.recipes import builtin_recipes  # noqa: E402
from support.local_server import (  # type: ignore[import-not-found]  # noqa: E402
    LocalServer,
    wait_for_job,
)
from support.models import SMOKE  # type: ignore[import-not-found]  # noqa: E402
from support.processes import worker_processes  # type: ignore[import-not-found]  # noqa: E402
from support.training import (  # type: ignore[import-not-found]  # noqa: E402
    method_with,
    question,
    start_job,
)

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
    parser.add_argument("--load", action="store_true")
    arguments = parser.parse_args()
    if arguments.load:
        measure_load()
        return
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


def measure_load() -> None:
    """Measure and print the figures of a service under load."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        with LocalServer(folder, keys=("a", "b")) as server:
            models = [train(server) for _ in range(ADAPTERS)]
            asyncio.run(send_load(server, models))
            (pid,) = worker_processes(folder, "generate")
            print(f"peak memory of the generation process: {peak_mebibytes(pid):,} MiB")
            print(f"peak memory of the service: {peak_mebibytes(server.pid):,} MiB")


def train(server: Any) -> str:
    """Return the name of a new fine-tuned model."""
    with server.client("a") as client:
        job = start_job(client, method=method_with(n_epochs=1))
        return str(wait_for_job(client, job.id, "succeeded").fine_tuned_model)


async def send_load(server: Any, models: list[str]) -> None:
    """Send chats and requests, and print how they were answered."""
    clients = {
        key: openai.AsyncOpenAI(api_key=key, base_url=server.url, max_retries=0, timeout=300)
        for key in ("a", "b")
    }

    async def ask(number: int, key: str, tokens: int) -> tuple[str, float, int]:
        start = time.monotonic()
        model = models[number % ADAPTERS] if key == "a" else SMOKE
        try:
            response = await clients[key].chat.completions.create(
                model=model,
                messages=question(f"{number}"),
                max_tokens=tokens,
                temperature=0,
                logit_bias={"257": -100},
            )
        except openai.APIStatusError as error:
            has_advice = "retry-after" in error.response.headers
            return f"{error.status_code}, Retry-After: {has_advice}", time.monotonic() - start, 0
        assert response.usage
        return "200", time.monotonic() - start, response.usage.completion_tokens

    await ask(0, "b", 1)
    start = time.monotonic()
    rounds = [[ask(n, "a", 50) for n in range(64)] for _ in range(3)]
    chats = [answer for batch in rounds for answer in await asyncio.gather(*batch)]
    show("64 chats at a time, 3 times", chats, time.monotonic() - start)
    start = time.monotonic()
    many = [asyncio.create_task(ask(n, "a", 50)) for n in range(200)]
    await asyncio.sleep(0.5)
    other = await ask(0, "b", 50)
    answers = await asyncio.gather(*many)
    show("200 requests at once", answers, time.monotonic() - start)
    print(f"one request of another tenant during that: {other[0]}, {other[1]:.2f} s")
    for client in clients.values():
        await client.close()


def show(title: str, answers: list[tuple[str, float, int]], seconds: float) -> None:
    """Print the statuses, the durations and the speed."""
    durations = sorted(duration for status, duration, _ in answers if status == "200")
    tokens = sum(tokens for _, _, tokens in answers)
    print(f"{title}: {dict(Counter(status for status, _, _ in answers))}")
    print(
        f"  {tokens / seconds:,.0f} tokens/s, median {durations[len(durations) // 2]:.2f} s,",
        end="",
    )
    print(f" maximum {durations[-1]:.2f} s")


def peak_mebibytes(pid: int) -> int:
    """Return the peak memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) >> 10
    return 0


if __name__ == "__main__":
    main()
