"""Examples as a whole: their keys and their length."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit._text import excerpt
from ftkit.errors import did_you_mean
from ftkit.rules.base import ERROR, WARNING, Hit, ScanPlan, rule
from ftkit.rules.fixes import Edit, fix
from ftkit.rules.fixes.keys import remove_key, rename_to_nearest
from ftkit.rules.messages import MESSAGE_TYPES
from ftkit.rules.nodes import SchemaError
from ftkit.rules.preference import intended_key
from ftkit.rules.samples import CHAT, long_chat
from ftkit.rules.sources import (
    COMMUNITY_966285,
    COOKBOOK,
    OPENAI_GUIDE,
    OPENAI_MESSAGE,
    PREPARE_DATA,
    TRL_6025,
)
from ftkit.tokens.counting import TokenCount

EXAMPLE_TYPES = ("Chat", "Completions", "Preference", "PreferenceInput")


@rule(
    "FT203",
    "example-unknown-key",
    ERROR,
    SchemaError,
    places=[(owner, "*", "additionalProperties") for owner in EXAMPLE_TYPES],
    bad=CHAT.replace("]}", '], "id": 17}'),
    good=CHAT,
    evidence=[OPENAI_MESSAGE.with_detail("code invalid_file_format"), COMMUNITY_966285],
    provider_messages=[r'contains an extra "?\w+"?', r"Extra inputs are not permitted"],
)
def example_unknown_key(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """The example has a key that the API does not know.

    Unlike most APIs, fine-tuning refuses extra keys. Remove identifiers and notes from the file.
    """
    if error.field.lower() in error.allowed:
        return
    intended = intended_key(error.field) if error.owner == "Preference" else None
    if intended is None or intended in error.parent:
        hint = did_you_mean(error.field, error.allowed, otherwise="; remove it")
        yield Hit(f"unknown key {excerpt(error.field, 60)}{hint}", error.path)


fix(example_unknown_key, SchemaError, "safe", "rename the key")(rename_to_nearest)
fix(example_unknown_key, SchemaError, "unsafe", "remove the key")(remove_key)


@rule(
    "FT204",
    "key-case",
    ERROR,
    SchemaError,
    places=[(owner, "*", "additionalProperties") for owner in (*EXAMPLE_TYPES, *MESSAGE_TYPES)],
    bad=CHAT.replace('"messages"', '"Messages"'),
    good=CHAT,
    evidence=[PREPARE_DATA.with_detail("converts column names to lower case")],
)
def key_case(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """A key differs from the right one only in upper and lower case.

    JSON keys are case-sensitive, so the right key is missing. Write it in lower case.
    """
    if error.field.lower() in error.allowed:
        yield Hit(
            f"the key {excerpt(error.field, 60)} has the wrong case; write {error.field.lower()!r}",
            error.path,
        )


@fix(key_case, SchemaError, "safe", "write the key in lower case")
def _lower(error: SchemaError) -> Edit | None:
    name = error.field.lower()
    return None if name in error.parent else Edit(error.parent, error.field, name=name)


@rule(
    "FT205",
    "example-too-long",
    WARNING,
    TokenCount,
    bad=lambda: long_chat((1, 0)),
    good=CHAT,
    evidence=[OPENAI_GUIDE.with_detail("examples are truncated at the end"), COOKBOOK],
)
def example_too_long(counted: TokenCount, plan: ScanPlan) -> Iterator[Hit]:
    """The example has more tokens than the model is trained on.

    The provider cuts off the end without an error. Shorten or split the example.

    Without a model, the limit is 4,096 tokens, the lowest of any hosted model. Name the model to
    check the example against its own limit.

    Tokens are counted as providers bill them: 1 for the example, and for each message 3, its role
    and its content. For models whose tokens are bytes, each message counts 2 and its bytes.
    """
    limits = plan.limits
    if counted.tokens <= limits.tokens:
        return
    if limits.model is None:
        owner = f"{limits.assumed_model}'s" if limits.assumed_model else "the default of"
        yield Hit(
            f"{counted.tokens:,} tokens: over {owner} {limits.tokens:,}, "
            f"the limit assumed if no model is named; {_trainable(plan)}; "
            "name the model, or shorten or split the example"
        )
        return
    note = f" ({limits.tokens_note})" if limits.tokens_note else ""
    yield Hit(
        f"{counted.tokens:,} tokens, {counted.tokens - limits.tokens:,} over the limit of "
        f"{limits.tokens:,} for {limits.model}{note}; shorten or split the example"
    )


def _trainable(plan: ScanPlan) -> str:
    """Return the limits of the models that can be trained today, for a message."""
    values = plan.limits.trainable_tokens.get(plan.format, ())
    if not values:
        return f"no model is known that {plan.limits.title} trains on {plan.format} files today"
    most = f" to {values[-1]:,}" if len(values) > 1 else ""
    return f"the models trainable today take {values[0]:,}{most}"


@rule(
    "FT206",
    "example-trained-tokens-cut",
    WARNING,
    TokenCount,
    bad=lambda: long_chat((0, 1)),
    good=CHAT,
    evidence=[TRL_6025.with_detail("silently trains on nothing")],
    provider_messages=[r"anything to learn within [\d,]+ tokens"],
)
def example_trained_tokens_cut(counted: TokenCount, plan: ScanPlan) -> Iterator[Hit]:
    """The example is too long, and the part that is cut off has tokens to be trained on.

    The end of an example is cut off, where its answer is, so the model learns a part of the answer
    or nothing. Shorten the prompt, or split the example.
    """
    limit = plan.limits.tokens
    cut = [
        (path, min(end - limit, end - start))
        for path, start, end in counted.trained
        if end > max(limit, start)
    ]
    number = sum(tokens for _, tokens in cut)
    if number:
        trained = sum(end - start for _, start, end in counted.trained)
        share = "all" if number == trained else f"{number:,} of the"
        removes = "removes"
        if plan.limits.model is None:
            removes = "(the limit assumed if no model is named) would remove"
        yield Hit(
            f"truncation at {limit:,} tokens {removes} {share} {trained:,} trained tokens; "
            "shorten the prompt or split the example",
            cut[0][0],
        )
