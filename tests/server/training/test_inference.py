"""Completions of trained models."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import openai
import pytest

from support.models import SMOKE
from support.training import ask_model, question

pytestmark = pytest.mark.training


def test_completions_stream_stop_repeat_and_count_tokens(
    client: openai.OpenAI, tuned_job: Any
) -> None:
    model = tuned_job.fine_tuned_model
    stream = client.chat.completions.create(
        model=model,
        messages=question("Tokyo"),
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
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
    assert ask_model(client, model, "Tokyo", stop="ko") == "oy"
    assert ask_model(client, model, "Tokyo", stop=["zz", "yk"]) == "o"
    long = client.chat.completions.create(
        model=model, messages=question("Tokyo"), max_tokens=2, temperature=0
    )
    assert (long.choices[0].message.content, long.choices[0].finish_reason) == ("oy", "length")
    assert long.system_fingerprint == SMOKE
    samples = [ask_model(client, SMOKE, "Tokyo", temperature=1.5, seed=seed) for seed in (1, 1, 2)]
    assert samples[0] == samples[1] != samples[2]
    several = client.chat.completions.create(
        model=SMOKE, messages=question("Tokyo"), n=3, seed=1, max_tokens=8
    )
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in several.choices}) == 3


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"tools": [{"type": "function", "function": {"name": "f g"}}]}, "tools[0].function.name"),
        ({"frequency_penalty": 3}, "frequency_penalty"),
        ({"store": True}, "store"),
        ({"response_format": {"type": "json"}}, "response_format.type"),
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "assistant", "tool_calls": "x"}]}, "messages[0].tool_calls"),
    ],
)
def test_an_unsupported_request_is_refused(
    body: dict[str, Any], param: str, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(**{"model": SMOKE, "messages": question("x"), **body})
    assert error.value.param == param


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_does_not_fit_is_refused(stream: bool, client: openai.OpenAI) -> None:
    with pytest.raises(
        openai.BadRequestError, match="maximum context length is 2048 tokens"
    ) as error:
        client.chat.completions.create(model=SMOKE, messages=question("x" * 3000), stream=stream)
    assert error.value.code == "context_length_exceeded"


def test_a_prompt_that_is_much_too_long_is_refused_before_it_is_tokenized(
    client: openai.OpenAI,
) -> None:
    ask_model(client, SMOKE, "x", max_tokens=1)
    start = time.monotonic()
    for text in ("x" * 8_000_000, " \n" * 4_000_000):
        for create in (
            lambda text: client.chat.completions.create(model=SMOKE, messages=question(text)),
            lambda text: client.completions.create(model=SMOKE, prompt=text),
        ):
            with pytest.raises(openai.BadRequestError, match="context") as error:
                create(text)
            assert error.value.code == "context_length_exceeded"
    ask_model(client, SMOKE, "x", max_tokens=1)
    assert time.monotonic() - start < 10


def test_the_longest_prompt_that_fits_is_accepted(client: openai.OpenAI) -> None:
    prompt = "<|assistant|>" * 2047
    usage = client.completions.create(model=SMOKE, prompt=prompt, max_tokens=1).usage
    assert usage
    assert usage.prompt_tokens == 2047


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["gpt-4", "ft:ftkit/smoke::none", "jobs/none"])
def test_an_unknown_model_is_not_found(model: str, stream: bool, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        client.chat.completions.create(model=model, messages=question("x"), stream=stream)
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
def test_parameters_with_neutral_and_extreme_values_are_accepted(
    body: dict[str, Any], client: openai.OpenAI
) -> None:
    assert client.chat.completions.create(
        model=SMOKE, messages=question("x"), max_tokens=2, **body
    ).usage


def test_a_prompt_may_be_empty(client: openai.OpenAI) -> None:
    assert client.completions.create(model=SMOKE, prompt="", max_tokens=2, best_of=1).usage


def test_several_prompts_are_completed_in_their_order(client: openai.OpenAI) -> None:
    prompts = ["Say Lima", "Say Oslo and Rome"]

    def create(prompt: Any, n: int, **more: Any) -> Any:
        return client.completions.create(
            model=SMOKE, prompt=prompt, n=n, max_tokens=3, temperature=0, **more
        )

    single = [create(prompt, 1) for prompt in prompts]
    together = create(prompts, 2)
    assert [choice.index for choice in together.choices] == [0, 1, 2, 3]
    texts = [choice.text for choice in together.choices]
    assert texts == [one.choices[0].text for one in single for _ in range(2)]
    tokens = [sum(one.usage.prompt_tokens for one in single), 12]
    assert [together.usage.prompt_tokens, together.usage.completion_tokens] == tokens
    streamed = dict.fromkeys(range(4), "")
    for chunk in create(prompts, 2, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert list(streamed.values()) == texts


def test_a_request_of_a_disconnected_client_does_not_delay_others(client: openai.OpenAI) -> None:
    ask_model(client, SMOKE, "x", max_tokens=1)
    impatient = client.with_options(timeout=0.5, max_retries=0)
    for _ in range(3):
        with pytest.raises(openai.APITimeoutError):
            impatient.chat.completions.create(
                model=SMOKE, messages=question("x"), n=16, temperature=2
            )
    start = time.monotonic()
    ask_model(client, SMOKE, "x", max_tokens=1)
    assert time.monotonic() - start < 10


def test_a_stream_that_is_closed_does_not_delay_others(client: openai.OpenAI) -> None:
    for _ in range(3):
        stream = client.completions.create(
            model=SMOKE, prompt=["x", "y"], n=16, max_tokens=1000, temperature=2, stream=True
        )
        next(iter(stream))
        stream.close()
    start = time.monotonic()
    ask_model(client, SMOKE, "x", max_tokens=1)
    assert time.monotonic() - start < 10


def test_what_libraries_print_is_not_mixed_with_the_responses(tmp_path: Path) -> None:
    from ftkit.server.recipes import builtin_recipes

    script = """
import os
from ftkit.server import worker
from ftkit.server.generation.engine import Engine

def print_and_step(self):
    print("from Python", flush=True)
    os.write(1, b"from a library in C\\n")
    step(self)

step, Engine.step = Engine.step, print_and_step
worker.main()
"""
    request = {
        "id": "1",
        "base": SMOKE,
        "job": "",
        "step": 0,
        "messages": question("Tokyo"),
        "n": 1,
        "max_tokens": 2,
        "temperature": 0,
        "top_p": None,
        "stop": [],
        "seed": None,
        "recipe": builtin_recipes().find(SMOKE).as_json(),
    }
    command = [sys.executable, "-c", script, "generate", str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        responses = []
        while not responses or "done" not in responses[-1]:
            responses.append(json.loads(process.stdout.readline()))
        _, log = process.communicate()
    assert {response["id"] for response in responses} == {"1"}
    assert b"from Python" in log
    assert b"from a library in C" in log
