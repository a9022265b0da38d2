"""Byte-pair encoding in Python, for amounts of text that are counted sooner than tiktoken loads.

Most words are tokens. Any other word is merged as tiktoken does it: the pair of neighbours with the
lowest rank first, and the first of several.
"""

from __future__ import annotations

import unicodedata
from binascii import b2a_base64

MAX_WORD = 128
"""Maximum number of bytes of a word, since merging takes quadratic time."""

MAX_MERGED = 40_000
"""Bytes of words that are merged before tiktoken takes over (about 0.1 s)."""

NO_RANK = 1 << 30
"""Rank of a pair that is not a token, above all ranks."""


class PairCounter:
    """Counts the tokens of texts, without copying the vocabulary into tables.

    Args:
        vocabulary: The lines of a `.tiktoken` file: a token in Base64, and its rank.
        pattern: Regular expression that splits text into words.
    """

    def __init__(self, vocabulary: bytes, pattern: str) -> None:
        import regex

        columns = iter(vocabulary.split())
        self._ranks = dict(zip(columns, columns, strict=True))
        self._split = regex.compile(pattern).findall
        self._by_word: dict[str, int] = {}
        self.merged = 0
        """Bytes of words that were merged so far."""

    def count(self, text: str) -> int | None:
        """Return the number of tokens of a text, or None if tiktoken has to count it.

        That is the case for words that take long to merge, and for characters that are newer than
        the `unicodedata` of Python: tiktoken and `regex` may not agree if they are letters.
        """
        if not text.isascii() and any(unicodedata.category(c) == "Cn" for c in set(text)):
            return None
        tokens, by_word = 0, self._by_word
        for word in self._split(text):
            if word not in by_word:
                data = word.encode()
                if self._rank(data) < NO_RANK:
                    by_word[word] = 1
                elif len(data) <= MAX_WORD and self.merged <= MAX_MERGED:
                    by_word[word] = self._merge(data)
                else:
                    return None
            tokens += by_word[word]
        return tokens

    def _merge(self, word: bytes) -> int:
        """Return the number of tokens that remain of a word after all merges."""
        self.merged += len(word)
        parts = [word[i : i + 1] for i in range(len(word))]
        ranks = [self._rank(word[i : i + 2]) for i in range(len(word) - 1)]
        while ranks and (lowest := min(ranks)) < NO_RANK:
            index = ranks.index(lowest)
            parts[index : index + 2] = [parts[index] + parts[index + 1]]
            del ranks[index]
            for pair in range(max(index - 1, 0), min(index + 1, len(ranks))):
                ranks[pair] = self._rank(parts[pair] + parts[pair + 1])
        return len(parts)

    def _rank(self, token: bytes) -> int:
        return int(self._ranks.get(b2a_base64(token, newline=False), NO_RANK))
