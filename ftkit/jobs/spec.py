"""Job specs: what to submit, the request that creates it, and the provider's limits."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ftkit.catalog import Api, api_limits
from ftkit.errors import UsageError

METADATA_KEY = "ftkit_submission"
"""Metadata key that holds the submission id."""

AUTO_METHOD = "auto"
"""The method that is chosen by the format of the training file; see `start_job`."""

MAX_LEARNING_RATE = 0.01
"""Highest plausible learning rate, where a provider takes that instead of a multiplier."""


class JobSpec(Struct, frozen=True):
    """A job to submit. Paths are local; hyperparameters that are None are left to the provider.

    Attributes:
        model: Base model to fine-tune.
        training: Path of the training file.
        validation: Path of the validation file.
        method: `supervised`, `dpo`, `reinforcement`, or `auto` for `start_job` to choose.
        suffix: Suffix for the fine-tuned model's name.
        epochs: Number of training epochs.
        batch_size: Batch size.
        lr_multiplier: Learning rate multiplier; with some providers, the learning rate itself.
        beta: DPO beta: strength of the penalty for drifting from the base model.
        seed: Random seed.
        metadata: Key-value pairs that the provider stores with the job.
        wandb_project: Weights & Biases project to send metrics to.
        grader: The grader's JSON, for the reinforcement method.
        training_type: Where and at which price to train, with providers that offer a choice.
    """

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
    spec: JobSpec, api: Api, training: str, validation: str | None, submission: str = ""
) -> dict[str, Any]:
    """Return the body of the request that creates a job, in the provider's dialect.

    Args:
        spec: The job spec.
        api: The provider's API.
        training: Id of the training file at the provider.
        validation: Id of the validation file, or None.
        submission: The submission id, to be stored in the metadata if the provider has any.
    """
    body: dict[str, Any] = {"model": spec.model, "training_file": training}
    body |= _method_fields(spec, api)
    metadata = dict(spec.metadata)
    if submission and "metadata" not in api.lacks:
        metadata[METADATA_KEY] = submission
    wandb = {"type": "wandb", "wandb": {"project": spec.wandb_project}}
    optional = {
        "validation_file": validation,
        "suffix": spec.suffix or None,
        "seed": spec.seed,
        "metadata": metadata or None,
        "integrations": [wandb] if spec.wandb_project else None,
        "trainingType": spec.training_type or next(iter(api.training_types), None),
    }
    return body | {name: value for name, value in optional.items() if value is not None}


def _method_fields(spec: JobSpec, api: Api) -> dict[str, Any]:
    """Return the fields for the method and the hyperparameters."""
    values = {
        "n_epochs": spec.epochs,
        "batch_size": spec.batch_size,
        "learning_rate_multiplier": spec.lr_multiplier,
        "beta": spec.beta,
    }
    values = {name: value for name, value in values.items() if value is not None}
    hyperparameters = {"hyperparameters": values} if values else {}
    if api.hyperparameters == "flat":
        return hyperparameters
    settings: dict[str, Any] = {**hyperparameters}
    if spec.grader:
        settings["grader"] = spec.grader
    if api.hyperparameters != "flat method":
        settings = {spec.method: settings} if settings else {}
    return {"method": {"type": spec.method, **settings}}


def check(spec: JobSpec, api: Api, title: str) -> None:
    """Check a job spec against the limits of a provider.

    Args:
        spec: The job spec.
        api: The provider's API.
        title: The provider's name, for the messages.

    Raises:
        UsageError: The provider would refuse the job.
    """
    if spec.method == AUTO_METHOD:
        raise UsageError(
            "`method` must be supervised, dpo or reinforcement; only start_job chooses"
        )
    _check_suffix(spec.suffix, api, title)
    _check_hyperparameters(spec, api, title)
    _check_method(spec)
    _check_training_type(spec.training_type, api, title)
    if spec.wandb_project and "integrations" in api.lacks:
        raise UsageError(f"{title} has no integrations; leave `wandb_project` out")
    _check_metadata(spec.metadata, api, title)


def _check_suffix(suffix: str | None, api: Api, title: str) -> None:
    if api.suffix and suffix is not None and not 1 <= len(suffix) <= api.suffix.value:
        raise UsageError(
            f"`suffix` has {len(suffix)} characters; {title} takes 1 to {api.suffix.value}"
        )
    if suffix and api.suffix_characters and not re.fullmatch(f"[{api.suffix_characters}]*", suffix):
        raise UsageError(
            f"`suffix` {suffix!r} is invalid; "
            f"{title} takes only the characters {api.suffix_characters}"
        )
    if api.suffix_needed and not suffix:
        raise UsageError(f"{title} needs a `suffix`")


def _check_hyperparameters(spec: JobSpec, api: Api, title: str) -> None:
    if not api.auto and spec.epochs is None:
        raise UsageError(f"{title} does not choose the epochs itself; set `epochs`")
    max_epochs = api.epochs.value if api.epochs else None
    max_batch = api.batch_size.value if api.batch_size else None
    _check_range("epochs", spec.epochs, 1, max_epochs, title)
    _check_range("batch_size", spec.batch_size, 1, max_batch, title)
    _check_range("seed", spec.seed, 0, api_limits().seed.value, title)
    rate = spec.lr_multiplier
    if rate is None:
        return
    if not 0 < rate < math.inf:
        raise UsageError(f"`lr_multiplier` must be a number greater than 0, not {rate}")
    if api.rate_is_absolute and rate > MAX_LEARNING_RATE:
        raise UsageError(
            f"`lr_multiplier` {rate:g} is too large: "
            f"{title} takes the learning rate itself, e.g. 2e-5"
        )


def _check_range(
    name: str, value: int | None, minimum: int, maximum: int | None, title: str
) -> None:
    if value is not None and (value < minimum or (maximum is not None and value > maximum)):
        values = f"{minimum} to {maximum:,}" if maximum else f"{minimum} or more"
        raise UsageError(f"`{name}` must be {values} at {title}, not {value}")


def _check_method(spec: JobSpec) -> None:
    max_beta = api_limits().beta.value
    if spec.beta is not None and (spec.method != "dpo" or not 0 < spec.beta <= max_beta):
        raise UsageError(
            f"`beta` is for `method` dpo, and must be more than 0 and at most {max_beta}"
        )
    if spec.method == "reinforcement" and not (spec.grader and spec.validation):
        raise UsageError("`method` reinforcement needs a `grader` and a `validation_file`")
    if spec.grader is not None and spec.method != "reinforcement":
        raise UsageError(f"`grader` is for `method` reinforcement, not {spec.method}")


def _check_training_type(training_type: str | None, api: Api, title: str) -> None:
    if training_type is None or training_type in api.training_types:
        return
    names = ", ".join(api.training_types)
    advice = f"it is one of {names}" if names else "leave it out"
    raise UsageError(f"{title} has no `training_type` {training_type!r}; {advice}")


def _check_metadata(metadata: Mapping[str, str], api: Api, title: str) -> None:
    if metadata and "metadata" in api.lacks:
        raise UsageError(f"{title} has no metadata; leave `metadata` out")
    max_pairs = api.metadata_pairs.value - 1 if api.metadata_pairs else None
    if max_pairs is not None and len(metadata) > max_pairs:
        raise UsageError(
            f"`metadata` has {len(metadata)} pairs; "
            f"{title} takes {max_pairs + 1}, and ftkit needs one"
        )
    max_key, max_value = api_limits().metadata_key.value, api_limits().metadata_value.value
    for key, value in metadata.items():
        if not key or len(key) > max_key or len(value) > max_value:
            raise UsageError(
                f"`metadata` {key[:max_key]!r}: a key has 1 to {max_key} characters, "
                f"a value at most {max_value}"
            )
