"""ftkit checks fine-tuning data, estimates what training on it costs, and runs the job."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ftkit._version import __version__ as __version__

if TYPE_CHECKING:
    from ftkit.archive.sync import SyncResult as SyncResult
    from ftkit.archive.sync import archive as archive
    from ftkit.client.client import Client as Client
    from ftkit.client.connect import connect as connect
    from ftkit.client.resources import Checkpoint as Checkpoint
    from ftkit.client.resources import Event as Event
    from ftkit.client.resources import Job as Job
    from ftkit.compare.compare import compare as compare
    from ftkit.compare.comparison import Comparison as Comparison
    from ftkit.errors import FileError as FileError
    from ftkit.errors import FtkitError as FtkitError
    from ftkit.errors import NotFoundError as NotFoundError
    from ftkit.errors import ProviderError as ProviderError
    from ftkit.errors import UnknownNameError as UnknownNameError
    from ftkit.errors import UnknownOutcomeError as UnknownOutcomeError
    from ftkit.errors import UsageError as UsageError
    from ftkit.estimation.estimate import Estimate as Estimate
    from ftkit.estimation.estimate import estimate as estimate
    from ftkit.estimation.measure import Measured as Measured
    from ftkit.estimation.measure import measure as measure
    from ftkit.jobs.journal import Journal as Journal
    from ftkit.jobs.spec import JobSpec as JobSpec
    from ftkit.jobs.submit import Submitted as Submitted
    from ftkit.jobs.submit import submit as submit
    from ftkit.jobs.watch import watch as watch
    from ftkit.jobs.workflow import Callbacks as Callbacks
    from ftkit.jobs.workflow import JobPlan as JobPlan
    from ftkit.jobs.workflow import Outcome as Outcome
    from ftkit.jobs.workflow import StartOptions as StartOptions
    from ftkit.jobs.workflow import plan_job as plan_job
    from ftkit.jobs.workflow import start_job as start_job
    from ftkit.migration.migrate import migrate as migrate
    from ftkit.migration.plan import Move as Move
    from ftkit.prepare.audit import Audit as Audit
    from ftkit.prepare.convert.convert import convert as convert
    from ftkit.prepare.decontaminate import decontaminate as decontaminate
    from ftkit.prepare.dedupe import dedupe as dedupe
    from ftkit.prepare.file_formats.base import ReadOptions as ReadOptions
    from ftkit.prepare.filter.filter import filter_rows as filter_rows
    from ftkit.prepare.fix.fix import fix as fix
    from ftkit.prepare.mix import mix as mix
    from ftkit.prepare.prepared import Prepared as Prepared
    from ftkit.prepare.recipe.run import RecipeResult as RecipeResult
    from ftkit.prepare.recipe.run import run_recipe as run_recipe
    from ftkit.prepare.sample import sample as sample
    from ftkit.prepare.screen.moderation import Moderation as Moderation
    from ftkit.prepare.screen.moderation import ModerationPlan as ModerationPlan
    from ftkit.prepare.screen.screen import screen as screen
    from ftkit.prepare.show import Shown as Shown
    from ftkit.prepare.show import show as show
    from ftkit.prepare.split.split import Split as Split
    from ftkit.prepare.split.split import split as split
    from ftkit.summary import FileReport as FileReport
    from ftkit.summary import Finding as Finding
    from ftkit.summary import Report as Report
    from ftkit.validation.validate import validate as validate

_MODULES = {
    "ftkit.archive.sync": ("SyncResult", "archive"),
    "ftkit.client.client": ("Client",),
    "ftkit.client.connect": ("connect",),
    "ftkit.client.resources": ("Checkpoint", "Event", "Job"),
    "ftkit.compare.compare": ("compare",),
    "ftkit.compare.comparison": ("Comparison",),
    "ftkit.errors": (
        "FileError",
        "FtkitError",
        "NotFoundError",
        "ProviderError",
        "UnknownNameError",
        "UnknownOutcomeError",
        "UsageError",
    ),
    "ftkit.estimation.estimate": ("Estimate", "estimate"),
    "ftkit.estimation.measure": ("Measured", "measure"),
    "ftkit.jobs.journal": ("Journal",),
    "ftkit.jobs.spec": ("JobSpec",),
    "ftkit.jobs.submit": ("Submitted", "submit"),
    "ftkit.jobs.watch": ("watch",),
    "ftkit.jobs.workflow": (
        "Callbacks",
        "JobPlan",
        "Outcome",
        "StartOptions",
        "plan_job",
        "start_job",
    ),
    "ftkit.migration.migrate": ("migrate",),
    "ftkit.migration.plan": ("Move",),
    "ftkit.prepare.convert.convert": ("convert",),
    "ftkit.prepare.decontaminate": ("decontaminate",),
    "ftkit.prepare.dedupe": ("dedupe",),
    "ftkit.prepare.file_formats.base": ("ReadOptions",),
    "ftkit.prepare.filter.filter": ("filter_rows",),
    "ftkit.prepare.fix.fix": ("fix",),
    "ftkit.prepare.audit": ("Audit",),
    "ftkit.prepare.mix": ("mix",),
    "ftkit.prepare.prepared": ("Prepared",),
    "ftkit.prepare.recipe.run": ("RecipeResult", "run_recipe"),
    "ftkit.prepare.sample": ("sample",),
    "ftkit.prepare.screen.moderation": ("Moderation", "ModerationPlan"),
    "ftkit.prepare.screen.screen": ("screen",),
    "ftkit.prepare.show": ("Shown", "show"),
    "ftkit.prepare.split.split": ("Split", "split"),
    "ftkit.summary": ("FileReport", "Finding", "Report"),
    "ftkit.validation.validate": ("validate",),
}
"""Public names by module. A module is imported when one of its names is first used."""

_RENAMED = {
    "FileProblem": "FileError",
    "LostAnswer": "UnknownOutcomeError",
    "Order": "JobSpec",
    "Service": "Client",
    "ServiceProblem": "ProviderError",
    "UnknownName": "UnknownNameError",
    "UsageProblem": "UsageError",
}
"""Public names of version 0.1 and what replaces them."""

_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        import warnings

        replacement = _RENAMED[name]
        message = f"ftkit.{name} is now ftkit.{replacement}"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return __getattr__(replacement)
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'ftkit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """The package, in which the functions `archive` and `compare` hide their subpackages.

    Importing `ftkit.compare.ask` would otherwise set `ftkit.compare` to the subpackage.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _MODULE_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
