"""Formats of tool calls, as `detect_tool_format` returns them for chat templates."""

from __future__ import annotations

from ftkit.server.generation.tool_format import KeyedCall, NamedCall, ObjectCall, ToolFormat

TEMPLATES = {
    "object": "qwen3",
    "named": "named",
    "text": "qwen3_5_nothink",
    "literal": "gemma4_v5",
    "quoted": "lfm2_2_5",
}
"""Template of each format."""

FORMATS = {
    "object": ToolFormat(
        opening="<tool_call>\n",
        marker="<tool_call>\n",
        between="\n</tool_call>\n<tool_call>\n",
        closing="\n</tool_call>",
        call=ObjectCall(
            name_key="name",
            arguments_key="arguments",
            before_name='{"name": "',
            before_arguments='", "arguments": ',
            after_arguments="}",
        ),
    ),
    "named": ToolFormat(
        opening="[TOOL_CALLS]",
        marker="[TOOL_CALLS]",
        between="[TOOL_CALLS]",
        closing="",
        call=NamedCall(before_arguments="[ARGS]"),
    ),
    "text": ToolFormat(
        opening="<tool_call>\n<function=",
        marker="<tool_call>\n<function=",
        between=">\n</function>\n</tool_call>\n<tool_call>\n<function=",
        closing=">\n</function>\n</tool_call>",
        call=KeyedCall(
            empty="",
            first=">\n<parameter=",
            assign=">\n",
            next="\n</parameter>\n<parameter=",
            last="\n</parameter",
            sorts_keys=False,
            quote="",
            values="text",
        ),
    ),
    "literal": ToolFormat(
        opening="<|tool_call>call:",
        marker="<|tool_call>call:",
        between="}<tool_call|><|tool_call>call:",
        closing="}<tool_call|>",
        call=KeyedCall(
            empty="{",
            first="{",
            assign=":",
            next=",",
            last="",
            sorts_keys=True,
            quote='<|"|>',
            values="literal",
        ),
    ),
    "quoted": ToolFormat(
        opening="<|tool_call_start|>[",
        marker="<|tool_call_start|>[",
        between="), ",
        closing=")]<|tool_call_end|>",
        call=KeyedCall(
            empty="(",
            first="(",
            assign="=",
            next=", ",
            last="",
            sorts_keys=False,
            quote="'",
            values="quoted",
        ),
    ),
}
"""A format of each kind."""
