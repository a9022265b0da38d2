"""Text of a completion as its tokens arrive: incremental decoding, lead, stop sequences.

Each token takes constant time, however long the completion is.
"""

from __future__ import annotations

from functools import partial
from typing import Any

WINDOW = 64
"""Number of tokens that are decoded again for context when further ones arrive."""

MAX_WINDOW = 1024
"""Number of tokens after which incomplete characters are passed on as invalid bytes."""

MAX_INCOMPLETE = 3
"""Maximum number of replacement characters that an incomplete character is decoded to."""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class IncrementalDecoder:
    """Decodes tokens to text.

    A character may have several tokens, and the text of a token may depend on those before it.
    Therefore the last tokens are decoded together, and incomplete characters are held back.

    Args:
        tokenizer: Tokenizer of the model.
        keep_special: Decode special tokens, too, instead of leaving them out.
    """

    def __init__(self, tokenizer: Any, keep_special: bool = False) -> None:
        self._decode = partial(tokenizer.decode, skip_special_tokens=not keep_special)
        self._ids: list[int] = []
        self._returned = 0

    def add(self, ids: list[int], final: bool = False) -> str:
        """Return the text that these tokens complete.

        Args:
            ids: Next tokens.
            final: Return incomplete characters, too, since no tokens follow.
        """
        self._ids += ids
        text: str = self._decode(self._ids)
        incomplete = len(text) - len(text.rstrip(REPLACEMENT))
        if final:
            incomplete = 0
        elif len(self._ids) >= MAX_WINDOW:
            incomplete = min(incomplete, MAX_INCOMPLETE)
        end = len(text) - incomplete
        new = text[self._returned : end]
        self._returned = max(self._returned, end)
        if len(self._ids) >= 2 * WINDOW:
            self._forget(text)
        return new

    def _forget(self, text: str) -> None:
        """Keep only the last tokens, unless the first of them is within a character."""
        last = self._ids[-WINDOW:]
        end = self._decode(last)
        returned = self._returned - (len(text) - len(end))
        if (end and returned >= 0 and text.endswith(end)) or len(self._ids) >= MAX_WINDOW:
            self._ids, self._returned = last, max(0, returned)


class StopSequences:
    """Passes text on up to the first stop sequence.

    Text is held back while it may be the start of a stop sequence.

    Args:
        stops: Stop sequences.

    Attributes:
        found: True once there was a stop sequence.
    """

    def __init__(self, stops: list[str]) -> None:
        self._stops = stops
        self._held = ""
        self.found = False

    def add(self, text: str, final: bool = False) -> str:
        """Return the text that can be passed on.

        Args:
            text: Next text.
            final: Return text that was held back, too, since none follows.
        """
        if self.found:
            return ""
        text = self._held + text
        matches = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        if matches:
            self.found = True
            return text[: min(matches)]
        end = len(text) if final else len(text) - self._partial_length(text)
        self._held = text[end:]
        return text[:end]

    def _partial_length(self, text: str) -> int:
        """Return the length of the longest start of a stop sequence that ends the text."""
        lengths = (
            length
            for stop in self._stops
            for length in range(min(len(stop) - 1, len(text)), 0, -1)
            if text.endswith(stop[:length])
        )
        return max(lengths, default=0)


class LeadFilter:
    """Removes what a chat template writes between the prompt and an answer.

    Some leads have special tokens, such as the header of the channel in which gpt-oss answers. What
    precedes these, such as another channel, is removed, too.

    Args:
        lead: Text before an answer.
        lead_ids: Its tokens if one of them is a special token, or else none.
    """

    def __init__(self, lead: str, lead_ids: list[int]) -> None:
        self._lead, self._lead_ids = "" if lead_ids else lead, lead_ids
        self._pending: list[int] = []
        self._text = ""

    def add_tokens(self, ids: list[int]) -> list[int]:
        """Return the tokens that follow the special tokens of the lead."""
        if not self._lead_ids:
            return ids
        start, length = len(self._pending), len(self._lead_ids)
        self._pending += ids
        for end in range(max(start, length - 1) + 1, len(self._pending) + 1):
            if self._pending[end - length : end] == self._lead_ids:
                self._lead_ids = []
                return self._pending[end:]
        return []

    def add_text(self, text: str, final: bool = False) -> str:
        """Return the text that follows the lead, if the text starts with it.

        Args:
            text: Next text.
            final: Return text that was held back, too, since none follows.
        """
        if not self._lead:
            return text
        self._text += text
        if self._lead.startswith(self._text) and self._text != self._lead and not final:
            return ""
        result, self._lead = self._text.removeprefix(self._lead), ""
        return result
