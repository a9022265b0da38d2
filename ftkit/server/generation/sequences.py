"""Sequences: prefill of their prompts, and the batch in which they are generated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from msgspec import Struct
from transformers.cache_utils import DynamicCache

from ftkit.errors import EncodingError
from ftkit.server.generation import cache as caches
from ftkit.server.generation.adapters import NOT_FINITE
from ftkit.server.generation.base import LoadedBase
from ftkit.server.generation.output import Output
from ftkit.server.generation.sampling import Sampler, TokenProbabilities, token_probabilities

PROMPT_TOKENS = 512
"""Chunked prefill: number of tokens of a prompt that are computed between steps of the batch."""

PROMPT_TOKENS_WITH_LOGITS = 64
"""The same for prompts whose log probabilities were requested."""


def are_finite(logits: torch.Tensor) -> torch.Tensor:
    """Return, for each row, if there are probabilities: neither NaN nor infinity is the maximum.

    Sampling without probabilities would make a GPU unusable for the process.
    """
    return logits.amax(-1).isfinite()


class Sequence(Struct, eq=False):
    """A sequence that is generated.

    Attributes:
        request: Id of its request.
        adapter: Name of its adapter in memory.
        ids: Tokens of the prompt and the completion so far.
        offset: Distance of its positions from those of text.
        max_length: Maximum number of tokens of prompt and completion.
        logprobs: Number of alternatives whose log probabilities were requested, or None.
        can_restart: Its keys and values can be computed again from its tokens.
        error: Exception that ended it, or None.
    """

    request: str
    adapter: str
    ids: list[int]
    max_length: int
    sampler: Sampler
    output: Output
    logprobs: int | None
    can_restart: bool
    offset: int = 0
    error: Exception | None = None

    def add_next(self, logits: torch.Tensor, is_finite: bool = True) -> bool:
        """Choose the next token. Return True if the sequence has ended.

        An exception ends this sequence only, since the rest of the batch is not affected.

        Args:
            logits: Logits of the next token, of the size of the vocabulary.
            is_finite: There are probabilities, see `are_finite`.
        """
        try:
            if not is_finite:
                raise EncodingError(NOT_FINITE)
            return self._add_next(logits)
        except Exception as error:
            self.error = error
            return True

    def _add_next(self, logits: torch.Tensor) -> bool:
        if len(self.ids) < self.max_length:
            token = self.sampler.choose(logits)
            self.ids.append(token)
            probabilities = None
            if self.logprobs is not None:
                probabilities = token_probabilities(logits, token, self.logprobs)
            if self.output.add(token, probabilities):
                self.output.finish("stop")
                return True
        if len(self.ids) >= self.max_length:
            self.output.finish("length")
            return True
        return False


class Prefill:
    """Prefill: computation of a prompt, in parts.

    Args:
        base: Base model.
        inputs: Inputs of the model for the prompt.
        sequences: Sequences that continue the prompt.
        on_prompt: Called with the probabilities of the prompt's tokens from the second on, or None
            if they were not requested.

    Attributes:
        request: Id of the request of the sequences.
        sequences: The sequences.
        next_logits: Logits of the token after the prompt, once it is computed.
    """

    def __init__(
        self,
        base: LoadedBase,
        inputs: dict[str, Any],
        sequences: list[Sequence],
        on_prompt: Callable[[list[TokenProbabilities]], None] | None = None,
    ) -> None:
        self._base, self._inputs, self._on_prompt = base, inputs, on_prompt
        self.request, self.sequences = sequences[0].request, sequences
        self.cache = base.new_cache()
        self._probabilities: list[TokenProbabilities] = []
        self._done = 0
        self._length: int = inputs["input_ids"].shape[1]
        self.next_logits: Any = None
        self._has_images = not inputs.keys() <= {"input_ids", "attention_mask"}

    @property
    def is_done(self) -> bool:
        """True once the whole prompt is computed."""
        return self._done >= self._length

    @property
    def size(self) -> int:
        """Size of the keys and values in bytes."""
        return caches.size(self.cache)

    @property
    def next_tokens(self) -> int:
        """Number of tokens of the next part."""
        return self._next_end() - self._done

    def step(self) -> None:
        """Compute the next part.

        Raises:
            EncodingError: The model computes no probabilities.
        """
        adapter = self.sequences[0].adapter
        part = self._next_part()
        logits = self._base.forward(part, self.cache, [adapter], bool(self._on_prompt))[0]
        if not are_finite(logits).all():
            raise EncodingError(NOT_FINITE)
        if self._on_prompt:
            self._note_probabilities(logits)
        self._done += part["input_ids"].shape[1]
        if not self.is_done:
            return
        if self._has_images:
            for sequence in self.sequences:
                sequence.offset = self._base.rope_offset()
        if self._on_prompt:
            self._on_prompt(self._probabilities)
        self._inputs = {}
        self.next_logits = logits[-1]

    def start(self) -> list[Sequence]:
        """Choose the first token of each sequence. Remove and return those that have ended."""
        ended = [item for item in self.sequences if item.add_next(self.next_logits)]
        self.sequences = [item for item in self.sequences if item not in ended]
        if self.sequences:
            caches.keep(self.cache, [0] * len(self.sequences))
        return ended

    def _next_part(self) -> dict[str, Any]:
        """Return the inputs of the next part. Prompts with images have one."""
        if self._has_images:
            return self._inputs
        end = self._next_end()
        positions = torch.arange(self._done, end)[None]
        return {
            "input_ids": self._inputs["input_ids"][:, self._done : end],
            "position_ids": positions,
        }

    def _next_end(self) -> int:
        count = PROMPT_TOKENS_WITH_LOGITS if self._on_prompt else PROMPT_TOKENS
        is_split = not self._has_images and caches.can_split(self.cache)
        return min(self._length, self._done + count) if is_split else self._length

    def _note_probabilities(self, logits: torch.Tensor) -> None:
        count = self.sequences[0].logprobs or 0
        following = self._inputs["input_ids"][0, self._done + 1 :].tolist()
        for row, token in zip(logits, following, strict=False):
            self._probabilities.append(token_probabilities(row, token, count))


class Batch:
    """Sequences of which each step generates one token.

    Args:
        base: Base model.

    Attributes:
        sequences: The sequences, from the oldest to the newest.
    """

    def __init__(self, base: LoadedBase) -> None:
        self._base = base
        self.sequences: list[Sequence] = []
        self._cache: DynamicCache | None = None
        self._positions = 0

    def join(self, prefill: Prefill) -> None:
        """Add the sequences of a prompt, which have been started."""
        if not prefill.sequences:
            return
        if self._cache is None:
            self._cache = prefill.cache
        else:
            caches.join(self._cache, prefill.cache)
        self.sequences += prefill.sequences
        self._positions = self._needed_positions()

    def can_join(self, prefill: Prefill) -> bool:
        """Return True if the sequences of a prompt can be added."""
        return not self.sequences or caches.can_join(prefill.cache)

    def step(self) -> list[Sequence]:
        """Generate the next token of each sequence. Remove and return those that have ended."""
        assert self._cache is not None
        # The last token of a sequence has not been computed.
        lengths = torch.tensor([len(sequence.ids) for sequence in self.sequences])
        offsets = torch.tensor([sequence.offset for sequence in self.sequences])
        longest = int(lengths.max())
        inputs = {
            "input_ids": torch.tensor([[sequence.ids[-1]] for sequence in self.sequences]),
            "position_ids": (lengths - 1 + offsets)[:, None],
            "attention_mask": (torch.arange(longest) >= (longest - lengths)[:, None]).long(),
        }
        adapters = [sequence.adapter for sequence in self.sequences]
        logits = self._base.forward(inputs, self._cache, adapters, all_logits=False)[:, -1]
        self._positions = longest
        finite = are_finite(logits).tolist()
        rows = [
            row
            for row, item in enumerate(self.sequences)
            if item.add_next(logits[row], finite[row])
        ]
        ended = [self.sequences[row] for row in rows]
        self.remove(set(rows))
        return ended

    def remove(self, rows: set[int]) -> None:
        """Remove sequences, and the padding that the others do not need without them."""
        if not rows:
            return
        remaining = [row for row in range(len(self.sequences)) if row not in rows]
        self.sequences = [self.sequences[row] for row in remaining]
        if not remaining:
            self._cache = None
            return
        assert self._cache is not None
        caches.keep(self._cache, remaining)
        if excess := self._positions - self._needed_positions():
            caches.trim(self._cache, excess)
            self._positions -= excess

    def _needed_positions(self) -> int:
        """Return the number of positions of the longest sequence, without its last token."""
        return max(len(sequence.ids) for sequence in self.sequences) - 1

    @property
    def size(self) -> int:
        """Size of the keys and values in bytes."""
        return caches.size(self._cache) if self._cache else 0
