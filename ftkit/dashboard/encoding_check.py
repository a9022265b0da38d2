"""Encoding of a file's examples by a base model, as a job does before it trains."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from msgspec import Struct

from ftkit.dashboard.check_results import Encoded
from ftkit.errors import EncodingError, UsageError
from ftkit.server.recipes import restore_recipe
from ftkit.server.training.base import job_error, load_base_model
from ftkit.server.training.dataset import read_examples
from ftkit.server.training.encoding import IGNORED_LABEL, Encoder, Pair, Sequence
from ftkit.validation.validate import validate

SAMPLE = 10_000
"""Maximum number of examples that are encoded: of a larger file, an even sample."""

MAX_REFUSED, MAX_CUT_LINES = 5, 100
"""Maximum number of refused examples, and of lines of truncated ones, that are named."""

OVERLAP = "split-overlap"
"""Rule on examples that the training and the validation file share."""


class _Tally(Struct):
    """Sums over the encoded examples."""

    examples: int = 0
    sequences: int = 0
    tokens: int = 0
    trained: int = 0
    cut_examples: int = 0
    cut_tokens: int = 0
    dropped: int = 0

    def add(self, encoded: list[Sequence] | list[Pair]) -> bool:
        """Add an example. Return True if it is truncated."""
        self.examples += 1
        is_cut = False
        for item in encoded:
            is_cut = is_cut or item.cut > 0
            self.cut_tokens += item.cut
            if not item.is_learned:
                self.dropped += 1
                continue
            self.sequences += 1
            self.tokens += _tokens(item)
            self.trained += _trained(item)
        self.cut_examples += is_cut
        return is_cut


def encode_examples(path: Path, arguments: dict[str, Any]) -> Encoded:
    """Encode the examples of a valid file.

    Args:
        path: The file.
        arguments: The `base` model with its `recipe`, the `method`, the `format` and the number of
            `examples` of the file, and the path of the `validation` file or "".

    Raises:
        FtkitError: The base model cannot be loaded.
    """
    encoder, limit = _load(arguments)
    every = max(math.ceil(arguments["examples"] / SAMPLE), 1)
    tally, refused, cut_lines = _Tally(), list[str](), list[int]()
    for index, (line, _, example) in enumerate(read_examples(path)):
        if index % every:
            continue
        assert example is not None
        try:
            encoded = encoder.encode(example, arguments["format"])
        except EncodingError as error:
            refused.append(f"line {line}: {error}")
            if len(refused) >= MAX_REFUSED:
                break
            continue
        if tally.add(encoded) and len(cut_lines) < MAX_CUT_LINES:
            cut_lines.append(line)
    return Encoded(
        examples=tally.examples,
        total=arguments["examples"] if every > 1 else tally.examples,
        sequences=tally.sequences,
        tokens=tally.tokens,
        trained=tally.trained,
        limit=limit,
        cut_examples=tally.cut_examples,
        cut_lines=tuple(cut_lines),
        cut_tokens=tally.cut_tokens,
        dropped=tally.dropped,
        refused=tuple(refused),
        overlap=_overlap(path, arguments["validation"]),
    )


def _load(arguments: dict[str, Any]) -> tuple[Encoder, int]:
    """Return the encoder of the base model, and the length to which it truncates examples."""
    base = arguments["base"]
    try:
        model = load_base_model(base, restore_recipe(base, arguments["recipe"]))
    except Exception as error:
        failure = job_error(error)
        if failure is None:
            raise
        raise UsageError(failure.message) from error
    limit = model.max_tokens(arguments["method"])
    return model.encoder(limit), limit


def _tokens(item: Sequence | Pair) -> int:
    """Return the number of tokens that go through the model in an epoch."""
    if isinstance(item, Sequence):
        return len(item.input_ids)
    return 2 * len(item.prompt_ids) + len(item.chosen_ids) + len(item.rejected_ids)


def _trained(item: Sequence | Pair) -> int:
    if isinstance(item, Sequence):
        return sum(label != IGNORED_LABEL for label in item.labels)
    return len(item.chosen_ids) + len(item.rejected_ids)


def _overlap(path: Path, validation: str) -> int:
    """Return the number of examples that the validation file has, too."""
    if not validation:
        return 0
    report = validate(
        path,
        provider="local",
        validation_file=validation,
        select=[OVERLAP],
        max_findings=1,
        workers=1,
    )
    return report.files[0].counts.get(OVERLAP, 0)
