"""The measures: each a function from a reply and the one it is held against to a number."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

from msgspec import Struct

from ftkit.compare.replies import Reply
from ftkit.errors import UsageError

Unit = Literal["share", "score", "count"]
"""`share` is from 0 to 1, `score` from 0 to 100, `count` a number of something."""


Applies = Callable[[Reply | None, Reply, Reply], bool]
"""From the reference, or None where A is held against B, and the replies of A and B: whether a measure means anything."""


def always(reference: Reply | None, a: Reply, b: Reply) -> bool:
    """For what every reply has."""
    return True


class Measure(Struct, frozen=True):
    """A way to hold a reply against another, the reference: `score` is the number."""

    name: str
    title: str
    unit: Unit
    score: Callable[[Reply, Reply], float]
    applies: Applies = always


class Trait(Struct, frozen=True):
    """A property of one reply; `of` is the number."""

    name: str
    title: str
    unit: Unit
    of: Callable[[Reply], float]
    applies: Applies = always


def exact(reply: Reply, reference: Reply) -> float:
    """Whether text, refusal and tool calls are the same."""
    return float(
        (reply.text, reply.refusal, reply.calls)
        == (reference.text, reference.refusal, reference.calls)
    )


def chrf(reply: Reply, reference: Reply) -> float:
    """chrF of the text (characters up to 6, beta 2), from 0 to 100."""
    return _score(_sacrebleu()[0], reply.text, reference.text)


def bleu(reply: Reply, reference: Reply) -> float:
    """BLEU of the text alone (tokenizer 13a, effective order, exponential smoothing), from 0 to 100."""
    return _score(_sacrebleu()[1], reply.text, reference.text)


def json_fields(reply: Reply, reference: Reply) -> float:
    """Values that both have at the same place, as a share of all places that either has; 0 where one is no JSON."""
    one, two = reply.fields, reference.fields
    if one is None or two is None:
        return 0.0
    same = sum(two.get(path) == value for path, value in one.items())
    return same / len(one.keys() | two.keys())


def tool_names(reply: Reply, reference: Reply) -> float:
    """Whether the same tools are called, as often."""
    return float([name for name, _ in reply.calls] == [name for name, _ in reference.calls])


def tool_arguments(reply: Reply, reference: Reply) -> float:
    """Whether the same tools are called with equal arguments."""
    return float(reply.calls == reference.calls)


def _has_text(reference: Reply | None, a: Reply, b: Reply) -> bool:
    return any(reply.text for reply in (reference, a, b) if reply)


def _has_calls(reference: Reply | None, a: Reply, b: Reply) -> bool:
    return any(reply.calls for reply in (reference, a, b) if reply)


def _is_json(reference: Reply | None, a: Reply, b: Reply) -> bool:
    return any(reply.fields is not None for reply in ([reference] if reference else [a, b]))


MEASURES = {
    measure.name: measure
    for measure in (
        Measure("exact", "exact match", "share", exact),
        Measure("chrf", "chrF", "score", chrf, _has_text),
        Measure("bleu", "BLEU", "score", bleu, _has_text),
        Measure("json_fields", "JSON fields agree", "share", json_fields, _is_json),
        Measure("tool_names", "same tools", "share", tool_names, _has_calls),
        Measure("tool_arguments", "same tools, arguments", "share", tool_arguments, _has_calls),
    )
}
"""The measures of two replies, by name."""

TRAITS = {
    trait.name: trait
    for trait in (
        Trait(
            "json_valid",
            "JSON is valid",
            "share",
            lambda reply: float(reply.fields is not None),
            _is_json,
        ),
        Trait("refusal", "refused", "share", lambda reply: float(bool(reply.refusal))),
        Trait("characters", "characters", "count", lambda reply: float(len(reply.text))),
    )
}
"""The measures of one reply, by name."""


def field_measure(key: str) -> Measure:
    """Whether the value of that key of a JSON object is the same."""
    return Measure(
        key,
        key,
        "share",
        lambda reply, reference: float(reply.top.get(key) == reference.top.get(key)),
        lambda reference, a, b: any(
            key in reply.top for reply in ([reference] if reference else [a, b])
        ),
    )


def token_trait(encoding: str) -> Trait:
    """The number of tokens of the text in that encoding."""
    from ftkit.tokens.encodings import token_counter

    return Trait(
        "tokens",
        f"tokens ({encoding})",
        "count",
        lambda reply: float(token_counter(encoding).count([reply.text])[0]),
    )


def distance(one: Reply, two: Reply, similarity: float) -> float:
    """How far apart two replies are, from 0 (the same) to 100: other tools or arguments, one of them a refusal, or by chrF."""
    if exact(one, two):
        return 0.0
    if one.calls != two.calls or bool(one.refusal) != bool(two.refusal):
        return 100.0
    return (
        0.0 if similarity != similarity else 100.0 - similarity
    )  # not a number where neither has text


def _score(metric: Any, text: str, reference: str) -> float:
    if text == reference:
        return 100.0
    return min(float(metric.sentence_score(text, [reference]).score), 100.0)


def check_sacrebleu() -> None:
    """Raise `UsageError` where sacrebleu is missing."""
    _sacrebleu()


@cache
def _sacrebleu() -> tuple[Any, Any]:
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        raise UsageError("comparing needs sacrebleu: pip install 'ftkit[compare]'") from None
    return CHRF(), BLEU(effective_order=True)
