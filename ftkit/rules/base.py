"""The registry of rules.

A rule is a decorated generator that yields a `Hit` per violation. `on` is the node type it visits:

- `Head`: the beginning of a file. The first hit ends the reading of the file.
- `Reading`: a line that the fast decoder refused or that is unusual, as bytes, text and JSON.
- `SchemaError`: a place where the JSON does not fit the types; `places` selects the places.
- `Roles`: the roles of a conversation.
- `Conversation`: the messages of an example, if they have one of the facets in `needs`.
- `Completions`, `Preference`, `Graded`: a decoded example of that type.
- `Text`: a text of an example, if the line passes the `prefilter`.
- `TokenCount`: the tokens of an example that may be too long.
- `Dataset`: the whole file.

The caller adds code, severity and line to each hit.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import msgspec
from msgspec import Struct

from ftkit.catalog import Limits
from ftkit.dataset.detect import Head
from ftkit.errors import UnknownNameError, UsageError, check_names, did_you_mean
from ftkit.rules.nodes import Dataset
from ftkit.rules.sources import Source
from ftkit.summary import KEEP, Lines, Safety, Severity
from ftkit.tokens.tally import CountingMethod

ERROR: Severity = "error"
WARNING: Severity = "warning"
INFO: Severity = "info"

FINGERPRINTS = "fingerprints"
"""What a rule that compares the examples of a file needs."""

FILE_NODES = (Head, Dataset)
"""Node types of which a file has one."""

Place = tuple[str, str, str]
"""Type, field and JSON Schema keyword of a `SchemaError`; `*` stands for any."""

Sample = str | bytes | Callable[[], str | bytes]
"""A line or a file, or a function that returns it if it is large."""


class Hit(NamedTuple):
    """A violation of a rule."""

    message: str
    """The value that is wrong, and what to do."""
    path: str = "$"
    """Path in the node."""
    column: int = 0
    line: int = 0
    times: int = 1
    """Number of lines that the hit stands for."""
    severity: Severity | None = None
    """Severity, if it is not that of the rule. Only hits on a `Dataset` may have one."""


def hit_lines(lines: Lines, message: str, path: str = "$") -> Iterator[Hit]:
    """Yield a hit for each line whose number was kept, and one that stands for all others."""
    for number in lines.first:
        yield Hit(message, path, line=number)
    others = lines.count - len(lines.first)
    if others > 0:
        yield Hit(message, path, times=others)


def random_seed() -> int:
    """Return a random 64-bit number."""
    # Importing `secrets` takes 6 ms.
    return int.from_bytes(os.urandom(8))


class ScanPlan(Struct, frozen=True):
    """Settings of a scan. Picklable, since worker processes receive it."""

    limits: Limits
    format: str = "chat"
    """Format of the file."""
    requested_formats: tuple[str, ...] = ()
    """Formats that the method or the model can be trained on; all if empty."""
    named_format: str | None = None
    """Format that the user named. No shape of other systems outweighs it."""
    rules: frozenset[str] = frozenset()
    keep: int = KEEP
    """Number of findings to keep for each rule."""
    grader_fields: tuple[str, ...] = ()
    """Fields that the grader reads from each example, as dotted paths."""
    purpose: Literal["training", "validation"] = "training"
    counting_methods: tuple[CountingMethod, ...] = ()
    """Token counts to make over all examples."""
    seed: int = msgspec.field(default_factory=random_seed)
    """Seed of the fingerprints, so that lines prepared for one seed do not collide in a scan.

    All parts of a file, and the two files of a comparison, need the same one.
    """
    applies_rules: bool = True
    """False to count tokens only, leaving out lines that the provider would refuse."""


NodeT = TypeVar("NodeT")
Check = Callable[[NodeT, ScanPlan], Iterator[Hit]]


class ChecksByNode(Protocol):
    """Mapping of node types to checks, typed so that a check takes the nodes of its type."""

    def __getitem__(self, node_type: type[NodeT], /) -> Check[NodeT]: ...

    def __setitem__(self, node_type: type[NodeT], check: Check[NodeT], /) -> None: ...

    def __contains__(self, node_type: object, /) -> bool: ...

    def __iter__(self) -> Iterator[type[Any]]: ...


class Fix(Struct, frozen=True, eq=False):
    """A fix of the violations of a rule at nodes of one type."""

    safety: Safety
    summary: str
    """Imperative phrase, such as "rename the key"."""
    on: type[Any]
    apply: Callable[[Any], Any]


class Rule(Struct, frozen=True, eq=False):
    """A rule: its documentation and its checks."""

    code: str
    name: str
    severity: Severity
    bad_sample: Sample
    good_sample: Sample
    sources: tuple[Source, ...]
    provider_messages: tuple[str, ...]
    """Regular expressions that match the messages of providers about a violation."""
    formats: tuple[str, ...]
    """Formats that the rule applies to; all if empty."""
    parts: tuple[str, ...]
    """Parts of an example that `Roles` and `Conversation` checks visit; all if empty."""
    whole_file: bool
    """True if the samples are files rather than lines."""
    context: dict[str, Any]
    """Further context of the bad sample: grader fields, formats, a validation file or a size."""
    first_check: Check[Any]
    checks: ChecksByNode
    needs: dict[str, None]
    """Facets of a conversation, one of which must be present for the check to run.

    A rule on the whole file may need `FINGERPRINTS`, which are kept only if such a rule applies.
    """
    places: dict[Place, None]
    prefilter: tuple[str, ...] = ()
    """RE2 patterns, one of which must match for a `Text` check to run.

    One must match the JSON of a line, whose only escapes are `\\n` and its like, `\\/` and controls
    as `\\u001f`, and one its unescaped texts.
    """
    fixes: list[Fix] = []
    """Fixes of violations, the safe ones first; `ftkit.rules.fixes.fix` adds them."""

    @property
    def bad(self) -> bytes:
        """A line or file that violates this rule and no other."""
        return _bytes(self.bad_sample)

    @property
    def good(self) -> bytes:
        """A line or file that violates no rule: the bad one, fixed."""
        return _bytes(self.good_sample)

    @property
    def doc(self) -> str:
        """The documentation: a summary, why the violation is bad and what to do."""
        return inspect.getdoc(self.first_check) or ""

    @property
    def summary(self) -> str:
        """The first paragraph of the documentation."""
        return self.doc.partition("\n\n")[0].replace("\n", " ")

    @property
    def evidence(self) -> str:
        """The sources on one line, without their URLs."""
        return "; ".join(map(str, self.sources))

    @property
    def module(self) -> str:
        """Name of the module that defines the rule."""
        return self.first_check.__module__


RULES: dict[str, Rule] = {}
"""All rules by name, in the order of their codes."""


def rule(  # noqa: PLR0913 - keyword-only: each parameter documents the rule where it is defined
    code: str,
    name: str,
    severity: Severity,
    on: type[NodeT],
    *,
    bad: Sample,
    good: Sample,
    evidence: Iterable[Source],
    provider_messages: Iterable[str] = (),
    formats: Iterable[str] = (),
    parts: Iterable[str] = (),
    needs: Iterable[str] = (),
    places: Iterable[Place] = (),
    prefilter: Iterable[str] = (),
    whole_file: bool = False,
    context: Mapping[str, Any] = {},
) -> Callable[[Check[NodeT]], Rule]:
    """Register a check as a rule. The docstring of the check documents the rule.

    Args:
        code: Permanent code, such as "FT120". Codes order the documentation.
        name: Permanent name, which says what is wrong.
        severity: Severity of a violation.
        on: Node type that the check visits.
        bad: Line of the first of `formats` (chat if empty) that violates this rule and no other.
        good: The bad line, fixed.
        evidence: Sources that support the rule.
        provider_messages: Regular expressions that match the messages of providers.
        formats: Formats to check; all if empty.
        parts: Parts of an example to check (chat, input, output, reinforcement); all if empty.
        needs: Facets of a conversation, one of which must be present; `FINGERPRINTS` for a rule on
            the whole file that compares examples.
        places: Schema errors to visit.
        prefilter: RE2 patterns, as bytes, one of which must match; see `Rule.prefilter`.
        whole_file: Whether `bad` and `good` are files, as they are for `Head` and `Dataset`.
        context: Further context of the bad sample; see `Rule.context`.
    """

    def register(check: Check[NodeT]) -> Rule:
        checks: dict[type[Any], Check[Any]] = {on: check}
        RULES[name] = Rule(
            code=code,
            name=name,
            severity=severity,
            bad_sample=bad,
            good_sample=good,
            sources=tuple(evidence),
            provider_messages=tuple(provider_messages),
            formats=tuple(formats),
            parts=tuple(parts),
            whole_file=whole_file or on in FILE_NODES,
            context=dict(context),
            first_check=check,
            checks=checks,
            needs=dict.fromkeys(needs),
            places=dict.fromkeys(places),
            prefilter=tuple(prefilter),
        )
        return RULES[name]

    return register


def also(
    rule: Rule,
    on: type[NodeT],
    *,
    places: Iterable[Place] = (),
    needs: Iterable[str] = (),
) -> Callable[[Check[NodeT]], Check[NodeT]]:
    """Register a second check of a rule, for another node type."""

    def register(check: Check[NodeT]) -> Check[NodeT]:
        rule.checks[on] = check
        rule.places.update(dict.fromkeys(places))
        rule.needs.update(dict.fromkeys(needs))
        return check

    return register


def _bytes(sample: Sample) -> bytes:
    data = sample() if callable(sample) else sample
    return data.encode() if isinstance(data, str) else data


def find_rule(name: str) -> Rule:
    """Return the rule with this name or code.

    Raises:
        UnknownNameError: There is no such rule.
    """
    for rule in RULES.values():
        if name.lower() in (rule.name, rule.code.lower()):
            return rule
    hint = did_you_mean(name, RULES, otherwise=".")
    raise UnknownNameError(f"unknown rule {name!r}{hint} `ftkit rules` lists all.")


def choose_rules(select: Iterable[str] = (), ignore: Iterable[str] = ()) -> frozenset[str]:
    """Return the names of the rules to check.

    Args:
        select: Rules to check: names, codes, beginnings of codes such as "FT5", or "all".
            All rules if empty.
        ignore: Rules to leave out.

    Raises:
        UnknownNameError: A selector matches no rule.
        UsageError: No rule is left, or an argument is one text.
    """
    check_names("select", select)
    check_names("ignore", ignore)
    selected = frozenset().union(*map(_matching, select)) or frozenset(RULES)
    chosen = selected.difference(*map(_matching, ignore))
    if not chosen:
        raise UsageError("no rule is left: `ignore` removes every rule of `select`")
    return chosen


def _matching(selector: str) -> frozenset[str]:
    if selector.lower() == "all":
        return frozenset(RULES)
    prefix = selector.upper()
    if prefix.startswith("FT") and (prefix[2:].isdigit() or prefix == "FT"):
        names = frozenset(rule.name for rule in RULES.values() if rule.code.startswith(prefix))
        if names:
            return names
    return frozenset({find_rule(selector).name})
