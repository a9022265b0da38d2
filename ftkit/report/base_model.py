"""Text output of `ftkit serve check`: the features of a base model, and its examples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ftkit._text import plural, printable

if TYPE_CHECKING:
    from ftkit.server.recipes import Recipe
    from ftkit.server.training.inspection import BaseCheck, ExampleCheck, Span

TITLES = {
    "system": "system messages",
    "tools": "tools",
    "parallel_tool_calls": "several calls at once",
    "thinking": "reasoning",
    "tool_calls": "tool calls in answers",
    "images": "images",
}
"""Titles of the features of a chat template."""


def base_fields(check: BaseCheck) -> Iterator[tuple[str, str]]:
    """Yield names and values of what a base model supports."""
    yield "base model", check.base
    for name, supported in check.supports.items():
        yield TITLES[name], _answer(name, supported)
    yield "end of turn", check.end_of_turn
    obstacle = check.answers_obstacle
    yield "chats with --answers", f"no, {obstacle}" if obstacle else "yes"
    context = check.context_length
    yield "context", plural(context, "token") if context else "not declared"
    yield "examples cut at", plural(check.max_tokens, "token")
    yield from _recipe_fields(check.recipe)


def _recipe_fields(recipe: Recipe) -> Iterator[tuple[str, str]]:
    rates = recipe.learning_rate
    yield "learning rate", f"{rates.supervised:g} (supervised), {rates.dpo:g} (dpo)"
    yield "LoRA", f"rank {recipe.rank}, alpha {recipe.alpha}, dropout {recipe.dropout:g}"
    targets = recipe.targets
    yield "LoRA targets", targets if isinstance(targets, str) else ", ".join(targets)
    yield "quantization", recipe.quantization
    yield "epochs", str(recipe.epochs) if recipe.epochs else "by the number of examples"
    yield "batch size", f"{recipe.batch_size}, at most {recipe.micro_batch} in a forward pass"
    yield "processes", "one for each GPU" if recipe.processes == "auto" else str(recipe.processes)
    yield "packing", "yes" if recipe.packing else "no"
    yield "gradient checkpointing", "yes" if recipe.gradient_checkpointing else "no"
    yield "attention", recipe.attention
    yield "CPU threads", str(recipe.threads) if recipe.threads else "PyTorch's default"
    yield "checkpoints kept", str(recipe.save_total_limit)
    options = ", ".join(f"{name}={value}" for name, value in recipe.template.items())
    yield "chat template options", options


def _answer(name: str, supported: bool) -> str:
    if supported:
        return "yes, used without it" if name == "thinking" else "yes"
    return "no, merged into the first user message" if name == "system" else "no"


def example_text(example: ExampleCheck, image_token: str | None) -> str:
    """Return an example, with a mark before each line: + for learned text, or else a space.

    Args:
        example: The example.
        image_token: Token whose repetitions are abbreviated, or None.
    """
    if example.refused:
        return f"line {example.line} is refused: {printable(example.refused)}\n"
    cut = f" ({plural(example.cut, 'trained token')} cut)" if example.cut else ""
    spans = "".join(f"{_marked(span, image_token)}\n" for span in example.spans)
    return f"line {example.line}{cut}\n{spans}"


def _marked(span: Span, image_token: str | None) -> str:
    mark = "+ " if span.learned else "  "
    text = _abbreviate(span.text, image_token) if image_token else span.text
    lines = printable(text, keep="\n").split("\n")
    return "\n".join(f"{mark}{line}".rstrip() for line in lines)


def _abbreviate(text: str, token: str) -> str:
    """Replace repetitions of a token with their number, such as `<image> x 64`."""
    return re.sub(
        rf"(?:{re.escape(token)}){{2,}}",
        lambda match: f"{token} x {len(match[0]) // len(token)}",
        text,
    )
