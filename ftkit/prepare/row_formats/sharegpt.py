"""ShareGPT: conversations as lists of turns, in the layouts of LLaMA-Factory and ms-swift."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ftkit.prepare.example import Example, Extra, ExtraKind
from ftkit.prepare.row_formats.base import RowError, RowFormat
from ftkit.prepare.row_formats.shared.draft import Draft
from ftkit.prepare.row_formats.shared.json_text import parse_object, to_text
from ftkit.prepare.row_formats.shared.outgoing import (
    Outgoing,
    arguments_of,
    calls_of,
    name_of,
    parts_of,
    role_of,
)
from ftkit.prepare.row_formats.shared.plain import add_text, text_of, text_parts
from ftkit.prepare.row_formats.shared.row_value import RowValue
from ftkit.prepare.row_formats.shared.values import read_messages, read_tools
from ftkit.rules.sources import Source

LLAMA_FACTORY = Source(
    "LLaMA-Factory data/README.md",
    "https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md",
)
MS_SWIFT = Source(
    "data-juicer tools/fmt_conversion",
    "https://github.com/modelscope/data-juicer/blob/main/tools/fmt_conversion/"
    "post_tuning_dialog/README.md",
)

READ_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
WRITTEN_ROLES = {"user": "human", "assistant": "gpt", "system": "system", "developer": "system"}
RESULTS = ("observation", "tool")


def read(value: dict[str, Any]) -> Example:
    """Convert a row to an example."""
    row, draft = RowValue(value), Draft()
    add_text(draft, row.get("system"), "system")
    for turn in row.need("conversations").elements():
        _read_turn(draft, turn)
    draft.lose_others(row, {"system", "conversations", "tools"})
    example = draft.example()
    check_results(example)
    tools = row.get("tools")
    if tools:
        example.tools, extras = _read_definitions(tools)
        example.extras += extras
    return example


def _read_turn(draft: Draft, turn: RowValue) -> None:
    name, value = turn.need("from"), turn.need("value")
    if name.text() == "function_call":
        draft.add(turn, "assistant", [], list(_read_calls(draft, value)))
    elif name.text() in RESULTS:
        draft.answer(turn, value.text())
    elif name.text() in READ_ROLES:
        draft.add(turn, READ_ROLES[name.text()], text_parts(value))
    else:
        name.fail("unknown role", repr(name.value))
    draft.lose_others(turn, {"from", "value"}, message=draft.next - 1)


def _read_calls(draft: Draft, value: RowValue) -> Iterator[dict[str, Any]]:
    parsed = _parse(value)
    for call in parsed.elements() if isinstance(parsed.value, list) else [parsed]:
        name, arguments = call.need("name"), call.get("arguments")
        if arguments is None or isinstance(arguments.value, str):
            yield draft.call(value, name.text(), arguments.value if arguments else {})
        else:
            yield draft.call(value, name.text(), arguments.object())
        for other in call.others({"name", "arguments"}):
            draft.lose(RowValue(other.value, value.pointer), ExtraKind.UNKNOWN_KEY, draft.next)


def _parse(value: RowValue) -> RowValue:
    """Return the JSON value in a text. Its places are that of the text."""
    parsed = parse_object(f'{{"value":{value.text()}}}')
    if parsed is None or len(parsed) != 1:
        value.fail("text is not JSON, or JSON that cannot be kept exactly")
    return RowValue(parsed["value"], value.pointer)


def _read_definitions(tools: RowValue) -> tuple[list[dict[str, Any]] | None, list[Extra]]:
    """Return tools in OpenAI's form, and their extras: the text may be a list of functions."""
    if isinstance(tools.value, str):
        if not tools.text().strip():
            return None, []
        tools = _parse(tools)
    definitions = [
        tool
        if isinstance(tool, dict) and "function" in tool
        else {"type": "function", "function": tool}
        for tool in (item.object() for item in tools.elements())
    ]
    return read_tools(RowValue(definitions, tools.pointer))


def check_results(example: Example) -> None:
    """Raise `RowError` if a message has calls and another number of results, which have no ids."""
    calls = results = 0
    for index, message in enumerate([*example.messages, {"role": ""}]):
        if message["role"] == "tool":
            results += 1
            continue
        if results not in (0, calls):
            raise RowError("not one result for each call", example.place(index - 1))
        calls, results = len(message.get("tool_calls") or []), 0


def read_pairs(value: dict[str, Any]) -> Example:
    """Convert a row in the layout of ms-swift to an example."""
    row, draft = RowValue(value), Draft()
    add_text(draft, row.get("system"), "system")
    for pair in row.need("conversation").elements():
        for key, role in (("human", "user"), ("assistant", "assistant")):
            text = pair.need(key)
            draft.add(text, role, text_parts(text))
        draft.lose_others(pair, {"human", "assistant"}, message=draft.next - 1)
    draft.lose_others(row, {"system", "conversation"})
    return draft.example()


def read_roles(value: dict[str, Any]) -> Example:
    """Convert a row whose turns are messages in OpenAI's format to an example."""
    row, draft = RowValue(value), Draft()
    add_text(draft, row.get("system"), "system")
    turns = row.need("conversations")
    messages, extras = read_messages(turns, draft.next)
    for turn, message in zip(turns.elements(), messages, strict=True):
        draft.append(turn, message)
    draft.lose_others(row, {"system", "conversations"})
    example = draft.example()
    example.extras += extras
    return example


def write(example: Example) -> tuple[dict[str, Any], list[Extra]]:
    """Convert an example to a row."""
    outgoing = Outgoing(example)
    row: dict[str, Any] = {"conversations": []}
    results = Results()
    for index, message in outgoing.messages():
        results.check(message)
        turn = _turn(outgoing, index, message)
        if index == 0 and turn["from"] == "system" and turn["value"]:
            row = {"system": turn["value"], **row}
        else:
            row["conversations"].append(turn)
    results.end(message)
    outgoing.lose_parallel_tool_calls()
    tools = outgoing.tools()
    if tools:
        row["tools"] = to_text([tool.need("function").value for tool in tools])
    return outgoing.finish(row)


class Results:
    """Check that the results of calls follow them in their order, for formats without ids."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._count = 0

    def check(self, message: RowValue) -> None:
        """Check a message. Raises `RowError`."""
        if role_of(message) != "tool":
            self.end(message)
            self._ids = [call.need("id").text() for call in calls_of(message)]
            return
        id = message.need("tool_call_id")
        if self._count == len(self._ids) or self._ids[self._count] != id.text():
            id.fail("a result that is not in the place of its call")
        self._count += 1

    def end(self, message: RowValue) -> None:
        """Check that there is one result for each call, or none. Raises `RowError`."""
        if self._count not in (0, len(self._ids)):
            message.fail("not one result for each call")
        self._ids, self._count = [], 0


def _turn(outgoing: Outgoing, index: int, message: RowValue) -> dict[str, Any]:
    outgoing.lose_keys(index, message)
    role = role_of(message)
    if role == "tool":
        outgoing.note(message.need("tool_call_id"), "id of a tool call", index)
        return {"from": "observation", "value": message.need("content").text()}
    calls = calls_of(message)
    if not calls:
        return {"from": WRITTEN_ROLES[role], "value": text_of(outgoing, index, message)}
    for part in parts_of(message):
        outgoing.lose(part, "content beside tool calls", index)
    for call in calls:
        outgoing.note(call.need("id"), "id of a tool call", index)
    written = [{"name": name_of(call), "arguments": arguments_of(call)} for call in calls]
    return {"from": "function_call", "value": to_text(written if len(calls) > 1 else written[0])}


FORMATS = (
    RowFormat(
        name="sharegpt",
        title="ShareGPT",
        layout='{"system": "You are brief.", "conversations": [{"from": "human", "value": "2+3?"}, '
        '{"from": "function_call", "value": "{\\"name\\": \\"add\\", \\"arguments\\": '
        '{\\"a\\": 2, \\"b\\": 3}}"}, {"from": "observation", "value": "5"}, {"from": "gpt", '
        '"value": "5"}], "tools": "[{\\"name\\": \\"add\\", \\"description\\": \\"Add\\", '
        '\\"parameters\\": {\\"type\\": \\"object\\"}}]"}',
        source=LLAMA_FACTORY,
        shapes=("sharegpt",),
        read=read,
        write=write,
        losses=(
            "content beside tool calls",
            "weights and names",
            "content parts other than text",
            "`parallel_tool_calls`",
        ),
        notes=(
            "Turns have `from` and `value`; with `role` and `content`, they are "
            "[sharegpt-roles](#sharegpt-roles).",
            "Results answer the calls before them in order, and ids are made as `call_1`.",
            "Calls whose arguments are not a JSON object are rejected.",
        ),
    ),
    RowFormat(
        name="ms-swift",
        title="ShareGPT in the layout of ms-swift",
        layout='{"system": "You are brief.", "conversation": [{"human": "Hi", "assistant": '
        '"Hello!"}]}',
        source=MS_SWIFT,
        shapes=("sharegpt",),
        read=read_pairs,
    ),
    RowFormat(
        name="sharegpt-roles",
        title="Messages under `conversations`",
        layout='{"conversations": [{"role": "user", "content": "Hi"}, {"role": "assistant", '
        '"content": "Hello!"}]}',
        source=LLAMA_FACTORY,
        shapes=("sharegpt",),
        read=read_roles,
        notes=("As [sharegpt](#sharegpt), but turns are messages in OpenAI's format.",),
    ),
)
