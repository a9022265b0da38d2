"""Preference rows: TRL's, UltraFeedback's, transcripts of HH-RLHF, and labels for KTO."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ftkit.dataset.shapes import are_messages
from ftkit.prepare.audit import Audit
from ftkit.prepare.example import Example, Extra, Message
from ftkit.prepare.grouping import group_rows
from ftkit.prepare.row_formats.base import BOOKKEEPING, Kind, RowError, RowFormat
from ftkit.prepare.row_formats.shared.outgoing import Outgoing
from ftkit.prepare.row_formats.shared.plain import prompt_of
from ftkit.prepare.row_formats.shared.row_value import RowValue
from ftkit.prepare.row_formats.shared.trl_messages import written_trl_messages
from ftkit.prepare.row_formats.trl import (
    make_example,
    places_of,
    read_completion,
    read_turns,
    written_tools,
)
from ftkit.prepare.rows import Row, join_rows
from ftkit.rules.sources import OWN_CHECK, TRL_FORMATS, Source

ULTRAFEEDBACK = Source(
    "Card of ultrafeedback_binarized",
    "https://huggingface.co/datasets/HuggingFaceH4/ultrafeedback_binarized",
)
HH_RLHF = Source("Card of hh-rlhf", "https://huggingface.co/datasets/Anthropic/hh-rlhf")

STEP = "convert"


def _reader(chosen: str, rejected: str) -> Callable[[dict[str, Any]], Example]:
    def read(value: dict[str, Any]) -> Example:
        row = RowValue(value)
        prompt = row.get("prompt")
        messages, extras = read_turns(prompt, "user") if prompt else ([], [])
        outputs = []
        for key in (chosen, rejected):
            output, more = read_turns(row.need(key), "assistant", -1)
            outputs.append(output)
            extras += more
        if prompt is None:
            messages = _split(row, *outputs)
            places = [f"/{chosen}/{index}" for index in range(len(messages))]
        elif messages == outputs[0][: len(messages)]:
            row.need(chosen).fail("the prompt is repeated in the answer, as in ultrafeedback rows")
        else:
            places = places_of(prompt, messages)
        example = make_example(
            row, {"prompt", chosen, rejected}, messages=messages, extras=extras, places=places
        )
        example.chosen, example.rejected = outputs
        example.chosen_place, example.rejected_place = f"/{chosen}", f"/{rejected}"
        return example

    return read


def _split(row: RowValue, chosen: list[Message], rejected: list[Message]) -> list[Message]:
    """Remove the messages that two conversations begin with from both, and return them.

    One message remains of each.
    """
    count = 0
    limit = min(len(chosen), len(rejected)) - 1
    while count < limit and chosen[count] == rejected[count]:
        count += 1
    if not count:
        row.fail("no prompt, and no messages that both answers begin with")
    prompt = chosen[:count]
    del chosen[:count], rejected[:count]
    return prompt


def write(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    """Convert an example to a row of TRL."""
    if example.chosen is None or example.rejected is None:
        raise RowError("not two answers to one prompt")
    outgoing = Outgoing(prompt_of(example))
    row: dict[str, Any] = {"prompt": written_trl_messages(outgoing, outgoing.messages())}
    outputs = {
        "chosen": RowValue(example.chosen, example.chosen_place),
        "rejected": RowValue(example.rejected, example.rejected_place),
    }
    for key, output in outputs.items():
        messages = [(-1, message) for message in output.elements()]
        row[key] = written_trl_messages(outgoing, messages)
    return outgoing.finish({**row, **written_tools(outgoing)})


def read_ultrafeedback(value: dict[str, Any]) -> Example:
    """Convert a row of UltraFeedback, whose prompt is repeated in both answers."""
    row = RowValue(value)
    prompt = row.need("prompt").text()
    chosen, extras = read_turns(row.need("chosen"), "assistant", -1)
    rejected, more = read_turns(row.need("rejected"), "assistant", -1)
    conversation = list(chosen)
    messages = _split(row, chosen, rejected)
    if prompt not in (message["content"] for message in messages):
        row.need("prompt").fail("the prompt is not that of the answers")
    keys = {"prompt", "chosen", "rejected"}
    copies = row.get("messages")
    if copies and read_turns(copies, "user", -1)[0] == conversation:
        keys.add("messages")
    example = make_example(row, keys, messages=messages, extras=extras + more)
    example.places = [f"/chosen/{index}" for index in range(len(messages))]
    example.chosen, example.rejected = chosen, rejected
    return example


def _repeats_prompt(value: dict[str, Any]) -> bool:
    answers = (value.get("chosen"), value.get("rejected"))
    return isinstance(value.get("prompt"), str) and all(map(are_messages, answers))


_TURN = re.compile(r"\n\n(Human|Assistant):[ ]?")
_SPEAKERS = {"Human": "user", "Assistant": "assistant"}


def read_hh(value: dict[str, Any]) -> Example:
    """Convert a row of HH-RLHF: two transcripts that differ in the last turn."""
    row = RowValue(value)
    chosen, rejected = (_turns(row.need(key)) for key in ("chosen", "rejected"))
    messages = _split(row, chosen, rejected)
    for key, output in (("chosen", chosen), ("rejected", rejected)):
        if len(output) != 1 or output[0]["role"] != "assistant":
            row.need(key).fail("the transcripts differ before the last answer")
    example = make_example(row, {"chosen", "rejected"}, messages=messages)
    example.places = ["/chosen"] * len(messages)
    example.chosen, example.rejected = chosen, rejected
    return example


def _turns(transcript: RowValue) -> list[Message]:
    before, *turns = _TURN.split(transcript.text())
    if before or not turns:
        transcript.fail("a transcript that does not begin with Human: or Assistant:")
    pairs = zip(turns[::2], turns[1::2], strict=True)
    return [{"role": _SPEAKERS[speaker], "content": text} for speaker, text in pairs]


def _is_transcript(value: dict[str, Any]) -> bool:
    return all(
        isinstance(value.get(key), str) and _TURN.match(value[key])
        for key in ("chosen", "rejected")
    )


def read_kto(value: dict[str, Any]) -> Example:
    """Convert a row for KTO that is labelled true."""
    label = RowValue(value).need("label")
    if label.value is not True:
        label.fail("the label is not true")
    return _read_labelled(value)


def read_kto_pair(values: list[Any]) -> Example:
    """Convert two rows for KTO of one prompt, the first of which is labelled true."""
    chosen, rejected = (_read_part(*item) for item in enumerate(values))
    count = len(_prompt_of(values[0]))
    return Example(
        messages=chosen.messages[:count],
        chosen=chosen.messages[count:],
        rejected=rejected.messages[count:],
        tools=chosen.tools,
        extras=[*_inside(chosen, 0), *_inside(rejected, 1)],
        places=[f"0#{place}" for place in (chosen.places or [])[:count]],
        chosen_place="0#/completion",
        rejected_place="1#/completion",
    )


def _prompt_of(value: dict[str, Any]) -> list[Any]:
    prompt = value["prompt"]
    return prompt if isinstance(prompt, list) else [prompt]


def _read_labelled(value: dict[str, Any]) -> Example:
    return read_completion({key: item for key, item in value.items() if key != "label"})


def _read_part(index: int, value: dict[str, Any]) -> Example:
    try:
        return _read_labelled(value)
    except RowError as error:
        raise RowError(error.reason, f"{index}#{error.pointer}", error.detail) from error


def _inside(example: Example, index: int) -> list[Extra]:
    return [
        Extra(f"{index}#{extra.pointer}", extra.kind, extra.value, is_loss=extra.is_loss)
        for extra in example.extras
    ]


def assemble_kto(rows: Iterable[Row], audit: Audit, holds: Kind) -> Iterator[Row]:
    """Join completions of one prompt with other labels to pairs, or drop those labelled false."""
    if holds != "preference":
        for row in rows:
            if isinstance(row.value, dict) and row.value.get("label") is False:
                audit.drop(STEP, "labelled false", row.origin)
            else:
                yield row
        return
    for group in group_rows(rows, _prompt_key):
        if not _is_labelled(group[0]):
            yield from group
            continue
        by_label: dict[bool, list[Row]] = {True: [], False: []}
        for row in group:
            by_label[row.value["label"]].append(row)
        pairs = min(map(len, by_label.values()))
        for chosen, rejected in zip(by_label[True], by_label[False], strict=False):
            audit.merge(STEP, "pair of answers to one prompt", rejected.origin)
            yield join_rows((chosen, rejected), (*chosen.steps, STEP))
        for row in by_label[True][pairs:] + by_label[False][pairs:]:
            audit.drop(STEP, "no answer to the same prompt with the other label", row.origin)


def _is_labelled(row: Row) -> bool:
    return isinstance(row.value, dict) and isinstance(row.value.get("label"), bool)


def _prompt_key(row: Row) -> Any:
    if _is_labelled(row):
        return [row.value.get("prompt"), row.value.get("tools")]
    return str(row.origin)


PREFERENCE = '"rejected": [{"role": "assistant", "content": "What?"}]}'

FORMATS = (
    RowFormat(
        name="trl-preference",
        title="TRL, preference",
        layout='{"prompt": [{"role": "user", "content": "Hi"}], "chosen": [{"role": "assistant", '
        f'"content": "Hello!"}}], {PREFERENCE}',
        source=TRL_FORMATS,
        holds="preference",
        shapes=("trl-preference",),
        read=_reader("chosen", "rejected"),
        write=write,
        losses=("weights", "`parallel_tool_calls`"),
        notes=(
            "The keys are `prompt`, `chosen` and `rejected`. Rows with `chosen_messages` are "
            "[messages-preference](#messages-preference), and rows with `chosen_response` "
            "[response-preference](#response-preference).",
            "Without `prompt`, the messages that both answers begin with are the prompt. Texts are "
            "never split.",
        ),
    ),
    *(
        RowFormat(
            name=f"{name}-preference",
            title=f"Preference rows with `chosen_{key}`",
            layout=f'{{"prompt": "Hi", "chosen_{key}": "Hello!", "rejected_{key}": "What?"}}',
            source=OWN_CHECK,
            holds="preference",
            shapes=(f"{name}-preference",),
            read=_reader(f"chosen_{key}", f"rejected_{key}"),
            notes=("As [trl-preference](#trl-preference), but for the keys.",),
        )
        for name, key in (("response", "response"), ("messages", "messages"))
    ),
    RowFormat(
        name="ultrafeedback",
        bookkeeping=BOOKKEEPING | {"prompt_id"},
        title="UltraFeedback",
        layout='{"prompt": "Hi", "prompt_id": "7", "chosen": [{"role": "user", "content": "Hi"}, '
        '{"role": "assistant", "content": "Hello!"}], "rejected": [{"role": "user", "content": '
        '"Hi"}, {"role": "assistant", "content": "What?"}], "messages": [{"role": "user", '
        '"content": "Hi"}, {"role": "assistant", "content": "Hello!"}], "score_chosen": 8.0, '
        '"score_rejected": 2.5}',
        source=ULTRAFEEDBACK,
        holds="preference",
        recognizes=_repeats_prompt,
        read=read_ultrafeedback,
        notes=("`messages` is no loss if it is the same as `chosen`.",),
    ),
    RowFormat(
        name="hh-rlhf",
        title="HH-RLHF",
        layout='{"chosen": "\\n\\nHuman: Hi\\n\\nAssistant: Hello!", '
        '"rejected": "\\n\\nHuman: Hi\\n\\nAssistant: What?"}',
        source=HH_RLHF,
        holds="preference",
        recognizes=_is_transcript,
        read=read_hh,
        notes=(
            "The transcripts are split at the last turn that both have; rows whose transcripts "
            "differ earlier are rejected.",
        ),
    ),
    RowFormat(
        name="trl-kto",
        title="TRL, unpaired preference (KTO)",
        layout='{"prompt": "Hi", "completion": "Hello!", "label": true}',
        source=TRL_FORMATS,
        holds="preference",
        shapes=("kto",),
        assemble=assemble_kto,
        read=read_kto,
        read_joined=read_kto_pair,
        notes=(
            "For a preference format, completions of one prompt are paired in their order, the "
            "ones labelled true with those labelled false; the others are dropped.",
            "For other formats, rows labelled false are dropped.",
        ),
    ),
)
