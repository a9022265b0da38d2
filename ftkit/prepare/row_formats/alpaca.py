"""Alpaca: an instruction, an input and an output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ftkit.prepare.example import Example, Extra
from ftkit.prepare.row_formats.base import RowError, RowFormat
from ftkit.prepare.row_formats.shared.draft import Draft, text_part
from ftkit.prepare.row_formats.shared.outgoing import Outgoing
from ftkit.prepare.row_formats.shared.plain import (
    add_text,
    lose_tools,
    output_text,
    prompt_of,
    text_parts,
    texts_of,
)
from ftkit.prepare.row_formats.shared.row_value import RowValue
from ftkit.rules.sources import Source

LLAMA_FACTORY = Source(
    "LLaMA-Factory data/README.md",
    "https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md",
)
FAST_CHAT = Source(
    "FastChat convert_alpaca.py",
    "https://github.com/lm-sys/FastChat/blob/main/fastchat/data/convert_alpaca.py",
)
STANFORD = Source(
    "Stanford Alpaca train.py",
    "https://github.com/tatsu-lab/stanford_alpaca/blob/main/train.py",
)

KEYS = {"instruction", "input", "output", "system", "history", "chosen", "rejected"}

LAYOUT = (
    '{"system": "You are brief.", "history": [["Hi", "Hello!"]], "instruction": "Translate.", '
    '"input": "Bonjour", "output": "Hello"}'
)

WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
WITHOUT_INPUT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\n{instruction}\n\n### Response:"
)


def _join_lines(instruction: str, input: str) -> str:
    return "\n".join(filter(None, (instruction, input)))


def _join_fast_chat(instruction: str, input: str) -> str:
    return f"{instruction}\nInput:\n{input}" if input else instruction


def _join_stanford(instruction: str, input: str) -> str:
    template = WITH_INPUT if input else WITHOUT_INPUT
    return template.replace("{instruction}", instruction, 1).replace("{input}", input, 1)


def _reader(join: Callable[[str, str], str]) -> Callable[[dict[str, Any]], Example]:
    def read(value: dict[str, Any]) -> Example:
        row, draft = RowValue(value), Draft()
        add_text(draft, row.get("system"), "system")
        _read_history(draft, row)
        instruction, input = row.need("instruction"), row.get("input")
        more = input.text() if input else ""
        draft.add(instruction, "user", [text_part(join(instruction.text(), more))])
        if input and more:
            draft.note(input, "`input` joined to `instruction`", draft.next - 1)
        chosen, rejected = row.get("chosen"), row.get("rejected")
        if not chosen and not rejected:
            output = row.need("output")
            draft.add(output, "assistant", text_parts(output))
        draft.lose_others(row, KEYS)
        example = draft.example()
        if chosen or rejected:
            _add_outputs(example, row)
        return example

    return read


def _read_history(draft: Draft, row: RowValue) -> None:
    history = row.get("history")
    for pair in history.elements() if history else ():
        turns = list(pair.elements())
        if len(turns) != 2:
            pair.fail("not a pair of a question and an answer")
        for role, turn in zip(("user", "assistant"), turns, strict=True):
            draft.add(turn, role, text_parts(turn))


def _add_outputs(example: Example, row: RowValue) -> None:
    outputs = [
        [{"role": "assistant", "content": row.need(key).text()}] for key in ("chosen", "rejected")
    ]
    example.chosen, example.rejected = outputs
    output = row.get("output")
    if output and output.text():
        example.extras.append(Extra(output.pointer, "`output` beside `chosen`", output.value))


def write(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    """Convert an example to a row."""
    outgoing = Outgoing(prompt_of(example))
    lose_tools(outgoing)
    texts = texts_of(outgoing)
    row: dict[str, Any] = {}
    if texts and texts[0][0] == "system":
        row["system"] = texts.pop(0)[1]
        if not row["system"]:
            raise RowError("an empty system message has no place in the format", "/messages/0")
    if example.chosen is None or example.rejected is None:
        last = texts.pop()[1] if texts and texts[-1][0] == "assistant" else _fail_turns()
        answers = {"output": last}
    else:
        answers = {
            "chosen": output_text(outgoing, example.chosen, example.chosen_place),
            "rejected": output_text(outgoing, example.rejected, example.rejected_place),
        }
    roles = [role for role, _ in texts]
    if len(roles) % 2 == 0 or roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        _fail_turns()
    *history, question = (text for _, text in texts)
    if history:
        row["history"] = [list(pair) for pair in zip(history[::2], history[1::2], strict=True)]
    return outgoing.finish({**row, "instruction": question, "input": "", **answers})


def _fail_turns() -> Any:
    raise RowError("user and assistant do not take turns")


FORMATS = (
    RowFormat(
        name="alpaca",
        title="Alpaca",
        layout=LAYOUT,
        source=LLAMA_FACTORY,
        shapes=("alpaca",),
        recognizes=lambda value: "instruction" in value and {"chosen", "rejected"} <= value.keys(),
        read=_reader(_join_lines),
        write=write,
        losses=("tool calls and tools", "weights and names", "content parts other than text"),
        notes=(
            "`input` is joined to `instruction` by a line feed, as LLaMA-Factory does.",
            "Answers in `history` are trained on. Rows with `chosen` and `rejected` are preference "
            "examples.",
        ),
    ),
    RowFormat(
        name="alpaca-fastchat",
        title="Alpaca, joined as FastChat does",
        layout=LAYOUT,
        source=FAST_CHAT,
        read=_reader(_join_fast_chat),
        notes=('`input` is joined to `instruction` by "\\nInput:\\n".', "Only by `--from`."),
    ),
    RowFormat(
        name="alpaca-stanford",
        title="Alpaca, with the prompt of Stanford Alpaca",
        layout=LAYOUT,
        source=STANFORD,
        read=_reader(_join_stanford),
        notes=(
            'The user\'s message is the prompt "Below is an instruction that describes a task…".',
            "Only by `--from`.",
        ),
    ),
)
