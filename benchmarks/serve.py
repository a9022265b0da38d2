"""Measure the local service: start, reads, a large upload, and training against TRL alone.

    python benchmarks/serve.py [--training]

Everything is measured side by side in one run: reads through httpx on one connection, a large
upload next to writing the same bytes to the same disk, and with `--training` a job on
samples/marv.jsonl next to TRL alone with the same data and settings.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
from msgspec import Struct

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from support.local_server import (  # type: ignore[import-not-found]  # noqa: E402
    LocalServer,
    wait_for_job,
)

GIB = 1 << 30
POLL_SECONDS = 0.01
"""Seconds between two requests during the upload."""

BARE = """
import json, sys, time
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import set_seed
from trl import SFTConfig, SFTTrainer
from ftkit.server.training.encoding import Encoder
from ftkit.server.recipes import builtin_recipes
from ftkit.server.training.smoke import build_model, build_tokenizer

tokenizer, model, recipe = build_tokenizer(), build_model(), builtin_recipes().find("ftkit/smoke")
examples = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
encoder = Encoder(tokenizer, recipe.tokens)
sequences = [sequence for example in examples for sequence in encoder.encode(example, "chat")]
data = Dataset.from_dict({"input_ids": [s.input_ids for s in sequences], "labels": [s.labels for s in sequences]})
set_seed(1)
torch.set_num_threads(recipe.threads)
settings = SFTConfig(
    output_dir=sys.argv[2], num_train_epochs=int(sys.argv[3]), per_device_train_batch_size=recipe.batch_size,
    max_length=recipe.tokens, learning_rate=recipe.learning_rate.supervised, seed=1, logging_steps=1,
    save_strategy="epoch", save_total_limit=2, use_cpu=True, disable_tqdm=True, report_to=[], gradient_checkpointing=False,
    bf16=False,
)
adapter = LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
trainer = SFTTrainer(model=model, args=settings, train_dataset=data, processing_class=tokenizer, peft_config=adapter)
begun = time.monotonic()
trainer.train()
print(json.dumps({"seconds": time.monotonic() - begun, "steps": trainer.state.global_step}))
"""


@contextmanager
def service() -> Iterator[tuple[LocalServer, float]]:
    """A service on a new folder, and the seconds that it took to start."""
    with tempfile.TemporaryDirectory() as folder:
        local = LocalServer(Path(folder) / "data")
        begun = time.monotonic()
        local.start()
        try:
            yield local, time.monotonic() - begun
        finally:
            local.stop()


def peak(pid: int) -> int:
    """The most memory that a process has had, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


def reads(local: LocalServer, seconds: float = 5.0) -> float:
    """GETs of a job a second, one after the other on one connection."""
    client = local.client()
    rows = (ROOT / "samples" / "marv.jsonl").read_bytes().splitlines()[:2]
    file = client.files.create(file=("a.jsonl", b"\n".join(rows)), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="ftkit/smoke", training_file=file.id)
    time.sleep(3)  # until the job has failed, since it has too few examples
    with httpx.Client(base_url=local.url) as http:
        done, begun = 0, time.monotonic()
        while time.monotonic() - begun < seconds:
            http.get(f"/fine_tuning/jobs/{job.id}").raise_for_status()
            done += 1
        return done / (time.monotonic() - begun)


class UploadTimes(Struct, frozen=True):
    """Times of a large upload."""

    upload: float
    """Seconds of the upload."""
    disk: float
    """Seconds to write the same bytes to the same disk."""
    latencies: tuple[float, ...]
    """Seconds of each `GET /v1/models` during the upload."""

    def percentile(self, share: float) -> float:
        """Return the latency in milliseconds that this share of the requests does not exceed."""
        ranked = sorted(self.latencies)
        return ranked[min(int(share * len(ranked)), len(ranked) - 1)] * 1000


def upload(local: LocalServer, size: int = GIB) -> UploadTimes:
    """Upload a file of `size` bytes with the SDK, and list the models all the while."""
    data = os.urandom(1 << 20)
    path = local.folder.with_name("large.jsonl")
    begun = time.monotonic()
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(data)
        os.fsync(file.fileno())
    disk = time.monotonic() - begun
    command = [
        sys.executable,
        "-c",
        "import openai, sys; c = openai.OpenAI(base_url=sys.argv[1], api_key='x', timeout=600);"
        "c.files.create(file=open(sys.argv[2], 'rb'), purpose='fine-tune')",
        local.url,
        str(path),
    ]
    latencies = []
    begun = time.monotonic()
    with httpx.Client(base_url=local.url, timeout=60) as http, subprocess.Popen(command) as process:
        while process.poll() is None:
            sent = time.monotonic()
            http.get("/models").raise_for_status()
            latencies.append(time.monotonic() - sent)
            time.sleep(POLL_SECONDS)
        taken = time.monotonic() - begun
    assert process.returncode == 0
    path.unlink()
    return UploadTimes(taken, disk, tuple(latencies))


def training(local: LocalServer, epochs: int = 40) -> dict[str, Any]:
    """Seconds of a job's steps, of the whole job, and of TRL alone."""
    client: openai.OpenAI = local.client()
    sample = ROOT / "samples" / "marv.jsonl"
    begun = time.monotonic()
    file = client.files.create(file=sample.open("rb"), purpose="fine-tune")
    method: Any = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": epochs}}}
    job = client.fine_tuning.jobs.create(
        model="ftkit/smoke", training_file=file.id, method=method, seed=1
    )
    wait_for_job(client, job.id, "succeeded", seconds=600)
    whole = time.monotonic() - begun
    log = (local.folder / "jobs" / job.id / "process.log").read_text("utf-8", "replace")
    inside = float(log.rpartition("'train_runtime': '")[2].partition("'")[0])
    command = [
        sys.executable,
        "-c",
        BARE,
        str(sample),
        str(local.folder.with_name("bare")),
        str(epochs),
    ]
    bare = subprocess.run(command, capture_output=True, text=True, check=True)
    return {"whole": whole, "inside": inside, **json.loads(bare.stdout.splitlines()[-1])}


def main() -> None:
    asked = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    asked.add_argument("--training", action="store_true")
    given = asked.parse_args()
    starts = []
    for _ in range(3):
        with service() as (_, seconds):
            starts.append(seconds)
    print(f"start           {statistics.median(starts):.2f} s")
    with service() as (local, _):
        print(f"reads           {reads(local):,.0f} a second")
        before = peak(local.pid)
        times = upload(local)
        print(f"upload 1 GiB    {times.upload:.1f} s, writing alone {times.disk:.1f} s")
        print(f"memory          {peak(local.pid)} MiB at most, {before} MiB before the upload")
        print(
            f"list models     {times.percentile(0.5):.1f} ms median, {times.percentile(0.99):.1f} ms p99,"
            f" {times.percentile(1):.1f} ms at most during the upload ({len(times.latencies)} requests)"
        )
    if given.training:
        with service() as (local, _):
            found = training(local)
        ratio = found["inside"] / found["seconds"]
        print(
            f"training        {found['inside']:.1f} s, TRL alone {found['seconds']:.1f} s ({ratio:.2f}x), {found['steps']} steps"
        )
        print(f"the whole job   {found['whole']:.1f} s")


if __name__ == "__main__":
    main()
