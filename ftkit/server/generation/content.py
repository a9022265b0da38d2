"""Removal of special tokens from the content of an answer."""

from __future__ import annotations

import re


class ContentFilter:
    """Removes special tokens, and what a chat template writes between the prompt and an answer.

    A lead with special tokens, such as the header of the channel in which gpt-oss answers, may
    follow other text, such as another channel. That is removed, too. Text is held back while it may
    be the start of a special token.

    Args:
        lead: Text before an answer.
        special: Texts of the special tokens.
    """

    def __init__(self, lead: str, special: list[str]) -> None:
        self._lead = lead
        self._lead_is_special = any(token in lead for token in special)
        longest_first = sorted(filter(None, special), key=len, reverse=True)
        self._regex = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._starts = {token[:end] for token in special for end in range(1, len(token))}
        self._longest = max(map(len, [*special, ""]))
        self._text = ""

    def add(self, text: str, final: bool = False) -> str:
        """Return the content that can be passed on.

        Args:
            text: Next text.
            final: Return text that was held back, too, since none follows.
        """
        self._text += text
        if self._lead and not self._remove_lead(final):
            return ""
        end = len(self._text) if final else self._partial_start()
        content, self._text = self._text[:end], self._text[end:]
        return self._regex.sub("", content)

    def _remove_lead(self, final: bool) -> bool:
        """Remove the lead from the text. Return False if it may still follow."""
        if self._lead_is_special:
            _, separator, after = self._text.partition(self._lead)
            if not separator:
                self._text = "" if final else self._text[-len(self._lead) :]
                return False
            self._text = after
        elif self._lead.startswith(self._text) and self._text != self._lead and not final:
            return False
        else:
            self._text = self._text.removeprefix(self._lead)
        self._lead = ""
        return True

    def _partial_start(self) -> int:
        """Return the position where a special token may start at the end, or the text's length."""
        complete = [match.end() for match in self._regex.finditer(self._text)]
        first = max(len(self._text) - self._longest + 1, complete[-1] if complete else 0)
        positions = range(first, len(self._text))
        return next((at for at in positions if self._text[at:] in self._starts), len(self._text))
