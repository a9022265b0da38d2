"""Moderation of rows: which lines a provider's model is likely to flag, and for what."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from ftkit.catalog import ModerationApi
from ftkit.client.client import Client
from ftkit.errors import UsageError
from ftkit.prepare.audit import Audit
from ftkit.prepare.prepared import Step
from ftkit.prepare.rows import Row
from ftkit.prepare.screen.batch_journal import BatchJournal
from ftkit.prepare.screen.batches import Batcher
from ftkit.prepare.screen.scores import Scores, text_digest
from ftkit.prepare.screen.sender import MAX_INPUTS, Input, Sender
from ftkit.prepare.screen.texts import places
from ftkit.prepare.spool import Spool

STEP = "moderation"
"""Name of the step in reports."""

CHARACTERS_PER_TOKEN = 4
"""Characters of a token in English, for an estimate of the time."""


class ModerationPlan(NamedTuple):
    """Texts that are to be sent, for the confirmation."""

    client: Client
    api: ModerationApi
    is_batch: bool
    texts: int
    """Number of different texts to send, whose scores are not known."""
    cached: int
    """Number of different texts whose scores are known."""
    characters: int
    """Characters to send."""
    cut: int
    """Number of texts of which only the beginning is sent."""

    @property
    def requests(self) -> int:
        """Number of requests, or of lines of batches."""
        by_size = -(-self.characters // self.api.input_characters.value)
        return self.texts if self.is_batch else max(by_size, -(-self.texts // MAX_INPUTS))

    @property
    def minutes(self) -> int:
        """Minutes at the lowest rate limit."""
        tokens = self.characters // CHARACTERS_PER_TOKEN
        return -(-tokens // self.api.tokens_per_minute.value)


class Moderation(Struct, kw_only=True):
    """Settings of a moderation.

    Attributes:
        client: Client for the provider.
        batch: Send batches, which take up to a day, instead of single requests.
        confirm: Called before anything is sent; returns False to send nothing.
        on_progress: Called with the number of texts that are done, and of all.
        say: Called with a message for the user.
        cache: Folder of the cache; that of the user if None.
        state: Folder of the journal; that of the user if None.
        sleep: Waits for some seconds.
    """

    client: Client
    batch: bool = False
    confirm: Callable[[ModerationPlan], bool] = lambda plan: True
    on_progress: Callable[[int, int], object] = lambda done, total: None
    say: Callable[[str], object] = lambda message: None
    cache: Path | None = None
    state: Path | None = None
    sleep: Callable[[float], object] = time.sleep


def moderation_step(moderation: Moderation) -> Step:
    """Return a step that records which texts are likely to be flagged. It changes no rows.

    It holds the rows in a temporary file, and 100 bytes for each different text in memory.

    Raises:
        UsageError: The provider has no moderation model.
    """
    api = moderation.client.api.moderation
    if api is None:
        raise UsageError(
            f"{moderation.client.provider.title} has no moderation model; use another provider"
        )

    def step(rows: Iterable[Row], audit: Audit) -> Iterator[Row]:
        with Spool() as spool, Scores(moderation.cache) as scores:
            for row in rows:
                spool.append(row)
            moderator = _Moderator(moderation, api, scores, spool)
            refused = moderator.run()
            for row in spool:
                _record(row, api, scores, refused, audit)
                yield row

    return step


class _Moderator:
    """Sends the texts of rows that have no score yet."""

    def __init__(
        self, moderation: Moderation, api: ModerationApi, scores: Scores, spool: Spool
    ) -> None:
        self._moderation, self._api, self._scores, self._spool = moderation, api, scores, spool

    def run(self) -> dict[bytes, str]:
        """Send the texts, and return the reasons for which some have no score.

        Raises:
            UsageError: The user has not confirmed it.
        """
        plan = self._plan()
        if not plan.texts:
            return {}
        moderation = self._moderation
        if not moderation.confirm(plan):
            raise UsageError("nothing was sent, since it was not confirmed")
        done = 0

        def on_done(count: int) -> None:
            nonlocal done
            done += count
            moderation.on_progress(done, plan.texts)

        args = (moderation.client, self._api, self._scores)
        if moderation.batch:
            journal = BatchJournal(moderation.client.account, moderation.state)
            batcher = Batcher(*args, journal, moderation.sleep)
            batcher.send(self._inputs(), on_done, moderation.say)
            return batcher.refused
        sender = Sender(*args, moderation.sleep)
        unknown = (item for item in self._inputs() if self._scores.find(item.digest) is None)
        sender.send(unknown, on_done)
        return sender.refused

    def _plan(self) -> ModerationPlan:
        texts = cached = characters = cut = 0
        limit = self._api.input_characters.value
        for item in self._inputs():
            if self._scores.find(item.digest) is None:
                texts += 1
                characters += min(len(item.text), limit)
                cut += len(item.text) > limit
            else:
                cached += 1
        counts = (texts, cached, characters, cut)
        return ModerationPlan(self._moderation.client, self._api, self._moderation.batch, *counts)

    def _inputs(self) -> Iterator[Input]:
        """Yield each different text once, in order."""
        digests: set[bytes] = set()
        for row in self._spool:
            for _, item in _texts(row, self._api.model):
                if item.digest not in digests:
                    digests.add(item.digest)
                    yield item


def _texts(row: Row, model: str) -> Iterator[tuple[str, Input]]:
    """Yield the JSON pointer of each text of a row, and the text."""
    for place in places(row.value):
        if place.is_text and isinstance(place.value, str) and not place.value.isspace():
            text = place.value.encode("utf-8", "replace").decode()
            if text:
                yield place.pointer, Input(text_digest(model, text), text)


def _record(
    row: Row, api: ModerationApi, scores: Scores, refused: dict[bytes, str], audit: Audit
) -> None:
    """Record what the model says about the texts of a row."""
    for pointer, item in _texts(row, api.model):
        score = scores.find(item.digest)
        if score is None:
            reason = refused.get(item.digest, "no result")
            audit.find(STEP, f"not screened: {reason}", row.origin, pointer)
            continue
        for category, value in sorted(score.categories.items()):
            reason = f"likely to be flagged: {category}"
            audit.find(STEP, reason, row.origin, pointer, f"score {value:.2f}")
        if len(item.text) > score.characters:
            cut = f"only the first {score.characters:,} characters were screened"
            audit.note(STEP, cut, row.origin, pointer)
