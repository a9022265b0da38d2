"""Rule runner: calls the checks of the rules that apply to a line, an example or a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import UNSET, to_builtins
from msgspec.structs import replace

from ftkit.dataset.canonical import MESSAGE_TYPES, OPTIONAL, is_bare
from ftkit.dataset.formats import FORMATS, Conversation, Format
from ftkit.dataset.lenient_json import Reading
from ftkit.dataset.plain import placeholder
from ftkit.dataset.types import Function, Tool, lineage
from ftkit.rules import RULES
from ftkit.rules.base import Hit, Place, Rule, ScanPlan
from ftkit.rules.fixes import Applied, find_fix, find_line_fix, find_text_fix, fixed_paths
from ftkit.rules.nodes import Dataset, Messages, Roles, SchemaError, Text
from ftkit.summary import Finding
from ftkit.tokens.counting import TokenCount

ROLES: dict[type[Any], str] = {type_: str(type_.__struct_config__.tag) for type_ in MESSAGE_TYPES}
"""Role of each message type."""

MAX_CACHED_ROLES = 100_000
"""Maximum number of roles in the message orders whose hits are cached."""

_TYPE_FACETS: dict[type[Any], tuple[str, ...]] = {Tool: ("tool",), Function: ("function",)}


def finding(
    rule: Rule, hit: Hit, line: int, path: str = "", applied: Applied | None = None
) -> Finding:
    """Return the finding for a hit of a rule.

    Args:
        rule: The rule.
        hit: The hit.
        line: Line number, or 0 for the whole file.
        path: JSON path to put before that of the hit.
        applied: The fix that applies to the node, if any.
    """
    path = path + hit.path.removeprefix("$") if path else hit.path
    severity, safety = hit.severity or rule.severity, applied.fix.safety if applied else None
    return Finding(rule.code, rule.name, severity, hit.message, line, hit.column, path, safety)


class Checks:
    """The checks of the rules of a plan, by node type."""

    def __init__(self, plan: ScanPlan) -> None:
        self.plan = plan
        self._by_node: dict[type[Any], list[Rule]] = {}
        self._by_place: dict[Place, list[Rule]] = {}
        for rule in RULES.values():
            if rule.formats and plan.format not in rule.formats:
                continue
            for node_type in rule.checks if rule.name in plan.rules else ():
                self._by_node.setdefault(node_type, []).append(rule)
            for place in rule.places:
                self._by_place.setdefault(place, []).append(rule)
        self._by_facets: dict[tuple[str, frozenset[str]], list[Rule]] = {}
        self._order: dict[tuple[str, str, tuple[type, ...]], tuple[tuple[Rule, Hit], ...]] = {}
        self._by_roles: dict[bytes, list[Finding]] = {}
        self._cached_roles = 0

    def on(self, node_type: type[Any]) -> list[Rule]:
        """Return the rules that visit nodes of a type."""
        return self._by_node.get(node_type, [])

    def reading(self, reading: Reading) -> Iterator[Finding]:
        """Check the bytes and the JSON of a line."""
        for rule in self.on(Reading):
            applied = find_line_fix(rule, reading, self.plan) if rule.fixes else None
            for hit in rule.checks[Reading](reading, self.plan):
                yield finding(rule, hit, reading.number, applied=applied)

    def schema_errors(self, errors: Sequence[SchemaError], line: int) -> Iterator[Finding]:
        """Yield findings on places that do not fit the types, at least one if there are any.

        Rules that are not selected are checked, too, since only a place that no rule explains may
        be reported as `json-syntax`.
        """
        hits = [
            (rule, hit, error)
            for error in errors
            for rule in self.rules_for(error)
            for hit in rule.checks[SchemaError](error, self.plan)
        ]
        for rule, hit, error in hits:
            if rule.name in self.plan.rules:
                yield finding(rule, hit, line, applied=find_fix(rule, SchemaError, error))
        if errors and not hits:
            error = errors[0]
            hit = Hit(f"{error.field[:60] or 'this value'} does not fit here", error.path)
            yield finding(RULES["json-syntax"], hit, line)

    def rules_for(self, error: SchemaError) -> list[Rule]:
        """Return the rules on the place of an error, the most specific first."""
        rules: dict[str, Rule] = {}
        for owner in lineage(error.owner):
            for field in (error.field, "*"):
                for keyword in (error.keyword, "*"):
                    matching = self._by_place.get((owner, field, keyword), ())
                    rules.update((rule.name, rule) for rule in matching)
        return list(rules.values())

    def example(self, format: Format, example: Any, line: int) -> tuple[list[Finding], bool]:
        """Check a decoded example, except for its texts and its length.

        Returns:
            The findings, and True if it is a chat example with only bare messages (see `is_bare`).
        """
        only_bare = format.may_be_bare(example)
        findings = [
            finding(rule, hit, line)
            for rule in self.on(type(example))
            for hit in rule.checks[type(example)](example, self.plan)
        ]
        for conversation in format.conversations(example):
            types = tuple(map(type, conversation.messages))
            for rule, hit in self._order_of(conversation.part, conversation.path, types):
                findings.append(finding(rule, hit, line, conversation.path))
            present = facets(conversation)
            if present:
                only_bare = only_bare and present == {"empty"}
                findings.extend(self._conversation(conversation, present, line))
        return findings, only_bare

    def _conversation(
        self, conversation: Conversation, present: set[str], line: int
    ) -> Iterator[Finding]:
        """Check what the messages contain, with the rules for the facets that are present."""
        key = (conversation.part, frozenset(present))
        if key not in self._by_facets:
            self._by_facets[key] = [
                rule
                for rule in self.on(Conversation)
                if not present.isdisjoint(rule.needs)
                and (not rule.parts or conversation.part in rule.parts)
            ]
        for rule in self._by_facets[key]:
            hits = list(rule.checks[Conversation](conversation, self.plan))
            fixed = fixed_paths(rule, _as_json(conversation)) if hits and rule.fixes else {}
            for hit in hits:
                row = finding(rule, hit, line)
                yield replace(row, fix=fixed[hit.path]) if hit.path in fixed else row

    def plain_line(self, roles: bytes, line: int) -> list[Finding]:
        """Check a plain line, except for its texts and its length.

        The findings depend on its roles only, so they are those of an example with other texts.

        Args:
            roles: Its roles, as bytes of `plain.ROLES`.
            line: Line number.
        """
        findings = self._by_roles.get(roles)
        if findings is None:
            self._make_room(len(roles))
            findings, _ = self.example(FORMATS["chat"], placeholder(roles), 0)
            self._by_roles[roles] = findings
        return [replace(finding, line=line) for finding in findings]

    def _order_of(
        self, part: str, path: str, types: tuple[type, ...]
    ) -> tuple[tuple[Rule, Hit], ...]:
        """Return the hits on the order of the messages. Cached, since most orders occur often."""
        key = (part, path, types)
        if key not in self._order:
            self._make_room(len(types))
            self._order[key] = tuple(self._role_hits(Roles(ROLES[type_] for type_ in types), part))
        return self._order[key]

    def _make_room(self, roles: int) -> None:
        """Clear the caches before more roles are added to them if they have too many."""
        if self._cached_roles > MAX_CACHED_ROLES:
            self._order.clear()
            self._by_roles.clear()
            self._cached_roles = 0
        self._cached_roles += roles

    def _role_hits(self, roles: Roles, part: str) -> Iterator[tuple[Rule, Hit]]:
        for rule in self.on(Roles):
            if not rule.parts or part in rule.parts:
                for hit in rule.checks[Roles](roles, self.plan):
                    yield rule, hit

    def texts(
        self, texts: Iterable[tuple[str, str]], line: int, rules: Iterable[Rule]
    ) -> Iterator[Finding]:
        """Check the texts of an example with some of the rules."""
        for path, text in texts:
            for rule in rules:
                for hit in rule.checks[Text](text, self.plan):
                    yield finding(rule, hit, line, path, find_text_fix(rule, text, self.plan))

    def counted(self, counted: TokenCount, line: int) -> Iterator[Finding]:
        """Check the number of tokens of an example."""
        for rule in self.on(TokenCount):
            for hit in rule.checks[TokenCount](counted, self.plan):
                yield finding(rule, hit, line)

    def dataset(self, dataset: Dataset) -> Iterator[tuple[Finding, Hit]]:
        """Check the whole file. Yields each finding with its hit."""
        for rule in self.on(Dataset):
            for hit in rule.checks[Dataset](dataset, self.plan):
                safety = rule.fixes[0].safety if rule.fixes else None
                yield replace(finding(rule, hit, hit.line), fix=safety), hit


def _as_json(conversation: Conversation) -> Messages:
    """Return a conversation as JSON."""
    names = ("tools", "functions")
    holder = {name: to_builtins(getattr(conversation, name)) for name in names}
    return Messages(to_builtins(conversation.messages), holder, conversation.path)


def _is_absent(value: Any) -> bool:
    return value is UNSET or value is None


def facets(conversation: Conversation) -> set[str]:
    """Return what a conversation has beyond bare messages, as keys of `Rule.needs`.

    The keys are names of optional fields, and `tools`, `functions`, `tool`, `function`, `parts`
    (content in parts), `nothing` (no content) and `empty` (blank content).
    """
    facets: set[str] = set()
    if conversation.tools is not None:
        facets.add("tools")
    if conversation.functions is not None:
        facets.add("functions")
    for message in conversation.messages:
        content = message.content
        if is_bare(message):
            if not content or content.isspace():
                facets.add("empty")
            continue
        if type(content) is str:
            facets.update(("empty",) if not content or content.isspace() else ())
        else:
            facets.add("parts" if type(content) is list else "nothing")
        type_ = type(message)
        facets.update(_TYPE_FACETS.get(type_, ()))
        facets.update(name for name in OPTIONAL[type_] if not _is_absent(getattr(message, name)))
    return facets
