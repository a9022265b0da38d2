"""Prompts and labels on the chat templates of real base models."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

import pytest

from support.chat_templates import EXAMPLES, build_tokenizer, template_paths
from support.paths import GOLDEN

pytestmark = pytest.mark.training

EXPECTED = json.loads((GOLDEN / "chat_templates.json").read_text("utf-8"))
"""For each template: its features, and for each example the parts that are learned.

There is a list of parts for each sequence, or the reason why the example is refused.
"""

SHOWN = ("system", "tools", "parallel_tool_calls", "thinking", "end")
"""Features in the table."""


def encode(name: str, cell: str) -> list[Any]:
    """Return the sequences of an example on a template."""
    from ftkit.server.training.encoding import Encoder, Pair

    format, example = EXAMPLES[cell]
    encoded = Encoder(build_tokenizer(name), 4096).encode(example, format)
    return [
        sequence
        for item in encoded
        for sequence in (item.sequences() if isinstance(item, Pair) else (item,))
    ]


def parts(tokenizer: Any, sequence: Any) -> list[tuple[bool, str]]:
    """Return the parts of a sequence, and if they are learned."""
    return [
        (learned, tokenizer.decode([id for id, _ in group]))
        for learned, group in groupby(
            zip(sequence.input_ids, sequence.labels, strict=True), key=lambda pair: pair[1] != -100
        )
    ]


def learned(name: str, cell: str) -> list[list[str]] | str:
    """Return the learned parts of each sequence, or the reason for a refusal."""
    from ftkit.errors import EncodingError

    tokenizer = build_tokenizer(name)
    try:
        return [
            [text for is_learned, text in parts(tokenizer, sequence) if is_learned]
            for sequence in encode(name, cell)
        ]
    except EncodingError as error:
        return str(error)


def features(name: str) -> dict[str, Any]:
    """Return the features of a template that docs/serve.md shows."""
    from ftkit.server.training.template import ChatTemplate

    found = ChatTemplate(build_tokenizer(name)).features
    return {feature: getattr(found, feature) for feature in SHOWN}


def test_every_template_is_in_the_table() -> None:
    assert sorted(EXPECTED) == sorted(template_paths())


@pytest.mark.parametrize("cell", EXAMPLES)
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_answer_and_its_end_of_turn_are_learned(name: str, cell: str) -> None:
    assert learned(name, cell) == EXPECTED[name]["learned"][cell]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_features_of_a_template_are_found_out(name: str) -> None:
    assert features(name) == EXPECTED[name]["features"]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_first_prompt_is_to_the_token_what_inference_sends(name: str) -> None:
    from ftkit.server.training.messages import template_messages
    from ftkit.server.training.template import ChatTemplate

    tokenizer = build_tokenizer(name)
    messages = template_messages(EXAMPLES["system"][1]["messages"][:-1])
    prompt = tokenizer(ChatTemplate(tokenizer).prompt(messages), add_special_tokens=False)
    (sequence,) = encode(name, "system")
    assert sequence.input_ids[: len(prompt["input_ids"])] == prompt["input_ids"]
    assert set(sequence.labels[: len(prompt["input_ids"])]) == {-100}
    assert sequence.labels[len(prompt["input_ids"])] != -100


@pytest.mark.parametrize("cell", EXAMPLES)
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_sequence_has_at_most_one_start_token(name: str, cell: str) -> None:
    from ftkit.errors import EncodingError

    start = build_tokenizer(name).bos_token_id
    try:
        sequences = encode(name, cell)
    except EncodingError:
        return
    assert all(sequence.input_ids.count(start) <= 1 for sequence in sequences)
