"""Rendering of conversations with the chat template of a base model."""

from __future__ import annotations

import re
from typing import Any

from jinja2 import TemplateError

from ftkit.errors import EncodingError
from ftkit.server.training.messages import Message

THINKING_PREFIX = re.compile(r"<think>\s*(</think>\s*)?\Z")
"""Reasoning block, open or empty, with which some templates end a prompt."""


class Renderer:
    """Renders conversations with a chat template.

    Args:
        tokenizer: Tokenizer of the base model, with its chat template.
        options: Variables of the template, such as `enable_thinking` or `reasoning_effort`.

    Attributes:
        special: Special tokens of the tokenizer, the longest first.
    """

    def __init__(self, tokenizer: Any, options: dict[str, Any]) -> None:
        self._tokenizer, self._options = tokenizer, options
        added = [
            token.content for token in tokenizer.added_tokens_decoder.values() if token.special
        ]
        self.special = sorted({*added, *tokenizer.all_special_tokens}, key=len, reverse=True)

    def with_options(self, **options: Any) -> Renderer:
        """Return a renderer with further options."""
        return Renderer(self._tokenizer, self._options | options)

    def render(
        self, messages: list[Message], tools: list[Any] | None = None, prompt: bool = False
    ) -> str:
        """Render messages.

        Args:
            messages: Messages as returned by `template_messages`.
            tools: Tools as returned by `template_tools`.
            prompt: End with the tokens that start a message of the assistant.

        Raises:
            EncodingError: The template refuses the messages.
        """
        try:
            text: str = self._tokenizer.apply_chat_template(
                messages, tools=tools, add_generation_prompt=prompt, tokenize=False, **self._options
            )
        except TemplateError as error:
            raise EncodingError(f"the base model's chat template says: {error}") from error
        except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
            raise EncodingError(
                f"the base model's chat template fails: {type(error).__name__}: {error}"
            ) from error
        return text

    def continuation(self, messages: list[Message], tools: list[Any] | None = None) -> str | None:
        """Return what the last message adds to the prompt for it.

        Returns:
            The text, or None if the conversation does not start with the prompt, apart from a
            reasoning block at its end.

        Raises:
            EncodingError: The template refuses the messages.
        """
        prompt = self.render(messages[:-1], tools, prompt=True) if messages[:-1] else ""
        text = self.render(messages, tools)
        if text.startswith(prompt):
            return text[len(prompt) :]
        start = THINKING_PREFIX.sub("", prompt)
        return text[len(start) :] if start != prompt and text.startswith(start) else None

    def last_special(self, text: str) -> str:
        """Return the special token that ends a text, or ""."""
        return next((token for token in self.special if text.endswith(token)), "")

    def trailing_special(self, text: str) -> str:
        """Return the special tokens that end a text, with the white space between them."""
        rest = text.rstrip()
        while last := self.last_special(rest):
            rest = rest[: -len(last)].rstrip()
        return text[len(rest) :].strip()
