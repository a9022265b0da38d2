"""A generation process without a model: it answers each request with "local".

Run it with this file as `RUN_MODULE` of `ftkit.server.inference`.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
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
