"""Requests to one account: errors, retries and lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Self

from ftkit.catalog import Api, Provider
from ftkit.client.errors import Endpoint, translated_errors
from ftkit.client.pagination import Page, paginate
from ftkit.client.payloads import check_sender, raw_type, read_json
from ftkit.errors import UsageError

if TYPE_CHECKING:
    import openai

COMPLETION_RETRIES = 6
"""Retries of a chat completion. With the SDK's backoff they take about half a minute."""

RetryPolicy = Callable[[Callable[[], Any]], Any]
"""Function that calls a request until it succeeds and returns its result, such as a `Retry`."""


class Transport:
    """Connection of one account to a provider, without the resources of the API.

    Attributes:
        name: Name of the provider in the catalog.
        provider: Facts about the provider.
        api: Facts about its API.
    """

    def __init__(
        self,
        name: str,
        provider: Provider,
        api: Api,
        client: openai.OpenAI,
        retry: RetryPolicy | None = None,
        completion_retries: int = COMPLETION_RETRIES,
    ) -> None:
        self.name, self.provider, self.api = name, provider, api
        self._client = client
        self._retry: RetryPolicy = retry or (lambda request: request())
        self._completion_retries = completion_retries

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The client can send no requests afterwards."""
        self._client.close()

    @property
    def account(self) -> str:
        """Provider and address, without key or password: identifies the account in the journal."""
        return f"{self.name} {self.address}"

    @property
    def address(self) -> str:
        """Base URL, without key or password."""
        url = self._client.base_url.copy_with(userinfo=b"", query=None)
        return str(url).rstrip("/")

    @property
    def api_key(self) -> str:
        """API key, or `NO_KEY`."""
        return self._client.api_key

    def require(self, feature: str) -> None:
        """Raise `UsageError` if the provider lacks the feature."""
        if feature in self.api.lacks:
            raise UsageError(
                f"{self.provider.title} has no {feature}; "
                "`ftkit providers` lists the features of each provider"
            )

    def _list(self, action: str, path: str, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        return paginate(lambda page: self._list_page(action, path, page), query)

    def _list_page(self, action: str, path: str, parameters: Mapping[str, Any]) -> Page:
        def request() -> Page:
            with self._errors(action):
                options: Any = {"params": dict(parameters)}
                response = self._client.get(path, cast_to=raw_type(), options=options)
                check_sender(response.response)
                return Page.read(read_json(response))

        page: Page = self._retry(request)
        return page

    def _errors(self, action: str) -> AbstractContextManager[None]:
        if self._client.is_closed():
            raise UsageError("the client is closed; make another with `ftkit.connect`")
        title, url, keys = self.provider.title, str(self._client.base_url), tuple(self.api.keys)
        return translated_errors(action, Endpoint(title, url, self.api_key, keys))
