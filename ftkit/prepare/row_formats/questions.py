"""Pairs of a question and an answer, such as those of Dolly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ftkit.prepare.example import Example, Extra, Message
from ftkit.prepare.row_formats.base import EMPTY_CELL, RowError, RowFormat
from ftkit.prepare.row_formats.shared.draft import Draft, text_part
from ftkit.prepare.row_formats.shared.plain import text_parts
from ftkit.prepare.row_formats.shared.row_value import RowValue
from ftkit.prepare.row_formats.shared.values import read_messages, unknown_keys
from ftkit.rules.sources import OWN_CHECK, Source

DOLLY = Source(
    "databricks-dolly-15k",
    "https://www.tensorflow.org/datasets/catalog/databricks_dolly",
)

EVALS = Source(
    "openai/evals docs/build-eval.md",
    "https://github.com/openai/evals/blob/main/docs/build-eval.md",
)

PAIRS = (
    ("input", "output"),
    ("question", "answer"),
    ("prompt", "response"),
    ("prompt", "answer"),
    ("query", "response"),
    ("input_text", "output_text"),
)
"""Keys of the question and of the answer."""


def read_dolly(value: dict[str, Any]) -> Example:
    """Convert a row to an example."""
    row, draft = RowValue(value), Draft()
    instruction, context = row.need("instruction"), row.get("context")
    _check_filled(instruction)
    text = instruction.text()
    if context and context.text():
        text = f"{text}\n\n{context.text()}"
        draft.note(context, "`context` joined to `instruction`", 0)
    draft.add(instruction, "user", [text_part(text)])
    response = row.need("response")
    _check_filled(response)
    draft.add(response, "assistant", text_parts(response))
    draft.lose_others(row, {"instruction", "context", "response"})
    return draft.example()


def _check_filled(text: RowValue) -> None:
    """Raise `RowError` for a text that is empty."""
    if isinstance(text.value, str) and not text.value.strip():
        raise RowError(EMPTY_CELL, text.pointer)


def read_evals(value: dict[str, Any]) -> Example:
    """Convert a sample of OpenAI Evals to an example."""
    row = RowValue(value)
    input, ideal = row.need("input"), row.need("ideal")
    if isinstance(ideal.value, list) and len(ideal.value) == 1:
        ideal = ideal.child(0)
    text = ideal.text()
    if isinstance(input.value, str):
        messages: list[Message] = [{"role": "user", "content": input.value}]
        extras: list[Extra] = []
    else:
        messages, extras = read_messages(input)
    return Example(
        messages=[*messages, {"role": "assistant", "content": text}],
        extras=[*extras, *unknown_keys(row, ("input", "ideal"))],
        places=[*(f"/input/{index}" for index in range(len(messages))), "/ideal"],
    )


def _reader(question: str, answer: str) -> Callable[[dict[str, Any]], Example]:
    def read(value: dict[str, Any]) -> Example:
        row, draft = RowValue(value), Draft()
        for key, role in ((question, "user"), (answer, "assistant")):
            text = row.need(key)
            _check_filled(text)
            draft.add(text, role, text_parts(text))
        draft.lose_others(row, {question, answer})
        return draft.example()

    return read


FORMATS = (
    RowFormat(
        name="evals-samples",
        group="OpenAI",
        title="Samples of the OpenAI Evals repository",
        layout='{"input": [{"role": "user", "content": "Hi"}], "ideal": "Hello!"}',
        source=EVALS,
        shapes=("evals",),
        read=read_evals,
        notes=(
            "An object with `input` and `ideal`; items of the Evals API are [evals](#evals).",
            "A row with several ideal answers is rejected.",
        ),
    ),
    RowFormat(
        name="dolly",
        title="Dolly",
        layout='{"instruction": "When does it leave?", "context": "The ferry leaves at ten.", '
        '"response": "At ten.", "category": "closed_qa"}',
        source=DOLLY,
        shapes=("instruction-response",),
        read=read_dolly,
        notes=("`context` is joined to `instruction` by an empty line.",),
    ),
    *(
        RowFormat(
            name=f"{question}-{answer}",
            title=f"Pairs of `{question}` and `{answer}`",
            layout=f'{{"{question}": "Hi", "{answer}": "Hello!"}}',
            source=OWN_CHECK,
            shapes=(f"{question}-{answer}",),
            read=_reader(question, answer),
        )
        for question, answer in PAIRS
    ),
)
