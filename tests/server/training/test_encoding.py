"""Examples as token sequences with a loss mask."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from support.training import city_example, question

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from ftkit.server.training.smoke import build_tokenizer

    return build_tokenizer()


def learned_texts(tokenizer: Any, examples: list[dict[str, Any]]) -> list[str]:
    """Return the text that the loss covers, of each sequence."""
    from ftkit.server.training.encoding import IGNORED_LABEL, encode

    sequences, _ = encode(tokenizer, examples, "chat", 2048)
    return [
        tokenizer.decode([label for label in sequence.labels if label != IGNORED_LABEL])
        for sequence in sequences
    ]


def test_only_assistant_messages_are_learned(tokenizer: Any) -> None:
    messages = [
        {"role": "system", "content": "Be short."},
        *question("ä\N{PILE OF POO}"),
        {"role": "assistant", "content": "öß\N{PILE OF POO}"},
        *question("b"),
        {"role": "assistant", "content": "no", "weight": 0},
        *question("c"),
        {"role": "assistant", "content": "yes", "weight": 1},
    ]
    assert learned_texts(tokenizer, [{"messages": messages}]) == [
        "öß\N{PILE OF POO}<|end|>yes<|end|>"
    ]


def test_tool_calls_are_learned_and_their_results_are_not(tokenizer: Any) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    messages = [
        *question("a"),
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "result"},
        {"role": "assistant", "content": "done"},
    ]
    (text,) = learned_texts(
        tokenizer,
        [{"messages": messages, "tools": [{"type": "function", "function": {"name": "f"}}]}],
    )
    assert "done<|end|>" in text
    assert '"name": "f"' in text
    assert "result" not in text


def test_long_examples_are_truncated_and_those_with_nothing_left_to_learn_are_counted(
    tokenizer: Any,
) -> None:
    from ftkit.server.training.encoding import encode

    examples = [city_example("a", "b" * 50), city_example("c" * 50, "d")]
    sequences, dropped = encode(tokenizer, examples, "chat", 20)
    assert ([len(sequence.input_ids) for sequence in sequences], dropped) == ([20], 1)


def test_a_template_that_rewrites_earlier_turns_gives_each_learned_turn_a_sequence(
    tokenizer: Any,
) -> None:
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
    assert learned_texts(other, [{"messages": messages}]) == ["think=x<|end|>", "think=y<|end|>"]


def test_an_example_that_the_base_model_cannot_express_is_named_by_its_number(
    tokenizer: Any,
) -> None:
    from ftkit.errors import EncodingError

    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    with pytest.raises(EncodingError, match=r"example 2: .* does not support images"):
        learned_texts(
            tokenizer,
            [city_example("a", "b"), {"messages": [image, {"role": "assistant", "content": "x"}]}],
        )
    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    with pytest.raises(EncodingError, match="no chat template"):
        learned_texts(bare, [city_example("a", "b")])


def test_a_file_with_bom_and_crlf_and_no_final_newline_is_read(folder_job: Any) -> None:
    assert folder_job.fine_tuned_model
