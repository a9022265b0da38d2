"""ftkit checks fine-tuning data, says what training on it will cost, and runs the job."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ftkit._version import __version__
from ftkit.errors import FileProblem, FtkitError, UnknownName, UsageProblem

if TYPE_CHECKING:
    from ftkit.connecting import connect
    from ftkit.estimation import Estimate, Measured, estimate, measure
    from ftkit.journal import Journal
    from ftkit.order import Order
    from ftkit.providers import LostAnswer, Service, ServiceProblem
    from ftkit.remote import Checkpoint, Event, Job
    from ftkit.submission import submit
    from ftkit.summary import FileReport, Finding, Report
    from ftkit.validation import validate
    from ftkit.watching import watch

HOMES = {
    "Checkpoint": "remote",
    "Estimate": "estimation",
    "Event": "remote",
    "FileReport": "summary",
    "Finding": "summary",
    "Job": "remote",
    "Journal": "journal",
    "LostAnswer": "providers",
    "Measured": "estimation",
    "Order": "order",
    "Report": "summary",
    "Service": "providers",
    "ServiceProblem": "providers",
    "connect": "connecting",
    "estimate": "estimation",
    "measure": "estimation",
    "submit": "submission",
    "validate": "validation",
    "watch": "watching",
}
"""The modules of the public names that are imported when they are asked for, so that nobody pays for what they do not use."""


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'ftkit' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"ftkit.{HOMES[name]}"), name)
    globals()[name] = found
    return found


__all__ = [
    "Checkpoint",
    "Estimate",
    "Event",
    "FileProblem",
    "FileReport",
    "Finding",
    "FtkitError",
    "Job",
    "Journal",
    "LostAnswer",
    "Measured",
    "Order",
    "Report",
    "Service",
    "ServiceProblem",
    "UnknownName",
    "UsageProblem",
    "__version__",
    "connect",
    "estimate",
    "measure",
    "submit",
    "validate",
    "watch",
]
