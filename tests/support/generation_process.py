"""Processes for completions without a model: answers are "local", each template is simple.

Run it with this file as `RUN_MODULE` of `ftkit.server.inference` and `template_facts`. The value of
`reasoning_effort` in the recipe selects the facts about the template.
"""

from __future__ import annotations

import json
import sys
from typing import Any

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
    """Answer each request, or do what its prompt says.

    "wait" gets no answer, "exit" ends the process, "fail CODE" gets an error, "say TEXT" gets the
    text as its answer, "begin TEXT" the start of one, "break TEXT" an error after it, and "many N"
    that number of words. Those that wait, and cancellations, are written to the log.
    """
    for line in sys.stdin:
        request = json.loads(line)
        if "cancel" in request:
            print("cancelled", file=sys.stderr, flush=True)
            continue
        command, _, rest = _prompt(request).partition(" ")
        if command == "exit":
            sys.exit()
        if command == "fail":
            _respond(request["id"], error="It failed.", code=rest)
        elif command in ("begin", "break"):
            _respond(request["id"], index=0, text=rest)
            if command == "break":
                _respond(request["id"], error="It broke.", code="server_error")
        elif command == "wait":
            print("waiting", file=sys.stderr, flush=True)
        else:
            for text in ["many  "] * int(rest) if command == "many" else [_text(command, rest)]:
                _respond(request["id"], index=0, text=text)
            _respond(request["id"], index=0, finish_reason="stop", tokens=1)
            _respond(request["id"], done=True, prompt_tokens=1)


def _text(command: str, rest: str) -> str:
    return rest if command == "say" else "local"


def _prompt(request: dict[str, Any]) -> str:
    messages = request.get("messages")
    return str(messages[-1]["content"] if messages else request["prompt"])


def _respond(id: str, **fields: Any) -> None:
    print(json.dumps({"id": id, **fields}), flush=True)


if __name__ == "__main__":
    main()
