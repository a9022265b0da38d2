"""Integrations of jobs: requirements for metrics at Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from ftkit.errors import install_command
from ftkit.server.errors import InvalidRequestError


def check_wandb(environment: Mapping[str, str]) -> None:
    """Raise `InvalidRequestError` if the service cannot log to Weights & Biases.

    Args:
        environment: Environment variables of the service.
    """
    mode = environment.get("WANDB_MODE") or "online"
    if not _is_installed("wandb"):
        reason = f"it needs the package wandb; install it with: {install_command('wandb')}"
    elif mode not in ("online", "offline"):
        reason = "its environment variable WANDB_MODE must be 'online' or 'offline'"
    elif mode == "online" and not environment.get("WANDB_API_KEY"):
        reason = "it needs the environment variable WANDB_API_KEY, or WANDB_MODE=offline"
    else:
        return
    message = f"This service cannot log to Weights & Biases: {reason}."
    raise InvalidRequestError(message, "integrations", "unsupported_parameter")


def _is_installed(package: str) -> bool:
    """Return True for a package, but not for a folder of its name in the working directory."""
    spec = find_spec(package)
    return spec is not None and spec.origin is not None
