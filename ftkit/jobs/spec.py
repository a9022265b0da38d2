"""What is to be submitted: the order, what a service would refuse of it, and the request in the dialect of the service."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ftkit.catalog import Api, api_limits
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
    spec: JobSpec, api: Api, training: str, validation: str | None, mark: str = ""
) -> dict[str, Any]:
    """The body of the request that creates the job, for files of these ids, in the dialect of the service."""
    body: dict[str, Any] = {"model": spec.model, "training_file": training}
    hyperparameters = {
        "n_epochs": spec.epochs,
        "batch_size": spec.batch_size,
        "learning_rate_multiplier": spec.lr_multiplier,
        "beta": spec.beta,
    }
    given: dict[str, Any] = {
        name: value for name, value in hyperparameters.items() if value is not None
    }
    if api.hyperparameters == "flat":
        body |= {"hyperparameters": given} if given else {}
    else:
        inner: dict[str, Any] = {"hyperparameters": given} if given else {}
        inner |= {"grader": spec.grader} if spec.grader else {}
        typed = (
            inner
            if api.hyperparameters == "flat method"
            else ({spec.method: inner} if inner else {})
        )
        body["method"] = {"type": spec.method, **typed}
    metadata = {**spec.metadata, **({MARK: mark} if mark and "metadata" not in api.lacks else {})}
    more = {
        "validation_file": validation,
        "suffix": spec.suffix,
        "seed": spec.seed,
        "metadata": metadata or None,
        "integrations": [{"type": "wandb", "wandb": {"project": spec.wandb_project}}]
        if spec.wandb_project
        else None,
        "trainingType": spec.training_type or next(iter(api.training_types), None),
    }
    return body | {name: value for name, value in more.items() if value is not None}


def check(spec: JobSpec, api: Api, title: str) -> None:
    """Raise `UsageError` for what the service would refuse."""
    _check_suffix(spec.suffix, api, title)
    if not api.auto and spec.epochs is None:
        raise UsageError(f"{title} does not choose the epochs itself; give --epochs")
    _within("--epochs", spec.epochs, 1, api.epochs.value if api.epochs else None, title)
    _within(
        "--batch-size", spec.batch_size, 1, api.batch_size.value if api.batch_size else None, title
    )
    _within("--seed", spec.seed, 0, api_limits().seed.value, title)
    if spec.lr_multiplier is not None and not 0 < spec.lr_multiplier < math.inf:
        raise UsageError("--lr-multiplier must be a number more than 0")
    if spec.lr_multiplier is not None and api.rate_is_absolute and spec.lr_multiplier > 0.01:
        told = f"--lr-multiplier {spec.lr_multiplier:g} is too large"
        raise UsageError(f"{title} takes the learning rate itself, e.g. 2e-5; {told}")
    most_beta = api_limits().beta.value
    if spec.beta is not None and (spec.method != "dpo" or not 0 < spec.beta <= most_beta):
        raise UsageError(f"--beta is for --method dpo, and more than 0 and at most {most_beta}")
    if spec.method == "reinforcement" and (spec.grader is None or spec.validation is None):
        raise UsageError("--method reinforcement needs a --grader and a --validation-file")
    if spec.grader is not None and spec.method != "reinforcement":
        raise UsageError(f"--grader is for --method reinforcement; this is {spec.method}")
    if spec.training_type is not None and spec.training_type not in api.training_types:
        those = (
            f"it is one of {', '.join(api.training_types)}"
            if api.training_types
            else "leave it out"
        )
        raise UsageError(f"--training-type {spec.training_type} is not known at {title}; {those}")
    if spec.wandb_project and "integrations" in api.lacks:
        raise UsageError(f"{title} has no integrations; leave --wandb-project out")
    _check_metadata(spec.metadata, api, title)


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
    most_key, most_value = api_limits().metadata_key.value, api_limits().metadata_value.value
    for key, value in metadata.items():
        if not key or len(key) > most_key or len(value) > most_value:
            raise UsageError(
                f"--metadata {key[:most_key]!r}: a key has 1 to {most_key} characters,"
                f" a value at most {most_value}"
            )
