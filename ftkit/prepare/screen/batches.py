"""Batches of requests to a moderation model: each is created once, and its results are saved.

    journal -> upload -> journal -> create -> journal -> poll -> download -> cache

The metadata of a batch has the id of its record, so that it can be found even if the response to
its creation was lost.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from ftkit._text import plural
from ftkit.catalog import ModerationApi
from ftkit.client.batches import MODERATIONS
from ftkit.client.client import Client
from ftkit.client.payloads import moderation_scores
from ftkit.client.resources import Batch
from ftkit.client.retry import Retry
from ftkit.errors import NotFoundError, ProviderError, UnknownOutcomeError, UnreachableError
from ftkit.prepare.screen.batch_journal import BatchJournal, OpenRecord
from ftkit.prepare.screen.scores import Score, Scores
from ftkit.prepare.screen.sender import Input

METADATA = "ftkit_moderation"
"""Key of the id of a record in the metadata of its batch."""

PURPOSE = "batch"
"""Purpose of the file with the requests."""

POLL_DELAYS = (2.0, 5.0, 10.0, 20.0, 30.0)
"""Seconds between polls; the last one is repeated."""

MAX_POLLS = 3_000
"""Number of polls after which a batch counts as endless: 25 hours, while providers promise 24."""

SAVED_TOGETHER = 1000
"""Number of scores that are saved together."""


class Chunk(NamedTuple):
    """Texts of a batch."""

    key: str
    """Hash of all of them, whether or not their scores are known."""
    file: IO[bytes]
    """File with the requests for those without a score."""
    requests: int


class Batcher:
    """Sends texts to a moderation model in batches and saves their scores.

    Attributes:
        refused: Reasons for which texts have no score, by their hash.
    """

    def __init__(
        self,
        client: Client,
        api: ModerationApi,
        scores: Scores,
        journal: BatchJournal,
        sleep: Callable[[float], object],
    ) -> None:
        self.refused: dict[bytes, str] = {}
        self._retry = Retry(sleep)
        self._client, self._sleep = client.with_retry(self._retry), sleep
        self._api, self._scores, self._journal = api, scores, journal

    def send(
        self,
        inputs: Iterable[Input],
        on_done: Callable[[int], object],
        say: Callable[[str], object],
    ) -> None:
        """Send texts, and wait until all batches have ended.

        Args:
            inputs: All texts, with those whose scores are known, so that the same texts make the
                same batches when a run is continued.
            on_done: Called with the number of texts that are done since the last call.
            say: Called with a message for the user.

        Raises:
            FileError: The journal or the cache cannot be written.
            ProviderError: The provider refuses a batch, or a batch has failed.
        """
        started = [
            (chunk.key, self._start(chunk, say)) for chunk in self._chunks(inputs) if chunk.requests
        ]
        for key, id in started:
            batch = self._wait(id, on_done)
            with self._journal.open(key) as record:
                self._collect(batch, record)

    def _chunks(self, inputs: Iterable[Input]) -> Iterator[Chunk]:
        """Yield texts in chunks that are small enough for a batch."""
        limits = (self._api.batch_requests.value, self._api.batch_bytes.value)
        with tempfile.TemporaryFile(prefix="ftkit-") as file:
            hashed, texts, size, requests = blake2b(digest_size=16), 0, 0, 0
            for item in inputs:
                line = self._line(item)
                if texts and (texts == limits[0] or size + len(line) > limits[1]):
                    yield Chunk(hashed.hexdigest(), file, requests)
                    hashed, texts, size, requests = blake2b(digest_size=16), 0, 0, 0
                    file.truncate(0)
                    file.seek(0)
                hashed.update(item.digest)
                texts, size = texts + 1, size + len(line)
                if self._scores.find(item.digest) is None:
                    file.write(line)
                    requests += 1
            yield Chunk(hashed.hexdigest(), file, requests)

    def _line(self, item: Input) -> bytes:
        text = item.text[: self._api.input_characters.value]
        request = {
            "custom_id": item.digest.hex(),
            "method": "POST",
            "url": MODERATIONS,
            "body": {"model": self._api.model, "input": text},
        }
        return msgspec.json.encode(request) + b"\n"

    def _start(self, chunk: Chunk, say: Callable[[str], object]) -> str:
        """Return the id of the batch of a chunk, after creating it unless it exists."""
        with self._journal.open(chunk.key) as record:
            batch_id = self._find(record)
            if batch_id:
                say(f"the batch {batch_id} exists already")
                return batch_id
            if record.is_new:
                record.update()
            file_id = self._uploaded(record) or self._upload(record, chunk.file)
            record.update(file_id=file_id, is_sent=True)
            batch_id = self._create(record)
            record.update(batch_id=batch_id)
            say(
                f"created the batch {batch_id} with {plural(chunk.requests, 'request')}; if this "
                "command is interrupted, run it again to continue"
            )
            return batch_id

    def _find(self, record: OpenRecord) -> str:
        """Return the id of the batch of an earlier run, or ""."""
        if record.value.batch_id:
            with suppress(NotFoundError):
                return self._client.batch(record.value.batch_id).id
            record.update(batch_id="", file_id="", is_sent=False)
        return self._find_created(record) if record.value.is_sent else ""

    def _find_created(self, record: OpenRecord) -> str:
        """Return the id of a batch that was created, but whose id is not known, or ""."""
        ids = (
            batch.id
            for batch in self._client.batches()
            if batch.metadata.get(METADATA) == record.value.id
            or (record.value.file_id and batch.input_file == record.value.file_id)
        )
        batch_id = next(ids, "")
        if batch_id:
            record.update(batch_id=batch_id)
        return batch_id

    def _uploaded(self, record: OpenRecord) -> str:
        """Return the id of the file of an earlier run, or ""."""
        if record.is_new:
            return ""
        names = (file for file in self._client.files(PURPOSE) if file.status != "error")
        return next((file.id for file in names if file.name == record.value.file_name), "")

    def _upload(self, record: OpenRecord, file: IO[bytes]) -> str:
        file.seek(0)
        try:
            stream: Any = file
            return self._client.upload(record.value.file_name, stream, PURPOSE).id
        except UnknownOutcomeError:
            record.is_new = False
            file_id = self._uploaded(record)
            if not file_id:
                raise
            return file_id

    def _create(self, record: OpenRecord) -> str:
        try:
            return self._client.create_batch(record.value.file_id, {METADATA: record.value.id}).id
        except UnknownOutcomeError:
            batch_id = self._find_created(record)
            if not batch_id:
                raise
            return batch_id
        except ProviderError:
            record.update(is_sent=False)
            raise

    def _wait(self, id: str, on_done: Callable[[int], object]) -> Batch:
        """Return a batch when it has ended.

        Raises `UnreachableError` if it does not end.
        """
        delays, completed = iter(POLL_DELAYS), 0
        for _ in range(MAX_POLLS):
            batch = self._client.batch(id)
            if batch.completed > completed:
                on_done(batch.completed - completed)
                completed = batch.completed
            if batch.is_over:
                return batch
            self._sleep(next(delays, POLL_DELAYS[-1]))
        raise UnreachableError(
            f"the batch {id} has not ended after a day; run the same command again later"
        )

    def _collect(self, batch: Batch, record: OpenRecord) -> None:
        """Save the results of a batch that has ended, and delete its files at the provider."""
        files = [id for id in (batch.output_file, batch.error_file) if id]
        for id in files:
            with tempfile.TemporaryDirectory(prefix="ftkit-") as folder:
                path = Path(folder, "results")
                with suppress(NotFoundError):
                    self._retry(partial(self._client.download, id, path))
                    with path.open("rb") as lines:
                        self._read(lines)
        record.remove()
        for id in (*files, batch.input_file):
            with suppress(ProviderError):
                self._client.delete_file(id)
        if batch.status == "failed":
            raise ProviderError(
                f"the batch {batch.id} failed: {batch.error or 'no reason given'}; run the same "
                "command again to create another"
            )

    def _read(self, lines: Iterable[bytes]) -> None:
        scores: list[tuple[bytes, Score]] = []
        for line in lines:
            digest, categories = _result(line)
            if categories is None:
                self.refused[digest] = "the provider refuses the text"
            else:
                scores.append((digest, Score(self._api.input_characters.value, categories)))
            if len(scores) == SAVED_TOGETHER:
                self._scores.save(scores)
                scores.clear()
        self._scores.save(scores)


def _result(line: bytes) -> tuple[bytes, dict[str, float] | None]:
    """Return the hash of the text of a line, and its scores or None."""
    try:
        result = msgspec.json.decode(line)
        digest = bytes.fromhex(result["custom_id"])
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, TypeError, KeyError):
        return b"", None
    response = result.get("response")
    if not isinstance(response, dict) or response.get("status_code") != 200:
        return digest, None
    try:
        return digest, moderation_scores(response.get("body"), 1)[0]
    except ValueError:
        return digest, None
