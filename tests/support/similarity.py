"""Similar texts, and their exact similarity, computed as simply as possible."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import combinations
from typing import Any


def grams(text: str) -> set[str]:
    """The character 5-grams of a text that is not empty; a shorter one is itself one."""
    return {text[start : start + 5] for start in range(max(len(text) - 4, 1))}


def similarity(one: str, other: str) -> float:
    if not one or not other:
        return 0.0
    left, right = grams(one), grams(other)
    return len(left & right) / len(left | right)


def text_of(row: dict[str, Any]) -> str:
    """The texts of a chat row without system messages."""
    return "\n".join(m["content"] for m in row["messages"] if m["role"] != "system")


def similar_pairs(texts: list[str], threshold: float) -> set[tuple[int, int]]:
    sets = [grams(text) if text else set() for text in texts]
    return {
        (one, other)
        for one, other in combinations(range(len(texts)), 2)
        if len(sets[one] & sets[other]) >= threshold * max(len(sets[one] | sets[other]), 1)
        and sets[one]
    }


def template_texts(seed: int, count: int) -> list[str]:
    """Texts of a few templates, each with a number or a few words of its own."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(60)]
    templates = [" ".join(rng.choices(words, k=rng.randint(8, 14))) for _ in range(3)]
    fillings: list[Callable[[], str]] = [
        lambda: f"{rng.randrange(count):04}",
        lambda: f"{rng.randrange(count):04}" + "x" * rng.randrange(7),
        lambda: " ".join(rng.choices(words, k=rng.randint(1, 3))),
    ]
    texts = []
    for _ in range(count):
        number = rng.randrange(3)
        place = rng.choice((0, number * 10, 1000))
        template = templates[number]
        texts.append(f"{template[:place]}{fillings[number]()} {template[place:]}")
    return texts


def similar_texts(seed: int, count: int, words: int = 400) -> list[str]:
    """Texts of which many are other ones with a few words changed."""
    rng = random.Random(seed)
    vocabulary = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(words)]
    texts: list[str] = []
    for _ in range(count):
        if texts and rng.random() < 0.7:
            text = rng.choice(texts).split()
            for _ in range(rng.randint(0, 3)):
                text[rng.randrange(len(text))] = rng.choice(vocabulary)
        else:
            text = rng.choices(vocabulary, k=rng.randint(1, 25))
        texts.append(" ".join(text))
    return texts
