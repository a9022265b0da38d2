"""Files in the shapes of other systems get one finding, whose advice gives a valid file."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftkit import validate
from ftkit.dataset.formats import FORMATS
from ftkit.dataset.shapes import SHAPES
from ftkit.prepare.convert.convert import convert
from support.examples import chat_lines
from support.fixture_types import Write
from support.lines import findings_of
from support.paths import SHAPE_FILES

Row = Any
Convert = Callable[[Row], dict[str, Any]]

ANSWER = {"role": "assistant", "content": "It is a pier."}


def text_of(blocks: list[dict[str, str]]) -> str:
    return "".join(block["text"] for block in blocks)


def message(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def chat(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": list(messages)}


def pair(question: str, answer: str) -> Convert:
    return lambda row: chat(message("user", row[question]), message("assistant", row[answer]))


def from_sharegpt(row: Row) -> dict[str, Any]:
    roles = {"human": "user", "gpt": "assistant"}
    return chat(*(message(roles[turn["from"]], turn["value"]) for turn in row["conversations"]))


def from_alpaca(row: Row) -> dict[str, Any]:
    question = f"{row['instruction']}\n{row['input']}"
    return chat(message("user", question), message("assistant", row["output"]))


def from_contents(contents: list[Any]) -> list[dict[str, str]]:
    roles = {"user": "user", "model": "assistant"}
    return [message(roles[turn["role"]], text_of(turn["parts"])) for turn in contents]


def from_gemini(row: Row) -> dict[str, Any]:
    system = message("system", text_of(row["systemInstruction"]["parts"]))
    return chat(system, *from_contents(row["contents"]))


def from_bedrock(row: Row) -> dict[str, Any]:
    messages = [message(turn["role"], text_of(turn["content"])) for turn in row["messages"]]
    return chat(message("system", text_of(row["system"])), *messages)


def from_text(row: Row) -> dict[str, Any]:
    question, answer = row["text"].split(" Answer: ")
    return {"prompt": question, "completion": f" {answer}"}


def preference(chosen: str, rejected: str) -> Convert:
    def convert(row: Row) -> dict[str, Any]:
        if isinstance(row[chosen], str):
            prompt = [message("user", row["prompt"])]
            outputs = [message("assistant", row[key]) for key in (chosen, rejected)]
        else:
            prompt = row[chosen][:-1]
            outputs = [row[key][-1] for key in (chosen, rejected)]
        return {
            "input": {"messages": prompt},
            "preferred_output": outputs[:1],
            "non_preferred_output": outputs[1:],
        }

    return convert


def from_grpo(row: Row) -> dict[str, Any]:
    prompt = row.pop("prompt")
    messages = [message("user", prompt)] if isinstance(prompt, str) else prompt
    for item in messages:
        item["role"] = item["role"].replace("system", "developer")
    return {"messages": messages, **row}


def from_kto(row: Row) -> dict[str, Any]:
    if isinstance(row["prompt"], str):
        return pair("prompt", "completion")(row)
    return chat(*row["prompt"], *row["completion"])


def is_kept(row: Row) -> bool:
    return not isinstance(row, dict) or bool(row.get("label", True))


CONVERSIONS: dict[str, tuple[str, Convert]] = {
    "alpaca.jsonl": ("alpaca", from_alpaca),
    "anthropic.jsonl": (
        "anthropic",
        lambda row: chat(message("system", row["system"]), *row["messages"]),
    ),
    "array.jsonl": ("array", lambda row: chat(*row)),
    "batch.jsonl": ("batch", lambda row: chat(*row["body"]["messages"], ANSWER)),
    "bedrock.jsonl": ("bedrock", from_bedrock),
    "evals.jsonl": ("evals", lambda row: chat(*row["input"], message("assistant", row["ideal"]))),
    "gemini.jsonl": ("gemini", from_gemini),
    "gemini-batch.jsonl": (
        "gemini-batch",
        lambda row: chat(*from_contents(row["request"]["contents"]), ANSWER),
    ),
    "grpo.jsonl": ("grpo", from_grpo),
    "grpo-strings.jsonl": ("grpo", from_grpo),
    "input_text-output_text.jsonl": (
        "input_text-output_text",
        pair("input_text", "output_text"),
    ),
    "input-output.jsonl": ("input-output", pair("input", "output")),
    "instruction-response.jsonl": ("instruction-response", pair("instruction", "response")),
    "kto.jsonl": ("kto", from_kto),
    "kto-strings.jsonl": ("kto", from_kto),
    "messages-preference.jsonl": (
        "messages-preference",
        preference("chosen_messages", "rejected_messages"),
    ),
    "prompt-answer.jsonl": ("prompt-answer", pair("prompt", "answer")),
    "prompt-response.jsonl": ("prompt-response", pair("prompt", "response")),
    "query-response.jsonl": ("query-response", pair("query", "response")),
    "question-answer.jsonl": ("question-answer", pair("question", "answer")),
    "response-preference.jsonl": (
        "response-preference",
        preference("chosen_response", "rejected_response"),
    ),
    "responses.jsonl": ("responses", lambda row: chat(*row["input"], ANSWER)),
    "sharegpt.jsonl": ("sharegpt", from_sharegpt),
    "text.jsonl": ("text", from_text),
    "trl-preference.jsonl": ("trl-preference", preference("chosen", "rejected")),
    "trl-preference-conversations.jsonl": ("trl-preference", preference("chosen", "rejected")),
    "trl-preference-implicit.jsonl": ("trl-preference", preference("chosen", "rejected")),
}
"""Shape of each file with one row on each line, and its conversion as the finding says."""

OTHERS = {
    "alpaca-array.json": ("json-array-file", SHAPES["alpaca"].conversion),
    "alpaca-pretty.json": ("json-pretty-printed", SHAPES["alpaca"].conversion),
    "array-array.json": ("json-array-file", "array-array.jsonl), then wrap each line"),
    "column.csv": ("format-unknown", "the file is CSV with one column; turn each row into"),
    "column-chats.csv": ("format-unknown", "the file is CSV with one column; turn each row into"),
    "column-quotes.csv": ("format-unknown", "the file is CSV with one column; turn each row into"),
    "message.jsonl": ("format-unknown", SHAPES["message"].conversion),
    "message-array.json": ("json-array-file", "message-array.jsonl), else write a line"),
    "numbered-prose.txt": ("format-unknown", "the file is text, not JSON; write each example as"),
    "table.csv": ("format-unknown", "the file is CSV; turn each row into a line of JSON"),
}
"""The rule on each of the other files, and the advice of its message."""

TABLE = OTHERS | {
    file: ("format-unknown", f"the lines are {SHAPES[id].name}, which cannot be trained on; ")
    for file, (id, _) in CONVERSIONS.items()
}


@pytest.mark.parametrize("file", TABLE)
def test_a_file_in_another_shape_gets_one_finding_with_advice(file: str) -> None:
    rule, advice = TABLE[file]
    (finding,) = validate(SHAPE_FILES / file).files[0].findings
    assert (finding.rule, finding.line) == (rule, 0)
    assert advice in finding.message
    if file in CONVERSIONS:
        shape = SHAPES[CONVERSIONS[file][0]]
        command = f"; or use `ftkit convert {SHAPE_FILES / file} --to {shape.target}`"
        assert finding.message.endswith(shape.conversion + command * bool(shape.target))


def test_every_shape_and_every_file_is_in_the_table() -> None:
    assert set(TABLE) == {path.name for path in SHAPE_FILES.iterdir()}
    assert {id for id, _ in CONVERSIONS.values()} | {"message"} == set(SHAPES)
    assert not set(SHAPES) & set(FORMATS)


def rows_of(file: str) -> list[Row]:
    return [json.loads(line) for line in (SHAPE_FILES / file).read_text("utf-8").splitlines()]


def errors_of(rows: list[Any], write: Write) -> set[str]:
    report = validate(write([json.dumps(row).encode() for row in rows])).files[0]
    return {finding.rule for finding in report.findings if finding.severity == "error"}


@pytest.mark.parametrize("file", CONVERSIONS)
def test_the_advice_on_a_row_gives_a_file_without_errors(file: str, write: Write) -> None:
    by_hand = CONVERSIONS[file][1]
    assert errors_of([by_hand(row) for row in rows_of(file) if is_kept(row)], write) == set()


@pytest.mark.parametrize(
    "file", [file for file, (id, _) in CONVERSIONS.items() if SHAPES[id].target]
)
def test_the_command_in_the_advice_gives_a_file_without_errors(file: str, tmp_path: Path) -> None:
    target, out = SHAPES[CONVERSIONS[file][0]].target, tmp_path / "out.jsonl"
    assert convert(SHAPE_FILES / file, to=target, on_loss="allow").write(out)
    findings = validate(out, format=target).files[0].findings
    assert {finding.rule for finding in findings if finding.severity == "error"} == set()


def test_the_advice_on_an_array_gives_a_file_without_errors(write: Write) -> None:
    alpaca = json.loads((SHAPE_FILES / "alpaca-array.json").read_text("utf-8"))
    assert errors_of(list(map(from_alpaca, alpaca)), write) == set()
    conversations = json.loads((SHAPE_FILES / "array-array.json").read_text("utf-8"))
    assert errors_of([chat(*messages) for messages in conversations], write) == set()
    messages = json.loads((SHAPE_FILES / "message-array.json").read_text("utf-8"))
    assert errors_of([chat(*messages)], write) == {"examples-too-few"}


def test_the_advice_on_single_messages_gives_a_file_without_errors(write: Write) -> None:
    messages = rows_of("message.jsonl")
    conversations = zip(messages[::2], messages[1::2], strict=True)
    assert errors_of([chat(*both) for both in conversations], write) == set()


@pytest.mark.parametrize("format", FORMATS)
def test_a_shape_is_named_whichever_format_is_asked_for(format: str) -> None:
    report = validate(SHAPE_FILES / "trl-preference.jsonl", format=format).files[0]
    assert report.counts == {"format-unknown": 1}


@pytest.mark.parametrize("file", ["grpo.jsonl", "trl-preference.jsonl", "input-output.jsonl"])
def test_a_line_in_another_shape_gets_one_finding(file: str, write: Write) -> None:
    row = (SHAPE_FILES / file).read_bytes().splitlines()[0]
    (finding,) = findings_of(write(chat_lines(20, {4: row})))
    assert (finding.rule, finding.line) == ("format-mixed", 4)
    assert finding.message.endswith(SHAPES[CONVERSIONS[file][0]].conversion)


def test_a_spread_example_with_a_huge_number_is_named(write: Write) -> None:
    data = b'{\n "messages": [],\n "id": ' + b"9" * 5000 + b"\n}\n"
    assert [finding.rule for finding in findings_of(write(data))] == ["json-pretty-printed"]


@pytest.mark.parametrize(
    "text",
    [
        "1. Boil the water.\n2. Add the tea.\n",
        "2024 was a good year.\nSo was 2025.\n",
        "[1] A note.\n[2] Another one.\n",
        "Contents\n1\n2\n3\n",
    ],
)
def test_prose_with_numbers_is_text(text: str, write: Write) -> None:
    (finding,) = findings_of(write(text.encode()))
    assert "the file is text, not JSON" in finding.message


@pytest.mark.parametrize("text", ["1\n2\n3\n", "{'messages': []}\n1.\n", "['Hi']\n", "null\n"])
def test_lines_that_are_meant_to_be_json_are_not_called_text(text: str, write: Write) -> None:
    rules = {finding.rule for finding in findings_of(write(text.encode()))}
    assert "format-unknown" not in rules
    assert rules & {"json-not-object", "json-syntax"}


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("my data.json", "'my data.json' > 'my data.jsonl'"),
        ("data.jsonl", "data.jsonl > data-lines.jsonl"),
    ],
)
def test_a_command_for_jq_has_the_names_of_the_files(
    name: str, files: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text('[{"messages": []}, {"messages": []}]')
    (finding,) = validate(name).files[0].findings
    assert finding.message.endswith(f": jq -c '.[]' {files}")


def test_a_command_for_jq_has_placeholders_for_examples_without_a_file() -> None:
    stream = io.BytesIO(b'[{"messages": []}, {"messages": []}]')
    assert validate(stream).files[0].findings[0].message.endswith(" '.[]' IN > OUT.jsonl")


USER = {"messages": [message("user", "Is it a pier?")]}
CHAT = chat(message("user", "Is it a pier?"), ANSWER)
PAIR = {"prompt": "Is it a pier?", "completion": " Yes"}
OUTPUTS = {
    "input": USER,
    "preferred_output": [message("assistant", "Yes")],
    "non_preferred_output": [message("assistant", "No")],
}
TRL = {"chosen": "Yes", "rejected": "No"}


@pytest.mark.parametrize(
    ("row", "format"),
    [
        (USER | TRL, "reinforcement"),
        (USER | {"request": {"contents": "x"}}, "reinforcement"),
        (USER | PAIR | {"label": True}, "reinforcement"),
        (USER | {"schemaVersion": "1"}, "reinforcement"),
        (USER | {"input": {"reference": "Yes"}}, "reinforcement"),
        (CHAT | TRL, "chat"),
        (PAIR | TRL, "completions"),
        (OUTPUTS | TRL | {"request": {"contents": "x"}}, "preference"),
    ],
    ids=str,
)
@pytest.mark.parametrize("is_requested", [False, True])
def test_the_keys_of_a_format_outweigh_those_of_a_shape(
    row: Row, format: str, is_requested: bool, write: Write
) -> None:
    path = write([json.dumps(row).encode()] * 10)
    file = validate(path, format=format if is_requested else None).files[0]
    assert file.format == format
    assert "format-unknown" not in file.counts
    if format == "reinforcement":
        assert not file.errors


@pytest.mark.parametrize(
    ("row", "format"),
    [(CHAT | {"system": "Be brief."}, "chat"), (PAIR | {"label": True}, "completions")],
)
def test_a_requested_format_outweighs_a_shape_that_extends_it(
    row: Row, format: str, write: Write
) -> None:
    lines = [json.dumps(row).encode()] * 10
    assert validate(write(lines)).files[0].counts == {"format-unknown": 1}
    file = validate(write(lines), format=format, select=["FT20"]).files[0]
    assert file.counts == {"example-unknown-key": 10}


def test_a_shape_outweighs_the_only_format_of_a_model(write: Write) -> None:
    lines = [json.dumps(PAIR | {"label": True}).encode()] * 10
    file = validate(write(lines), model="babbage-002", select=["FT20"]).files[0]
    assert file.counts == {"format-unknown": 1}
