"""What a rule is. Each rule is one decorated generator in the module of its subject; `RULES` collects them.

A check gets the subject that its rule looks at and the `ScanPlan`, and yields a `Hit` for each place where the rule is broken.
The caller adds code, severity and line. The subjects, by the name given as `on`:

- `"file"`: `detect.Head`, the beginning of the file. The first hit ends the reading of the file.
- `"reading"`: `reading.Reading`, a line that the fast decoder refused or that is odd, as bytes, text and JSON.
- `"shape"`: `Broken`, a place where the JSON does not fit the types in `formats`; `shapes` says which places.
- `"roles"`: the roles of a conversation, as a tuple; the paths of the hits are indices into it.
- `"conversation"`: `formats.Conversation`; only called where it has one of the facets in `needs`.
- `"example"`: the decoded example.
- `"text"`: one text of the example; only called where the canonical line matches `screen` and `confirm` (see `screening`).
- `"counted"`: `counting.TokenCount`, the tokens of an example that may be too long.
- `"dataset"`: `Dataset`, the summary of the whole file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from ftkit.catalog import Limits
from ftkit.errors import UnknownNameError, UsageError, did_you_mean
from ftkit.summary import KEEP, Lines, Severity, Summary
from ftkit.tokens.tally import CountingMethod

Subject = Literal[
    "file", "reading", "shape", "roles", "conversation", "example", "text", "counted", "dataset"
]
ERROR: Severity = "error"
WARNING: Severity = "warning"
INFO: Severity = "info"


class Hit(NamedTuple):
    """A place where a rule is broken: what is wrong and what to do, and where in the subject.

    `times` is the number of places that the hit stands for.
    """

    message: str
    path: str = "$"
    column: int = 0
    line: int = 0
    times: int = 1


def listed(lines: Lines, message: str, path: str = "$") -> Iterator[Hit]:
    """A hit for each of the lines whose number was kept, and one that stands for all others."""
    for number in lines.first:
        yield Hit(message, path, line=number)
    rest = lines.count - len(lines.first)
    if rest > 0:
        yield Hit(f"{message} (and {rest:,} more lines)", path, times=rest)


class ScanPlan(Struct, frozen=True):
    """What a file is checked and measured for. Picklable: it travels to the worker processes.

    `format` is what the file has, `asked` are those that the method or the model can train on (all, if empty). The tokens of
    all examples are counted by each of `counting_methods`; without `judges`, only that is done, and lines that the service would
    refuse are left out.
    """

    limits: Limits
    format: str = "chat"
    asked: tuple[str, ...] = ()
    rules: frozenset[str] = frozenset()
    keep: int = KEEP
    grader_fields: tuple[str, ...] = ()
    purpose: Literal["training", "validation"] = "training"
    counting_methods: tuple[CountingMethod, ...] = ()
    judges: bool = True


class Broken(Struct, frozen=True):
    """A place where the JSON does not fit the types: the type and field, and the JSON Schema keyword that failed.

    `keyword` is that of JSON Schema, or `discriminator` where a tag (`role`, `type`) is unknown. `value` is what stands
    there, `parent` the object that holds it, `known` the keys or tags that may stand there, and `steps`
    lead there from the root.
    """

    owner: str
    field: str
    keyword: str
    path: str
    value: Any
    parent: Any
    known: tuple[str, ...] = ()
    steps: tuple[str | int, ...] = ()


class Dataset(Struct, frozen=True):
    """A whole file: what its lines added up to, and the fingerprints of the file that validates it."""

    summary: Summary
    validation: str | None = None
    validation_fingerprints: bytes = b""


Example = str | bytes | Callable[[], str | bytes]
"""A line or a file; a function that makes it where it is large."""

Check = Callable[[Any, ScanPlan], Iterator[Hit]]


class Rule(Struct, frozen=True, eq=False):
    """One thing that a file is checked for.

    `bad` is a line that breaks this rule and no other, `good` one that breaks none; with `whole_file` they are
    files. `says` holds regular expressions for the service's own words about it. `evidence` names what speaks for the rule.
    """

    code: str
    name: str
    severity: Severity
    doc: str
    make_bad: Callable[[], str | bytes]
    make_good: Callable[[], str | bytes]
    evidence: str
    says: tuple[str, ...]
    formats: tuple[str, ...]
    parts: tuple[str, ...]
    whole_file: bool
    given: dict[str, Any]
    checks: dict[Subject, Check]
    needs: dict[str, None]
    shapes: dict[tuple[str, str, str], None]
    screen: tuple[str, ...] = ()
    confirm: dict[str, str] = {}

    @property
    def bad(self) -> bytes:
        return _bytes(self.make_bad())

    @property
    def good(self) -> bytes:
        return _bytes(self.make_good())

    @property
    def summary(self) -> str:
        """The first sentence of the documentation."""
        return self.doc.partition("\n\n")[0].replace("\n", " ")


RULES: dict[str, Rule] = {}
"""All rules by name, in the order of their codes."""


def rule(
    code: str,
    name: str,
    severity: Severity,
    on: Subject,
    *,
    bad: Example,
    good: Example,
    evidence: str,
    says: Iterable[str] = (),
    formats: Iterable[str] = (),
    parts: Iterable[str] = (),
    needs: Iterable[str] = (),
    shapes: Iterable[tuple[str, str, str]] = (),
    screen: Iterable[str] = (),
    confirm: Mapping[str, str] = {},
    whole_file: bool = False,
    given: Mapping[str, Any] = {},
) -> Callable[[Check], Rule]:
    """Make a rule of a check; the docstring of the check documents the rule.

    `given` is what else the bad example needs to break the rule: a grader's fields, the formats asked for, a validation file,
    a size. `formats` and `parts` restrict the rule to some formats or parts of a conversation. `bad` and `good` are lines of the
    first of `formats` (of chat where there are none), or files with `whole_file`.
    """

    def register(check: Check) -> Rule:
        made = Rule(
            code=code,
            name=name,
            severity=severity,
            doc=inspect.cleandoc(check.__doc__ or ""),
            make_bad=_maker(bad),
            make_good=_maker(good),
            evidence=evidence,
            says=tuple(says),
            formats=tuple(formats),
            parts=tuple(parts),
            whole_file=whole_file or on in ("file", "dataset"),
            given=dict(given),
            checks={on: check},
            needs=dict.fromkeys(needs),
            shapes=dict.fromkeys(shapes),
            screen=tuple(screen),
            confirm=dict(confirm),
        )
        RULES[name] = made
        return made

    return register


def also(
    made: Rule,
    on: Subject,
    *,
    shapes: Iterable[tuple[str, str, str]] = (),
    needs: Iterable[str] = (),
) -> Callable[[Check], Check]:
    """Give the rule a second check, for a second subject."""

    def register(check: Check) -> Check:
        made.checks[on] = check
        made.shapes.update(dict.fromkeys(shapes))
        made.needs.update(dict.fromkeys(needs))
        return check

    return register


def _maker(example: Example) -> Callable[[], str | bytes]:
    return example if callable(example) else lambda: example


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def find_rule(name: str) -> Rule:
    """The rule of that name or code; raises `UnknownNameError`."""
    for made in RULES.values():
        if name.lower() in (made.name, made.code.lower()):
            return made
    raise UnknownNameError(
        f"unknown rule {name!r}{did_you_mean(name, RULES, otherwise='.')} `ftkit rules` lists all."
    )


def choose_rules(select: Iterable[str] = (), ignore: Iterable[str] = ()) -> frozenset[str]:
    """The names of the rules that `select` (all, if empty) leaves after `ignore`.

    Each selector is a rule's name, its code, the beginning of codes (`FT5`), or `all`. Raises `UnknownNameError` for one that
    fits no rule, `UsageError` if none is left.
    """
    chosen = frozenset().union(*map(_named, select)) or frozenset(RULES)
    left = chosen.difference(*map(_named, ignore))
    if not left:
        raise UsageError("no rule is left: --ignore takes away all that --select names")
    return left


def _named(selector: str) -> frozenset[str]:
    if selector.lower() == "all":
        return frozenset(RULES)
    prefix = selector.upper()
    if prefix.startswith("FT") and (prefix[2:].isdigit() or prefix == "FT"):
        found = frozenset(made.name for made in RULES.values() if made.code.startswith(prefix))
        if found:
            return found
    return frozenset({find_rule(selector).name})
