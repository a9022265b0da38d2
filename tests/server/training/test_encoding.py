"""Examples as token sequences with a loss mask."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from support.fixture_types import Write
from support.training import city_example, encode_jsonl, question

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from ftkit.server.training.smoke import build_tokenizer

    return build_tokenizer()


def learned_texts(tokenizer: Any, *examples: dict[str, Any]) -> list[str]:
    """Return the text that the loss covers, of each sequence."""
    from ftkit.server.training.encoding import IGNORED_LABEL, Encoder

    encoder = Encoder(tokenizer, 2048)
    return [
        tokenizer.decode([label for label in sequence.labels if label != IGNORED_LABEL])
        for example in examples
        for sequence in encoder.encode(example, "chat")
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
    assert learned_texts(tokenizer, {"messages": messages}) == [
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
        {"messages": messages, "tools": [{"type": "function", "function": {"name": "f"}}]},
    )
    assert "done<|end|>" in text
    assert '"name": "f"' in text
    assert "result" not in text


def test_arguments_that_are_nested_too_deeply_are_refused(tokenizer: Any) -> None:
    from ftkit.errors import EncodingError

    arguments = '{"x": ' + "[" * 900 + "]" * 900 + "}"
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    example = {"messages": [*question("a"), {"role": "assistant", "tool_calls": [call]}]}
    with pytest.raises(EncodingError, match="RecursionError"):
        learned_texts(tokenizer, example)


def test_truncation_is_counted_by_line_and_token(tokenizer: Any, write: Write) -> None:
    from ftkit.server.training.dataset import encode_file
    from ftkit.server.training.encoding import Encoder

    examples = [city_example("a", "b" * 50), city_example("c" * 50, "d"), city_example("e", "f")]
    file = encode_file(write(encode_jsonl(examples)), Encoder(tokenizer, 20), "chat")
    assert [len(sequence.input_ids) for sequence in file.encoded] == [20, 10]
    assert (file.cut_lines, file.cut_tokens, file.dropped) == ([1, 2], 41, 1)
    assert file.truncation_message("training", 20) == (
        "2 examples of the training file exceed 20 tokens (lines 1-2): 41 trained tokens are truncated,"
        " and 1 sequence with nothing to learn are left out"
    )


def test_answers_beyond_the_limit_are_counted(tokenizer: Any) -> None:
    from ftkit.server.training.encoding import Encoder

    messages = city_example("a", "bcd")["messages"] * 2000
    (sequence,) = Encoder(tokenizer, 25).encode({"messages": messages}, "chat")
    assert len(sequence.input_ids) == 25  # two turns of 12 tokens: <u>Say a<e><a>bcd<e>
    assert sequence.cut == (2000 - 2) * len("bcd") + (2000 - 2)


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
    assert learned_texts(other, {"messages": messages}) == ["think=x<|end|>", "think=y<|end|>"]


def test_examples_that_the_base_model_cannot_express_are_named_by_their_lines(
    tokenizer: Any, write: Write
) -> None:
    from ftkit.server.training.dataset import Refusal, encode_file
    from ftkit.server.training.encoding import Encoder

    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    examples = [
        city_example("a", "b"),
        {"messages": [image, {"role": "assistant", "content": "x"}]},
    ]
    path = write(encode_jsonl(examples))
    file = encode_file(path, Encoder(tokenizer, 2048), "chat")
    assert file.refused == [Refusal(2, "the base model does not support images")]
    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    refused = encode_file(path, Encoder(bare, 2048), "chat").refused
    assert [(item.line, "no chat template" in item.reason) for item in refused] == [
        (1, True),
        (2, False),
    ]


def test_a_file_with_bom_and_crlf_and_no_final_newline_is_read(folder_job: Any) -> None:
    assert folder_job.fine_tuned_model
