"""Results of checks of files, which other processes make and the pages show."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ftkit._version import __version__
from ftkit.report.data_verdict import Verdict
from ftkit.report.excerpts import Example
from ftkit.summary import Severity

Task = Literal["validate", "encode", "convert", "fix"]
"""Name of a check.

- `validate`: findings, tokens, and the report of `ftkit validate --html`.
- `encode`: the examples as a base model is trained on them.
- `convert`: the rows as chat examples.
- `fix`: the examples with their safe fixes.
"""

RESULT, REPORT, DATA = ".json", ".html", ".jsonl"
"""Suffixes of the files that a check makes: its result, an HTML report, and examples."""


MAX_PREPARED_BYTES = 64 << 20
"""Maximum size of a file that is converted or fixed, and of the result."""


class Check(Struct, frozen=True):
    """A check of a file.

    Attributes:
        task: Name of the check.
        tenant: Tenant that has the file. Results are not shared, or one could learn which files
            others have.
        sha256: SHA-256 of the file.
        arguments: Everything else that the result depends on, as a JSON object.
    """

    task: Task
    tenant: str
    sha256: str
    arguments: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the files with the result."""
        parts = [__version__, self.task, self.tenant, self.arguments]
        data = msgspec.json.encode(parts, order="deterministic")
        return f"{self.task}-{hashlib.sha256(data).hexdigest()[:32]}"


class RuleCount(Struct, frozen=True):
    """Findings of a rule: their number, and the lines and messages of the first ones."""

    name: str
    code: str
    severity: Severity
    summary: str
    count: int
    first: tuple[tuple[int, str], ...]


class Validated(Struct, frozen=True):
    """Result of `validate`.

    Attributes:
        format: Format of the examples, or None if it is not known.
        method: Fine-tuning method for that format, or "".
        tokens: Tokens of an epoch, by the reference tokenizer; 0 if they were not counted.
        trained: Those of them that are learned.
        longest: Tokens of the longest example.
        fixable: Number of findings with a safe fix.
    """

    verdict: Verdict
    format: str | None
    method: str
    lines: int
    examples: int
    errors: int
    warnings: int
    infos: int
    tokens: int
    trained: int
    longest: int
    fixable: int
    rules: tuple[RuleCount, ...]


class Encoded(Struct, frozen=True):
    """Result of `encode`.

    Attributes:
        examples: Number of examples that were encoded.
        total: Number of examples of the file; larger if a sample was encoded.
        sequences: Number of sequences (or pairs) that have something to learn.
        tokens: Number of tokens of an epoch.
        trained: Those of them that are learned.
        limit: Length in tokens to which examples are truncated.
        cut_examples: Number of examples that are truncated.
        cut_lines: Lines of the first of them.
        cut_tokens: Number of tokens to learn that truncation removes.
        dropped: Number of sequences without anything to learn.
        refused: Reasons why the base model cannot be trained on examples, the first ones.
        overlap: Number of examples that the validation file has, too.
    """

    examples: int
    total: int
    sequences: int
    tokens: int
    trained: int
    limit: int
    cut_examples: int
    cut_lines: tuple[int, ...]
    cut_tokens: int
    dropped: int
    refused: tuple[str, ...]
    overlap: int

    @property
    def scale(self) -> float:
        """Factor by which the file has more examples than were encoded."""
        return self.total / self.examples if self.examples else 1.0


class PreparedFile(Struct, frozen=True):
    """Result of `convert` and `fix`.

    Attributes:
        title: Format of the file, such as "CSV".
        problem: Reason why there is no data, or "".
        option: Option of the reader that is missing, or "".
        value: A value of this option that may be right.
        columns: Columns to choose the messages from, each with its first value.
        unused: Columns whose values are not in the data.
        chosen: Column of each role that was chosen or detected.
        read: Number of rows.
        written: Number of examples.
        bytes: Size of the data.
        notes: What was changed or left out, one line for each reason.
        preview: The first examples.
    """

    title: str = ""
    problem: str = ""
    option: str = ""
    value: str = ""
    columns: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()
    chosen: dict[str, str] = {}
    read: int = 0
    written: int = 0
    bytes: int = 0
    notes: tuple[str, ...] = ()
    preview: tuple[Example, ...] = ()
