"""ftkit checks fine-tuning data, says what training on it will cost, and runs the job."""

from ftkit._version import __version__
from ftkit.errors import FileProblem, FtkitError, UnknownName, UsageProblem
from ftkit.estimate import Estimate, Measured, estimate, measure
from ftkit.summary import FileReport, Finding, Report
from ftkit.validate import validate

__all__ = [
    "Estimate",
    "FileProblem",
    "FileReport",
    "Finding",
    "FtkitError",
    "Measured",
    "Report",
    "UnknownName",
    "UsageProblem",
    "__version__",
    "estimate",
    "measure",
    "validate",
]
