"""The openai client for a named provider, with its quirks read from the facts. The SDK's objects stop here.

Every method raises `ProviderError`, one line, where the service or the way to it fails. `UnknownOutcomeError` is the kind where nobody
knows whether the service has acted.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import quote

from ftkit._atomic import atomic_write
from ftkit._text import printable
from ftkit.catalog import Api, Provider, match_messages
from ftkit.client.credentials import NO_KEY
from ftkit.client.resources import Checkpoint, Event, Job, RemoteFile, RemoteModel
from ftkit.errors import (
    ConnectError,
    InvalidResponseError,
    NotFoundError,
    ProviderError,
    UnknownOutcomeError,
    UsageError,
)

if TYPE_CHECKING:
    import openai

Attempt = Callable[[Callable[[], Any]], Any]
"""Calls what it is given until that returns, and returns the same; or gives up, and raises what that raised."""

PAGE = 100
"""Items that are asked for at once; the most that the protocol allows."""

PIECE = 1 << 20
"""Bytes of a download that are held at once."""

LOOK_UP = 10.0
"""Seconds to wait for an answer that can be done without."""

ANSWER_RETRIES = 6
"""How often a model is asked again where the service is busy or the way to it breaks: for about half a minute."""


class Client:
    """A service that speaks the protocol, for one account. Make it with `connect`."""

    def __init__(
        self,
        name: str,
        facts: Provider,
        api: Api,
        client: openai.OpenAI,
        attempt: Attempt | None = None,
    ) -> None:
        self.name, self.provider, self.api = name, facts, api
        self._client = client
        self._attempt: Attempt = attempt or (lambda do: do())

    @property
    def account(self) -> str:
        """The service and its address: what the journal knows it by. Holds no key, and no password."""
        return f"{self.name} {str(self._client.base_url.copy_with(userinfo=b'', query=None)).rstrip('/')}"

    def patient(self, attempt: Attempt) -> Client:
        """The same service, where `attempt` decides whether a request is sent again. It is called for each page of a list."""
        return Client(
            self.name, self.provider, self.api, self._client.with_options(max_retries=0), attempt
        )

    def demand(self, feature: str) -> None:
        """Raise `UsageError` if the provider lacks the feature."""
        if feature in self.api.lacks:
            raise UsageError(
                f"{self.provider.title} has no {feature}; `ftkit providers` says what each provider lacks"
            )

    def jobs(self, after: str = "", metadata: Mapping[str, str] | None = None) -> Iterator[Job]:
        """All jobs, newest first, fetched page by page as they are taken."""
        given: dict[str, Any] = {"limit": PAGE, **({"after": after} if after else {})}
        given |= {"metadata": dict(metadata)} if metadata else {}
        yield from map(Job.read, self._pages("list jobs", "/fine_tuning/jobs", given))

    def job(self, id: str) -> Job:
        """The job of that id."""
        with self._problems(f"find the job {id}"):
            return Job.read(_sent(self._client.fine_tuning.jobs.retrieve(id)))

    def create(self, request: Mapping[str, Any]) -> Job:
        """Create a job. Sent once, since a repetition could make a second one; raises `UnknownOutcomeError` if it may exist."""
        known = ("model", "training_file")
        body = {name: value for name, value in request.items() if name not in known}
        with self._problems("create the job"):
            once = self._client.with_options(max_retries=0).fine_tuning.jobs
            made = once.create(**{name: request[name] for name in known}, extra_body=body)
            return Job.read(_sent(made))

    def act(self, id: str, action: str) -> Job:
        """`cancel`, `pause` or `resume` a job."""
        if action in ("pause", "resume"):
            self.demand("pause")
        body: dict[str, Any] = {"extra_body": {}} if self.api.cancel_with_body else {}
        with self._problems(f"{action} the job {id}"):
            return Job.read(_sent(getattr(self._client.fine_tuning.jobs, action)(id, **body)))

    def events(self, id: str) -> Iterator[Event]:
        """The events of a job, newest first, as services send them."""
        self.demand("events")
        path = f"/fine_tuning/jobs/{_quoted(id)}/events"
        yield from map(Event.read, self._pages(f"list the events of {id}", path, {"limit": PAGE}))

    def checkpoints(self, id: str) -> Iterator[Checkpoint]:
        """The checkpoints of a job, newest first."""
        self.demand("checkpoints")
        path = f"/fine_tuning/jobs/{_quoted(id)}/checkpoints"
        yield from map(
            Checkpoint.read, self._pages(f"list the checkpoints of {id}", path, {"limit": PAGE})
        )

    def permissions(self, checkpoint: str) -> Iterator[dict[str, Any]]:
        """The projects that may use a checkpoint, as the service sends them. Services want an administrator's key for it."""
        self.demand("permissions")
        path = f"/fine_tuning/checkpoints/{_quoted(checkpoint)}/permissions"
        yield from self._pages(f"list the permissions of {checkpoint}", path, {"limit": PAGE})

    def files(self, purpose: str = "") -> Iterator[RemoteFile]:
        """The files of the account, newest first."""
        yield from map(
            RemoteFile.read,
            self._pages("list files", "/files", {"purpose": purpose} if purpose else {}),
        )

    def file(self, id: str) -> RemoteFile:
        """The file of that id."""
        with self._problems(f"find the file {id}"):
            return RemoteFile.read(_sent(self._client.files.retrieve(id)))

    def upload(self, name: str, stream: io.RawIOBase | BinaryIO) -> RemoteFile:
        """Upload a file for fine-tuning under that name. Sent once: the stream can be read once only."""
        with self._problems(f"upload {name}"):
            once = self._client.with_options(max_retries=0).files
            return RemoteFile.read(
                _sent(once.create(file=(name, cast(BinaryIO, stream)), purpose="fine-tune"))
            )

    def begin_upload(self, name: str, size: int) -> str:
        """Begin an upload in parts, and return its id."""
        self.demand("large uploads")
        with self._problems(f"upload {name}"):
            return self._client.uploads.create(**upload_body(name, size)).id

    def upload_part(self, upload: str, data: bytes) -> str:
        """Upload a part, and return its id. A part that is sent twice does no harm: the end names those that count."""
        with self._problems(f"upload a part of {upload}"):
            return self._client.uploads.parts.create(upload, data=data).id

    def end_upload(self, upload: str, parts: list[str]) -> RemoteFile:
        """Make one file of the parts, in that order."""
        with self._problems(f"complete {upload}"):
            made = self._client.uploads.complete(upload, part_ids=parts)
            return RemoteFile.read(_sent(made.file))

    def content(self, id: str) -> bytes:
        """What is in a file at the service."""
        with self._problems(f"read the file {id}"):
            return self._client.files.content(id).read()

    def pieces(self, id: str) -> Iterator[bytes]:
        """What is in a file at the service, piece by piece."""
        with (
            self._problems(f"read the file {id}"),
            self._client.files.with_streaming_response.content(id) as answer,
        ):
            yield from answer.iter_bytes(PIECE)

    def download(self, id: str, path: Path) -> None:
        """Write what is in a file at the service to `path`, which is there whole or not at all."""
        with atomic_write(path) as aside, open(aside, "wb") as file:
            file.writelines(self.pieces(id))

    def adapter(self, model: str, name: str) -> tuple[bytes, str]:
        """A file of a tuned model's adapter, and the base that it goes on; only some services give them away."""
        if not self.api.adapters:
            raise UsageError(
                f"{self.provider.title} does not give weights away; `ftkit serve` does"
            )
        from openai import HttpxBinaryResponseContent

        with self._problems(f"export {model}"):
            answer = self._client.get(
                f"/adapters/{name}/{model}", cast_to=HttpxBinaryResponseContent
            )
            return answer.read(), answer.response.headers.get("x-ftkit-base", "")

    def delete_file(self, id: str) -> None:
        """Delete a file at the service."""
        with self._problems(f"delete the file {id}"):
            self._client.files.delete(id)

    def models(self) -> Iterator[RemoteModel]:
        """The models that the account may use."""
        yield from map(RemoteModel.read, self._pages("list models", "/models", {}, paged=False))

    def model(self, id: str) -> RemoteModel:
        """The model of that id."""
        with self._problems(f"find the model {id}"):
            return RemoteModel.read(_sent(self._client.models.retrieve(id)))

    def shutdown_date(self, id: str) -> str:
        """The day on which the model is shut down, as `YYYY-MM-DD`; empty where the service does not say, whatever the reason."""
        try:
            with self._problems(f"find the model {id}"):
                quick = self._client.with_options(max_retries=0, timeout=LOOK_UP)
                return RemoteModel.read(_sent(quick.models.retrieve(id))).shutdown_date
        except ProviderError:
            return ""

    def delete_model(self, id: str) -> None:
        """Delete a fine-tuned model."""
        with self._problems(f"delete the model {id}"):
            self._client.models.delete(id)

    def chat(self, model: str, messages: list[dict[str, str]], **options: Any) -> Iterator[str]:
        """The model's answer, piece by piece."""
        with self._problems(f"ask {model}"):
            create: Any = self._client.chat.completions.create
            for chunk in create(model=model, messages=messages, stream=True, **options):
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content

    def answer(self, model: str, messages: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
        """The model's whole answer as the service sent it, with `choices` and `usage`; asks again where that may help."""
        with self._problems(f"ask {model}"):
            create: Any = self._client.with_options(
                max_retries=ANSWER_RETRIES
            ).chat.completions.create
            sent: dict[str, Any] = create(model=model, messages=messages, **options).to_dict(
                mode="json", warnings=False
            )
            choices = sent.get("choices")
            if (
                not isinstance(choices, list)
                or not choices
                or not isinstance(choices[0].get("message"), dict)
            ):
                raise ValueError("it holds no message")
            return sent

    def _pages(
        self, doing: str, path: str, given: Mapping[str, Any], paged: bool = True
    ) -> Iterator[dict[str, Any]]:
        """The items of a list, as the service sends them; fetched page by page as they are taken."""
        asked, last = dict(given), ""
        while True:
            items, has_more = self._attempt(partial(self._page, doing, path, asked))
            end = str(items[-1].get("id") or "") if items else ""
            if end and end == last:
                return  # the service knows no `after`, and has sent the same page again
            yield from items
            if not paged or not end or has_more is False:
                return
            asked["after"] = last = end

    def _page(
        self, doing: str, path: str, given: Mapping[str, Any]
    ) -> tuple[list[dict[str, Any]], Any]:
        """The items of a page, and whether there are more, if the service says."""
        with self._problems(doing):
            answer: Any = self._client.get(path, cast_to=object, options={"params": dict(given)})
            answer = json.loads(answer) if isinstance(answer, str) else answer
            if answer.get("error"):
                raise ValueError(f"an error: {answer['error']}")
            items = list(answer.get("data") or ())
            if not all(isinstance(item, dict) for item in items):
                raise ValueError("it lists what is no object")
            return items, answer.get("has_more")

    @contextmanager
    def _problems(self, doing: str) -> Iterator[None]:
        """Turn the SDK's exceptions into `ProviderError`s."""
        import openai

        title = self.provider.title
        try:
            yield
        except openai.APITimeoutError as error:
            raise UnknownOutcomeError(f"cannot {doing}: {title} did not answer in time") from error
        except openai.APIConnectionError as error:
            why = self._told(str(error.__cause__ or error)).rstrip(".")
            kind = (
                ConnectError
                if type(error.__cause__).__name__ == "ConnectError"
                else UnknownOutcomeError
            )
            raise kind(
                f"cannot {doing}: no connection to {self._client.base_url} ({why or 'it was closed'})"
            ) from error
        except openai.APIStatusError as error:
            raise self._refused(doing, error) from error
        except _transport_errors() as error:
            why = self._told(str(error))
            raise UnknownOutcomeError(
                f"cannot {doing}: the connection to {self._client.base_url} broke ({why})"
            ) from error
        except (openai.APIError, ValueError, AttributeError, TypeError) as error:
            raise InvalidResponseError(
                f"cannot {doing}: {title} gave an answer that cannot be read ({self._told(str(error))})"
            ) from error

    def _told(self, text: str) -> str:
        """What was said, on one line, without the key and without what could play tricks on a terminal."""
        key = self._client.api_key
        line = _short(text.replace(key, "(the key)") if key and key != NO_KEY else text)
        return printable(line)

    def _refused(self, doing: str, error: openai.APIStatusError) -> ProviderError:
        status, title = error.status_code, self.provider.title
        body = error.body if isinstance(error.body, dict) else {}
        said, code = (
            self._told(str(body.get("message") or error.message)),
            self._told(str(body.get("code") or "")),
        )
        told = f"cannot {doing}: "
        if status == 401:
            named = " or ".join(self.api.keys)
            return ProviderError(
                f"{told}{title} does not take the key; see what {named} holds", status, code
            )
        quoted = f"{said} ({code})" if code and code not in said else said
        known = match_messages(f"{said} {code} {error.message}")
        advice = f"; {known[0].do.rstrip('.')}" if known else ""
        if status == 404:
            return NotFoundError(
                f"{told}{title} does not have it ({quoted}){advice}", status, code, said
            )
        if status == 429:
            why = "is asked too often, or the account's quota is used up"
            wait = _wait(error.response.headers)
            return ProviderError(
                f"{told}{title} {why} ({quoted}){advice}", status, code, said, wait=wait
            )
        kind = UnknownOutcomeError if status >= 500 or status in (408, 409) else ProviderError
        return kind(f"{told}{title} said {status}: {quoted}{advice}", status, code, said)


def upload_body(name: str, size: int) -> dict[str, Any]:
    """What begins an upload in parts of a file of `size` bytes."""
    return {
        "bytes": size,
        "filename": name,
        "mime_type": "application/jsonl",
        "purpose": "fine-tune",
    }


def _transport_errors() -> tuple[type[Exception], ...]:
    """What the SDK's transport raises in the middle of a stream; it is httpx or, in newer releases, httpx2."""
    return tuple(
        sys.modules[name].TransportError for name in ("httpx", "httpx2") if name in sys.modules
    )


def _sent(made: Any) -> dict[str, Any]:
    """What the service sent of a thing; raises `ValueError` where that has no id, such as an error that comes as a success."""
    raw: dict[str, Any] = made.to_dict(mode="json", warnings=False)
    if not raw.get("id"):
        raise ValueError(f"it has no id: {raw}")
    return raw


def _wait(headers: Mapping[str, str]) -> float:
    """The seconds that a service wants to be left alone; 0 where it does not say, or gives a date."""
    try:
        return max(float(headers.get("retry-after") or 0), 0)
    except ValueError:
        return 0


def _quoted(id: str) -> str:
    """An id as a part of a path, in which dots alone would mean another one."""
    return quote(id, safe="") if id.strip(".") else id.replace(".", "%2E")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:300]}…"
