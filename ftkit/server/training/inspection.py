"""Inspection of a base model: features of its chat template, and the tokens of examples."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from msgspec import Struct

from ftkit.dataset.formats import METHODS
from ftkit.errors import (
    EncodingError,
    FileError,
    ModelLoadError,
    RecipeError,
    UsageError,
    os_error_message,
)
from ftkit.server.generation.tool_calls import detect_tool_format
from ftkit.server.recipes import Recipe, Recipes, builtin_recipes
from ftkit.server.training.base import load_base_model, operator_error
from ftkit.server.training.dataset import read_examples
from ftkit.server.training.encoding import IGNORED_LABEL, Encoder, Pair, Sequence
from ftkit.validation.validate import validate

FEATURES = ("system", "tools", "parallel_tool_calls", "thinking")
"""Features of a chat template that are shown."""

IGNORED_RULES = ("examples-too-few",)
"""Rules that say nothing about a single example."""

MAX_FINDINGS = 1_000_000
"""Maximum number of findings of a rule."""


class Span(Struct, frozen=True):
    """Part of an encoded example, and whether the loss covers it."""

    text: str
    learned: bool


class ExampleCheck(Struct, frozen=True):
    """Example as it is trained on, or one of the sequences that it becomes.

    Attributes:
        line: Line of the example.
        refused: Reason why the base model cannot be trained on it, or None.
        cut: Number of tokens to learn that truncation removes.
        spans: Parts of the text that goes through the model.
    """

    line: int
    refused: str | None = None
    cut: int = 0
    spans: list[Span] = []


class BaseCheck(Struct, frozen=True):
    """Features and limits of a base model.

    Attributes:
        base: Name of the base model.
        supports: Features of its chat template: `system`, `tools`, `parallel_tool_calls` and
            `thinking`; `tool_calls` if those of answers can be parsed; and `images`. All are false
            without a chat template.
        end_of_turn: Text that ends an answer.
        answers_obstacle: Reason why servers of `serve --answers` are not used for chats, or "".
        image_token: Token that stands for a part of an image, or None.
        context_length: Maximum number of tokens of a sequence, or None if it is not declared.
        max_tokens: Length in tokens to which examples are truncated.
        recipe: How it is trained and loaded.
    """

    base: str
    supports: dict[str, bool]
    end_of_turn: str
    answers_obstacle: str
    image_token: str | None
    context_length: int | None
    max_tokens: int
    recipe: Recipe


class BaseInspector:
    """Shows what a base model supports, and what it learns from a file.

    Args:
        base: `ftkit/smoke`, a model of the Hugging Face hub, or a folder.
        recipes: Recipes of the base models; the built-in ones by default.

    Raises:
        UsageError: The base model cannot be loaded.
    """

    def __init__(self, base: str, recipes: Recipes | None = None) -> None:
        recipe = (recipes or builtin_recipes()).find(base)
        try:
            self._model = load_base_model(base, recipe)
        except ModelLoadError as error:
            raise operator_error(base, error) from error
        except RecipeError as error:
            raise UsageError(str(error)) from error
        self._base = base

    def check(self) -> BaseCheck:
        """Return what the base model supports."""
        max_tokens = self._model.max_tokens("supervised")
        encoder = self._model.encoder(max_tokens)
        supports, end_of_turn, obstacle = _supports(encoder, self._model.tokenizer)
        vision = self._model.vision if supports["images"] else None
        return BaseCheck(
            self._base,
            supports,
            end_of_turn,
            obstacle,
            vision.feature_token if vision else None,
            self._model.context_length,
            max_tokens,
            self._model.recipe,
        )

    def check_file(self, path: str | os.PathLike[str]) -> Iterator[ExampleCheck]:
        """Yield the examples of a training file as the base model is trained on them.

        An example that becomes several sequences is yielded once for each, and a preference once
        for each output.

        Args:
            path: The file. Lines with errors are yielded as refused.

        Raises:
            FileError: The file cannot be read.
            UsageError: The file as a whole is not a training file.
        """
        report = validate(path, provider="local", ignore=IGNORED_RULES, max_findings=MAX_FINDINGS)
        file = report.files[0]
        errors: dict[int | None, str] = {
            finding.line: finding.message
            for finding in reversed(file.findings)
            if finding.severity == "error"
        }
        if 0 in errors or None in errors or file.format is None:
            reason = errors.get(0) or errors.get(None) or "the format is unknown"
            raise UsageError(f"{os.fspath(path)}: {reason}")
        encoder = self._model.encoder(self._model.max_tokens(METHODS[file.format]))
        try:
            for line, _, example in read_examples(Path(path), skip=errors):
                if example is None:
                    yield ExampleCheck(line, errors[line])
                else:
                    yield from self._check_example(line, example, file.format, encoder)
        except OSError as error:
            raise FileError(f"cannot read {path}: {os_error_message(error)}") from error

    def _check_example(
        self, line: int, example: dict[str, Any], format: str, encoder: Encoder
    ) -> Iterator[ExampleCheck]:
        try:
            encoded = encoder.encode(example, format)
        except EncodingError as error:
            yield ExampleCheck(line, str(error))
            return
        for item in encoded:
            for sequence in item.sequences() if isinstance(item, Pair) else (item,):
                yield ExampleCheck(line, None, sequence.cut, self._spans(sequence))

    def _spans(self, sequence: Sequence) -> list[Span]:
        """Split a sequence where the loss begins or ends to cover it."""
        spans, text, end = [], "", 0
        for learned, labels in groupby(label != IGNORED_LABEL for label in sequence.labels):
            end += sum(1 for _ in labels)
            # Decoded from the start, since tokenizers leave out a space at the start of a text.
            decoded = self._model.tokenizer.decode(
                sequence.input_ids[:end],
                skip_special_tokens=False,
                clean_up_tokenization_spaces=False,
            )
            spans.append(Span(decoded[len(text) :], learned))
            text = decoded
        return spans


def _supports(encoder: Encoder, tokenizer: Any) -> tuple[dict[str, bool], str, str]:
    """Return the features of the chat template, the end of turn, and `answers_obstacle`."""
    try:
        features = encoder.template.features
    except EncodingError as error:  # completions can still be trained
        names = (*FEATURES, "tool_calls", "images")
        return dict.fromkeys(names, False), tokenizer.eos_token or "", str(error)
    supports = {name: getattr(features, name) for name in FEATURES}
    supports["tool_calls"] = detect_tool_format(encoder.template) is not None
    supports["images"] = encoder.writes_images()
    return supports, features.end, encoder.template.obstacle
