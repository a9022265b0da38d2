"""Continuous batching: requests for one base model are generated together, and join and leave.

Prompts are computed in parts between the steps of the batch, so that neither those that are being
answered nor short prompts wait for a long one. Requests for another base model wait until all
before them are answered, since one base model is in memory at a time.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from msgspec import Struct

from ftkit.server.folder import Folder
from ftkit.server.generation.base import LoadedBase
from ftkit.server.generation.output import Output, OutputFormat, Send
from ftkit.server.generation.prompts import Prompt, Request, encode
from ftkit.server.generation.sampling import Sampler, TokenProbabilities
from ftkit.server.generation.sequences import PROMPT_TOKENS, Batch, Prefill, Sequence
from ftkit.server.out_of_memory import is_out_of_memory
from ftkit.server.training.device import device, free_memory

MAX_SEQUENCES = 64
"""Maximum number of sequences in the batch."""

LEAST_PROMPT_TOKENS = PROMPT_TOKENS // 8
"""Number of tokens that a prompt counts for at least, so that a step starts few requests."""

ROOM_SHARE = 0.8
"""Share of the memory for the KV cache up to which sequences join the batch."""

DEVICE_ERRORS: Any = getattr(torch, "AcceleratorError", ())
"""Exceptions after which the process can no longer use its GPU. PyTorch has them from 2.8 on."""


class Answer(Struct):
    """Request whose completions are being generated.

    Attributes:
        tenant: Tenant that sent it.
        prompt_tokens: Number of tokens of its prompt.
        remaining: Number of its sequences that have not ended.
    """

    tenant: str
    prompt_tokens: int
    remaining: int


class Engine:
    """Generates the completions of requests.

    Args:
        folder: Data folder of the service.
        send: Sends a response: the id of the request, and the fields as keyword arguments.
        fail: Called with the id of a request and the exception that ended it.
    """

    def __init__(
        self,
        folder: Folder,
        send: Send,
        fail: Callable[[str, Exception], None],
    ) -> None:
        self._folder, self._send, self._fail = folder, send, fail
        self._weights: tuple[str, str, str] | None = None
        self._base: Any = None
        self._batch: Any = None
        self._answers: dict[str, Answer] = {}
        self._waiting: deque[Request] = deque()
        self._turns: dict[str, int] = {}  # number of the last start by tenant
        self._turn_counter = itertools.count(1)
        self._prefills: deque[Prefill] = deque()
        self._preempted: deque[Prefill] = deque()

    @property
    def is_idle(self) -> bool:
        """True if there is nothing to do until the next request."""
        return not self._waiting and not self._answers

    def add(self, request: Request) -> None:
        """Add a request, which later steps answer."""
        self._waiting.append(request)

    def cancel(self, id: str) -> None:
        """End a request without further responses. Nothing happens if it has ended."""
        self._drop({id})

    def _drop(self, ids: set[str]) -> None:
        """Remove requests. The others in the batch fail if there is no memory to change it."""
        with self._failing([id for id in self._requests_in_batch() if id not in ids]):
            self._remove(ids)

    def _remove(self, ids: set[str]) -> None:
        for id in ids:
            self._answers.pop(id, None)
        self._waiting = deque(item for item in self._waiting if item.id not in ids)
        for queue in (self._prefills, self._preempted):
            others = [item for item in queue if item.request not in ids]
            queue.clear()
            queue.extend(others)
        if self._batch:
            rows = enumerate(self._batch.sequences)
            self._batch.remove({row for row, item in rows if item.request in ids})

    def _requests_in_batch(self) -> list[str]:
        sequences = self._batch.sequences if self._batch else []
        return list(dict.fromkeys(sequence.request for sequence in sequences))

    def step(self) -> None:
        """Start requests, compute a part of a prompt, and generate a token of each sequence."""
        if self._preempted and self._has_room():
            self._prefills.append(self._preempted.popleft())
        self._compute_prompts()
        if self._batch and self._batch.sequences:
            with self._failing(self._requests_in_batch()):
                self._close(self._batch.step())
                self._save_memory()

    def _compute_prompts(self) -> None:
        """Start requests and compute parts of prompts, about `PROMPT_TOKENS` in all."""
        tokens = 0
        while tokens < PROMPT_TOKENS:
            if self._waiting and self._can_start(request := self._next()):
                self._waiting.remove(request)
                self._turns[request.tenant] = next(self._turn_counter)
                with self._failing([request.id]):
                    self._start(request)
            if not self._prefills:
                return
            prefill = self._prefills.popleft()
            # Encoding a short prompt and compiling its constraint takes time as well.
            tokens += max(prefill.next_tokens, LEAST_PROMPT_TOKENS)
            self._compute_prompt(prefill)

    def _next(self) -> Request:
        """Return the oldest request of the tenant with the fewest sequences.

        Of several such tenants, it is the one whose last request was started first.
        """
        counts: Counter[str] = Counter()
        for answer in self._answers.values():
            counts[answer.tenant] += answer.remaining
        return min(
            self._waiting,
            key=lambda request: (counts[request.tenant], self._turns.get(request.tenant, 0)),
        )

    def _can_start(self, request: Request) -> bool:
        if not self._answers:
            return True
        count = sum(answer.remaining for answer in self._answers.values()) + request.n
        return request.weights == self._weights and count <= MAX_SEQUENCES and self._has_room()

    def _has_room(self) -> bool:
        """Return True if the KV cache has room for another sequence.

        Sequences whose prompt is computed wait for memory, and others must not take it first.
        """
        if any(prefill.is_done for prefill in self._prefills):
            return False
        used = self._batch.size + sum(prefill.size for prefill in self._prefills)
        return not used or used < self._base.cache_bytes * ROOM_SHARE

    def _start(self, request: Request) -> None:
        """Start to compute the prompt of a request."""
        self._load(request)
        prompt = encode(request, self._base)
        adapter = self._base.adapters.load(request.job, request.step, self._adapters_in_use())
        format = self._output_format(request, prompt)
        sequences = [
            Sequence(
                request=request.id,
                adapter=adapter,
                ids=prompt.ids,
                max_length=len(prompt.ids) + prompt.max_tokens,
                sampler=Sampler(request, index, device(), prompt.new_constraint()),
                output=Output(format, partial(self._send, request.id, index=index)),
                logprobs=request.logprobs,
                can_restart=not prompt.has_images,
            )
            for index in range(request.n)
        ]
        on_prompt = partial(self._send_prompt, sequences) if request.echo else None
        self._answers[request.id] = Answer(request.tenant, len(prompt.ids), request.n)
        self._prefills.append(Prefill(self._base, prompt.inputs, sequences, on_prompt))

    def _load(self, request: Request) -> None:
        """Load the base model of a request, instead of the one in memory if that is another."""
        if request.weights == self._weights:
            return
        self._weights = self._base = self._batch = None
        free_memory()
        self._base = LoadedBase(request.base, request.recipe, self._folder)
        self._batch = Batch(self._base)
        self._weights = request.weights

    def _output_format(self, request: Request, prompt: Prompt) -> OutputFormat:
        base, template = self._base, prompt.template
        token_bytes = base.token_bytes if request.logprobs is not None else None
        if template is None:
            return OutputFormat(base.tokenizer, request.stop, frozenset(base.end_ids), token_bytes)
        chat, tools = template.chat, request.usable_tools
        return OutputFormat(
            base.tokenizer,
            request.stop,
            frozenset(chat.end_ids),
            token_bytes,
            lead=chat.features.lead,
            lead_ids=chat.lead_ids,
            tools=tools,
            tool_format=template.tool_format if tools else None,
            max_calls=None if request.parallel_tool_calls else 1,
        )

    def _send_prompt(
        self, sequences: list[Sequence], probabilities: list[TokenProbabilities]
    ) -> None:
        for sequence in sequences:
            sequence.output.send_prompt(sequence.ids, probabilities)

    def _compute_prompt(self, prefill: Prefill) -> None:
        """Compute the next part of a prompt. After the last one, its sequences join the batch."""
        with self._failing([prefill.request]):
            if not prefill.is_done:
                prefill.step()
            if prefill.is_done and self._batch.can_join(prefill) and self._fits(prefill):
                self._join(prefill)
            else:
                self._prefills.append(prefill)

    def _fits(self, prefill: Prefill) -> bool:
        """Return True if there is memory to add the sequences of a prompt to the batch.

        An empty batch takes any: if it runs out of memory, no other request fails.
        """
        if not self._batch.sequences:
            return True
        largest = max(self._batch.size / len(self._batch.sequences), prefill.size)
        count = len(self._batch.sequences) + len(prefill.sequences)
        return bool(count * largest <= self._base.cache_bytes)

    def _join(self, prefill: Prefill) -> None:
        """Add the sequences of a prompt to the batch, which fails as a whole if that fails."""
        ended = prefill.start()
        with self._failing([prefill.request, *self._requests_in_batch()]):
            self._batch.join(prefill)
        self._close(ended)

    def _close(self, ended: list[Sequence]) -> None:
        """Send the end of the requests of which all sequences have ended."""
        for sequence in ended:
            if sequence.request not in self._answers:
                continue
            if sequence.error:
                self.cancel(sequence.request)
                self._fail(sequence.request, sequence.error)
                continue
            answer = self._answers[sequence.request]
            answer.remaining -= 1
            if not answer.remaining:
                del self._answers[sequence.request]
                self._send(sequence.request, done=True, prompt_tokens=answer.prompt_tokens)

    def _save_memory(self) -> None:
        """Preempt the newest sequences while the KV cache takes too much memory."""
        while len(self._batch.sequences) > 1 and self._batch.size > self._base.cache_bytes:
            sequence = self._batch.sequences[-1]
            if not sequence.can_restart:
                return
            self._batch.remove({len(self._batch.sequences) - 1})
            inputs = {"input_ids": torch.tensor([sequence.ids])}
            self._preempted.append(Prefill(self._base, inputs, [sequence]))

    def _adapters_in_use(self) -> set[str]:
        prefills = [*self._prefills, *self._preempted]
        sequences = [sequence for prefill in prefills for sequence in prefill.sequences]
        return {sequence.adapter for sequence in [*sequences, *self._batch.sequences]}

    @contextmanager
    def _failing(self, ids: list[str]) -> Iterator[None]:
        """Fail requests if there is an exception.

        A change of the batch that fails may have changed the cache of some layers, so it fails all
        the requests in the batch.
        """
        out_of_memory = False
        try:
            yield
        except Exception as error:
            out_of_memory = is_out_of_memory(error)
            if isinstance(error, DEVICE_ERRORS) and not out_of_memory:
                raise  # the GPU cannot be used any more by this process, but by the next one
            self._drop(set(ids))
            for id in dict.fromkeys(ids):
                self._fail(id, error)
        if out_of_memory:
            free_memory()  # after the handler, since the exception refers to tensors
