"""Formats of tool calls, and calls as chat templates write them."""

from __future__ import annotations

import functools
import json
from typing import Any

from support.chat_templates import build_tokenizer, create_tokenizer
from support.paths import GOLDEN

TEMPLATES: dict[str, dict[str, Any]] = {
    name: golden["features"]
    for name, golden in json.loads((GOLDEN / "chat_templates.json").read_text("utf-8")).items()
}
"""Features of the real templates, by name."""

PROMPT = (
    "{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}CALL{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NAME, ARGUMENTS = "{{ call.function.name }}", "{{ call.function.arguments | tojson }}"

CALLS = {
    "code block": f"<｜call｜>function<｜sep｜>{NAME}\n```json\n{ARGUMENTS}\n```<｜end｜>",
    "named": f"[TOOL_CALLS]{NAME}[ARGS]{ARGUMENTS}",
    "tag": f"<function={NAME}>{ARGUMENTS}</function>",
    "repeated name": f"<{NAME}>{ARGUMENTS}</{NAME}>",
    "other keys": f'<call>{{"tool": "{NAME}", "args": {ARGUMENTS}}}</call>',
    "arguments first": f'<call>{{"args": {ARGUMENTS}, "tool": "{NAME}"}}</call>',
    "identifier": f"<call>functions.{NAME}:{{{{ loop.index0 }}}} {ARGUMENTS}</call>",
    "no marker": f"{NAME}({ARGUMENTS})",
    "only the names": f"<call>{NAME}</call>",
    "escaped": f"<call>{NAME} {{{{ call.function.arguments | tojson | tojson }}}}</call>",
}
"""Further ways to write a call, by what is special about them."""

UNSUPPORTED = {
    "arguments first",
    "escaped",
    "identifier",
    "no marker",
    "only the names",
    "repeated name",
}
"""Those that cannot be parsed."""

FAMILIES = (
    "code block",
    "gemma4_v5",
    "glm4moe",
    "gptoss",
    "lfm2_2_5",
    "lfm2_v2",
    "llama3_1",
    "mistral_v0_3",
    "muse_glimmer",
    "named",
    "qwen3",
    "qwen3_5_nothink",
    "smoke",
)
"""One template of each form of calls."""

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get the weather.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "days": {"type": "integer", "minimum": 0, "maximum": 99},
                    "unit": {"type": "string", "enum": ["C", "F"]},
                    "place": {
                        "type": "object",
                        "properties": {
                            axis: {"type": "number", "minimum": -99, "maximum": 99} for axis in "xy"
                        },
                        "required": ["x", "y"],
                        "additionalProperties": False,
                    },
                    "hours": {"type": "array", "items": {"type": "integer"}},
                },
                "required": ["days", "unit"],
            },
        },
    },
    {"type": "function", "function": {"name": "get_time", "description": "Get the time."}},
]


@functools.cache
def build(name: str) -> tuple[Any, Any, Any]:
    """Return the tokenizer, chat template and tool format of a template."""
    from ftkit.server.generation.tool_calls import detect_tool_format
    from ftkit.server.training import smoke
    from ftkit.server.training.template import ChatTemplate

    if name in CALLS:
        tokenizer = create_tokenizer("qwen2_5")
        tokenizer.chat_template = PROMPT.replace("CALL", CALLS[name])
    else:
        tokenizer = smoke.build_tokenizer() if name == "smoke" else build_tokenizer(name)
    template = ChatTemplate(tokenizer)
    return tokenizer, template, detect_tool_format(template)


def render(name: str, calls: list[tuple[str, dict[str, Any]]], content: str = "") -> str:
    """Return an answer with calls, without its end of turn."""
    from ftkit.server.generation.tool_format import CallRenderer

    return CallRenderer(build(name)[1]).render(calls, content)


def parse(name: str, *parts: str) -> tuple[str, list[tuple[str, Any]]]:
    """Return content and calls of an answer that arrives in parts."""
    from ftkit.server.generation.tool_calls import ToolCallParser

    parser = ToolCallParser(build(name)[2], TOOLS)
    content = "".join([*(parser.add(part) for part in parts), parser.add("", final=True)])
    return content, [(call.name, json.loads(call.arguments)) for call in parser.calls]
