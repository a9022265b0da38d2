"""Requests to a moderation model, one after another, within its limits.

A model may refuse a text again and again, for example since the text alone has more tokens than an
account may send in a minute. A short text then tells whether the account is at its limit, or the
text is at fault; such a text is cut, and left out if that does not help.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ftkit.catalog import ModerationApi
from ftkit.client.client import Client
from ftkit.client.errors import is_transient
from ftkit.client.retry import Retry
from ftkit.errors import ConnectError, ProviderError, UnreachableError
from ftkit.prepare.screen.scores import Score, Scores

MAX_INPUTS = 32
"""Maximum number of texts in a request."""

TEXT_STATUSES = (400, 413, 422)
"""Statuses of permanent errors that a text can cause."""

PROBE = "Hello."
"""Text that is refused only if all are."""


class Input(NamedTuple):
    """A text to send."""

    digest: bytes
    text: str


class Sender:
    """Sends texts to a moderation model and saves their scores.

    Attributes:
        refused: Reasons for which texts have no score, by their hash.
    """

    def __init__(
        self, client: Client, api: ModerationApi, scores: Scores, sleep: Callable[[float], object]
    ) -> None:
        self.refused: dict[bytes, str] = {}
        self._client = client.with_retry(Retry(sleep))
        self._api, self._scores = api, scores

    def send(self, inputs: Iterable[Input], on_done: Callable[[int], object]) -> None:
        """Send texts.

        Args:
            inputs: The texts.
            on_done: Called with the number of texts that are done since the last call.

        Raises:
            ProviderError: The provider refuses all texts, for example because of the API key.
            UnreachableError: The account is at its limit, or there is no connection.
        """
        for group in _groups(inputs, self._api.input_characters.value):
            self._send_group(group)
            on_done(len(group))

    def _send_group(self, group: list[Input]) -> None:
        try:
            self._request(group, self._api.input_characters.value)
        except ProviderError as error:
            _check_is_about_text(error)
            for item in group:
                self._send_alone(item, is_refused=len(group) == 1)

    def _send_alone(self, item: Input, is_refused: bool) -> None:
        """Send a text by itself; if it is refused, its beginning.

        Args:
            item: The text.
            is_refused: True if the whole text was refused by itself already.
        """
        lengths = (self._api.input_characters.value, self._api.short_characters.value)
        if is_refused:
            self._check_account()
        for length in lengths[is_refused:]:
            if is_refused and len(item.text) <= length:
                break
            try:
                self._request([item], length)
            except ProviderError as error:
                _check_is_about_text(error)
                is_refused = True
                self._check_account()
            else:
                return
        self.refused[item.digest] = "the provider refuses the text"

    def _check_account(self) -> None:
        """Raise `UnreachableError` if the provider refuses all texts at the moment."""
        try:
            self._client.moderate(self._api.model, [PROBE])
        except ProviderError as error:
            if not is_transient(error):
                raise
            raise UnreachableError(
                f"{error}; run the same command again later to continue"
            ) from error

    def _request(self, group: list[Input], length: int) -> None:
        texts = [item.text[:length] for item in group]
        results = self._client.moderate(self._api.model, texts)
        self._scores.save(
            (item.digest, Score(length, categories))
            for item, categories in zip(group, results, strict=True)
        )


def _check_is_about_text(error: ProviderError) -> None:
    """Raise an error that a text cannot have caused."""
    if isinstance(error, ConnectError) or not (
        is_transient(error) or error.status in TEXT_STATUSES
    ):
        raise error


def _groups(inputs: Iterable[Input], characters: int) -> Iterator[list[Input]]:
    """Yield texts in groups that are small enough for a request."""
    group: list[Input] = []
    size = 0
    for item in inputs:
        size += len(item.text)
        if group and (size > characters or len(group) == MAX_INPUTS):
            yield group
            group, size = [], len(item.text)
        group.append(item)
    if group:
        yield group
