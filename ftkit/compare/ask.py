"""Concurrent requests for a model's answers to prompts. Every answer is saved as it arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any, NoReturn

import msgspec
from msgspec import Struct

from ftkit.client.client import Client
from ftkit.compare.recordings import Prompt, Recording, RecordingFile, encode, match
from ftkit.errors import (
    InvalidResponseError,
    NotFoundError,
    ProviderError,
    UnknownOutcomeError,
    UsageError,
)

MAX_REFUSALS = 8
"""Number of refused prompts after which to stop if none was answered: the request is at fault."""

GENERAL_STATUSES = (401, 402, 403, 429)
"""HTTP statuses that every further prompt would get too."""

ANSWER_KEYS = ("role", "content", "refusal", "tool_calls", "function_call")
"""Keys of the assistant message that are recorded."""


class CollectedAnswers(Struct, frozen=True):
    """Answers of a model.

    Attributes:
        answers: The answer to each prompt, or None if the provider refused the prompt.
        refused: Line number and error message of each refused prompt.
    """

    answers: list[Recording | None]
    refused: list[tuple[int, str]]


class AnswerCollector:
    """Collects a model's answers to prompts, without asking again for those that are recorded.

    Attributes:
        client: Connection to the provider.
        model: Name of the model.
        prompts: The prompts.
        parameters: Parameters of every request, such as `temperature`.
        file: File that the answers are recorded in, or None.
    """

    def __init__(
        self,
        client: Client,
        model: str,
        prompts: Sequence[Prompt],
        parameters: dict[str, Any],
        file: RecordingFile | None = None,
    ) -> None:
        """Find the prompts that are answered in the file.

        Raises:
            UsageError: The file has answers of another model or provider, or with other parameters.
        """
        self.client, self.model, self.prompts = client, model, prompts
        self.parameters, self.file = parameters, file
        self._service = client.name if client.api.embedded else client.account
        recordings = file.recordings if file else []
        self._recorded = match(prompts, recordings)
        self._check(recordings)

    @property
    def missing(self) -> list[Prompt]:
        """The prompts without a recorded answer."""
        pairs = zip(self.prompts, self._recorded, strict=True)
        return [prompt for prompt, recording in pairs if recording is None]

    def collect(
        self, concurrency: int = 4, on_done: Callable[[], object] = lambda: None
    ) -> CollectedAnswers:
        """Ask for the missing answers.

        Prompts that the provider refuses, or answers with an invalid response, are skipped.

        Args:
            concurrency: Maximum number of concurrent requests.
            on_done: Called after each prompt.

        Raises:
            ProviderError: The provider refused all prompts or could not be reached. The answers
                received until then are recorded.
        """
        answers = list(self._recorded)
        refused: list[tuple[int, str]] = []
        futures: dict[Future[Recording], int] = {}
        pool = ThreadPoolExecutor(concurrency)
        try:
            for index, answer in enumerate(answers):
                if answer is None:
                    futures[pool.submit(self._ask, self.prompts[index])] = index
            for index, outcome in _outcomes(futures):
                if isinstance(outcome, Recording):
                    answers[index] = outcome
                    self._record(outcome)
                else:
                    refused.append((self.prompts[index].number, str(outcome)))
                    if len(refused) >= min(MAX_REFUSALS, len(answers)) and not any(answers):
                        raise outcome
                on_done()
        except ProviderError:
            pool.shutdown(wait=True, cancel_futures=True)
            self._record_finished(
                [future for future, index in futures.items() if answers[index] is None]
            )
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        if self.file:
            self.file.finish(answer for answer in answers if answer)
        return CollectedAnswers(answers, sorted(refused))

    def _check(self, recordings: Sequence[Recording]) -> None:
        """Raise `UsageError` if recordings are of another model or have other parameters."""
        for recording in recordings:
            if recording.model != self.model or recording.service not in ("", self._service):
                model = recording.model or "an unnamed model"
                service = f" at {recording.service}" if recording.service else ""
                self._reject(f"of {model}{service}", f"of {self.model} at {self._service}")
        for prompt, answer in zip(self.prompts, self._recorded, strict=True):
            options = self._options(prompt)
            if answer and answer.parameters != options:
                self._reject(f"with the parameters {answer.parameters}", f"with {options}")

    def _reject(self, actual: str, expected: str) -> NoReturn:
        path = self.file.path if self.file else ""
        raise UsageError(f"{path} contains answers {actual}, not {expected}; use another file")

    def _record(self, recording: Recording) -> None:
        if self.file:
            self.file.append(recording)

    def _record_finished(self, futures: Sequence[Future[Recording]]) -> None:
        """Record the answers to requests that were in flight at a failure: they are paid for."""
        for future in futures:
            if not future.cancelled() and future.exception() is None:
                self._record(future.result())

    def _options(self, prompt: Prompt) -> dict[str, Any]:
        return {**self.parameters, **prompt.options}

    def _ask(self, prompt: Prompt) -> Recording:
        options = self._options(prompt)
        response = self.client.chat_completion(self.model, prompt.messages, **options)
        message = response["choices"][0]["message"]
        answer = {"role": "assistant", "content": None}
        answer |= {name: message[name] for name in ANSWER_KEYS if message.get(name) is not None}
        usage = response.get("usage")
        recording = Recording(
            messages=prompt.messages,
            answer=answer,
            model=self.model,
            parameters=options,
            usage=usage if isinstance(usage, dict) else None,
            metadata=prompt.line.get("metadata"),
            service=self._service,
        )
        # As it will be read from its file, where lone surrogates are replaced.
        return msgspec.json.decode(encode(recording), type=Recording)


def _outcomes(
    futures: dict[Future[Recording], int],
) -> Iterator[tuple[int, Recording | ProviderError]]:
    """Yield the index of each prompt with its answer or refusal, as they arrive.

    Raises:
        ProviderError: Every other prompt would fail in the same way.
    """
    for future in as_completed(futures):
        try:
            yield futures[future], future.result()
        except InvalidResponseError as error:
            yield futures[future], error
        except (UnknownOutcomeError, NotFoundError):
            raise
        except ProviderError as error:
            if error.status in GENERAL_STATUSES:
                raise
            yield futures[future], error
