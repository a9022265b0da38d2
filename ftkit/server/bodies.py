"""Request bodies: their types, and decoding with errors like those of OpenAI's API.

Limits are from OpenAI's API description of 2026-08-21, unless stated otherwise.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from ftkit.server.errors import EXCERPT, InvalidRequestError

T = TypeVar("T")

BODY_BYTES = 1 << 20
"""Maximum size of a JSON body without a prompt; a limit of this service."""

PROMPT_BODY_BYTES = 16 << 20
"""Maximum size of a JSON body with a prompt; a limit of this service."""

FILE_BYTES = 8_000_000_000
"""Maximum size of a file, uploaded at once or in parts; OpenAI's limit for uploads in parts."""

PART_BYTES = 64 << 20
"""Maximum size of a part of an upload."""

MAX_UPLOAD_PARTS = 1_000
"""Maximum number of parts of an upload; a limit of this service."""

UPLOAD_SECONDS = 3600
"""Seconds until an upload expires."""

MAX_METADATA = 16
"""Maximum number of keys of an object's metadata."""

MAX_TAGS = 20
"""Maximum number of tags of a run at Weights & Biases; a limit of this service."""

NULL = Raw(b"null")
"""Value of a field that is absent or null, and is decoded only if it is used."""

PURPOSES = ("fine-tune", "assistants", "batch", "vision", "user_data", "evals")

Auto = Literal["auto"]
MAX_EPOCHS = 50
"""Maximum number of epochs."""

MAX_BATCH_SIZE = 256
"""Maximum number of examples of a batch."""

MAX_BETA = 2
"""Maximum DPO beta."""

MAX_SEED = 2_147_483_647
"""Maximum seed."""

MAX_SUFFIX = 64
"""Maximum number of characters of the suffix of a model's name."""

Epochs = Auto | Annotated[int, Meta(ge=1, le=MAX_EPOCHS)]
BatchSize = Auto | Annotated[int, Meta(ge=1, le=MAX_BATCH_SIZE)]
Rate = Auto | Annotated[float, Meta(gt=0)]
Beta = Auto | Annotated[float, Meta(gt=0, le=MAX_BETA)]
Text64 = Annotated[str, Meta(min_length=1, max_length=64)]
WandbName = Annotated[str, Meta(pattern=r"\A[^/\\#?%:\x00-\x1f\x7f]{1,128}\Z")]
"""Project or entity of Weights & Biases, which refuses other characters in names."""
Suffix = Annotated[str, Meta(pattern=rf"\A[^\x00-\x1f\x7f]{{1,{MAX_SUFFIX}}}\Z")]
"""Part of the name of a model. Control characters cannot be part of the path of a request."""
Name = Annotated[str, Meta(min_length=1, max_length=256)]
Metadata = Annotated[
    dict[Text64, Annotated[str, Meta(max_length=512)]], Meta(max_length=MAX_METADATA)
]


class Hyperparameters(Struct, forbid_unknown_fields=True):
    """Hyperparameters of a job; the service chooses those that are "auto"."""

    n_epochs: Epochs = "auto"
    batch_size: BatchSize = "auto"
    learning_rate_multiplier: Rate = "auto"
    beta: Beta | UnsetType = UNSET


class Supervised(Struct, forbid_unknown_fields=True):
    """Settings of the methods `supervised` and `dpo`."""

    hyperparameters: Hyperparameters = msgspec.field(default_factory=Hyperparameters)


class Method(Struct, forbid_unknown_fields=True):
    """Fine-tuning method, with its settings under its own name."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Supervised | None = None
    dpo: Supervised | None = None
    reinforcement: dict[str, Any] | None = None


class WandbSettings(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Project, display name, team or user, and tags of a run at Weights & Biases."""

    project: WandbName
    name: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    entity: WandbName | None = None
    tags: Annotated[list[Text64], Meta(max_length=MAX_TAGS)] | None = None


class Integration(Struct, forbid_unknown_fields=True):
    """Integration of a job. OpenAI's API has no other type."""

    type: Literal["wandb"]
    wandb: WandbSettings


class JobBody(Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/fine_tuning/jobs`."""

    model: Name
    training_file: Name
    validation_file: Annotated[str, Meta(max_length=256)] | None = None
    suffix: Suffix | None = None
    seed: Annotated[int, Meta(ge=0, le=MAX_SEED)] | None = None
    metadata: Metadata | None = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None
    integrations: Annotated[list[Integration], Meta(max_length=1)] | None = None

    @property
    def type(self) -> str:
        """Name of the fine-tuning method."""
        return self.method.type if self.method else "supervised"

    @property
    def job_hyperparameters(self) -> Hyperparameters:
        """Hyperparameters of the method, or else those of the job, which OpenAI has deprecated."""
        if self.method:
            settings = self.method.dpo if self.type == "dpo" else self.method.supervised
            if settings and settings.hyperparameters != Hyperparameters():
                return settings.hyperparameters
        return self.hyperparameters or Hyperparameters()


class ExpiresAfter(Struct, forbid_unknown_fields=True):
    """Expiry of a file, in seconds from its creation."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Meta(ge=3600, le=2_592_000)]


class FileFields(Struct):
    """Fields of the form of `POST /v1/files` that are objects."""

    expires_after: ExpiresAfter | None = None


class UploadBody(Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/uploads`."""

    bytes: Annotated[int, Meta(ge=1)]
    filename: Annotated[str, Meta(min_length=1, max_length=512)]
    mime_type: Annotated[str, Meta(max_length=256)]
    purpose: Annotated[str, Meta(max_length=64)]
    expires_after: ExpiresAfter | None = None


class CompleteBody(Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/uploads/ID/complete`."""

    part_ids: Annotated[list[Text64], Meta(min_length=1, max_length=MAX_UPLOAD_PARTS)]
    md5: Annotated[str, Meta(max_length=64)] | None = None


def read_body(data: bytes, type: type[T]) -> T:
    """Decode a JSON body.

    Raises:
        InvalidRequestError: The body is not JSON, or not a valid `type`.
    """
    try:
        return msgspec.json.decode(data or b"{}", type=type)
    except msgspec.ValidationError as error:
        raise _validation_error(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f"The body is not JSON: {error}") from error


def read_value(value: Raw, type: type[T], path: str) -> T:
    """Decode a JSON value that `read_body` has left as it is.

    Args:
        value: Value in a body.
        type: Type of the value.
        path: Its place in the body, such as `input[0]`.

    Raises:
        InvalidRequestError: The value is not a valid `type`.
    """
    try:
        return msgspec.json.decode(value, type=type)
    except msgspec.ValidationError as error:
        raise _validation_error(str(error), path) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"Invalid value for '{path}': it is not JSON: {error}"
        raise InvalidRequestError(message, path, "invalid_value") from error


def read_expiry(fields: dict[str, str]) -> ExpiresAfter | None:
    """Return the expiry in the fields of a form, such as `expires_after[seconds]`, or None.

    Raises:
        InvalidRequestError: The expiry is incomplete or invalid.
    """
    prefix, suffix = "expires_after[", "]"
    expiry = {
        name.removeprefix(prefix).removesuffix(suffix): value
        for name, value in fields.items()
        if name.startswith(prefix) and name.endswith(suffix)
    }
    form = {"expires_after": expiry or fields.get(prefix[:-1])}
    try:
        return msgspec.convert(form, FileFields, strict=False).expires_after
    except msgspec.ValidationError as error:
        raise _validation_error(str(error)) from error


def _validation_error(text: str, prefix: str = "") -> InvalidRequestError:
    """Translate a message of msgspec, such as "Expected `int`, got `str` - at `$.seed`"."""
    reason, _, location = text.rpartition(" - at ") if " - at " in text else (text, "", "")
    location = location.rpartition(" in ")[2]  # "`key` in `$.metadata`" for a key of a mapping
    path = (prefix + location.strip("`").removeprefix("$")).removeprefix(".")
    name = re.search(r"field `([^`]*)`", reason)
    field = ".".join(filter(None, (path, name[1] if name else "")))[:EXCERPT]
    reason = reason[:EXCERPT]
    if "unknown field" in reason:
        message = f"Unrecognized request argument supplied: {field}"
        return InvalidRequestError(message, field, "unknown_parameter")
    if "missing required field" in reason:
        message = f"Missing required parameter: '{field}'."
        return InvalidRequestError(message, field, "missing_required_parameter")
    message = f"Invalid value for '{field or 'the body'}': {reason[:1].lower()}{reason[1:]}."
    return InvalidRequestError(message, field or None, "invalid_value")


def check_purpose(purpose: str) -> None:
    """Raise `InvalidRequestError` if files cannot have this purpose."""
    if purpose not in PURPOSES:
        message = f"'{purpose[:64]}' is not one of {list(PURPOSES)} - 'purpose'"
        raise InvalidRequestError(message, "purpose")


def check_file_name(name: str, purpose: str) -> None:
    """Raise `InvalidRequestError` if a training file has another extension than `.jsonl`."""
    if purpose == "fine-tune" and not name.endswith(".jsonl"):
        raise InvalidRequestError("Invalid file format for Fine-Tuning API. Must be .jsonl", "file")
