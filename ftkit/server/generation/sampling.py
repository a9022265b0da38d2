"""Sampling of the next token of a sequence, and log probabilities of tokens."""

from __future__ import annotations

import os

import torch
from msgspec import Struct

from ftkit.server.generation.constraints import Constraint

DEFAULT_TEMPERATURE = 1.0
"""Sampling temperature of requests without one, as in OpenAI's API."""

MIN_SAMPLING_TEMPERATURE = 1e-6
"""Temperature below which decoding is greedy, since dividing the logits by it would overflow."""

NUCLEUS_TOKENS = 1024
"""Number of the most probable tokens that are tried for `top_p` before all are sorted."""


class SamplingParameters(Struct, frozen=True):
    """Sampling parameters of a request, which OpenAI's API describes."""

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[int, float] | None = None

    @property
    def changes_logits(self) -> bool:
        """True if there is a bias or a penalty."""
        return bool(self.frequency_penalty or self.presence_penalty or self.logit_bias)


class Sampler:
    """Chooses the tokens of one sequence.

    Args:
        parameters: Sampling parameters.
        index: Number of the choice, which changes the seed.
        device: Device of the logits.
        constraint: Constraint of the completion, or None.
    """

    def __init__(
        self, parameters: SamplingParameters, index: int, device: str, constraint: Constraint | None
    ) -> None:
        self._parameters, self._constraint = parameters, constraint
        self._generator = torch.Generator(device)
        seed = int.from_bytes(os.urandom(8)) if parameters.seed is None else parameters.seed + index
        self._generator.manual_seed(seed % 2**63)
        temperature = parameters.temperature
        self._temperature = DEFAULT_TEMPERATURE if temperature is None else temperature
        self._changes: torch.Tensor | None = None
        self._seen: set[int] = set()

    def choose(self, logits: torch.Tensor) -> int:
        """Return the next token.

        Args:
            logits: Logits of the next token, of the size of the vocabulary.

        Raises:
            EncodingError: The constraint exceeds a limit.
        """
        if self._constraint:
            logits = logits.clone()
            self._constraint.mask(logits)
        if self._parameters.changes_logits:
            logits = logits + self._bias(logits)
        if self._temperature < MIN_SAMPLING_TEMPERATURE:
            token = int(logits.argmax())
        else:
            token = self._sample(logits / self._temperature)
        if self._constraint:
            self._constraint.accept(token)
        self._penalize(token)
        return token

    def _bias(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the tensor to add to the logits: the bias, minus the penalties so far."""
        if self._changes is None:
            self._changes = torch.zeros_like(logits)
            for token, bias in (self._parameters.logit_bias or {}).items():
                self._changes[token] = bias
        return self._changes

    def _penalize(self, token: int) -> None:
        if self._changes is not None:
            self._changes[token] -= self._parameters.frequency_penalty or 0
            if token not in self._seen:
                self._changes[token] -= self._parameters.presence_penalty or 0
                self._seen.add(token)

    def _sample(self, logits: torch.Tensor) -> int:
        top_p = 1.0 if self._parameters.top_p is None else self._parameters.top_p
        probabilities = logits.softmax(-1)
        if top_p >= 1:
            return int(torch.multinomial(probabilities, 1, generator=self._generator))
        for count in (min(NUCLEUS_TOKENS, len(logits)), len(logits)):
            values, tokens = probabilities.topk(count)
            before = values.cumsum(-1) - values
            if before[-1] + values[-1] >= top_p or count == len(logits):
                break
        nucleus = torch.where(before < top_p, values, 0)
        nucleus[0] = values[0]
        return int(tokens[torch.multinomial(nucleus, 1, generator=self._generator)])


class TokenProbabilities(Struct, frozen=True):
    """Log probabilities of a token, and of the most probable ones at its position.

    They are computed by the model, before temperature, penalties and constraints.
    """

    token: int
    logprob: float
    top: list[tuple[int, float]]


def token_probabilities(logits: torch.Tensor, token: int, count: int) -> TokenProbabilities:
    """Return the log probabilities of a token and of the `count` most probable ones."""
    logprobs = logits.log_softmax(-1)
    values, tokens = logprobs.topk(min(count, len(logprobs)))
    top = list(zip(tokens.tolist(), values.tolist(), strict=True))
    return TokenProbabilities(token, float(logprobs[token]), top)
