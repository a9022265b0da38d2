"""ftkit checks fine-tuning data, says what training on it will cost, and runs the job."""

from ftkit._version import __version__
from ftkit.errors import FileProblem, FtkitError, UnknownName, UsageProblem
from ftkit.summary import FileReport, Finding, Report
from ftkit.validate import validate

__all__ = [
    "FileProblem",
    "FileReport",
    "Finding",
    "FtkitError",
    "Report",
    "UnknownName",
    "UsageProblem",
    "__version__",
    "validate",
]
