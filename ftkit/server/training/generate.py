"""The process that models answer in: `python -m ftkit.server.training.generate FOLDER`.

Requests and answers are lines of JSON, on standard input and output:

    {"id", "base", "job", "step", "messages" | "prompt", "n", "temperature", "top_p", "stops", "seed", "most"} | {"cancel": id}
    {"id", "index", "text"} ... {"id", "index", "finish", "tokens"} ... {"id", "done", "prompt_tokens"} | {"id", "error", "fault"}

`fault` is "server", or the code of what is wrong with the request.

One request is answered at a time. It ends when its input is closed.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from ftkit.errors import EncodingError, ModelLoadError
from ftkit.server.folder import Folder
from ftkit.server.training.encoding import render, template_messages
from ftkit.server.training.loading import add_adapter, device, load_base, load_tokenizer

DEFAULT_TEMPERATURE = 1.0
"""As in OpenAI's API."""

COLD = 1e-6
"""The temperature under which the likeliest token is taken, since dividing by it would overflow."""

Say = Callable[..., None]


class Model:
    """The model that is loaded: a base, and the adapter of a tuned one on it."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._key: tuple[str, str, int] | None = None
        self.tokenizer: Any = None
        self.model: Any = None

    def load(self, base: str, job: str, step: int) -> None:
        """Load that model unless it is the one that is loaded; raises `ModelLoadError`."""
        if self._key == (base, job, step):
            return
        self._key = self.model = None
        self.tokenizer = load_tokenizer(base)
        model = load_base(base)
        if job:
            model = add_adapter(model, self._folder.adapter(job, step))
        self.model = model.to(device()).eval()
        self._key = (base, job, step)

    @property
    def context(self) -> int:
        """The tokens that prompt and answer may have together."""
        most: int = getattr(self.model.config, "max_position_embeddings", 2048)
        return most


class Following(StoppingCriteria):  # type: ignore[misc]
    """Says the text of an answer as it grows, and ends it at a stop text or where it is cancelled."""

    def __init__(
        self,
        tokenizer: Any,
        prompt: int,
        stops: list[str],
        say: Callable[[str], None],
        cancelled: Callable[[], bool],
    ):
        self._tokenizer, self._prompt, self._stops = tokenizer, prompt, stops
        self._say, self._cancelled = say, cancelled
        self._said = 0
        self.stopped = False
        self.tokens = 0

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        self.follow(input_ids[0][self._prompt :])
        ended = self.stopped or self._cancelled()
        return torch.full((input_ids.shape[0],), ended, dtype=torch.bool, device=input_ids.device)

    def follow(self, ids: Any, last: bool = False) -> None:
        """Say what is certain of the text so far: no character that is not whole, no beginning of a stop text."""
        self.tokens = len(ids)
        text = self._tokenizer.decode(ids, skip_special_tokens=True)
        found = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        if found:
            text, self.stopped = text[: min(found)], True
        elif not last:
            text = text[: len(text) - self._held(text)].rstrip("\N{REPLACEMENT CHARACTER}")
        if len(text) > self._said:
            self._say(text[self._said :])
            self._said = len(text)

    def _held(self, text: str) -> int:
        """The characters at the end that may be the beginning of a stop text."""
        sizes = (
            size
            for stop in self._stops
            for size in range(len(stop) - 1, 0, -1)
            if text.endswith(stop[:size])
        )
        return max(sizes, default=0)


def answer(model: Model, request: dict[str, Any], say: Say, cancelled: Callable[[], bool]) -> None:
    """Answer one request."""
    model.load(request["base"], request["job"], request["step"])
    tokenizer = model.tokenizer
    if "messages" in request:
        text = render(tokenizer, template_messages(request["messages"]), prompting=True)
    else:
        text = request["prompt"] or tokenizer.bos_token or tokenizer.eos_token or ""
    prompt = tokenizer(text, add_special_tokens="prompt" in request, return_tensors="pt").to(
        device()
    )
    size = prompt["input_ids"].shape[1]
    room = model.context - size
    if room < 1:
        say(
            error=f"The prompt has {size:,} tokens; this model's context has {model.context:,}.",
            fault="context_length_exceeded",
        )
        return
    most = min(request["most"] or room, room)
    for index in range(request["n"]):
        if cancelled():
            return
        if request["seed"] is not None:
            torch.manual_seed((request["seed"] + index) % 2**63)
        following = Following(
            tokenizer,
            size,
            request["stops"],
            lambda text, at=index: say(index=at, text=text),  # type: ignore[misc]
            cancelled,
        )
        with torch.inference_mode():
            made = model.model.generate(
                **{name: prompt[name] for name in ("input_ids", "attention_mask")},
                generation_config=_config(model, request, most),
                stopping_criteria=StoppingCriteriaList([following]),
            )
        ids = made[0][size:]
        following.follow(ids, last=True)
        ended = following.stopped or (len(ids) > 0 and int(ids[-1]) in _ends(model))
        say(index=index, finish="stop" if ended else "length", tokens=len(ids))
    say(done=True, prompt_tokens=size)


def _ends(model: Model) -> list[int]:
    known = getattr(model.model.generation_config, "eos_token_id", None)
    known = known if isinstance(known, list) else [known]
    return sorted({id for id in (*known, model.tokenizer.eos_token_id) if id is not None})


def _config(model: Model, request: dict[str, Any], most: int) -> GenerationConfig:
    temperature = DEFAULT_TEMPERATURE if request["temperature"] is None else request["temperature"]
    share = 1.0 if request["top_p"] is None else request["top_p"]
    draws = {"do_sample": True, "temperature": temperature, "top_p": share, "top_k": 0}
    return GenerationConfig(
        max_new_tokens=most,
        eos_token_id=_ends(model),
        pad_token_id=model.tokenizer.pad_token_id,
        **(draws if temperature >= COLD else {"do_sample": False}),
    )


class Requests(threading.Thread):
    """Reads the requests as they come."""

    def __init__(self) -> None:
        super().__init__(name="requests", daemon=True)
        self.waiting: queue.Queue[dict[str, Any]] = queue.Queue()
        self.cancelled: set[str] = set()

    def run(self) -> None:
        for line in sys.stdin.buffer:
            request = json.loads(line)
            if "cancel" in request:
                self.cancelled.add(request["cancel"])
            else:
                self.waiting.put(request)
        os._exit(0)


def main() -> None:
    """Answer requests until there are no more."""
    model, requests = Model(Folder(Path(sys.argv[1]))), Requests()
    requests.start()
    while True:
        request = requests.waiting.get()
        id = request["id"]

        def say(id: str = id, **told: Any) -> None:
            sys.stdout.write(json.dumps({"id": id, **told}) + "\n")
            sys.stdout.flush()

        def cancelled(id: str = id) -> bool:
            return id in requests.cancelled

        try:
            if not cancelled():
                answer(model, request, say, cancelled)
        except ModelLoadError as error:
            say(error=str(error), fault="model_not_found")
        except (EncodingError, TemplateError) as error:
            say(error=str(error), fault="invalid_value")
        except Exception as error:  # the process goes on; the one who asked is told
            say(error=f"{type(error).__name__}: {error}", fault="server")
        requests.cancelled.discard(id)


if __name__ == "__main__":
    main()
