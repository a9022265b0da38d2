"""What the service refuses, in the shape that OpenAI's API has for errors."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """A request that is answered with an error; `kind` is the `type` of the error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.kind = status, param, code, kind

    @property
    def body(self) -> dict[str, Any]:
        """The answer's JSON."""
        return {
            "error": {
                "message": str(self),
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }


def invalid(message: str, param: str | None = None, code: str | None = None) -> Refusal:
    """A request that makes no sense."""
    return Refusal(400, message, param=param, code=code)


def not_there(what: str, id: str, param: str = "id", code: str | None = None) -> Refusal:
    """An id that this account does not have."""
    return Refusal(404, f"No such {what}: {id}", param=param, code=code)


def too_large(what: str, most: int) -> Refusal:
    """A body over the limit, in bytes."""
    return Refusal(
        413, f"{what} is larger than the {most:,} bytes that are taken.", code="content_too_large"
    )


def busy(message: str) -> Refusal:
    """A limit on what may wait at once."""
    return Refusal(429, message, code="rate_limit_exceeded", kind="requests")


def broken(message: str) -> Refusal:
    """The service's own fault."""
    return Refusal(500, message, kind="server_error")
