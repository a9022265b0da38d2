"""The local service trains: real jobs on tiny data, with the official client and the command line."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from conftest import lines
from local import Local, texts, wait

pytestmark = pytest.mark.training

SMOKE = "ftkit/smoke"
CITIES = (
    "Lima",
    "Oslo",
    "Rome",
    "Cairo",
    "Quito",
    "Paris",
    "Tokyo",
    "Delhi",
    "Accra",
    "Minsk",
    "Sofia",
    "Dhaka",
)


def asked(name: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Say {name}"}]


def example(name: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"messages": [*asked(name), {"role": "assistant", "content": answer, **more}]}


def jsonl(examples: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in examples)


SHORT = jsonl([example(name, name[::-1]) for name in CITIES])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke model as a folder like any other, safetensors and all."""
    from ftkit.server.training.smoke import build_model, build_tokenizer

    folder = tmp_path_factory.mktemp("base") / "tiny"
    build_model().save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[Local]:
    service = Local(
        tmp_path_factory.mktemp("service") / "data",
        {"gpt-3.5-turbo": SMOKE, "tiny": str(base)},
        max_jobs=2,
    ).start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def client(local: Local) -> openai.OpenAI:
    return local.client()


def begin(
    client: openai.OpenAI,
    content: bytes = SHORT,
    validation: bytes | None = None,
    model: str = SMOKE,
    **more: Any,
) -> Any:
    file = client.files.create(file=("data.jsonl", content), purpose="fine-tune").id
    if validation:
        more["validation_file"] = client.files.create(
            file=("valid.jsonl", validation), purpose="fine-tune"
        ).id
    return client.fine_tuning.jobs.create(model=model, training_file=file, **more)


def method(kind: str = "supervised", **hyperparameters: Any) -> Any:
    return {"type": kind, kind: {"hyperparameters": hyperparameters}}


def answer(client: openai.OpenAI, model: str, name: str, **more: Any) -> str:
    said = client.chat.completions.create(
        model=model, messages=asked(name), **{"temperature": 0, "max_tokens": 40, **more}
    )  # type: ignore[arg-type]
    return said.choices[0].message.content


@pytest.fixture(scope="module")
def tuned(client: openai.OpenAI) -> Any:
    """A job that has learned SHORT by heart, with a validation file; seed 7."""
    job = begin(
        client,
        validation=jsonl([example(name.lower(), name.lower()[::-1]) for name in CITIES]),
        seed=7,
        suffix="mine",
    )
    return wait(client, job.id, "succeeded")


def test_the_tuned_model_repeats_the_sample_and_the_untuned_does_not(
    client: openai.OpenAI, tuned: Any
) -> None:
    assert [answer(client, tuned.fine_tuned_model, name) for name in CITIES] == [
        name[::-1] for name in CITIES
    ]
    assert not {answer(client, SMOKE, name) for name in CITIES[:3]} & {
        name[::-1] for name in CITIES
    }
    assert tuned.fine_tuned_model == f"ft:{SMOKE}:mine:{tuned.id[6:14]}"


def test_the_job_reports_what_it_did(client: openai.OpenAI, tuned: Any) -> None:
    told = texts(client, tuned.id)
    total = tuned.hyperparameters.n_epochs * 2
    assert (
        tuned.hyperparameters.n_epochs,
        tuned.hyperparameters.batch_size,
        tuned.hyperparameters.learning_rate_multiplier,
    ) == (40, 8, 1.0)
    assert [text.partition(":")[0] for text in told if "training loss" in text] == [
        f"Step {n}/{total}" for n in range(1, total + 1)
    ]
    assert told[-2:] == [
        f"New fine-tuned model created: {tuned.fine_tuned_model}",
        "The job has successfully completed",
    ]
    assert tuned.seed == 7
    assert tuned.trained_tokens == 40 * sum(len(f"Say {name}") + len(name) + 4 for name in CITIES)
    assert tuned.finished_at >= tuned.created_at
    header, *rows = client.files.content(tuned.result_files[0]).read().decode().splitlines()
    assert header == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert len(rows) == total
    losses = [float(row.split(",")[1]) for row in rows]
    assert losses[-1] < losses[0] / 20


def test_the_checkpoints_are_models_and_validation_loss_falls(
    client: openai.OpenAI, tuned: Any
) -> None:
    found = list(client.fine_tuning.jobs.checkpoints.list(tuned.id))
    assert [each.step_number for each in found] == [80, 78, 76]
    assert found[0].fine_tuned_model_checkpoint.endswith(":ckpt-step-80")
    assert answer(client, found[0].fine_tuned_model_checkpoint, "Lima") == "amiL"
    valid = [
        e.data["valid_loss"]
        for e in client.fine_tuning.jobs.list_events(tuned.id, limit=100)
        if e.data and "valid_loss" in e.data
    ]  # type: ignore[attr-defined, index, operator]
    assert len(valid) == 40
    assert valid[0] < valid[-1]  # the newest first
    assert found[0].metrics.valid_loss == found[0].metrics.full_valid_loss == valid[0]


def test_answers_stream_stop_repeat_and_count(client: openai.OpenAI, tuned: Any) -> None:
    model = tuned.fine_tuned_model
    stream = client.chat.completions.create(
        model=model,
        messages=asked("Tokyo"),
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},  # type: ignore[arg-type]
    )
    chunks = list(stream)
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        == "oykoT"
    )
    assert chunks[-1].usage
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (
        len("Say Tokyo") + 3,
        6,
    )
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert answer(client, model, "Tokyo", stop="ko") == "oy"
    assert answer(client, model, "Tokyo", stop=["zz", "yk"]) == "o"
    long = client.chat.completions.create(
        model=model, messages=asked("Tokyo"), max_tokens=2, temperature=0
    )  # type: ignore[arg-type]
    assert (long.choices[0].message.content, long.choices[0].finish_reason) == ("oy", "length")
    assert long.system_fingerprint == SMOKE
    drawn = [answer(client, SMOKE, "Tokyo", temperature=1.5, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    several = client.chat.completions.create(
        model=SMOKE, messages=asked("Tokyo"), n=3, seed=1, max_tokens=8
    )  # type: ignore[arg-type]
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in several.choices}) == 3


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"frequency_penalty": 1}, "frequency_penalty"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "assistant", "tool_calls": "x"}]}, "messages[0].tool_calls"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(
    body: dict[str, Any], param: str, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(**{"model": SMOKE, "messages": asked("x"), **body})
    assert error.value.param == param


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_does_not_fit_is_refused(stream: bool, client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="context") as error:
        client.chat.completions.create(model=SMOKE, messages=asked("x" * 3000), stream=stream)  # type: ignore[call-overload]
    assert error.value.code == "context_length_exceeded"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["gpt-4", "ft:ftkit/smoke::none", "jobs/none"])
def test_a_model_that_is_not_there_is_not_found(
    model: str, stream: bool, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        client.chat.completions.create(model=model, messages=asked("x"), stream=stream)  # type: ignore[call-overload]
    assert error.value.code == "model_not_found"


@pytest.mark.parametrize(
    "body",
    [
        {
            "frequency_penalty": 0,
            "presence_penalty": 0.0,
            "logit_bias": {},
            "response_format": {"type": "text"},
            "logprobs": False,
        },
        {"tools": [], "service_tier": "auto"},
        {"top_p": 0},
        {"temperature": 1e-40},
        {"seed": 2**70},
        {"seed": -1},
    ],
)
def test_parameters_at_the_values_that_change_nothing_and_at_their_limits_are_taken(
    body: dict[str, Any], client: openai.OpenAI
) -> None:
    assert client.chat.completions.create(
        model=SMOKE, messages=asked("x"), max_tokens=2, **body
    ).usage  # type: ignore[call-overload]


def test_a_prompt_may_be_empty(client: openai.OpenAI) -> None:
    assert client.completions.create(model=SMOKE, prompt="", max_tokens=2, best_of=1).usage


def test_a_question_whose_asker_has_gone_keeps_nobody_waiting(client: openai.OpenAI) -> None:
    answer(client, SMOKE, "x", max_tokens=1)
    hasty = client.with_options(timeout=0.5, max_retries=0)
    for _ in range(3):
        with pytest.raises(openai.APITimeoutError):
            hasty.chat.completions.create(model=SMOKE, messages=asked("x"), n=16, temperature=2)
    begun = time.monotonic()
    answer(client, SMOKE, "x", max_tokens=1)
    assert time.monotonic() - begun < 10


def test_a_loss_that_runs_away_is_told_and_ends_nothing(
    client: openai.OpenAI, local: Local
) -> None:
    job = begin(
        client,
        validation=SHORT,
        method=method(n_epochs=2, batch_size=1, learning_rate_multiplier=1e30),
    )
    wait(client, job.id, "succeeded")
    events = client.fine_tuning.jobs.list_events(job.id, limit=100).data
    assert any("nan" in event.message for event in events)
    assert "nan" not in str([event.data for event in events])


def test_a_job_that_is_over_leaves_its_models_and_no_more(
    client: openai.OpenAI, tuned: Any, local: Local
) -> None:
    place = local.folder / "jobs" / tuned.id
    for _ in range(200):  # its process ends a little later than the job
        left = {path.name.partition("-")[0] for path in place.iterdir()}
        if left == {"adapter", "process.log"}:
            break
        time.sleep(0.05)
    assert left == {"adapter", "process.log"}
    assert "Fatal" not in (place / "process.log").read_text()


def test_two_runs_with_one_seed_agree_and_another_seed_differs(client: openai.OpenAI) -> None:
    made = [begin(client, method=method(n_epochs=3), seed=seed) for seed in (5, 5, 6)]
    found = []
    for job in made:
        wait(client, job.id, "succeeded")
        found.append([text for text in texts(client, job.id) if text.startswith("Step")])
    assert found[0] == found[1] != found[2]


def test_turns_of_weight_0_are_not_learned(client: openai.OpenAI) -> None:
    rows = [
        {
            "messages": [
                *asked(name),
                {"role": "assistant", "content": "never", "weight": 0},
                *asked("on"),
                {"role": "assistant", "content": name},
            ]
        }
        for name in CITIES
    ]
    model = wait(client, begin(client, jsonl(rows)).id, "succeeded").fine_tuned_model
    assert "never" not in {answer(client, model, name) for name in CITIES}
    said = client.chat.completions.create(
        model=model, messages=rows[3]["messages"][:3], temperature=0, max_tokens=20
    )
    assert said.choices[0].message.content == "Cairo"


def test_completions_are_trained_and_answered(client: openai.OpenAI) -> None:
    rows = jsonl([{"prompt": f"{name}: ", "completion": name[::-1]} for name in CITIES])
    model = wait(client, begin(client, rows).id, "succeeded").fine_tuned_model
    said = client.completions.create(model=model, prompt="Oslo: ", temperature=0, max_tokens=20)
    assert (said.choices[0].text, said.choices[0].finish_reason) == ("olsO", "stop")


def test_dpo_learns_which_answer_is_preferred(client: openai.OpenAI) -> None:
    rows = jsonl(
        [
            {
                "input": {"messages": asked(name)},
                "preferred_output": [{"role": "assistant", "content": f"yes {name}"}],
                "non_preferred_output": [{"role": "assistant", "content": f"no {name}"}],
            }
            for name in CITIES
        ]
    )
    job = wait(
        client, begin(client, rows, method=method("dpo", n_epochs=8, beta=0.2)).id, "succeeded"
    )
    assert job.method.dpo.hyperparameters.beta == 0.2
    events = [
        e.data
        for e in client.fine_tuning.jobs.list_events(job.id, limit=100)
        if e.type == "metrics"
    ]
    assert events[0]["train_mean_token_accuracy"] == 1.0
    assert events[0]["train_loss"] < events[-1]["train_loss"] / 2


def test_training_goes_on_from_a_tuned_model(client: openai.OpenAI, tuned: Any) -> None:
    job = wait(
        client,
        begin(client, model=tuned.fine_tuned_model, method=method(n_epochs=1)).id,
        "succeeded",
    )
    first = next(text for text in texts(client, job.id) if text.startswith("Step 1/"))
    assert float(first.rpartition("=")[2]) < 0.5
    assert job.fine_tuned_model.startswith(f"ft:{SMOKE}::")
    assert answer(client, job.fine_tuned_model, "Sofia") == "aifoS"


def test_a_folder_is_a_base_and_a_hosted_name_stands_for_another(
    client: openai.OpenAI, base: Path
) -> None:
    mapped = wait(
        client, begin(client, model="gpt-3.5-turbo", method=method(n_epochs=1)).id, "succeeded"
    )
    assert "gpt-3.5-turbo stands for ftkit/smoke here" in texts(client, mapped.id)
    said = client.chat.completions.create(
        model=mapped.fine_tuned_model, messages=asked("x"), max_tokens=1
    )  # type: ignore[arg-type]
    assert (said.model, said.system_fingerprint) == (mapped.fine_tuned_model, SMOKE)
    folder = wait(client, begin(client, model="tiny", method=method(n_epochs=1)).id, "succeeded")
    assert answer(client, folder.fine_tuned_model, "x") is not None


def test_weights_that_are_no_safetensors_are_not_loaded(client: openai.OpenAI, base: Path) -> None:
    import torch

    weights = base / "model.safetensors"
    kept = weights.with_suffix(".kept")
    weights.rename(kept)
    torch.save({}, base / "pytorch_model.bin")
    try:
        failed = wait(client, begin(client, model="tiny").id, "failed")
        assert failed.error.code == "model_not_available"
        assert "cannot be loaded" in failed.error.message
    finally:
        (base / "pytorch_model.bin").unlink()
        kept.rename(weights)


def running(client: openai.OpenAI, job: str, step: int) -> None:
    """Wait until the job has made that many steps."""
    deadline = time.monotonic() + 90
    while not any(text.startswith(f"Step {step}/") for text in texts(client, job)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def processes(local: Local, job: str) -> list[int]:
    """The processes of a job."""
    found = subprocess.run(
        ["pgrep", "-f", f"ftkit.server.worker train {local.folder} {job}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(pid) for pid in found.stdout.split()]


def test_cancel_ends_training_within_5_seconds_and_frees_its_memory(
    client: openai.OpenAI, local: Local
) -> None:
    job = begin(client, method=method(n_epochs=50))
    running(client, job.id, 3)
    (pid,) = processes(local, job.id)
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    assert client.fine_tuning.jobs.retrieve(job.id).status == "cancelled"


def steps(client: openai.OpenAI, job: str) -> list[str]:
    return [text.partition(":")[0] for text in texts(client, job) if text.startswith("Step")]


def test_a_paused_job_goes_on_where_it_was_and_learns_as_much(
    client: openai.OpenAI, local: Local
) -> None:
    job = begin(client, seed=3)
    running(client, job.id, 9)
    assert client.fine_tuning.jobs.pause(job.id).status == "pausing"  # type: ignore[comparison-overlap]
    wait(client, job.id, "paused", seconds=20)
    assert not processes(local, job.id)
    before = len(steps(client, job.id))
    time.sleep(0.5)
    assert len(steps(client, job.id)) == before
    client.fine_tuning.jobs.resume(job.id)
    done = wait(client, job.id, "succeeded")
    assert steps(client, job.id) == [f"Step {n}/80" for n in range(1, 81)]
    assert answer(client, done.fine_tuned_model, "Minsk") == "ksniM"


def test_a_training_process_that_is_killed_is_started_again_from_its_last_checkpoint(
    client: openai.OpenAI, local: Local
) -> None:
    job = begin(client, seed=3)
    running(client, job.id, 21)
    os.kill(processes(local, job.id)[0], signal.SIGKILL)
    done = wait(client, job.id, "succeeded")
    told = texts(client, job.id)
    assert any("is restarted" in text for text in told)
    assert steps(client, job.id) == [f"Step {n}/80" for n in range(1, 81)]
    assert answer(client, done.fine_tuned_model, "Minsk") == "ksniM"


def test_a_checkpoint_that_was_saved_but_not_told_of_is_told_of_when_training_goes_on(
    tmp_path: Path,
) -> None:
    service = Local(tmp_path / "data").start()
    try:
        client = service.client()
        job = begin(client, SHORT, SHORT, method=method(n_epochs=50, batch_size=12), seed=3)
        running(client, job.id, 3)
        client.fine_tuning.jobs.pause(job.id)
        wait(client, job.id, "paused")
        told = next(iter(client.fine_tuning.jobs.checkpoints.list(job.id)))
        assert told.metrics.full_valid_loss
        service.stop()
        with contextlib.closing(sqlite3.connect(service.folder / "service.db")) as store, store:
            store.execute(
                "DELETE FROM things WHERE id IN (?, ?)", (told.id, told.fine_tuned_model_checkpoint)
            )
        shutil.rmtree(service.folder / "jobs" / job.id / f"adapter-{told.step_number}")
        client = service.start().client()
        client.fine_tuning.jobs.resume(job.id)
        wait(client, job.id, "running")
        client.fine_tuning.jobs.pause(job.id)
        wait(client, job.id, "paused")
        (again,) = (
            each
            for each in client.fine_tuning.jobs.checkpoints.list(job.id)
            if each.step_number == told.step_number
        )
        assert again.to_dict() | {"created_at": 0} == told.to_dict() | {"created_at": 0}
        assert isinstance(answer(client, again.fine_tuned_model_checkpoint, "Lima"), str)
    finally:
        service.stop()


@pytest.mark.parametrize("moment", [0.0, 0.3, 3.0, 7.0])
def test_a_server_that_is_killed_goes_on_with_its_jobs(moment: float, tmp_path: Path) -> None:
    service = Local(tmp_path / "data").start()
    try:
        job = begin(service.client(), method=method(n_epochs=20), seed=3)
        time.sleep(moment)
        service.kill()
        deadline = time.monotonic() + 10
        while processes(service, job.id):
            assert time.monotonic() < deadline, "the training process must end with its server"
            time.sleep(0.1)
        service.start()
        client = service.client()
        done = wait(client, job.id, "succeeded")
        assert steps(client, job.id) == [f"Step {n}/40" for n in range(1, 41)]
        assert [each.step_number for each in client.fine_tuning.jobs.checkpoints.list(job.id)] == [
            40,
            38,
            36,
        ]
        assert answer(client, done.fine_tuned_model, "Lima") is not None
    finally:
        service.stop()


def test_what_lies_where_the_service_was_started_is_nobody_s_model_or_module(
    base: Path, tmp_path: Path
) -> None:
    shutil.copytree(base, tmp_path / "own" / "tiny")
    for module in ("json", "random", "torch", "ftkit"):
        (tmp_path / f"{module}.py").write_text(
            "raise SystemExit('imported from the present folder')"
        )
    command = [
        sys.executable,
        "-P",
        "-m",
        "ftkit",
        "serve",
        "--port",
        "0",
        "--data-dir",
        "data",
        "--model",
        "near=own/tiny",
    ]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as service:
        try:
            assert service.stderr
            client = openai.OpenAI(
                api_key="none",
                base_url=service.stderr.readline().split()[1],
                max_retries=0,
                timeout=60,
            )
            assert isinstance(answer(client, "near", "Oslo"), str)
            with pytest.raises(
                openai.APIStatusError, match="the base model own/tiny cannot be loaded"
            ):
                answer(client, "own/tiny", "Oslo")
            done = wait(
                client, begin(client, model="near", method=method(n_epochs=1)).id, "succeeded"
            )
            assert isinstance(answer(client, done.fine_tuned_model, "Oslo"), str)
        finally:
            service.terminate()


def test_a_file_that_is_deleted_while_it_is_trained_on_does_not_matter(
    client: openai.OpenAI,
) -> None:
    job = begin(client, method=method(n_epochs=2))
    wait(client, job.id, "queued", "running")
    client.files.delete(job.training_file)
    assert wait(client, job.id, "succeeded").fine_tuned_model


def test_a_model_that_is_deleted_answers_no_more(client: openai.OpenAI) -> None:
    model = wait(client, begin(client, method=method(n_epochs=1)).id, "succeeded").fine_tuned_model
    assert client.models.delete(model).deleted
    with pytest.raises(openai.NotFoundError):
        answer(client, model, "x")


def test_many_readers_see_no_error_while_a_job_trains(client: openai.OpenAI, local: Local) -> None:
    import concurrent.futures

    job = begin(client, method=method(n_epochs=10))

    def read(_: int) -> int:
        mine = local.client()
        for _ in range(40):
            mine.fine_tuning.jobs.retrieve(job.id)
            mine.fine_tuning.jobs.list_events(job.id)
        return 1

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(read, range(16))) == 16
    wait(client, job.id, "succeeded")


# Encoding, without a service.


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from ftkit.server.training.smoke import build_tokenizer

    return build_tokenizer()


def learned(
    tokenizer: Any, rows: list[dict[str, Any]], limit: int = 2048, format: str = "chat"
) -> list[str]:
    from ftkit.server.training.encoding import UNLEARNED, encode

    found, _ = encode(tokenizer, rows, format, limit)
    return [
        tokenizer.decode([label for label in each.labels if label != UNLEARNED]) for each in found
    ]


def test_only_what_the_assistant_says_is_learned(tokenizer: Any) -> None:
    messages = [
        {"role": "system", "content": "Be short."},
        *asked("ä\N{PILE OF POO}"),
        {"role": "assistant", "content": "öß\N{PILE OF POO}"},
        *asked("b"),
        {"role": "assistant", "content": "no", "weight": 0},
        *asked("c"),
        {"role": "assistant", "content": "yes", "weight": 1},
    ]
    assert learned(tokenizer, [{"messages": messages}]) == ["öß\N{PILE OF POO}<|end|>yes<|end|>"]


def test_calls_of_tools_are_learned_and_their_results_are_not(tokenizer: Any) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    messages = [
        *asked("a"),
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "result"},
        {"role": "assistant", "content": "done"},
    ]
    (text,) = learned(
        tokenizer,
        [{"messages": messages, "tools": [{"type": "function", "function": {"name": "f"}}]}],
    )
    assert "done<|end|>" in text
    assert '"name": "f"' in text
    assert "result" not in text


def test_what_lies_beyond_the_limit_is_cut_and_what_has_nothing_left_is_counted(
    tokenizer: Any,
) -> None:
    from ftkit.server.training.encoding import encode

    rows = [example("a", "b" * 50), example("c" * 50, "d")]
    found, lost = encode(tokenizer, rows, "chat", 20)
    assert ([len(each.input_ids) for each in found], lost) == ([20], 1)


def test_a_template_that_rewrites_earlier_turns_gives_each_learned_turn_a_sequence(
    tokenizer: Any,
) -> None:
    import copy

    other = copy.deepcopy(tokenizer)
    other.chat_template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content.split('=')[-1] if not loop.last else m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    messages = [
        *asked("a"),
        {"role": "assistant", "content": "think=x"},
        *asked("b"),
        {"role": "assistant", "content": "think=y"},
    ]
    assert learned(other, [{"messages": messages}]) == ["think=x<|end|>", "think=y<|end|>"]


def test_an_example_that_a_base_cannot_take_names_its_number(tokenizer: Any) -> None:
    import copy

    from ftkit.errors import EncodingError

    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    with pytest.raises(EncodingError, match=r"example 2: .* no images"):
        learned(
            tokenizer,
            [example("a", "b"), {"messages": [image, {"role": "assistant", "content": "x"}]}],
        )
    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    with pytest.raises(EncodingError, match="no chat template"):
        learned(bare, [example("a", "b")])


def test_lines_as_the_service_takes_them_are_read(client: openai.OpenAI) -> None:
    """A mark at the beginning, ends as on Windows, and none after the last line."""
    content = b"\xef\xbb\xbf" + b"\r\n".join(lines(12))
    assert wait(
        client, begin(client, content, method=method(n_epochs=1)).id, "succeeded"
    ).fine_tuned_model
