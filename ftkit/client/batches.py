"""Moderation, and batches of requests that the provider sends itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ftkit.client.pagination import PAGE_SIZE
from ftkit.client.paths import sdk_segment
from ftkit.client.payloads import read_moderation, read_resource
from ftkit.client.resources import Batch
from ftkit.client.transport import Transport

MODERATIONS = "/v1/moderations"
"""Endpoint of the requests of a batch."""


class BatchClient(Transport):
    """Requests for moderation, one by one and in batches."""

    def moderate(self, model: str, texts: Sequence[str]) -> list[dict[str, float]]:
        """Return the score of each category that each text is flagged for.

        A transient error is retried as `with_retry` says.

        Raises:
            UsageError: The provider has no moderation.
            ProviderError: The provider refused the request.
        """

        def request() -> list[dict[str, float]]:
            with self._errors("moderate texts"):
                moderations = self._client.moderations.with_raw_response
                response = moderations.create(model=model, input=list(texts))
                return read_moderation(response, len(texts))

        scores: list[dict[str, float]] = self._retry(request)
        return scores

    def create_batch(self, file_id: str, metadata: dict[str, str]) -> Batch:
        """Create a batch of requests for moderation and return it.

        The request is sent once, because a second one could create a second batch.

        Args:
            file_id: Id of the file with the requests.
            metadata: Metadata to find the batch by.

        Raises:
            UnknownOutcomeError: There is no usable response; the batch may exist.
            ProviderError: The provider refused the request.
        """
        with self._errors("create the batch"):
            batches = self._client.with_options(max_retries=0).batches.with_raw_response
            create: Any = batches.create
            response = create(
                input_file_id=file_id,
                endpoint=MODERATIONS,
                completion_window="24h",
                metadata=metadata,
            )
            return Batch.read(read_resource(response))

    def batch(self, id: str) -> Batch:
        """Return the batch with this id. Raises `NotFoundError` if it does not exist."""

        def request() -> Batch:
            with self._errors(f"find the batch {id}"):
                batches = self._client.batches.with_raw_response
                return Batch.read(read_resource(batches.retrieve(sdk_segment(id)), id))

        batch: Batch = self._retry(request)
        return batch

    def batches(self) -> Iterator[Batch]:
        """Return the batches of the account, newest first."""
        yield from map(Batch.read, self._list("list batches", "/batches", {"limit": PAGE_SIZE}))
