"""Checking the lines of a file by the rules of a plan.

The texts of a whole block are searched at once, because most blocks pass a cheap search. Tokens are
counted only where an example may exceed the limit, many examples together.
"""

from __future__ import annotations

import itertools
import re
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from ftkit.dataset.canonical import canonical_form, chat_parts, count_strings, fingerprint
from ftkit.dataset.formats import FORMATS
from ftkit.dataset.lenient_json import read
from ftkit.dataset.plain import PlainLine
from ftkit.dataset.reader import BLOCK_BYTES
from ftkit.rules.base import FINGERPRINTS, ScanPlan
from ftkit.rules.nodes import Dataset, Text
from ftkit.rules.traverse import has_images
from ftkit.summary import Affixes, Finding, Lines, Safety, Style, Summary, first_per_rule
from ftkit.tokens.counting import TokenCount, count, count_plain, may_exceed
from ftkit.tokens.encodings import FAST_FROM
from ftkit.validation.prefilter import Prefilter
from ftkit.validation.repetition import RepeatCounter
from ftkit.validation.runner import Checks
from ftkit.validation.slow_path import Explanation, explain

BATCH_BYTES = 8 << 20
"""Bytes of long lines whose tokens are counted together."""

OPEN, CLOSE = b"{}"

REPEATED_KEY = "json-duplicate-key"
"""Rule on keys that are repeated in an object."""


class PendingTexts(NamedTuple):
    """Texts of a line, to be checked with those of its block."""

    number: int
    """Number of the line."""
    searched: bytes
    """Bytes that have the texts."""
    source: Any
    """The example, or the bytes of a plain line, which are decoded only if they are suspect."""


class Linter:
    """Collects the findings of lines, and the data that the rules on the whole file need.

    Args:
        plan: The rules, limits and format.
        at_start: True if line 1 is the first of the file.
    """

    def __init__(self, plan: ScanPlan, at_start: bool = True) -> None:
        self._plan = plan
        self._format = FORMATS[plan.format]
        self._at_start = at_start
        self._checks = Checks(plan)
        self._prefilter = Prefilter(self._checks.on(Text))
        self._counts_tokens = bool(self._checks.on(TokenCount))
        self._compares = any(FINGERPRINTS in rule.needs for rule in self._checks.on(Dataset))
        self._block: list[PendingTexts] = []
        self._long: list[tuple[int, Any]] = []
        self._long_size = 0
        self._with_images = 0
        self._counts: dict[str, int] = {}
        self._fixable: dict[Safety, int] = {}
        self._findings: list[Finding] = []
        self._repeats = RepeatCounter()
        self._fingerprints = array("Q")
        self._fields: dict[tuple[str, ...], Lines] = {}
        self._style = Style()

    def add(self, number: int, line: bytes, example: Any) -> None:
        """Check a decoded line."""
        findings, only_bare = self._checks.example(self._format, example, number)
        canonical = None if only_bare else canonical_form(example)
        self._record(number, example, canonical)
        if findings:
            self._note(findings)
        if line[-1] != CLOSE or line[0] != OPEN:
            self._check_edges(number, line)
        self._check_keys(number, line, example, canonical)
        searched = (canonical or canonical_form(example)) if b"\\u" in line else line
        self._check_texts_later(number, searched, example)
        self._count_later(number, len(line), example)

    def add_plain(self, number: int, line: bytes, plain: PlainLine) -> None:
        """Check a plain line."""
        roles, prompt, answer = plain
        findings = self._checks.plain_line(roles, number)
        if findings:
            self._note(findings)
        self._add_fingerprints(number, prompt, answer)
        texts = prompt + answer
        self._check_texts_later(number, texts, line)
        limits = self._plan.limits
        if len(texts) > limits.tokens and self._counts_tokens:
            counted = count_plain(roles, texts, limits.tokens, limits.encoding)
            if counted:
                self._add_long(number, counted, len(texts))

    def add_undecoded(self, number: int, line: bytes, is_last: bool) -> Explanation:
        """Explain a line that the decoder refused, and record its example if it has one."""
        is_first = self._at_start and number == 1
        explanation = explain(line, self._format, self._checks, number, is_last, is_first)
        if explanation.example is not None:
            self._add_repaired(number, explanation)
        self._note(explanation.findings)
        return explanation

    def end_block(self) -> None:
        """Check the texts of the lines that were added since the last call."""
        block, self._block = self._block, []
        self._check_texts(block)

    def add_to(self, summary: Summary) -> Summary:
        """Return the summary with the findings and the data for the rules on the whole file."""
        self._count_tokens()
        ordered = sorted(self._findings, key=lambda finding: finding.line)
        return msgspec.structs.replace(
            summary,
            with_images=self._with_images,
            counts=self._counts,
            fixable=self._fixable,
            findings=tuple(first_per_rule(ordered, self._plan.keep)),
            repeats=self._repeats.repeats(),
            fingerprints=little_endian(self._fingerprints),
            fields=self._fields,
            style=self._style,
        )

    def _note(self, findings: Iterable[Finding]) -> None:
        """Count the findings, and keep the first ones of each rule."""
        for finding in findings:
            if finding.rule in self._plan.rules:
                number = self._counts.get(finding.rule, 0) + 1
                self._counts[finding.rule] = number
                if finding.fix:
                    self._fixable[finding.fix] = self._fixable.get(finding.fix, 0) + 1
                if number <= self._plan.keep:
                    self._findings.append(finding)
                self._repeats.add(finding)

    def _record(self, number: int, example: Any, canonical: bytes | None) -> None:
        """Record the data of an example that the rules on the whole file need.

        Args:
            number: Number of its line.
            example: The example.
            canonical: Its canonical form; None for a chat example with only bare messages.
        """
        if canonical is None:
            parts = chat_parts(example)
        else:
            parts = self._format.prompt_and_answer(example, canonical)
            self._with_images += any(map(has_images, self._format.conversations(example)))
        self._add_fingerprints(number, *parts)
        if self._format.grader_fields:
            names = tuple(sorted(self._format.grader_fields(example)))
            if names:
                lines = self._fields.get(names, Lines())
                self._fields[names] = lines.plus(Lines(1, (number,)), 0, self._plan.keep)
        if self._format.prompt_and_completion:
            prompt, completion = self._format.prompt_and_completion(example)
            style = style_of(prompt, completion, number)
            self._style = self._style.plus(style, 0, self._plan.keep)

    def _add_fingerprints(self, number: int, prompt: bytes, answer: bytes) -> None:
        if not self._compares:
            return
        seed = self._plan.seed
        self._fingerprints.extend((number, fingerprint(prompt, seed), fingerprint(answer, seed)))

    def _add_repaired(self, number: int, explanation: Explanation) -> None:
        """Record the example of a line that the decoder refused. Its findings are known already."""
        example = explanation.example
        canonical = canonical_form(example)
        self._record(number, example, canonical)
        if explanation.is_intact:
            texts = self._format.texts(example)
            self._note(self._checks.texts(texts, number, self._checks.on(Text)))
        self._count_later(number, len(canonical), example)

    def _check_edges(self, number: int, line: bytes) -> None:
        """Check the white space around the JSON of a line."""
        content = line.removesuffix(b"\r")
        if content[-1] != CLOSE or content[0] != OPEN:
            findings = self._checks.reading(read(line, number))
            # `_check_keys` notes the repeated keys.
            self._note(row for row in findings if row.rule != REPEATED_KEY)

    def _check_keys(self, number: int, line: bytes, example: Any, canonical: bytes | None) -> None:
        """Find repeated keys, which the decoder does not report: it keeps the last one.

        `canonical` is as in `_record`.
        """
        if canonical is None:
            strings = 1 + 4 * len(example.messages)
        else:
            strings = count_strings(canonical) - self._format.extra_keys
        if count_strings(line) != strings:
            findings = self._checks.reading(read(line, number))
            self._note(row for row in findings if row.rule == REPEATED_KEY)

    def _check_texts_later(self, number: int, searched: bytes, source: Any) -> None:
        """Keep a line to check its texts with those of its block."""
        pending = PendingTexts(number, searched, source)
        if len(searched) > BLOCK_BYTES:
            self.end_block()  # findings are kept in the order of the lines
            self._check_texts([pending])  # alone, since joining lines copies them
        else:
            self._block.append(pending)

    def _check_texts(self, block: Sequence[PendingTexts]) -> None:
        """Apply the rules on texts."""
        suspects = self._prefilter.suspects([pending.searched for pending in block])
        for index, rules in suspects.items():
            number, _, source = block[index]
            texts = self._format.texts(self._decoded(source))
            self._note(self._checks.texts(texts, number, rules))

    def _decoded(self, source: Any) -> Any:
        """Return an example, given it or a plain line."""
        return self._format.decode(source) if isinstance(source, bytes) else source

    def _count_later(self, number: int, size: int, example: Any) -> None:
        """Keep an example to count its tokens if it has more bytes than the limit has tokens.

        A token of a text has at least one byte. The tokens of a message beside its texts, at most
        four, are fewer than the bytes of its role and of what separates it from the next message.

        Args:
            number: Number of the line.
            size: Bytes of the line, or of its canonical form.
            example: The example.
        """
        if size > self._plan.limits.tokens and self._counts_tokens:
            self._add_long(number, example, size)

    def _add_long(self, number: int, example: Any, size: int) -> None:
        """Keep an example whose tokens are to be counted, or its count, in the order of the lines.

        Args:
            number: Number of the line.
            example: The example, or its `TokenCount`.
            size: Bytes of the example.
        """
        self._long.append((number, example))
        self._long_size += size
        if self._long_size > BATCH_BYTES:
            self._count_tokens()

    def _count_tokens(self) -> None:
        """Count the tokens of the long examples."""
        limit, encoding = self._plan.limits.tokens, self._plan.limits.encoding
        rows = [row for row in self._long if not isinstance(row[1], TokenCount)]
        if self._long_size < FAST_FROM:
            # A few are decided by a part of them; for many, the fast tokenizer is quicker.
            rows = [row for row in rows if may_exceed(row[1], self._format, limit, encoding)]
        counts = count([example for _, example in rows], self._format, encoding) if rows else []
        by_line = dict(zip((number for number, _ in rows), counts, strict=True))
        for number, example in self._long:
            counted = example if isinstance(example, TokenCount) else by_line.get(number)
            if counted:
                self._note(self._checks.counted(counted, number))
        self._long, self._long_size = [], 0


def little_endian(numbers: array[int]) -> bytes:
    """Return the bytes of 64-bit numbers, the lowest byte first."""
    if sys.byteorder == "big":
        numbers = array("Q", numbers)
        numbers.byteswap()
    return numbers.tobytes()


WORDS = 3
"""Number of words that make a text more than names, codes and labels."""

_WORD = re.compile(r"(?<!\S)[^\w\s]{0,3}+[^\W\d_]{2,30}+(?=[^\w\s]{0,3}+(?:\s|$))")
"""A run of letters between white space, perhaps with punctuation."""


def has_words(text: str) -> bool:
    """Return True if a text has words, and not only names, codes or labels."""
    return sum(1 for _ in itertools.islice(_WORD.finditer(text), WORDS)) == WORDS


def style_of(prompt: str, completion: str, number: int) -> Style:
    """Return the style of a prompt and its completion."""
    spaced = completion[:1].isspace() or not completion
    text = "".join(filter(has_words, (prompt, completion)))
    return Style(
        prompts=Affixes.of(prompt) if prompt else None,
        completions=Affixes.of(completion) if completion.strip() else None,
        no_space=Lines() if spaced else Lines(1, (number,)),
        letters=sum(map(str.isalpha, text)),
        upper=sum(map(str.isupper, text)),
    )
