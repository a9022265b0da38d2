"""Servers that answer for base models in place of the generation process."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import openai
import pytest

from ftkit.cli.serve_answers import answering_servers
from ftkit.errors import UsageError
from ftkit.server import answering, template_facts
from ftkit.server.auth import Authenticator
from ftkit.server.bodies import read_body
from ftkit.server.completion_bodies import ChatBody, CompletionBody
from ftkit.server.database import Database
from ftkit.server.folder import Folder
from ftkit.server.models import ModelRef
from ftkit.server.objects import ModelObject
from ftkit.server.relay_messages import upstream_fields
from support import generation_process, tuned_models
from support.answering_server import AnsweringServer, answering_server
from support.local_server import LocalServer
from support.models import SMOKE
from support.recording_server import recording_server

RECIPE = """
["ftkit/smoke"]
template = { reasoning_effort = "low" }
"""

RUN_MODULE = [sys.executable, str(Path(generation_process.__file__))]

CONSTANTS = {
    "inference.RUN_MODULE": RUN_MODULE,
    "template_facts.RUN_MODULE": RUN_MODULE,
    "relay.SYNC_SECONDS": 0.1,
    "relay.MAX_CONCURRENT": 4,
    "relay.MAX_CONCURRENT_OF_TENANT": 3,
    "answering.RETRY_SECONDS": 0.0,
    "answering.MAX_BYTES": 1 << 16,
    "logs.RECORDS": 1000,
}

KEY, OTHER_KEY, UPSTREAM_KEY = "sk-tenant", "sk-other", "sk-upstream"


@pytest.fixture(scope="module")
def vllm() -> Iterator[AnsweringServer]:
    with answering_server(SMOKE) as server:
        yield server


@pytest.fixture(scope="module")
def service(
    vllm: AnsweringServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("answering")
    (folder / "recipes.toml").write_text(RECIPE)
    server = LocalServer(
        folder / "data",
        {"gpt-3.5-turbo": SMOKE},
        keys=(KEY, OTHER_KEY),
        constants=CONSTANTS,
        recipe=folder / "recipes.toml",
        answers={SMOKE: vllm.url},
        answers_key=UPSTREAM_KEY,
    )
    proxy = "http://127.0.0.1:9"  # refuses all connections, and is not for loopback
    yield server.start(http_proxy=proxy, all_proxy=proxy)
    server.stop()


@pytest.fixture
def client(service: LocalServer, vllm: AnsweringServer) -> Iterator[openai.OpenAI]:
    with service.client(KEY) as client:
        vllm.reset()
        yield client
        vllm.reset()
        ask(client, SMOKE)  # the service notes that the server answers again


def ask(client: openai.OpenAI, model: str, text: str = "abc", **more: Any) -> Any:
    messages: Any = [{"role": "user", "content": text}]
    return client.chat.completions.create(**{"model": model, "messages": messages, **more})


def content(client: openai.OpenAI, model: str = SMOKE, text: str = "abc") -> str:
    answer: str = ask(client, model, text).choices[0].message.content
    return answer


def tenant_of(key: str) -> str:
    return Authenticator((key,), ()).tenant({"authorization": f"Bearer {key}"})


def add_tuned_model(service: LocalServer, effort: str = "high") -> tuple[str, str]:
    """A model whose recipe has that value of a variable of the chat template."""
    recipe = {"template": {"reasoning_effort": effort}}
    return tuned_models.add_tuned_model(service.folder, tenant_of(KEY), recipe=recipe)


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("model", [SMOKE, "gpt-3.5-turbo"])
def test_a_base_model_is_answered_by_the_other_server_under_the_name_of_the_request(
    model: str, client: openai.OpenAI, vllm: AnsweringServer
) -> None:
    answer = ask(client, model, "hello", max_completion_tokens=9, stop="x", user="me", seed=1)
    assert answer.choices[0].message.content == "olleh"
    assert (answer.model, answer.system_fingerprint) == (model, SMOKE)
    assert answer.usage.total_tokens == 8
    (sent,) = vllm.bodies("chat/completions")
    assert len(sent.pop("cache_salt")) == 64
    assert sent == {
        "model": SMOKE,
        "messages": [{"role": "user", "content": "hello"}],
        "chat_template_kwargs": {"enable_thinking": False, "reasoning_effort": "low"},
        "max_tokens": 9,
        "n": 1,
        "stream": False,
        "stop": ["x"],
        "seed": 1,
        "temperature": 1.0,
        "stop_token_ids": [2, 5],
        "top_p": 1.0,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
    }


def test_text_completions_are_answered_by_the_other_server(
    client: openai.OpenAI, vllm: AnsweringServer
) -> None:
    answer = client.completions.create(model=SMOKE, prompt="abc", temperature=0)
    assert (answer.choices[0].text, answer.model) == ("cba", SMOKE)
    stream = client.completions.create(model=SMOKE, prompt="abc", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == "cba"
    (sent, _) = vllm.bodies("completions")
    assert (sent["prompt"], sent["temperature"]) == ("abc", 0)
    assert "chat_template_kwargs" not in sent


@pytest.mark.parametrize("with_usage", [False, True])
def test_a_stream_arrives_as_it_is_sent(
    with_usage: bool, client: openai.OpenAI, vllm: AnsweringServer
) -> None:
    options: Any = {"include_usage": True} if with_usage else {"include_usage": False}
    start = time.monotonic()
    times, chunks = [], []
    for chunk in ask(client, "gpt-3.5-turbo", "x" * 50, stream=True, stream_options=options):
        times.append(time.monotonic() - start)
        chunks.append(chunk)
    assert {(chunk.model, chunk.system_fingerprint) for chunk in chunks} == {
        ("gpt-3.5-turbo", SMOKE)
    }
    assert times[0] < times[-1] - 0.2
    assert (chunks[-1].usage is not None) == with_usage


MESSAGES: dict[str, tuple[list[Any], list[Any]]] = {
    "parts are joined": (
        [
            {"role": "developer", "content": [{"type": "text", "text": t} for t in "ab"]},
            {"role": "user", "content": "c", "name": "n"},
            {"role": "assistant", "content": None, "refusal": "no"},
            {"role": "user", "content": "d"},
        ],
        [
            {"role": "system", "content": "ab"},
            {"role": "user", "content": "c", "name": "n"},
            {"role": "assistant", "content": "no"},
            {"role": "user", "content": "d"},
        ],
    ),
    "calls keep their ids, and results get the name of their function": (
        [
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "1",
                        "type": "function",
                        "function": {"name": "f", "arguments": "{}"},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "1", "content": "r"},
        ],
        [
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {
                        "id": "1",
                        "type": "function",
                        "function": {"name": "f", "arguments": "{}"},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "1", "content": "r", "name": "f"},
        ],
    ),
}


@pytest.mark.parametrize(("messages", "expected"), MESSAGES.values(), ids=MESSAGES)
def test_messages_are_sent_as_training_writes_them(
    messages: list[Any], expected: list[Any], client: openai.OpenAI, vllm: AnsweringServer
) -> None:
    ask(client, SMOKE, messages=messages)
    assert vllm.bodies("chat/completions")[0]["messages"] == expected


def test_messages_are_adapted_to_the_chat_template_of_the_base_model(
    service: LocalServer, client: openai.OpenAI, vllm: AnsweringServer
) -> None:
    model, _ = add_tuned_model(service)
    function = {"name": "f", "arguments": "{}"}
    calls = [{"id": "call_1", "type": "function", "function": function}]
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_1", "content": "r"},
    ]
    ask(client, model, messages=messages)
    sent = vllm.bodies("chat/completions")[-1]
    first, call, result = sent["messages"]
    assert first == {"role": "user", "content": "s\n\nu"}
    assert call["tool_calls"][0]["id"] == result["tool_call_id"]
    assert len(result["tool_call_id"]) == 9
    assert sent["stop_token_ids"] == [2]
    no_user = [{"role": "system", "content": "s"}]
    assert ask(client, model, messages=no_user).choices[0].message.content == "local"
    client.models.delete(model)


@pytest.mark.parametrize(
    ("effort", "reason"), [("open", "it leaves a block for reasoning open"), ("x", "no such model")]
)
def test_chats_that_the_other_server_would_render_otherwise_are_answered_by_the_local_process(
    effort: str, reason: str, service: LocalServer, client: openai.OpenAI, vllm: AnsweringServer
) -> None:
    model, _ = add_tuned_model(service, effort)
    assert [content(client, model) for _ in range(2)] == ["local"] * 2
    text = client.completions.create(model=model, prompt="abc").choices[0].text
    assert text == "cba"
    message = f"The local process answers chats for {SMOKE}; its chat template: {reason}"
    assert service.log().count(message) == 1
    client.models.delete(model)


@pytest.mark.parametrize(
    ("effort", "calls", "expected"),
    [("no tools", 1, "local"), ("one call", 1, "r"), ("one call", 2, "local")],
)
def test_calls_that_the_chat_template_would_leave_out_are_answered_by_the_local_process(
    effort: str, calls: int, expected: str, service: LocalServer, client: openai.OpenAI
) -> None:
    model, _ = add_tuned_model(service, effort)
    function = {"name": "f", "arguments": "{}"}
    messages = [
        *_user("u"),
        {
            "role": "assistant",
            "tool_calls": [
                {"id": str(number), "type": "function", "function": function}
                for number in range(calls)
            ],
        },
        *({"role": "tool", "tool_call_id": str(number), "content": "r"} for number in range(calls)),
    ]
    assert ask(client, model, messages=messages).choices[0].message.content == expected
    client.models.delete(model)


VLLM_FIELDS = {
    "chat_template_kwargs",
    "echo",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_tokens",
    "messages",
    "min_p",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "prompt",
    "repetition_penalty",
    "response_format",
    "seed",
    "stop",
    "stop_token_ids",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_k",
    "top_logprobs",
    "top_p",
}
"""Fields of vLLM's requests that are used; it ignores fields that it does not have."""


SHARED = {"model": "m", "n": 2, "temperature": 0.5, "stop": "x", "seed": 2**70, "user": "u"} | {
    "presence_penalty": 1,
    "logit_bias": {"5": 1},
    "stream": True,
}


def upstream(body_type: Any, **fields: Any) -> dict[str, Any] | None:
    """Return what is sent for a request with these fields besides `SHARED`."""
    body = read_body(json.dumps({**SHARED, **fields}).encode(), body_type)
    requests = body.requests() if isinstance(body, CompletionBody) else [body.request()]
    return upstream_fields(body, requests, {}, template_facts.TemplateFacts())


def test_all_fields_that_are_sent_are_those_of_the_other_server() -> None:
    messages = [{"role": "user", "content": "a"}]
    tools = [{"type": "function", "function": {"name": "f"}}]
    chat = upstream(
        ChatBody, messages=messages, tools=tools, logprobs=True, top_logprobs=3, metadata={"a": "b"}
    )
    assert chat
    assert chat.keys() <= VLLM_FIELDS
    assert (chat["logprobs"], chat["top_logprobs"]) == (True, 3)
    assert (chat["tools"], chat["tool_choice"]) == (tools, "auto")
    text = upstream(CompletionBody, prompt=["a", "b"], logprobs=2, echo=True)
    assert text
    assert text.keys() <= VLLM_FIELDS
    assert (text["prompt"], text["logprobs"], text["echo"]) == (["a", "b"], 2, True)
    assert text["seed"] == 2**70 % 2**63
    assert upstream(ChatBody, messages=messages, functions=[{"name": "f"}]) is None


def test_a_chat_template_that_could_not_be_read_is_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_facts, "RETRY_SECONDS", 0.0)

    async def read() -> None:
        reader = template_facts.TemplateReader(Folder(tmp_path))
        served = ModelRef("base", recipe={"template": {"reasoning_effort": "low"}})
        monkeypatch.setattr(template_facts, "RUN_MODULE", ["false"])
        assert await reader.read(served) is None
        monkeypatch.setattr(template_facts, "RUN_MODULE", RUN_MODULE)
        assert await reader.read(served) is None
        await reader.retry()
        facts = await reader.read(served)
        assert facts
        assert facts.end_ids == [2, 5]

    asyncio.run(read())


def test_embedded_images_are_sent(client: openai.OpenAI, vllm: AnsweringServer) -> None:
    url = "data:image/png;base64,AAAA"
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": url}}]
    ask(client, SMOKE, messages=[{"role": "user", "content": parts}, *_user("b")])
    assert vllm.bodies("chat/completions")[0]["messages"][0]["content"] == parts


def _user(text: Any) -> list[Any]:
    return [{"role": "user", "content": text}]


def _image(url: str) -> list[Any]:
    return [{"type": "image_url", "image_url": {"url": url}}]


@pytest.mark.parametrize(
    "messages",
    [
        _user(_image("http://127.0.0.1/secret")),
        _user(_image(" data:image/png;base64,AAAA")),
        _user(_image("file:///etc/passwd")),
        [{"role": "assistant", "content": _image("data:image/png;base64,AAAA")}, *_user("a")],
        [{"role": "function", "name": "f", "content": "r"}],
        [{"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}],
        [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}],
    ],
)
def test_messages_that_cannot_be_translated_are_answered_by_the_local_process(
    messages: list[Any], client: openai.OpenAI, vllm: AnsweringServer
) -> None:
    assert ask(client, SMOKE, messages=messages).choices[0].message.content == "local"
    assert not vllm.bodies("chat/completions")


@pytest.mark.parametrize("more", [{"prompt": ""}, {"prompt": [""]}, {"top_p": 0}])
def test_values_that_the_other_server_refuses_are_answered_by_the_local_process(
    more: dict[str, Any], client: openai.OpenAI, vllm: AnsweringServer
) -> None:
    body: dict[str, Any] = {"model": SMOKE, "prompt": "abc", **more}
    assert client.completions.create(**body).choices[0].text == "local"
    assert not vllm.bodies("completions")


@pytest.mark.parametrize(("seed", "sent"), [(-1, (1 << 63) - 1), (1 << 63, 0), (5, 5)])
def test_a_seed_is_sent_within_the_range_of_the_other_server(
    seed: int, sent: int, client: openai.OpenAI, vllm: AnsweringServer
) -> None:
    ask(client, SMOKE, seed=seed)
    assert vllm.bodies("chat/completions")[0]["seed"] == sent


def test_only_the_key_for_the_other_server_is_sent_to_it(
    client: openai.OpenAI, vllm: AnsweringServer, service: LocalServer
) -> None:
    ask(client, SMOKE, user="somebody", metadata={"name": "value"}, store=False)
    assert vllm.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert KEY not in str((vllm.headers, vllm.requests))
    assert "somebody" not in str(vllm.requests)
    assert UPSTREAM_KEY not in service.log()


def test_accounts_do_not_share_a_prefix_cache(
    client: openai.OpenAI, vllm: AnsweringServer, service: LocalServer
) -> None:
    with service.client(OTHER_KEY) as other:
        for caller in (client, client, other):
            ask(caller, SMOKE)
    first, second, third = [sent["cache_salt"] for sent in vllm.bodies("chat/completions")]
    assert first == second != third


def test_an_adapter_is_loaded_when_its_job_succeeds_and_unloaded_when_it_is_deleted(
    service: LocalServer, client: openai.OpenAI, vllm: AnsweringServer
) -> None:
    model, checkpoint = add_tuned_model(service)
    wait_until(lambda: vllm.adapters)
    ((name, path),) = vllm.adapters.items()
    assert Path(path).is_absolute()
    assert path.endswith("/adapter-4")
    assert content(client, model) == "cba"
    assert [sent["model"] for sent in vllm.bodies("chat/completions")] == [name]
    assert ask(client, checkpoint).model == checkpoint
    assert {Path(path).name for path in vllm.adapters.values()} == {"adapter-2", "adapter-4"}
    kwargs = vllm.bodies("chat/completions")[-1]["chat_template_kwargs"]
    assert kwargs["reasoning_effort"] == "high"
    client.models.delete(checkpoint)
    wait_until(lambda: list(vllm.adapters) == [name])
    client.models.delete(model)
    wait_until(lambda: not vllm.adapters)


def test_an_adapter_is_loaded_again_after_the_other_server_was_restarted(
    service: LocalServer, client: openai.OpenAI, vllm: AnsweringServer
) -> None:
    model, _ = add_tuned_model(service)
    wait_until(lambda: vllm.adapters)
    vllm.adapters = {}
    chunks = list(ask(client, model, stream=True))
    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == "cba"
    assert {chunk.model for chunk in chunks} == {model}
    client.models.delete(model)
    wait_until(lambda: not vllm.adapters)


def test_an_adapter_that_was_deleted_while_the_other_server_was_away_is_unloaded_later(
    service: LocalServer, client: openai.OpenAI, vllm: AnsweringServer
) -> None:
    model, _ = add_tuned_model(service)
    wait_until(lambda: vllm.adapters)
    loaded = {**vllm.adapters, "ftkit-of-another-service-1": "/elsewhere"}
    vllm.stop()
    client.models.delete(model)
    assert content(client) == "local"
    vllm.adapters = loaded
    vllm.start()
    wait_until(lambda: list(vllm.adapters) == ["ftkit-of-another-service-1"])
    vllm.adapters = {}


def test_the_local_process_answers_for_an_adapter_that_the_other_server_refuses(
    service: LocalServer, client: openai.OpenAI, vllm: AnsweringServer
) -> None:
    vllm.refuses_adapters = True
    model, _ = add_tuned_model(service)
    assert [content(client, model) for _ in range(3)] == ["local"] * 3
    assert content(client) == "cba"
    lines = [line for line in service.log().splitlines() if "max_lora_rank" in line]
    assert len(lines) == 1
    vllm.refuses_adapters = False
    assert content(client, model) == "cba"
    client.models.delete(model)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["500", "503", "401", "403", "redirect", "drop"])
def test_the_local_process_answers_when_the_other_server_fails(
    fault: str, stream: bool, client: openai.OpenAI, vllm: AnsweringServer
) -> None:
    vllm.fault = fault
    answer = ask(client, SMOKE, stream=stream)
    if stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in answer) == "local"
    else:
        assert answer.choices[0].message.content == "local"
    assert "/v1/elsewhere" not in [path for path, _ in vllm.requests]


@pytest.mark.parametrize("fault", ["long line", "gzip", "not json", "no choices"])
def test_the_local_process_answers_when_a_response_is_invalid(
    fault: str, client: openai.OpenAI, vllm: AnsweringServer
) -> None:
    vllm.fault = fault
    assert content(client) == "local"


def test_the_local_process_answers_when_a_stream_has_no_events(
    client: openai.OpenAI, vllm: AnsweringServer
) -> None:
    vllm.fault = "no events"
    chunks = ask(client, SMOKE, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "local"


@pytest.mark.parametrize("stream", [False, True])
def test_the_headers_name_the_weights_of_an_answer_and_what_generated_it(
    client: openai.OpenAI, service: LocalServer, vllm: AnsweringServer, stream: bool
) -> None:
    def names(model: str) -> dict[str, str]:
        create: Any = client.chat.completions.with_raw_response.create
        messages = [{"role": "user", "content": "abc"}]
        response = create(model=model, messages=messages, stream=stream)
        response.http_response.close()
        fields = response.headers.items()
        return {name: value for name, value in fields if name.startswith("x-ftkit-")}

    tuned, _ = add_tuned_model(service)
    store = Database(service.folder / "service.db")
    model = store.require(ModelObject, tuned, tenant_of(KEY))
    store.close()
    adapter = {"x-ftkit-base": SMOKE, "x-ftkit-job": model.job, "x-ftkit-step": "4"}
    relayed = {"x-ftkit-answered-by": "answering-server"}
    assert names("gpt-3.5-turbo") == {"x-ftkit-base": SMOKE, **relayed}
    assert names(tuned) == {**adapter, **relayed}
    vllm.fault = "500"
    local = {"x-ftkit-answered-by": "generation-process"}
    assert names(tuned) == {**adapter, **local}
    assert names(SMOKE) == {"x-ftkit-base": SMOKE, **local}
    client.models.delete(tuned)


def test_failures_are_logged_when_they_begin_and_end(
    client: openai.OpenAI, vllm: AnsweringServer, service: LocalServer
) -> None:
    before = len(service.log())
    vllm.stop()
    assert [content(client) for _ in range(3)] == ["local"] * 3
    vllm.start()
    assert [content(client) for _ in range(3)] == ["cba"] * 3
    first, last = service.log()[before:].splitlines()
    assert first.startswith(f"{vllm.url} does not answer for {SMOKE}; the local process does")
    assert last == f"{vllm.url} answers for {SMOKE} again"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "type"), [(400, openai.BadRequestError), (429, openai.RateLimitError)]
)
def test_errors_of_the_request_are_passed_on_without_internal_names(
    status: int,
    type: Any,
    stream: bool,
    service: LocalServer,
    client: openai.OpenAI,
    vllm: AnsweringServer,
) -> None:
    model, _ = add_tuned_model(service)
    assert content(client, model) == "cba"
    vllm.fault = str(status)
    with pytest.raises(type) as error:
        ask(client, model, stream=stream)
    assert error.value.body["message"] == f"Bad {model} of ... at ... (maximum context length)"
    assert error.value.code == "context_length_exceeded"
    vllm.fault = ""
    client.models.delete(model)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("drop in stream", "The answer ended early; try again."),
        ("early end", "The answer ended early; try again."),
        ("long line", "The answer ended early; try again."),
        ("error in stream", "The answer ended early; try again."),
        ("rejection in stream", "See ..."),
    ],
)
def test_a_failure_in_mid_stream_is_an_event(
    fault: str, message: str, client: openai.OpenAI, vllm: AnsweringServer
) -> None:
    vllm.fault = fault
    # Closed, since the SDK's oldest version leaves the connection to the garbage collector.
    with ask(client, SMOKE, stream=True) as stream:
        assert next(stream).choices[0].delta.content == "c"
        with pytest.raises(openai.APIError) as error:
            list(stream)
    assert error.value.message == message


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_disconnects_cancels_the_request(
    stream: bool, service: LocalServer, client: openai.OpenAI, vllm: AnsweringServer
) -> None:
    vllm.fault = "slow"
    if stream:
        ask(client, SMOKE, stream=True).close()
    else:
        with (
            service.client(
                KEY,
            ) as impatient,
            pytest.raises(openai.APITimeoutError),
        ):
            ask(impatient.with_options(timeout=0.5), SMOKE)
    assert vllm.cancelled.wait(20)


def test_requests_without_access_to_a_model_are_not_sent(
    service: LocalServer, client: openai.OpenAI, vllm: AnsweringServer
) -> None:
    model, _ = add_tuned_model(service)
    with service.client(OTHER_KEY) as other, pytest.raises(openai.NotFoundError):
        ask(other, model)
    with service.client("sk-wrong") as stranger, pytest.raises(openai.AuthenticationError):
        ask(stranger, SMOKE)
    assert not vllm.bodies("chat/completions")
    client.models.delete(model)


def test_the_number_of_concurrent_requests_is_limited(
    client: openai.OpenAI, service: LocalServer, vllm: AnsweringServer
) -> None:
    vllm.fault = "slow"
    streams = [ask(client, SMOKE, stream=True) for _ in range(3)]
    with pytest.raises(openai.RateLimitError, match="3 requests are pending"):
        ask(client, SMOKE)
    with service.client(OTHER_KEY) as other:
        streams.append(ask(other, SMOKE, stream=True))
        with pytest.raises(openai.RateLimitError, match="4 requests are pending"):
            ask(other, SMOKE)
        streams.pop().close()
    streams.pop().close()
    vllm.fault = ""
    wait_until(lambda: _is_answered(client))
    for stream in streams:
        stream.close()


def _is_answered(client: openai.OpenAI) -> bool:
    try:
        return content(client) == "cba"
    except openai.RateLimitError:
        return False


def test_a_server_that_does_not_answer_in_time_is_not_used(
    vllm: AnsweringServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "READ_SECONDS", 0.2)
    vllm.fault = "slow"

    async def complete() -> None:
        server = answering.AnsweringServer(SMOKE, vllm.url)
        try:
            with pytest.raises(answering.UnusableError, match="ReadTimeout") as error:
                await server.open("completions", {"model": SMOKE, "prompt": "a"}, None)
            assert server.is_usable(None)
            server.note_failure(error.value)
            assert not server.is_usable(None)
            server.note_success(None)
            assert server.is_usable(None)
        finally:
            await server.close()

    asyncio.run(complete())
    vllm.reset()


def test_a_server_on_another_machine_is_reached_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b'{"data": [{"id": "ftkit-1"}, {"id": "base"}]}')

    async def list_models() -> set[str]:
        server = answering.AnsweringServer("base", "http://vllm.test/v1")
        try:
            return await server.loaded("ftkit-")
        finally:
            await server.close()

    with recording_server(answer) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert asyncio.run(list_models()) == {"ftkit-1"}
    assert proxy.requests[0][:2] == ("GET", "http://vllm.test/v1/models")


MODELS = {"gpt-3.5-turbo": "own/base"}


@pytest.mark.parametrize(
    ("pairs", "uses_hub", "expected"),
    [
        (["own/base=http://a:1"], False, {"own/base": "http://a:1/v1"}),
        (["own/base=https://a/x/v1/"], False, {"own/base": "https://a/x/v1"}),
        (["own/base=http://a", "own/base=http://b"], False, {"own/base": "http://b/v1"}),
        (["any/hub.id=http://[::1]:8000/v1"], True, {"any/hub.id": "http://[::1]:8000/v1"}),
        ([f"{SMOKE}=http://localhost:1/v1"], False, {SMOKE: "http://localhost:1/v1"}),
    ],
)
def test_answering_servers_are_parsed(
    pairs: list[str],
    uses_hub: bool,
    expected: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert answering_servers(pairs, MODELS, uses_hub) == expected
    ((base, url),) = expected.items()
    assert f"{url} answers for {base}; the local process" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("own/base", "must be BASE=URL"),
        ("http://a:1", "must be BASE=URL"),
        ("=http://a:1", "must be BASE=URL"),
        ("other/base=http://a", "add: --map other/base=other/base"),
        ("gpt-3.5-turbo=http://a", "it stands for own/base; name that one"),
        ("own/base=ftp://a", "must be http://HOST:PORT/v1"),
        ("own/base=a:80", "must be http://HOST:PORT/v1"),
        ("own/base=http://:80", "must be http://HOST:PORT/v1"),
        ("own/base=http://a:99999", "must be http://HOST:PORT/v1"),
        ("own/base=http://[a", "must be http://HOST:PORT/v1"),
        ("own/base=http://a/\x1b", "must be http://HOST:PORT/v1"),
        ("own/base=http://me:secret@a", "set FTKIT_ANSWERS_KEY"),
        ("own/base=http://a/v1?key=secret", "must not have"),
    ],
)
def test_an_invalid_answering_server_is_refused(pair: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as error:
        answering_servers([pair], MODELS, uses_hub=False)
    assert "secret" not in str(error.value)
