"""The bodies of requests: their types, and how they are read. What the types refuse is refused as OpenAI's API does.

Limits are those of OpenAI's API description of 2026-08-21, unless they are the service's own.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from ftkit.server.errors import invalid

T = TypeVar("T")

BODY_BYTES = 16 << 20
"""Bytes that a JSON body may have."""

FILE_BYTES = 8_000_000_000
"""Bytes that a file may have, whether it comes whole or in parts; OpenAI's limit for uploads in parts."""

PART_BYTES = 64 << 20
PARTS = 1_000
UPLOAD_LIFE = 3600
"""Bytes of a part of an upload, parts of an upload, and seconds that an upload lives."""

PURPOSES = ("fine-tune", "assistants", "batch", "vision", "user_data", "evals")

Auto = Literal["auto"]
Epochs = Auto | Annotated[int, Meta(ge=1, le=50)]
BatchSize = Auto | Annotated[int, Meta(ge=1, le=256)]
Rate = Auto | Annotated[float, Meta(gt=0)]
Beta = Auto | Annotated[float, Meta(gt=0, le=2)]
Zero = Annotated[float, Meta(ge=0, le=0)]
Text64 = Annotated[str, Meta(min_length=1, max_length=64)]
Metadata = Annotated[dict[Text64, Annotated[str, Meta(max_length=512)]], Meta(max_length=16)]


class Hyperparameters(Struct, forbid_unknown_fields=True):
    """How to train; what is `auto` is chosen by the service."""

    n_epochs: Epochs = "auto"
    batch_size: BatchSize = "auto"
    learning_rate_multiplier: Rate = "auto"
    beta: Beta | UnsetType = UNSET


class Supervised(Struct, forbid_unknown_fields=True):
    hyperparameters: Hyperparameters = msgspec.field(default_factory=Hyperparameters)


class Method(Struct, forbid_unknown_fields=True):
    """The method, and its hyperparameters under its own name."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Supervised | None = None
    dpo: Supervised | None = None
    reinforcement: dict[str, Any] | None = None


class JobBody(Struct, forbid_unknown_fields=True):
    """What `POST /v1/fine_tuning/jobs` is given."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    training_file: str
    validation_file: str | None = None
    suffix: Text64 | None = None
    seed: Annotated[int, Meta(ge=0, le=2_147_483_647)] | None = None
    metadata: Metadata | None = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None
    integrations: list[Any] | None = None

    @property
    def type(self) -> str:
        """The method's name."""
        return self.method.type if self.method else "supervised"

    @property
    def wanted(self) -> Hyperparameters:
        """The hyperparameters, wherever they stand."""
        inner = (
            (self.method.dpo if self.method.type == "dpo" else self.method.supervised)
            if self.method
            else None
        )
        chosen = inner and inner.hyperparameters != Hyperparameters()
        return (
            inner.hyperparameters if inner and chosen else self.hyperparameters or Hyperparameters()
        )


class UploadBody(Struct, forbid_unknown_fields=True):
    """What `POST /v1/uploads` is given."""

    bytes: Annotated[int, Meta(ge=1)]
    filename: Annotated[str, Meta(min_length=1, max_length=512)]
    mime_type: str
    purpose: str
    expires_after: dict[str, Any] | None = None


class CompleteBody(Struct, forbid_unknown_fields=True):
    """What `POST /v1/uploads/ID/complete` is given."""

    part_ids: Annotated[list[str], Meta(min_length=1, max_length=PARTS)]
    md5: str | None = None


class Sampling(Struct, kw_only=True):
    """How an answer is drawn; the fields that chat and completions share. Those that change nothing here are taken and left."""

    model: str
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    n: Annotated[int, Meta(ge=1, le=16)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    seed: int | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    user: str | None = None
    # Scripts send these with the values that change nothing; others are refused.
    frequency_penalty: Zero | None = None
    presence_penalty: Zero | None = None
    logit_bias: Annotated[dict[str, float], Meta(max_length=0)] | None = None
    service_tier: str | None = None

    @property
    def stops(self) -> list[str]:
        """The texts that end an answer."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())


class Part(Struct):
    """A part of a message's content."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: Any = UNSET


class Function(Struct):
    """The call of a function."""

    name: str
    arguments: str


class Call(Struct):
    """The call of a tool."""

    function: Function


class Said(Struct):
    """A message; what chat templates take of it."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    refusal: str | None = None
    name: str | None = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None


class Plain(Struct):
    """The format of answers that are any text."""

    type: Literal["text"]


class ChatBody(Sampling, kw_only=True, forbid_unknown_fields=True):
    """What `POST /v1/chat/completions` is given."""

    messages: Annotated[list[Said], Meta(min_length=1)]
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    response_format: Plain | None = None
    logprobs: Literal[False] | None = None
    tools: Annotated[list[Any], Meta(max_length=0)] | None = None


class CompletionBody(Sampling, kw_only=True, forbid_unknown_fields=True):
    """What `POST /v1/completions` is given."""

    prompt: str | Annotated[list[str], Meta(min_length=1, max_length=1)]
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    logprobs: None = None
    suffix: None = None


def read_body(data: bytes, type: type[T]) -> T:
    """The JSON of a body as `type`; raises `Refusal`."""
    try:
        return msgspec.json.decode(data or b"{}", type=type)
    except msgspec.ValidationError as error:
        raise _refused(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"The body is not JSON: {error}") from error


def _refused(said: str) -> Exception:
    what, _, at = said.partition(" - at ")
    where = at.strip("`").removeprefix("$").removeprefix(".")
    named = re.search(r"field `([^`]*)`", what)
    field = ".".join(filter(None, (where, named[1] if named else "")))
    if "unknown field" in what:
        return invalid(
            f"Unrecognized request argument supplied: {field}", field, "unknown_parameter"
        )
    if "missing required field" in what:
        return invalid(
            f"Missing required parameter: '{field}'.", field, "missing_required_parameter"
        )
    return invalid(
        f"Invalid value for '{field or 'the body'}': {what[:1].lower()}{what[1:]}.",
        field or None,
        "invalid_value",
    )


def check_purpose(purpose: str) -> None:
    """Raise `Refusal` for a purpose that no file can have."""
    if purpose not in PURPOSES:
        raise invalid(f"'{purpose[:64]}' is not one of {list(PURPOSES)} - 'purpose'", "purpose")


def check_name(name: str, purpose: str) -> None:
    """Raise `Refusal` for a training file that is not called one."""
    if purpose == "fine-tune" and not name.endswith(".jsonl"):
        raise invalid("Invalid file format for Fine-Tuning API. Must be .jsonl", "file")
