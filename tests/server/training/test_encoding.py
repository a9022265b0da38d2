"""Examples as token sequences with a loss mask."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from support.examples import chat_lines
from support.local_server import wait_for_job
from support.training import city_example, method_with, question, start_job

pytestmark = pytest.mark.training


# Encoding, without a service.


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from ftkit.server.training.smoke import build_tokenizer

    return build_tokenizer()


def learned(
    tokenizer: Any, rows: list[dict[str, Any]], limit: int = 2048, format: str = "chat"
) -> list[str]:
    from ftkit.server.training.encoding import IGNORED_LABEL, encode

    found, _ = encode(tokenizer, rows, format, limit)
    return [
        tokenizer.decode([label for label in each.labels if label != IGNORED_LABEL]) for each in found
    ]


def test_only_what_the_assistant_says_is_learned(tokenizer: Any) -> None:
    messages = [
        {"role": "system", "content": "Be short."},
        *question("ä\N{PILE OF POO}"),
        {"role": "assistant", "content": "öß\N{PILE OF POO}"},
        *question("b"),
        {"role": "assistant", "content": "no", "weight": 0},
        *question("c"),
        {"role": "assistant", "content": "yes", "weight": 1},
    ]
    assert learned(tokenizer, [{"messages": messages}]) == ["öß\N{PILE OF POO}<|end|>yes<|end|>"]


def test_calls_of_tools_are_learned_and_their_results_are_not(tokenizer: Any) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    messages = [
        *question("a"),
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

    rows = [city_example("a", "b" * 50), city_example("c" * 50, "d")]
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
        *question("a"),
        {"role": "assistant", "content": "think=x"},
        *question("b"),
        {"role": "assistant", "content": "think=y"},
    ]
    assert learned(other, [{"messages": messages}]) == ["think=x<|end|>", "think=y<|end|>"]


def test_an_example_that_a_base_cannot_take_names_its_number(tokenizer: Any) -> None:
    import copy

    from ftkit.errors import EncodingError

    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    with pytest.raises(EncodingError, match=r"example 2: .* does not support images"):
        learned(
            tokenizer,
            [city_example("a", "b"), {"messages": [image, {"role": "assistant", "content": "x"}]}],
        )
    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    with pytest.raises(EncodingError, match="no chat template"):
        learned(bare, [city_example("a", "b")])


def test_lines_as_the_service_takes_them_are_read(client: openai.OpenAI) -> None:
    """A mark at the beginning, ends as on Windows, and none after the last line."""
    content = b"\xef\xbb\xbf" + b"\r\n".join(chat_lines(12))
    assert wait_for_job(
        client, start_job(client, content, method=method_with(n_epochs=1)).id, "succeeded"
    ).fine_tuned_model
