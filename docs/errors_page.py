"""The page of error messages: those of providers and of the local service, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ftkit.catalog.messages import KnownMessage, known_messages
from ftkit.rules import RULES, Rule

INTRODUCTION = """\
What the messages of providers and of the local service mean, and what to do about them. Search this
page for a few words of your message, or let `ftkit explain` look it up, which also reads the file:

```sh
ftkit explain "MESSAGE" data.jsonl
```

If a job failed, `ftkit jobs doctor ID` reads its message and its file by itself.

`…` stands for any text, and `10` for any number.
"""

RULES_INTRODUCTION = """\
A rule finds the cause of these messages in the file: `ftkit validate FILE` prints its lines before
a provider sees them.
"""

SERVICE_INTRODUCTION = """\
These messages are not about the data, so no check of the file prevents them.
"""

SAMPLES = (
    (r"\(([^()|]+)\|[^()]+\)", r"\1"),
    (r"\(([^()]+)\)\?", r"\1"),
    (r"\['\\\"\]", "'"),
    (r"\[\\w-\]\+|\\w\+|\.\*", "…"),
    (r"\[\\d,\]\+|\\d\+", "10"),
    (r"\\W\{0,2\}", '"'),
    (r"'\?", "'"),
    (r'"\?', '"'),
    (r",\?", ","),
    (r"\\\?\\?\|", "|"),
    (r"\\(.)", r"\1"),
)
"""Parts of the regular expressions of messages, and a text that they match."""


def errors_page(note: str) -> str:
    """Return the page, with a note at its top."""
    parts = [note, "# Error messages\n", INTRODUCTION, "## About the data\n", RULES_INTRODUCTION]
    parts += (rule_entry(rule) for rule in RULES.values() if rule.provider_messages)
    parts += ["## About the account, the request and the service\n", SERVICE_INTRODUCTION]
    parts += (message_entry(name, message) for name, message in known_messages().items())
    return "\n".join(parts)


def rule_entry(rule: Rule) -> str:
    """Return the messages that a rule is about, and what to do."""
    messages = quoted(sample(pattern) for pattern in rule.provider_messages)
    return (
        f"### {rule.name}\n\n{messages}\n{rule.doc}\n\n"
        f"Rule: [{rule.name}](rules.md#{rule.name}) (`{rule.code}`, {rule.severity}){fix(rule)}\n"
    )


def fix(rule: Rule) -> str:
    """Return how a rule's findings are fixed by a command, if they are."""
    return "; [`ftkit fix`](prepare.md#fix) corrects it" if rule.fixes else ""


def message_entry(name: str, message: KnownMessage) -> str:
    """Return the texts of a message, its meaning and what to do."""
    texts = [*message.says, *([f"status {message.status}"] if message.status else ())]
    return f"### {name}\n\n{quoted(texts)}\n{message.means}\n\n**What to do**: {message.do}\n"


def quoted(texts: Iterator[str] | list[str]) -> str:
    """Return texts as a list."""
    return "".join(f"- ``{text}``\n" if "`" in text else f"- `{text}`\n" for text in texts)


def sample(pattern: str) -> str:
    """Return a readable text that the regular expression of a message matches, but for its `…`."""
    for expression, replacement in SAMPLES:
        pattern = re.sub(expression, replacement, pattern)
    return pattern
