"""Asks a model for its answers to the prompts, several at a time, and keeps each as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any, NoReturn

import msgspec
from msgspec import Struct

from ftkit.client.client import Client
from ftkit.compare.recordings import Keeper, Prompt, Recorded, encode, match
from ftkit.errors import (
    InvalidResponseError,
    NotFoundError,
    ProviderError,
    UnknownOutcomeError,
    UsageError,
)

GIVE_UP = 8
"""Refusals after which no more prompts are tried where none was answered: the request is wrong, not the prompt."""

OF_ALL = (401, 402, 403, 429)
"""Statuses that the next prompt would meet as well."""

ANSWERED_WITH = ("role", "content", "refusal", "tool_calls", "function_call")
"""What is kept of the assistant's message."""


class Asked(Struct, frozen=True):
    """For each prompt the answer, or None where the service refused it; `refused` has the line and what the service said."""

    answers: list[Recorded | None]
    refused: list[tuple[int, str]]


class Asking:
    """The prompts for one model: which of them are answered already in `keep`, and which are still to be asked.

    `parameters` are sent with each request. Raises `UsageError` where `keep` holds answers of another model or service, or with
    other parameters.
    """

    def __init__(
        self,
        client: Client,
        model: str,
        prompts: Sequence[Prompt],
        parameters: dict[str, Any],
        keep: Keeper | None = None,
    ) -> None:
        self.client, self.model, self.prompts, self.parameters, self.keep = (
            client,
            model,
            prompts,
            parameters,
            keep,
        )
        self.place = client.name if client.api.embedded else client.account
        self.known = match(prompts, keep.known if keep else ())
        for one in keep.known if keep else ():
            if one.model != model or one.service not in ("", self.place):
                self._refuse(
                    one.model or "an unnamed model", one.service, f"{model} at {self.place}"
                )
        for prompt, known in zip(prompts, self.known, strict=True):
            options = self._options(prompt)
            if known and known.parameters != options:
                self._refuse(
                    model, f"with {known.parameters or 'no parameters'}", f"{model} with {options}"
                )

    def _refuse(self, model: str, how: str, wanted: str) -> NoReturn:
        path = self.keep.path if self.keep else ""
        raise UsageError(
            f"{path} holds answers of {model} {how}, and these are to be of {wanted}; keep them in another file"
        )

    @property
    def missing(self) -> list[Prompt]:
        """The prompts that are still to be asked."""
        return [
            prompt for prompt, known in zip(self.prompts, self.known, strict=True) if known is None
        ]

    def ask(self, concurrency: int = 4, told: Callable[[], object] = lambda: None) -> Asked:
        """Ask what is missing, at most `concurrency` at once, and call `told` for each prompt that is done.

        A prompt that the service refuses, or answers with what cannot be read, is passed over. Raises `ProviderError` where it
        refuses all, or cannot be reached; what was answered until then is kept.
        """
        answers, refused = list(self.known), []
        pool = ThreadPoolExecutor(concurrency)
        try:
            waiting = {
                pool.submit(self._ask, self.prompts[index]): index
                for index, known in enumerate(answers)
                if known is None
            }
            for index, outcome in _outcomes(waiting):
                if isinstance(outcome, Recorded):
                    answers[index] = outcome
                    if self.keep:
                        self.keep.add(outcome)
                else:
                    refused.append((self.prompts[index].number, str(outcome)))
                    if len(refused) >= min(GIVE_UP, len(answers)) and not any(answers):
                        raise outcome
                told()
        except ProviderError:
            pool.shutdown(wait=True, cancel_futures=True)
            self._keep_more(future for future, index in waiting.items() if answers[index] is None)
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        if self.keep:
            self.keep.finish(answer for answer in answers if answer)
        return Asked(answers, sorted(refused))

    def _keep_more(self, futures: Iterable[Future[Recorded]]) -> None:
        """Keep the answers of requests that were under way when another one stopped all: they are paid."""
        for future in futures:
            if self.keep and not future.cancelled() and future.exception() is None:
                self.keep.add(future.result())

    def _options(self, prompt: Prompt) -> dict[str, Any]:
        return {**self.parameters, **prompt.options}

    def _ask(self, prompt: Prompt) -> Recorded:
        options = self._options(prompt)
        sent = self.client.chat_completion(self.model, prompt.messages, **options)
        message = sent["choices"][0]["message"]
        answer = {"role": "assistant", "content": None}
        answer |= {name: message[name] for name in ANSWERED_WITH if message.get(name) is not None}
        usage = sent.get("usage") if isinstance(sent.get("usage"), dict) else None
        one = Recorded(
            prompt.messages,
            answer,
            self.model,
            options,
            usage,
            prompt.line.get("metadata"),
            self.place,
        )
        return msgspec.json.decode(encode(one), type=Recorded)


def _outcomes(
    waiting: dict[Future[Recorded], int],
) -> Iterator[tuple[int, Recorded | ProviderError]]:
    """What came of each prompt, as it comes; raises what would come of all others, too."""
    for future in as_completed(waiting):
        try:
            yield waiting[future], future.result()
        except InvalidResponseError as problem:
            yield waiting[future], problem
        except (UnknownOutcomeError, NotFoundError):
            raise
        except ProviderError as problem:
            if problem.status in OF_ALL:
                raise
            yield waiting[future], problem
