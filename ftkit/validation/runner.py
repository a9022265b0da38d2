"""The rules of a plan, ready to be called: each group keyed by what its checks look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import UNSET

from ftkit.dataset.canonical import OPTIONAL, is_plain
from ftkit.dataset.formats import Conversation, Format
from ftkit.dataset.lenient_json import Reading
from ftkit.dataset.types import Answer, Assistant, Developer, Function, System, Tool, User, lineage
from ftkit.rules import RULES
from ftkit.rules.base import Hit, Place, Rule, ScanPlan
from ftkit.rules.nodes import Dataset, Roles, SchemaError, Text
from ftkit.summary import Finding
from ftkit.tokens.counting import Counted

ROLES: dict[type[Any], str] = {
    System: "system",
    Developer: "developer",
    User: "user",
    Answer: "assistant",
    Assistant: "assistant",
    Tool: "tool",
    Function: "function",
}
MARKERS: dict[type[Any], tuple[str, ...]] = {Tool: ("tool",), Function: ("function",)}


def finding(rule: Rule, hit: Hit, line: int, path: str = "") -> Finding:
    """The finding that a hit of the rule on that line makes; `path` goes before the path of the hit."""
    where = path + hit.path.removeprefix("$") if path else hit.path
    return Finding(rule.code, rule.name, rule.severity, hit.message, line, hit.column, where)


class Checks:
    """The checks of a plan's rules."""

    def __init__(self, plan: ScanPlan) -> None:
        self.plan = plan
        self._of: dict[type[Any], list[Rule]] = {}
        self._by_place: dict[Place, list[Rule]] = {}
        for rule in RULES.values():
            if rule.formats and plan.format not in rule.formats:
                continue
            for node_type in rule.checks if rule.name in plan.rules else ():
                self._of.setdefault(node_type, []).append(rule)
            for place in rule.places:
                self._by_place.setdefault(place, []).append(rule)
        self._needed: dict[tuple[str, frozenset[str]], list[Rule]] = {}
        self._order: dict[tuple[str, str, tuple[type, ...]], tuple[tuple[Rule, Hit], ...]] = {}

    def on(self, node_type: type[Any]) -> list[Rule]:
        """Return the rules that visit nodes of this type."""
        return self._of.get(node_type, [])

    def reading(self, reading: Reading) -> Iterator[Finding]:
        """What is wrong with the bytes and the JSON of a line."""
        for rule in self.on(Reading):
            for hit in rule.checks[Reading](reading, self.plan):
                yield finding(rule, hit, reading.number)

    def shapes(self, broken: Sequence[SchemaError], line: int) -> Iterator[Finding]:
        """The findings for the places that do not fit the types, of which at least one is spoken of."""
        # A rule that was not chosen speaks too: leaving it out is no reason to call its line broken JSON.
        rules = [(rule, place) for place in broken for rule in self._candidates(place)]
        said = [
            (rule, hit)
            for rule, place in rules
            for hit in rule.checks[SchemaError](place, self.plan)
        ]
        yield from (finding(rule, hit, line) for rule, hit in said if rule.name in self.plan.rules)
        if broken and not said:
            place = broken[0]
            yield finding(
                RULES["json-syntax"],
                Hit(f"{place.field or 'this'} does not fit here", place.path),
                line,
            )

    def _candidates(self, place: SchemaError) -> list[Rule]:
        found: dict[str, Rule] = {}
        for owner in lineage(place.owner):
            for field in (place.field, "*"):
                for keyword in (place.keyword, "*"):
                    found.update(
                        (rule.name, rule)
                        for rule in self._by_place.get((owner, field, keyword), ())
                    )
        return list(found.values())

    def example(self, format: Format, example: Any, line: int) -> tuple[list[Finding], bool]:
        """What is wrong with a decoded example, its texts and its length apart; and whether all its messages are plain."""
        plain = format.name == "chat" and example.parallel_tool_calls is UNSET
        found = [
            finding(rule, hit, line)
            for rule in self.on(type(example))
            for hit in rule.checks[type(example)](example, self.plan)
        ]
        for conversation in format.conversations(example):
            kinds = tuple(map(type, conversation.messages))
            for rule, hit in self._order_of(conversation.part, conversation.path, kinds):
                found.append(finding(rule, hit, line, conversation.path))
            present = facets(conversation)
            if present:
                plain = plain and present == {"empty"}
                found.extend(self._conversation(conversation, present, line))
        return found, plain

    def _conversation(
        self, conversation: Conversation, present: set[str], line: int
    ) -> Iterator[Finding]:
        """What is wrong with what the messages hold."""
        key = (conversation.part, frozenset(present))
        if key not in self._needed:
            self._needed[key] = [
                rule
                for rule in self.on(Conversation)
                if not present.isdisjoint(rule.needs)
                and (not rule.parts or conversation.part in rule.parts)
            ]
        for rule in self._needed[key]:
            for hit in rule.checks[Conversation](conversation, self.plan):
                yield finding(rule, hit, line)

    def _order_of(
        self, part: str, path: str, kinds: tuple[type, ...]
    ) -> tuple[tuple[Rule, Hit], ...]:
        """What is wrong with the order of such messages. Remembered: a file has few different ones."""
        key = (part, path, kinds)
        if key not in self._order:
            if len(self._order) > 10_000:
                self._order.clear()
            self._order[key] = tuple(self._role_hits(Roles(ROLES[kind] for kind in kinds), part))
        return self._order[key]

    def _role_hits(self, roles: Roles, part: str) -> Iterator[tuple[Rule, Hit]]:
        for rule in self.on(Roles):
            if not rule.parts or part in rule.parts:
                for hit in rule.checks[Roles](roles, self.plan):
                    yield rule, hit

    def texts(
        self, texts: Iterable[tuple[str, str]], line: int, rules: Iterable[Rule]
    ) -> Iterator[Finding]:
        """What is wrong with the texts of an example, by these of the rules."""
        for path, text in texts:
            for rule in rules:
                for hit in rule.checks[Text](text, self.plan):
                    yield finding(rule, hit, line, path)

    def counted(self, counted: Counted, line: int) -> Iterator[Finding]:
        """Whether the example is too long."""
        for rule in self.on(Counted):
            for hit in rule.checks[Counted](counted, self.plan):
                yield finding(rule, hit, line)

    def dataset(self, dataset: Dataset) -> Iterator[tuple[Finding, int]]:
        """What is wrong with the file as a whole: each finding with the number of places it stands for."""
        for rule in self.on(Dataset):
            for hit in rule.checks[Dataset](dataset, self.plan):
                yield finding(rule, hit, hit.line), hit.times


def _is_absent(value: Any) -> bool:
    return value is UNSET or value is None


def facets(conversation: Conversation) -> set[str]:
    """What a conversation has beyond messages of a role and a text: the keys by which rules are called for it."""
    found: set[str] = set()
    if conversation.tools is not None:
        found.add("tools")
    if conversation.functions is not None:
        found.add("functions")
    for message in conversation.messages:
        content = message.content
        if is_plain(message):
            if not content or content.isspace():
                found.add("empty")
            continue
        if type(content) is str:
            found.update(("empty",) if not content or content.isspace() else ())
        else:
            found.add("parts" if type(content) is list else "nothing")
        kind = type(message)
        found.update(MARKERS.get(kind, ()))
        found.update(name for name in OPTIONAL[kind] if not _is_absent(getattr(message, name)))
    return found
