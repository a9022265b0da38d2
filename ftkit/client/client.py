"""Client for providers of the OpenAI fine-tuning API. The SDK's own objects stay inside it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import unquote

from ftkit._atomic import atomic_replace
from ftkit.client.batches import BatchClient
from ftkit.client.pagination import PAGE_SIZE
from ftkit.client.paths import path_segment, sdk_segment
from ftkit.client.payloads import (
    check_deletion,
    check_resource,
    limit_size,
    raw_type,
    read_completion,
    read_json,
    read_resource,
    reply_texts,
    upload_request,
)
from ftkit.client.resources import Checkpoint, Event, Job, RemoteFile, RemoteModel
from ftkit.client.transport import RetryPolicy
from ftkit.errors import ProviderError, UsageError

if TYPE_CHECKING:
    import openai

CHUNK_SIZE = 1 << 20
"""Bytes of a download that are held in memory at once."""

LOOKUP_TIMEOUT = 10.0
"""Seconds to wait for a response that is only used for a hint."""


class Client(BatchClient):
    """Connection of one account to a provider of the fine-tuning API.

    Make one with `connect`, which finds the address and the API key:

        with ftkit.connect("openai") as client:
            for job in client.jobs():
                print(job.id, job.status)

    Lists are iterators that fetch a page when it is needed, newest item first. Every method that
    sends a request raises:

    * `NotFoundError` if the provider has no such job, file or model,
    * `UnknownOutcomeError` if there is no usable response, so that the request may have been
      carried out,
    * `ProviderError`, the base class of both, if the provider refuses the request.

    Attributes:
        name: Name of the provider in the catalog.
        provider: Facts about the provider.
        api: Facts about its API.
    """

    def with_retry(self, retry: RetryPolicy) -> Client:
        """Return a client for the same account that sends some requests through `retry`.

        These are pages of lists, texts to moderate, and batches that are looked up. The SDK's own
        retries are turned off.
        """
        single = self._client.with_options(max_retries=0)
        return Client(self.name, self.provider, self.api, single, retry, self._completion_retries)

    def jobs(self, after: str = "", metadata: Mapping[str, str] | None = None) -> Iterator[Job]:
        """Return all jobs, newest first.

        Args:
            after: Id of the job after which the list starts.
            metadata: Metadata that the jobs must have. Providers without metadata ignore it.
        """
        optional = {"after": after, "metadata": dict(metadata or {})}
        parameters = {"limit": PAGE_SIZE, **{key: it for key, it in optional.items() if it}}
        yield from map(Job.read, self._list("list jobs", "/fine_tuning/jobs", parameters))

    def job(self, id: str) -> Job:
        """Return the job with this id. Raises `NotFoundError` if it does not exist."""
        with self._errors(f"find the job {id}"):
            jobs = self._client.fine_tuning.jobs.with_raw_response
            return Job.read(read_resource(jobs.retrieve(sdk_segment(id)), id))

    def create(self, request: Mapping[str, Any]) -> Job:
        """Create a job and return it.

        The request is sent once, because a second one could create a second job.

        Args:
            request: Body of the request, with `model` and `training_file`.

        Raises:
            UnknownOutcomeError: There is no usable response; the job may exist.
            ProviderError: The provider refused the request.
        """
        body = dict(request)
        model, training_file = body.pop("model"), body.pop("training_file")
        with self._errors("create the job"):
            jobs = self._client.with_options(max_retries=0).fine_tuning.jobs.with_raw_response
            job = jobs.create(model=model, training_file=training_file, extra_body=body)
            return Job.read(read_resource(job))

    def act(self, id: str, action: str) -> Job:
        """Cancel, pause or resume a job and return it.

        Args:
            id: Id of the job.
            action: "cancel", "pause" or "resume".

        Raises:
            UsageError: The provider cannot pause jobs.
            NotFoundError: There is no such job.
            ProviderError: The job is not in a state that allows the action.
        """
        if action in ("pause", "resume"):
            self.require("pause")
        body: dict[str, Any] = {"extra_body": {}} if self.api.cancel_with_body else {}
        with self._errors(f"{action} the job {id}"):
            send = getattr(self._client.fine_tuning.jobs.with_raw_response, action)
            return Job.read(read_resource(send(sdk_segment(id), **body), id))

    def events(self, id: str) -> Iterator[Event]:
        """Return the events of a job, newest first.

        Raises `UsageError` if the provider has none.
        """
        self.require("events")
        path = f"/fine_tuning/jobs/{path_segment(id)}/events"
        items = self._list(f"list the events of {id}", path, {"limit": PAGE_SIZE})
        yield from map(Event.read, items)

    def checkpoints(self, id: str) -> Iterator[Checkpoint]:
        """Return the checkpoints of a job, newest first.

        Raises `UsageError` if the provider has none.
        """
        self.require("checkpoints")
        path = f"/fine_tuning/jobs/{path_segment(id)}/checkpoints"
        items = self._list(f"list the checkpoints of {id}", path, {"limit": PAGE_SIZE})
        yield from map(Checkpoint.read, items)

    def permissions(self, checkpoint: str) -> Iterator[dict[str, Any]]:
        """Return the projects that may use a checkpoint, as JSON objects of the API.

        Raises:
            UsageError: The provider has no permissions.
            ProviderError: The key is not an administrator's.
        """
        self.require("permissions")
        path = f"/fine_tuning/checkpoints/{path_segment(checkpoint)}/permissions"
        yield from self._list(f"list the permissions of {checkpoint}", path, {"limit": PAGE_SIZE})

    def files(self, purpose: str = "") -> Iterator[RemoteFile]:
        """Return the files of the account, newest first; with `purpose`, only those."""
        parameters = {"purpose": purpose} if purpose else {}
        yield from map(RemoteFile.read, self._list("list files", "/files", parameters))

    def file(self, id: str) -> RemoteFile:
        """Return the file with this id. Raises `NotFoundError` if it does not exist."""
        with self._errors(f"find the file {id}"):
            files = self._client.files.with_raw_response
            return RemoteFile.read(read_resource(files.retrieve(sdk_segment(id)), id))

    def upload(
        self, name: str, stream: io.RawIOBase | BinaryIO, purpose: str = "fine-tune"
    ) -> RemoteFile:
        """Upload a file, for fine-tuning if no other purpose is given, and return it.

        The request is sent once, because the stream can be read only once.

        Raises:
            UnknownOutcomeError: There is no usable response; the file may exist.
            ProviderError: The provider refused the file.
        """
        with self._errors(f"upload {name}"):
            files = self._client.with_options(max_retries=0).files.with_raw_response
            create: Any = files.create
            file = create(file=(name, cast(BinaryIO, stream)), purpose=purpose)
            return RemoteFile.read(read_resource(file))

    def create_upload(self, name: str, size: int) -> str:
        """Start a multipart upload of `size` bytes and return its id.

        Raises `UsageError` if the provider has no multipart uploads.
        """
        self.require("large uploads")
        with self._errors(f"upload {name}"):
            uploads = self._client.uploads.with_raw_response
            upload = read_resource(uploads.create(**upload_request(name, size)))
            return str(upload["id"])

    def upload_part(self, upload: str, data: bytes) -> str:
        """Upload a part and return its id.

        A part that is sent twice does no harm: `complete_upload` names the parts to use.
        """
        with self._errors(f"upload a part of {upload}"):
            parts = self._client.uploads.parts.with_raw_response
            part = read_resource(parts.create(sdk_segment(upload), data=data))
            return str(part["id"])

    def complete_upload(self, upload: str, parts: list[str]) -> RemoteFile:
        """Join the parts, in this order, into a file and return it."""
        with self._errors(f"complete {upload}"):
            uploads = self._client.uploads.with_raw_response
            response = uploads.complete(sdk_segment(upload), part_ids=parts)
            return RemoteFile.read(check_resource(read_json(response).get("file")))

    def content(self, id: str) -> bytes:
        """Return the content of a file. Raises `NotFoundError` if there is no such file."""
        return b"".join(self.iter_content(id))

    def iter_content(self, id: str) -> Iterator[bytes]:
        """Return the content of a file in chunks of at most `CHUNK_SIZE` bytes.

        Raises `NotFoundError` if there is no such file.
        """
        with (
            self._errors(f"read the file {id}"),
            self._client.files.with_streaming_response.content(sdk_segment(id)) as response,
        ):
            yield from limit_size(response.iter_bytes(CHUNK_SIZE))

    def download(self, id: str, path: Path) -> None:
        """Write the content of a file to `path` atomically.

        Raises:
            NotFoundError: There is no such file.
            OSError: `path` cannot be written.
        """
        with atomic_replace(path) as temporary, open(temporary, "wb") as file:
            file.writelines(self.iter_content(id))

    def delete_file(self, id: str) -> None:
        """Delete a file. Raises `NotFoundError` if it does not exist."""
        with self._errors(f"delete the file {id}"):
            files = self._client.files.with_raw_response
            check_deletion(files.delete(sdk_segment(id)))

    def models(self) -> Iterator[RemoteModel]:
        """Return the models that the account may use."""
        yield from map(RemoteModel.read, self._list_page("list models", "/models", {}).items)

    def model(self, id: str) -> RemoteModel:
        """Return the model with this id. Raises `NotFoundError` if it does not exist."""
        with self._errors(f"find the model {id}"):
            return self._read_model(self._client, id)

    def shutdown_date(self, id: str) -> str:
        """Return the date, as `YYYY-MM-DD`, on which the provider shuts the model down.

        Returns "" if the provider names none or does not respond; never raises `ProviderError`.
        """
        try:
            with self._errors(f"find the model {id}"):
                single = self._client.with_options(max_retries=0, timeout=LOOKUP_TIMEOUT)
                return self._read_model(single, id).shutdown_date
        except ProviderError:
            return ""

    @staticmethod
    def _read_model(client: openai.OpenAI, id: str) -> RemoteModel:
        response = client.models.with_raw_response.retrieve(sdk_segment(id))
        return RemoteModel.read(read_resource(response))

    def delete_model(self, id: str) -> None:
        """Delete a fine-tuned model. Raises `NotFoundError` if it does not exist."""
        with self._errors(f"delete the model {id}"):
            models = self._client.models.with_raw_response
            check_deletion(models.delete(sdk_segment(id)))

    def adapter_file(self, model: str, name: str) -> tuple[bytes, str]:
        """Return a file of a fine-tuned model's adapter, and the name of its base model.

        Args:
            model: Name of the fine-tuned model.
            name: Name of the file, such as "adapter_config.json".

        Raises:
            UsageError: The provider does not offer the weights of models.
            NotFoundError: There is no such model.
        """
        if not self.api.adapters:
            raise UsageError(
                f"{self.provider.title} does not offer model weights for download; "
                "`ftkit serve` does"
            )
        path = f"/adapters/{name}/{path_segment(model)}"
        with self._errors(f"export {model}"):
            options: Any = {"headers": {"Accept": "application/octet-stream"}}
            response = self._client.get(path, cast_to=raw_type(), options=options)
            return response.read(), unquote(response.response.headers.get("x-ftkit-base", ""))

    def chat(self, model: str, messages: list[dict[str, str]], **options: Any) -> Iterator[str]:
        """Return a model's reply as text fragments, as they arrive.

        Args:
            model: Name of the model.
            messages: Conversation so far.
            options: Further fields of the request, such as `temperature`.
        """
        import openai

        with self._errors(f"ask {model}"):
            body = {"model": model, "messages": messages, "stream": True, **options}
            stream: Any = {"cast_to": object, "stream": True, "stream_cls": openai.Stream[object]}
            yield from reply_texts(self._client.post("/chat/completions", body=body, **stream))

    def chat_completion(
        self, model: str, messages: list[dict[str, Any]], **options: Any
    ) -> dict[str, Any]:
        """Return a chat completion as a JSON object of the API, with `choices` and `usage`.

        A transient error is retried, by default `COMPLETION_RETRIES` times.

        Args:
            model: Name of the model.
            messages: Conversation so far.
            options: Further fields of the request, such as `temperature`.

        Raises:
            InvalidResponseError: The response holds no message.
            ProviderError: The provider refused the request.
        """
        with self._errors(f"ask {model}"):
            client = self._client.with_options(max_retries=self._completion_retries)
            create: Any = client.chat.completions.with_raw_response.create
            return read_completion(create(model=model, messages=messages, **options))
