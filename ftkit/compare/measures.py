"""Measures of replies.

To add a measure, write its function and add an entry to `MEASURES` or `REPLY_MEASURES`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

from msgspec import Struct

from ftkit.compare.replies import Reply
from ftkit.errors import UsageError, install_command

Unit = Literal["share", "score", "count"]
"""Unit of a measure: a share from 0 to 1, a score from 0 to 100, or a count."""

Applies = Callable[[Reply | None, Reply, Reply], bool]
"""Condition for a measure to be meaningful, from the reference, if any, and replies A and B."""


def always(reference: Reply | None, a: Reply, b: Reply) -> bool:
    """Return True: the measure is meaningful for every reply."""
    return True


class Measure(Struct, frozen=True):
    """A measure that compares a reply with a reference.

    Attributes:
        name: Key in the JSON report.
        title: Title in the text report.
        unit: Unit of the score.
        score: Function from the reply and the reference to the score.
        applies: Condition under which the score is meaningful.
    """

    name: str
    title: str
    unit: Unit
    score: Callable[[Reply, Reply], float]
    applies: Applies = always


class ReplyMeasure(Struct, frozen=True):
    """A measure of one reply by itself, with the attributes of `Measure`."""

    name: str
    title: str
    unit: Unit
    score: Callable[[Reply], float]
    applies: Applies = always


def exact(reply: Reply, reference: Reply) -> float:
    """Return 1 if text, refusal and tool calls are identical."""
    return float(
        (reply.text, reply.refusal, reply.calls)
        == (reference.text, reference.refusal, reference.calls)
    )


def chrf(reply: Reply, reference: Reply) -> float:
    """Return sacrebleu's sentence chrF of the texts (character order 6, beta 2), from 0 to 100."""
    return _sentence_score(_sacrebleu()[0], reply.text, reference.text)


def bleu(reply: Reply, reference: Reply) -> float:
    """Return sacrebleu's sentence BLEU of the texts, from 0 to 100.

    Tokenizer 13a, effective order, exponential smoothing.
    """
    return _sentence_score(_sacrebleu()[1], reply.text, reference.text)


def json_fields(reply: Reply, reference: Reply) -> float:
    """Return the number of equal JSON leaves divided by the number of paths in either reply.

    0 if one of the replies is not JSON.
    """
    ours, theirs = reply.fields, reference.fields
    if ours is None or theirs is None:
        return 0.0
    equal = sum(theirs.get(path) == value for path, value in ours.items())
    return equal / len(ours.keys() | theirs.keys())


def tool_names(reply: Reply, reference: Reply) -> float:
    """Return 1 if the same tools are called the same number of times."""
    return float([name for name, _ in reply.calls] == [name for name, _ in reference.calls])


def tool_arguments(reply: Reply, reference: Reply) -> float:
    """Return 1 if the same tools are called with equal arguments."""
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
        Measure("json_fields", "JSON field match", "share", json_fields, _is_json),
        Measure("tool_names", "tool name match", "share", tool_names, _has_calls),
        Measure("tool_arguments", "tool call match", "share", tool_arguments, _has_calls),
    )
}
"""Measures that compare a reply with a reference, by name."""


def _json_valid(reply: Reply) -> float:
    return float(reply.fields is not None)


def _refusal(reply: Reply) -> float:
    return float(bool(reply.refusal))


def _characters(reply: Reply) -> float:
    return float(len(reply.text))


REPLY_MEASURES = {
    measure.name: measure
    for measure in (
        ReplyMeasure("json_valid", "valid JSON", "share", _json_valid, _is_json),
        ReplyMeasure("refusal", "refusals", "share", _refusal),
        ReplyMeasure("characters", "characters", "count", _characters),
    )
}
"""Measures of one reply by itself, by name."""


def field_measure(key: str) -> Measure:
    """Return the measure that is 1 if the value of a key of the JSON object is equal."""

    def score(reply: Reply, reference: Reply) -> float:
        return float(reply.top.get(key) == reference.top.get(key))

    def applies(reference: Reply | None, a: Reply, b: Reply) -> bool:
        return any(key in reply.top for reply in ([reference] if reference else [a, b]))

    return Measure(key, key, "share", score, applies)


def token_measure(encoding: str) -> ReplyMeasure:
    """Return the measure that counts the tokens of the text in an encoding."""
    from ftkit.tokens.encodings import token_counter

    def score(reply: Reply) -> float:
        return float(token_counter(encoding).count([reply.text])[0])

    return ReplyMeasure("tokens", f"tokens ({encoding})", "count", score)


def distance(a: Reply, b: Reply, similarity: float) -> float:
    """Return the distance of two replies, from 0 (equal) to 100.

    Args:
        a: A reply.
        b: The other reply.
        similarity: chrF of the two, or NaN if neither has text.
    """
    if exact(a, b):
        return 0.0
    if a.calls != b.calls or bool(a.refusal) != bool(b.refusal):
        return 100.0
    is_nan = similarity != similarity
    return 0.0 if is_nan else 100.0 - similarity


def _sentence_score(metric: Any, text: str, reference: str) -> float:
    if text == reference:  # sacrebleu scores two empty texts 0
        return 100.0
    return min(float(metric.sentence_score(text, [reference]).score), 100.0)


def check_sacrebleu() -> None:
    """Raise `UsageError` if sacrebleu is not installed."""
    _sacrebleu()


@cache
def _sacrebleu() -> tuple[Any, Any]:
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        raise UsageError(
            f"comparing needs sacrebleu; install it with: {install_command('compare')}"
        ) from None
    return CHRF(), BLEU(effective_order=True)


QUALITY = frozenset(MEASURES) | {"json_valid"}
"""Measures of which more is better. Of others, such as the length, more is only more."""
