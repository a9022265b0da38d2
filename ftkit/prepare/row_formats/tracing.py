"""Exports of LangSmith runs and Langfuse observations."""

from __future__ import annotations

from typing import Any

from ftkit.prepare.example import Example
from ftkit.prepare.row_formats import responses
from ftkit.prepare.row_formats.base import EVERY_KEY, RowFormat
from ftkit.prepare.row_formats.batch import read_request, read_response
from ftkit.prepare.row_formats.shared.chat import add_chat_tools
from ftkit.prepare.row_formats.shared.draft import Draft, text_part
from ftkit.prepare.row_formats.shared.exchange import decoded, note_log_keys
from ftkit.prepare.row_formats.shared.langchain import add_langchain_message, is_langchain
from ftkit.prepare.row_formats.shared.row_value import RowValue
from ftkit.rules.sources import Source

LANGSMITH = Source(
    "LangSmith documentation, run (span) data format",
    "https://docs.langchain.com/langsmith/run-data-format",
)
LANGFUSE = Source(
    "Langfuse documentation, export of generations",
    "https://langfuse.com/changelog/2023-09-18-export-generations",
    "2023-09-18",
)

OWN_RUN_KEYS = ("run_type", "trace_id", "dotted_order", "session_id", "parent_run_id")
OWN_OBSERVATION_KEYS = ("traceId", "trace_id", "parentObservationId", "modelParameters")

LANGSMITH_LAYOUT = (
    '{"id":"run-1","trace_id":"run-1","run_type":"llm","inputs":{"messages":[[{"lc":1,"type":'
    '"constructor","id":["langchain","schema","messages","HumanMessage"],"kwargs":{"content":'
    '"Where is order 7?","type":"human"}}]]},"outputs":{"generations":[[{"text":"","message":{"lc"'
    ':1,"type":"constructor","id":["langchain","schema","messages","AIMessage"],"kwargs":{"content"'
    ':"","type":"ai","tool_calls":[{"name":"find_order","args":{"number":7},"id":"call_7","type":'
    '"tool_call"}]}}}]]}}'
)
LANGFUSE_LAYOUT = (
    '{"id":"obs-1","traceId":"trace-1","type":"GENERATION","model":"gpt-4.1","input":[{"role":'
    '"user","content":"2 + 2?"}],"output":{"role":"assistant","content":"4"}}'
)


def recognizes_langsmith(value: dict[str, Any]) -> bool:
    """Return True for a run: an object with inputs, outputs and its type or trace."""
    return {"inputs", "outputs"} <= value.keys() and not value.keys().isdisjoint(OWN_RUN_KEYS)


def recognizes_langfuse(value: dict[str, Any]) -> bool:
    """Return True for an observation: an object with input, output and its trace."""
    is_observation = not value.keys().isdisjoint(OWN_OBSERVATION_KEYS)
    return {"input", "output"} <= value.keys() and is_observation


def read_langsmith(value: dict[str, Any]) -> Example:
    """Convert a run to an example."""
    row, draft = RowValue(value), Draft()
    if row.get("error"):
        row.need("error").fail("run that failed")
    _read_input(draft, decoded(row.need("inputs")))
    _read_output(draft, decoded(row.need("outputs")))
    extra = row.get("extra")
    parameters = extra.get("invocation_params") if extra is not None else None
    tools = parameters.get("tools") if parameters is not None else None
    if tools is not None and not draft.tools:
        add_chat_tools(draft, tools)
    note_log_keys(draft, row, {"inputs", "outputs"})
    return draft.example()


def read_langfuse(value: dict[str, Any]) -> Example:
    """Convert an observation to an example."""
    row, draft = RowValue(value), Draft()
    for key in ("input", "output"):
        if row.object().get(key) in (None, ""):
            row.fail(f"no `{key}`: the download may have left it out for its size")
    if row.value.get("level") == "ERROR":
        row.child("level").fail("observation of an error")
    _read_input(draft, decoded(row.need("input")))
    _read_output(draft, decoded(row.need("output")))
    note_log_keys(draft, row, {"input", "output"})
    return draft.example()


def _read_input(draft: Draft, value: RowValue) -> None:
    """Read a text, an array of messages, or a request."""
    if isinstance(value.value, str):
        draft.add(value, "user", [text_part(value.value)])
    elif isinstance(value.value, list):
        _read_messages(draft, value)
    elif (messages := value.get("messages")) is None and value.get("input") is not None:
        responses.read_request(draft, value)
    elif messages is not None and _has_langchain(messages.value):
        _read_messages(draft, messages)
        draft.lose_others(value, {"messages"})
    else:
        read_request(draft, value)


def _read_messages(draft: Draft, messages: RowValue) -> None:
    """Read messages, which LangChain puts into an array for each prompt of a batch."""
    batch = list(messages.elements())
    if batch and isinstance(batch[0].value, list):
        for other in batch[1:]:
            other.fail("run of several prompts")
        batch = list(batch[0].elements())
    for message in batch:
        add_langchain_message(draft, message)
    if not batch:
        messages.fail("no messages")


def _has_langchain(messages: Any) -> bool:
    if not isinstance(messages, list) or not messages:
        return False
    first = messages[0]
    return isinstance(first, list) or is_langchain(first) or _is_short(first)


def _is_short(message: Any) -> bool:
    return isinstance(message, dict) and "type" in message and "role" not in message


def _read_output(draft: Draft, value: RowValue) -> None:
    """Read a text, a message, generations of LangChain, or a response."""
    if isinstance(value.value, str):
        draft.add(value, "assistant", [text_part(value.value)])
        return
    if isinstance(value.value, list):
        _read_messages(draft, value)
        return
    generations, messages = value.get("generations"), value.get("messages")
    message = value.get("message", "output")
    if generations is not None:
        _read_generations(draft, generations)
        draft.lose_others(value, {"generations"}, {"llm_output", "run", "type"})
    elif messages is not None:
        _read_messages(draft, messages)
        draft.lose_others(value, {"messages"})
    elif message is not None and isinstance(message.value, (dict, str)):
        _read_output(draft, message)
        draft.lose_others(value, {"message", "output"})
    elif message is not None:
        responses.read_response(draft, value)
    elif is_langchain(value.value) or _is_short(value.value):
        add_langchain_message(draft, value)
    else:
        read_response(draft, value)


def _read_generations(draft: Draft, generations: RowValue) -> None:
    first, *others = list(generations.elements()) or generations.fail("run without an answer")
    if isinstance(first.value, list):
        for other in others:
            other.fail("run of several prompts")
        first, *others = list(first.elements()) or first.fail("run without an answer")
    message = first.get("message")
    if message is None:
        text = first.need("text")
        draft.add(text, "assistant", [text_part(text.text())])
    else:
        add_langchain_message(draft, message)
    for other in others:
        draft.lose(other, "further answer")


FORMATS = (
    RowFormat(
        name="langsmith",
        group="Logs",
        bookkeeping=EVERY_KEY,
        title="LangSmith run",
        layout=LANGSMITH_LAYOUT,
        source=LANGSMITH,
        recognizes=recognizes_langsmith,
        read=read_langsmith,
        losses=("answers after the first", "reasoning, and blocks of other types"),
        notes=(
            "Messages are LangChain's, as it serializes them, or OpenAI's.",
            "Keys of a run other than `inputs`, `outputs` and the tools are left out.",
            "Runs that failed or have several prompts are rejected.",
        ),
    ),
    RowFormat(
        name="langfuse",
        group="Logs",
        bookkeeping=EVERY_KEY,
        title="Langfuse observation",
        layout=LANGFUSE_LAYOUT,
        source=LANGFUSE,
        recognizes=recognizes_langfuse,
        read=read_langfuse,
        losses=("answers after the first", "reasoning, and blocks of other types"),
        notes=(
            "`input` and `output` may be JSON as text, as in a CSV file.",
            "Other keys of an observation are left out. An observation without input or output, "
            "which a download leaves out if they are large, is rejected.",
        ),
    ),
)
