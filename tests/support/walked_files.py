"""Files of people who want to train on them: a workbook, exports and logs of made-up content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support import workbooks

COUNT = 60
"""Number of examples. With 50, a tenth of which may be left out, training data has a warning."""


def write_workbook(folder: Path) -> str:
    """Write questions and answers, with a column of notes, as a workbook."""
    rows = [
        "".join(f'<c t="inlineStr"><is><t>{text}</t></is></c>' for text in row)
        for row in [
            ("Customers ask", "We answer", "Seen by"),
            *((f"What is {n} plus 1?", f"It is {n + 1}.", "Mira") for n in range(COUNT)),
        ]
    ]
    sheet = "".join(f'<row r="{number}">{row}</row>' for number, row in enumerate(rows, 1))
    return workbooks.make(folder / "faq.xlsx", sheet).name


def _node(id: str, parent: str | None, role: str, text: str, **more: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": [text]}
    message = {"id": id, "author": {"role": role}, "content": content, "recipient": "all", **more}
    return {"id": id, "parent": parent, "children": [], "message": message}


def write_chatgpt_export(folder: Path) -> str:
    """Write conversations, some with an answer that was replaced or with an image."""
    conversations = []
    for number in range(COUNT):
        nodes = [
            {"id": "root", "parent": None, "children": ["s"], "message": None},
            _node("s", "root", "system", ""),
            _node("q", "s", "user", f"Name city {number}."),
            _node("old", "q", "assistant", "No."),
            _node("a", "q", "assistant", f"City {number} it is."),
        ]
        if number % 10 == 0:
            pointer = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
            nodes[2]["message"]["content"] = {
                "content_type": "multimodal_text",
                "parts": [pointer, f"Which city is this? {number}"],
            }
        conversations.append(
            {
                "title": f"City {number}",
                "create_time": 1700000000.5 + number,
                "mapping": {node["id"]: node for node in nodes},
                "current_node": "a",
                "conversation_id": str(number),
            }
        )
    (folder / "conversations.json").write_text(json.dumps(conversations))
    return "conversations.json"


def write_ultrafeedback(folder: Path) -> str:
    """Write preferences with scores as Parquet."""
    import pyarrow
    import pyarrow.parquet

    rows = []
    for number in range(COUNT):
        prompt = f"Say the number {number}."
        question = {"role": "user", "content": prompt}
        chosen, rejected = (
            [question, {"role": "assistant", "content": text}]
            for text in (f"Yes: {number}.", f"No, not {number}.")
        )
        rows.append(
            {
                "prompt": prompt,
                "prompt_id": f"{number:064x}",
                "chosen": chosen,
                "rejected": rejected,
                "messages": chosen,
                "score_chosen": 8.5,
                "score_rejected": 4.0,
            }
        )
    path = folder / "train_prefs-00000-of-00001.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path.name


TOOL = {
    "name": "get_weather",
    "description": "Weather of a town",
    "input_schema": {
        "type": "object",
        "properties": {"town": {"type": "string"}},
        "required": ["town"],
    },
}


def write_tool_logs(folder: Path) -> str:
    """Write requests to Anthropic with tools, thoughts and a failed call."""
    lines = []
    for number in range(COUNT):
        id = f"toolu_{number:02}"
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": id, "content": "12 °C"}
        if number % 10 == 0:
            result |= {"content": [{"type": "text", "text": "no such town"}], "is_error": True}
        call = {"type": "tool_use", "id": id, "name": "get_weather", "input": {"town": str(number)}}
        thought = {"type": "thinking", "thinking": "I look it up.", "signature": "c2ln"}
        messages = [
            {"role": "user", "content": f"How warm is it in town {number}?"},
            {
                "role": "assistant",
                "content": [thought, {"type": "text", "text": "One moment."}, call],
            },
            {"role": "user", "content": [result]},
            {"role": "assistant", "content": [{"type": "text", "text": f"Mild in town {number}."}]},
        ]
        system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
        lines.append(
            {
                "model": "claude-sonnet-4-5",
                "max_tokens": 1024,
                "system": system,
                "tools": [TOOL],
                "messages": messages,
            }
        )
    (folder / "tool-logs.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return "tool-logs.jsonl"
