"""Facts about providers, as in `providers.toml` and `unsupported.toml`."""

from __future__ import annotations

import datetime
from typing import Literal

from msgspec import Struct

from ftkit.catalog.figures import Figure
from ftkit.catalog.models import Model


class ModerationApi(Struct, frozen=True, forbid_unknown_fields=True):
    """A moderation model and the limits of the requests to it."""

    model: str
    cost: str
    """Cost of a request, such as "free"."""
    source: str
    """Where the cost was published."""
    checked: datetime.date
    input_characters: Figure
    """Characters of a text that are sent."""
    short_characters: Figure
    """Characters of a text that are sent if the longer one is refused again and again."""
    tokens_per_minute: Figure
    """Lowest rate limit of an account."""
    batch_requests: Figure
    """Maximum number of requests in a batch."""
    batch_bytes: Figure
    """Maximum size of the file of a batch."""


class Api(Struct, frozen=True, forbid_unknown_fields=True):
    """A provider's API: address, limits, and differences from OpenAI's."""

    source: str
    checked: datetime.date
    keys: tuple[str, ...]
    """Environment variables that may hold the API key."""
    base_url: str = ""
    address: str = ""
    """Example of a base URL, if each user has another."""
    suffix: Figure | None = None
    """Maximum characters of the suffix."""
    suffix_characters: str = ""
    """Characters that the suffix may have, as in a regular expression; all if empty."""
    suffix_needed: bool = False
    metadata_pairs: Figure | None = None
    """Maximum number of metadata entries."""
    epochs: Figure | None = None
    """Maximum number of epochs."""
    batch_size: Figure | None = None
    """Maximum batch size."""
    hyperparameters: Literal["method", "flat method", "flat"] = "method"
    """Place of the hyperparameters: under the method's type, in the method, or at the top level."""
    auto: bool = True
    """True if the provider chooses the number of epochs when it is not given."""
    rate_is_absolute: bool = False
    """True if the learning rate is given itself instead of a multiplier."""
    file_status: bool = True
    """True if files have a status."""
    cancel_with_body: bool = False
    """True if the request to cancel a job needs a body."""
    training_types: tuple[str, ...] = ()
    """Types of training (region and price tier); the first is the default."""
    embedded: bool = False
    """True for the service that comes with ftkit and is started when needed."""
    key_needed: bool = True
    sdk_variables: bool = False
    """True for OpenAI itself: the SDK sends it the headers that `OPENAI_*` variables set."""
    adapters: bool = False
    """True if adapters can be downloaded."""
    lacks: tuple[
        Literal[
            "events",
            "checkpoints",
            "pause",
            "large uploads",
            "metadata",
            "permissions",
            "integrations",
            "images by URL",
        ],
        ...,
    ] = ()
    """Features of OpenAI's API that the provider does not have."""
    moderation: ModerationApi | None = None
    closing: str = ""
    """Announced end of the provider's fine-tuning API, or ""."""


class Provider(Struct, frozen=True, forbid_unknown_fields=True):
    """Facts about a provider. Sizes are in bytes; an absent figure means that there is no limit."""

    title: str
    formats: tuple[str, ...]
    """Names of the dataset formats that can be trained on."""
    api: Api | None = None
    bills_validation: bool = False
    bom: Literal["unwanted", "wanted"] = "unwanted"
    """Expected presence of a byte order mark at the beginning of a file."""
    min_examples: Figure | None = None
    advised_examples: Figure | None = None
    file_bytes: Figure | None = None
    """Maximum size of a file that is uploaded whole."""
    direct_bytes: Figure | None = None
    """Size above which files are uploaded in parts, if it is less than `file_bytes`."""
    upload_bytes: Figure | None = None
    """Maximum size of a file that is uploaded in parts."""
    images_per_example: Figure | None = None
    image_bytes: Figure | None = None
    image_examples: Figure | None = None
    """Maximum number of examples with images."""
    reinforcement_examples: Figure | None = None
    reinforcement_validation_examples: Figure | None = None
    others: Model | None = None
    """Facts about models that the catalog does not name, if the provider trains any."""


class Unsupported(Struct, frozen=True, forbid_unknown_fields=True):
    """A provider whose API is too different from OpenAI's, and the reason."""

    title: str
    why: str
    source: str
    checked: datetime.date
