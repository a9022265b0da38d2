"""Responses of `/v1/responses`, complete or as server-sent events.

Both are made of the same events: a complete response is that of the last one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from ftkit.server.errors import InternalError, LimitReachedError, ServiceError, UnavailableError
from ftkit.server.logprobs import LogprobCounter, chat_logprobs
from ftkit.server.objects import new_id, now
from ftkit.server.responses import server_sent_event

RESPONSE_PREFIX = "resp_"
"""Start of the ids of responses."""

ERROR_CODES: dict[type[ServiceError], str] = {
    InternalError: "server_error",
    UnavailableError: "server_error",
    LimitReachedError: "rate_limit_exceeded",
}
"""Code of a failed response by the exception; those of other exceptions are "invalid_prompt"."""

Event = dict[str, Any]


class ResponseEvents:
    """Events of a response, made of the responses of the generation process.

    Args:
        echo: Fields of the response that repeat those of the request.
    """

    def __init__(self, echo: dict[str, Any]) -> None:
        self._fields = {
            "id": new_id(RESPONSE_PREFIX),
            "object": "response",
            "created_at": now(),
            "completed_at": None,
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "output": [],
            "usage": None,
            **echo,
        }
        self._output: list[dict[str, Any]] = []
        self._sequence_number = 0
        self._message_id = ""  # of the message that is not complete yet
        self._texts: list[str] = []
        self._logprobs: list[dict[str, Any]] = []
        self._logprob_counter = LogprobCounter()
        self._finish_reason, self._tokens = "", 0

    def start(self) -> Iterator[Event]:
        """Yield the events at the start of a response."""
        yield self._event("response.created", response=self._fields)
        yield self._event("response.in_progress", response=self._fields)

    def add(self, response: dict[str, Any]) -> Iterator[Event]:
        """Yield the events for a response of the process.

        Raises:
            InvalidRequestError: There are too many log probabilities.
        """
        self._logprob_counter.add(response.get("logprobs"))
        if "text" in response:
            yield from self._add_text(response)
        elif "tool_calls" in response:
            yield from self._end_message("completed")
            for call in response["tool_calls"]:
                yield from self._add_call(call)
        elif "finish_reason" in response:
            self._finish_reason, self._tokens = response["finish_reason"], response["tokens"]
        else:
            yield from self._finish(response["prompt_tokens"])

    def fail(self, error: ServiceError) -> Event:
        """Return the event at the end of a response that cannot be completed."""
        code = ERROR_CODES.get(type(error), "invalid_prompt")
        return self._end_event(
            "failed", output=self._output, error={"code": code, "message": str(error)}
        )

    def _event(self, type: str, **fields: Any) -> Event:
        event = {"type": type, "sequence_number": self._sequence_number, **fields}
        self._sequence_number += 1
        return event

    def _end_event(self, status: str, **fields: Any) -> Event:
        response = {**self._fields, "status": status, **fields}
        return self._event(f"response.{status}", response=response)

    def _place(self) -> dict[str, Any]:
        """Return the place of the text in the response."""
        return {
            "item_id": self._message_id,
            "output_index": len(self._output),
            "content_index": 0,
        }

    def _add_text(self, response: dict[str, Any]) -> Iterator[Event]:
        if not self._message_id:
            yield from self._start_message()
        logprobs = (chat_logprobs(response.get("logprobs")) or {}).get("content", [])
        self._texts.append(response["text"])
        self._logprobs += logprobs
        delta = {"delta": response["text"], "logprobs": logprobs}
        yield self._event("response.output_text.delta", **self._place(), **delta)

    def _start_message(self) -> Iterator[Event]:
        self._message_id = new_id("msg_")
        self._texts, self._logprobs = [], []
        item = _message(self._message_id, "in_progress", [])
        yield self._event("response.output_item.added", output_index=len(self._output), item=item)
        yield self._event("response.content_part.added", **self._place(), part=_text_part("", []))

    def _end_message(self, status: str) -> Iterator[Event]:
        """Yield the events at the end of the message, if there is one."""
        if not self._message_id:
            return
        text, place = "".join(self._texts), self._place()
        part = _text_part(text, self._logprobs)
        done = {"text": text, "logprobs": self._logprobs}
        yield self._event("response.output_text.done", **place, **done)
        yield self._event("response.content_part.done", **place, part=part)
        item = _message(self._message_id, status, [part])
        yield self._event("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)
        self._message_id = ""

    def _add_call(self, call: dict[str, str]) -> Iterator[Event]:
        item = {
            "id": new_id("fc_"),
            "type": "function_call",
            "status": "completed",
            "call_id": new_id("call_"),
            "name": call["name"],
            "arguments": call["arguments"],
        }
        index, arguments = len(self._output), call["arguments"]
        place = {"item_id": item["id"], "output_index": index}
        started = {**item, "status": "in_progress", "arguments": ""}
        yield self._event("response.output_item.added", output_index=index, item=started)
        yield self._event("response.function_call_arguments.delta", **place, delta=arguments)
        yield self._event(
            "response.function_call_arguments.done",
            **place,
            name=call["name"],
            arguments=arguments,
        )
        yield self._event("response.output_item.done", output_index=index, item=item)
        self._output.append(item)

    def _finish(self, prompt_tokens: int) -> Iterator[Event]:
        status = "incomplete" if self._finish_reason == "length" else "completed"
        if not self._output and not self._message_id:
            yield from self._start_message()
        yield from self._end_message(status)
        details = {"reason": "max_output_tokens"} if status == "incomplete" else None
        yield self._end_event(
            status,
            completed_at=now() if status == "completed" else None,
            incomplete_details=details,
            output=self._output,
            usage=_usage(prompt_tokens, self._tokens),
        )


def _message(id: str, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": id,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _text_part(text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _usage(input_tokens: int, output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input_tokens + output_tokens,
    }


async def collect_response(
    echo: dict[str, Any], responses: AsyncIterator[dict[str, Any]]
) -> dict[str, Any]:
    """Return the complete response, once it is generated.

    Raises:
        ServiceError: The response cannot be generated.
    """
    events = ResponseEvents(echo)
    completed: dict[str, Any] = {}
    async for response in responses:
        for event in events.add(response):
            completed = event.get("response", completed)
    return completed


async def stream_response(
    echo: dict[str, Any], responses: AsyncIterator[dict[str, Any]]
) -> AsyncIterator[bytes]:
    """Yield the events of a response as server-sent events, an error among them."""
    events = ResponseEvents(echo)
    for event in events.start():
        yield _encode(event)
    try:
        async for response in responses:
            for event in events.add(response):
                yield _encode(event)
    except ServiceError as error:
        yield _encode(events.fail(error))


def _encode(event: Event) -> bytes:
    return server_sent_event(event, event["type"])
