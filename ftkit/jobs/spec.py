"""What is to be submitted: the order, what a service would refuse of it, and the request in the dialect of the service."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ftkit.catalog import Api
from ftkit.errors import UsageError

MARK = "ftkit_submission"
"""The key of the submission's id in the job's metadata."""


class JobSpec(Struct, frozen=True):
    """What to submit. Paths are local; hyperparameters that are None are left to the service."""

    model: str
    training: str
    validation: str | None = None
    method: str = "supervised"
    suffix: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    lr_multiplier: float | None = None
    beta: float | None = None
    seed: int | None = None
    metadata: dict[str, str] = {}
    wandb_project: str | None = None
    grader: dict[str, Any] | None = None
    training_type: str | None = None


def request(
    order: JobSpec, api: Api, training: str, validation: str | None, mark: str = ""
) -> dict[str, Any]:
    """The body of the request that creates the job, for files of these ids, in the dialect of the service."""
    body: dict[str, Any] = {"model": order.model, "training_file": training}
    hyperparameters = {
        "n_epochs": order.epochs,
        "batch_size": order.batch_size,
        "learning_rate_multiplier": order.lr_multiplier,
        "beta": order.beta,
    }
    given: dict[str, Any] = {
        name: value for name, value in hyperparameters.items() if value is not None
    }
    if api.hyperparameters == "flat":
        body |= {"hyperparameters": given} if given else {}
    else:
        inner: dict[str, Any] = {"hyperparameters": given} if given else {}
        inner |= {"grader": order.grader} if order.grader else {}
        typed = (
            inner
            if api.hyperparameters == "flat method"
            else ({order.method: inner} if inner else {})
        )
        body["method"] = {"type": order.method, **typed}
    metadata = {**order.metadata, **({MARK: mark} if mark and "metadata" not in api.lacks else {})}
    more = {
        "validation_file": validation,
        "suffix": order.suffix,
        "seed": order.seed,
        "metadata": metadata or None,
        "integrations": [{"type": "wandb", "wandb": {"project": order.wandb_project}}]
        if order.wandb_project
        else None,
        "trainingType": order.training_type or next(iter(api.training_types), None),
    }
    return body | {name: value for name, value in more.items() if value is not None}


def check(order: JobSpec, api: Api, title: str) -> None:
    """Raise `UsageError` for what the service would refuse."""
    _check_suffix(order.suffix, api, title)
    if not api.auto and order.epochs is None:
        raise UsageError(f"{title} does not choose the epochs itself; give --epochs")
    _within("--epochs", order.epochs, 1, api.epochs.value if api.epochs else None, title)
    _within(
        "--batch-size", order.batch_size, 1, api.batch_size.value if api.batch_size else None, title
    )
    _within("--seed", order.seed, 0, 2_147_483_647, title)
    if order.lr_multiplier is not None and not 0 < order.lr_multiplier < math.inf:
        raise UsageError("--lr-multiplier must be a number more than 0")
    if order.lr_multiplier is not None and api.rate_is_absolute and order.lr_multiplier > 0.01:
        told = f"--lr-multiplier {order.lr_multiplier:g} is too large"
        raise UsageError(f"{title} takes the learning rate itself, e.g. 2e-5; {told}")
    if order.beta is not None and (order.method != "dpo" or not 0 < order.beta <= 2):
        raise UsageError("--beta is for --method dpo, and more than 0 and at most 2")
    if order.method == "reinforcement" and (order.grader is None or order.validation is None):
        raise UsageError("--method reinforcement needs a --grader and a --validation-file")
    if order.grader is not None and order.method != "reinforcement":
        raise UsageError(f"--grader is for --method reinforcement; this is {order.method}")
    if order.training_type is not None and order.training_type not in api.training_types:
        those = (
            f"it is one of {', '.join(api.training_types)}"
            if api.training_types
            else "leave it out"
        )
        raise UsageError(f"--training-type {order.training_type} is not known at {title}; {those}")
    if order.wandb_project and "integrations" in api.lacks:
        raise UsageError(f"{title} has no integrations; leave --wandb-project out")
    _check_metadata(order.metadata, api, title)


def _check_suffix(suffix: str | None, api: Api, title: str) -> None:
    if api.suffix and suffix is not None and not 1 <= len(suffix) <= api.suffix.value:
        raise UsageError(
            f"--suffix has {len(suffix)} characters; {title} takes 1 to {api.suffix.value}"
        )
    if suffix and api.suffix_characters and not re.fullmatch(f"[{api.suffix_characters}]*", suffix):
        raise UsageError(
            f"--suffix {suffix!r}: {title} takes only the characters {api.suffix_characters}"
        )
    if api.suffix_needed and not suffix:
        raise UsageError(f"{title} needs a --suffix")


def _within(name: str, value: int | None, least: int, most: int | None, title: str) -> None:
    if value is not None and (value < least or (most is not None and value > most)):
        raise UsageError(
            f"{name} {value} is not taken by {title}; it is {least}{f' to {most:,}' if most else ' or more'}"
        )


def _check_metadata(metadata: Mapping[str, str], api: Api, title: str) -> None:
    if metadata and "metadata" in api.lacks:
        raise UsageError(f"{title} has no metadata; leave --metadata out")
    most = api.metadata_pairs.value - 1 if api.metadata_pairs else None
    if most is not None and len(metadata) > most:
        raise UsageError(
            f"{len(metadata)} pairs of --metadata; {title} takes {most + 1}, and ftkit needs one"
        )
    for key, value in metadata.items():
        if not key or len(key) > 64 or len(value) > 512:
            raise UsageError(
                f"--metadata {key[:64]!r}: a key has 1 to 64 characters, a value at most 512"
            )
