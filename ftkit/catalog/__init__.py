"""Facts about models and providers: data with source and date, in the TOML files of this package.

The code itself names no model or provider. Unknown keys in the files are errors.
"""

from ftkit.catalog.base_models import RecommendedBase, base_models, recommended_bases
from ftkit.catalog.figures import Deadline, Figure, Price
from ftkit.catalog.limits import (
    DEFAULT_ENCODING,
    DEFAULT_PROVIDER,
    DEFAULT_TOKENS,
    ApiLimits,
    Limits,
    api_limits,
    find_limits,
    trainable_models,
)
from ftkit.catalog.load import (
    Catalog,
    find_model,
    find_provider,
    load_catalog,
    unsupported,
    with_others,
)
from ftkit.catalog.messages import KnownMessage, known_messages, match_messages
from ftkit.catalog.models import ImageCost, Model, Offer, base_model
from ftkit.catalog.providers import Api, ModerationApi, Provider, Unsupported

__all__ = [
    "DEFAULT_ENCODING",
    "DEFAULT_PROVIDER",
    "DEFAULT_TOKENS",
    "Api",
    "ApiLimits",
    "Catalog",
    "Deadline",
    "Figure",
    "ImageCost",
    "KnownMessage",
    "Limits",
    "Model",
    "ModerationApi",
    "Offer",
    "Price",
    "Provider",
    "RecommendedBase",
    "Unsupported",
    "api_limits",
    "base_model",
    "base_models",
    "find_limits",
    "find_model",
    "find_provider",
    "known_messages",
    "load_catalog",
    "match_messages",
    "recommended_bases",
    "trainable_models",
    "unsupported",
    "with_others",
]
