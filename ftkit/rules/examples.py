"""The example as a whole: its keys, and whether it fits into the model's context."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit._text import excerpt
from ftkit.errors import did_you_mean
from ftkit.rules.base import ERROR, WARNING, Broken, Hit, ScanPlan, rule
from ftkit.rules.json_lines import GOOD
from ftkit.rules.messages import MESSAGES, line
from ftkit.rules.preference import real_key
from ftkit.tokens.counting import TokenCount

EXAMPLES = ("Chat", "Completions", "Preference", "PreferenceInput")


@rule(
    "FT203",
    "example-unknown-key",
    ERROR,
    "shape",
    good=GOOD,
    bad=GOOD.replace("]}", '], "id": 17}'),
    shapes=[(owner, "*", "additionalProperties") for owner in EXAMPLES],
    evidence="service message, code invalid_file_format",
    says=[r'contains an extra "?\w+"?', r"Extra inputs are not permitted"],
)
def example_unknown_key(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """The example has a key that the API does not know.

    Unlike most APIs, fine-tuning refuses extra keys. Take identifiers and notes out of the file.
    """
    if broken.field.lower() in broken.known:
        return
    meant = real_key(broken.field) if broken.owner == "Preference" else None
    if meant is None or meant in broken.parent:
        hint = did_you_mean(broken.field, broken.known)
        yield Hit(f"unknown key {excerpt(broken.field, 60)}{hint or '; remove it'}", broken.path)


@rule(
    "FT204",
    "key-case",
    ERROR,
    "shape",
    good=GOOD,
    bad=GOOD.replace('"messages"', '"Messages"'),
    shapes=[(owner, "*", "additionalProperties") for owner in (*EXAMPLES, *MESSAGES)],
    evidence="openai's old prepare_data lower-cased them",
)
def key_case(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """A key differs from a known one only in upper and lower case. JSON keys are exact."""
    if broken.field.lower() in broken.known:
        yield Hit(
            f"the key is {broken.field.lower()!r}, not {excerpt(broken.field, 60)}", broken.path
        )


def long_example(weights: tuple[int, int]) -> str:
    """A chat example of about 5,000 tokens whose two answers have these weights; the first is short."""
    words = " ".join(str(number) for number in range(2500))
    first = '{"role": "assistant", "content": "Go on.", "weight": %d}' % weights[0]
    last = '{"role": "assistant", "content": "Thank you.", "weight": %d}' % weights[1]
    return line(
        '{"role": "user", "content": "Hi"}',
        first,
        '{"role": "user", "content": "%s"}' % words,
        last,
    )


@rule(
    "FT205",
    "example-too-long",
    WARNING,
    "counted",
    good=GOOD,
    bad=lambda: long_example((1, 0)),
    evidence="fine-tuning guide: cut at the end; the cookbook notebook warns",
)
def example_too_long(counted: TokenCount, plan: ScanPlan) -> Iterator[Hit]:
    """The example has more tokens than the model trains on. What is beyond is cut off, without a word.

    Tokens are counted as the service bills them: 1 for the example, and for each message 3, its role and its content. Where the
    tokens of a model are bytes, each message costs 2 and its bytes.
    """
    limit = plan.limits.tokens
    if counted.tokens > limit:
        note = f" ({plan.limits.tokens_note})" if plan.limits.tokens_note else ""
        model = plan.limits.model or "the default"
        yield Hit(
            f"{counted.tokens:,} tokens, {counted.tokens - limit:,} over the limit of {limit:,} for {model}{note}"
        )


@rule(
    "FT206",
    "example-trained-tokens-cut",
    WARNING,
    "counted",
    good=GOOD,
    bad=lambda: long_example((0, 1)),
    evidence="TRL#6025: trains on nothing in silence",
    says=[r"anything to learn within [\d,]+ tokens"],
)
def example_trained_tokens_cut(counted: TokenCount, plan: ScanPlan) -> Iterator[Hit]:
    """The part of the example that is cut off holds answers that were to be trained on.

    The cut takes the end of the example, which is where the answer stands. Shorten the prompt or split the example.
    """
    limit = plan.limits.tokens
    lost = [
        (path, min(end - limit, end - start)) for path, start, end in counted.trained if end > limit
    ]
    if lost:
        all_trained = sum(end - start for _, start, end in counted.trained)
        number = sum(tokens for _, tokens in lost)
        share = "all" if number == all_trained else f"{number:,} of the"
        yield Hit(
            f"the cut at {limit:,} tokens removes {share} {all_trained:,} trained tokens; shorten or split it",
            lost[0][0],
        )
