"""Processes for completions without a model: each answer is "local", each template is simple.

Run it with this file as `RUN_MODULE` of `ftkit.server.inference` and `template_facts`. The value of
`reasoning_effort` in the recipe selects the facts about the template.
"""

from __future__ import annotations

import json
import sys

FACTS = {
    "low": {"end_ids": [2, 5]},
    "high": {"features": {"system": False, "short_call_ids": True}, "end_ids": [2]},
    "no tools": {"features": {"tools": False, "parallel_tool_calls": False}},
    "one call": {"features": {"parallel_tool_calls": False}},
    "open": {"obstacle": "it leaves a block for reasoning open"},
}


def main() -> None:
    _, _, task, *arguments = sys.argv
    if task == "template":
        facts = FACTS.get(json.loads(arguments[1])["template"]["reasoning_effort"])
        sys.exit("no such model") if facts is None else print(json.dumps(facts))
    else:
        answer_requests()


def answer_requests() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "cancel" not in request:
            for response in (
                {"index": 0, "text": "local"},
                {"index": 0, "finish_reason": "stop", "tokens": 1},
                {"done": True, "prompt_tokens": 1},
            ):
                print(json.dumps({"id": request["id"], **response}), flush=True)


if __name__ == "__main__":
    main()
