"""Constrained decoding, with llguidance: only tokens that continue a valid answer are chosen.

Schemas come from strangers. llguidance limits the work of compiling a grammar, and of each token;
what exceeds a limit is refused.
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from llguidance.hf import from_tokenizer

from ftkit.errors import EncodingError
from ftkit.server.generation.grammars import GrammarWriter, json_rule
from ftkit.server.generation.tool_calls import UNPARSABLE_CALLS
from ftkit.server.generation.tool_format import ToolFormat

LIMITS = LLParserLimits(
    initial_lexer_fuel=1_000_000,  # about 20 ms
    step_lexer_fuel=200_000,  # about 15 ms
    max_lexer_states=25_000,  # about 50 MB
    max_grammar_size=100_000,
    verbose_errors=False,
)
"""Limits of compiling a grammar and of masking a token; the times are llguidance's own."""

ERROR_LENGTH = 200
"""Maximum number of characters of llguidance's error messages."""

POSITION = re.compile(r"\bat \d+\(\d+\): ")
EXCERPT = re.compile(r"\s*\d+ \|")
"""Position in a grammar, and a line of it, in llguidance's error messages."""


class Constraint:
    """Constraint of one completion.

    Args:
        matcher: Matcher of llguidance, at the start of the completion.
        end_ids: Ids of the tokens that end a completion.

    Attributes:
        is_finished: True once the answer was ended.
    """

    def __init__(self, matcher: LLMatcher, end_ids: frozenset[int]) -> None:
        self._matcher, self._end_ids = matcher, end_ids
        self.is_finished = False

    def copy(self) -> Constraint:
        """Return a constraint in the same state, for another choice of the same request."""
        copy = Constraint(self._matcher.deep_copy(), self._end_ids)
        copy.is_finished = self.is_finished
        return copy

    def mask(self, logits: torch.Tensor) -> None:
        """Set the logits of tokens that must not follow to minus infinity.

        The tokens that end a completion may follow once the answer is complete.

        Args:
            logits: Logits of the next token, of shape (vocabulary size,).

        Raises:
            EncodingError: A limit was exceeded, or no token can follow.
        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        size = logits.shape[-1]
        allowed = np.zeros(size, dtype=bool)
        ids = np.flatnonzero(np.unpackbits(bits, bitorder="little")[:size])
        allowed[ids] = True
        allowed[[id for id in self._end_ids if id < size]] = self._matcher.is_accepting()
        if not allowed.any():
            raise EncodingError("the answer cannot be constrained: no token can follow")
        logits.masked_fill_(~torch.from_numpy(allowed).to(logits.device), float("-inf"))

    def accept(self, id: int) -> None:
        """Continue the completion with a token.

        Raises:
            EncodingError: It must not follow, or a limit was exceeded.
        """
        if id in self._end_ids and self._matcher.is_accepting():
            self.is_finished = True
            return
        self._matcher.consume_token(id)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise _error("the answer cannot be constrained", self._matcher)


class ConstraintCompiler:
    """Compiles the constraints of a base model's completions.

    Creating one takes about a second for a large vocabulary.

    Args:
        tokenizer: Tokenizer of the base model.
        vocabulary_size: Number of logits of the base model.
        end_ids: Ids of the tokens that end a completion.
        lead: Text that the chat template writes between the prompt and an answer.
        form: Format of tool calls, or None if they cannot be parsed.

    Raises:
        EncodingError: llguidance does not support the tokenizer.
    """

    def __init__(
        self,
        tokenizer: Any,
        vocabulary_size: int,
        end_ids: list[int],
        lead: str = "",
        form: ToolFormat | None = None,
    ) -> None:
        try:
            self._tokenizer: LLTokenizer = from_tokenizer(
                tokenizer, n_vocab=vocabulary_size, eos_token=end_ids
            )
        except (ValueError, TypeError) as error:
            raise EncodingError(
                "the base model's tokenizer does not support constrained decoding; leave out"
                " response_format, and set tool_choice to auto"
            ) from error
        special = {
            token.content: id
            for id, token in tokenizer.added_tokens_decoder.items()
            if id < vocabulary_size and self._tokenizer.is_special_token(id)
        }
        self._end_ids, self._lead, self._form = frozenset(end_ids), lead, form
        self._special = special

    def compile_format(self, response_format: dict[str, Any]) -> Constraint | None:
        """Return the constraint of a `response_format`, or None if it has none.

        A schema that is not strict is followed as far as llguidance knows its keywords.

        Raises:
            EncodingError: The schema is not supported.
        """
        kind = response_format.get("type", "text")
        if kind == "text":
            return None
        details = response_format.get("json_schema") or {}
        schema = {"type": "object"} if kind == "json_object" else details.get("schema", {})
        writer = GrammarWriter(self._special)
        rule = json_rule(schema, "response_format", strict=bool(details.get("strict")))
        return self._compile(writer.grammar(f"{writer.literal(self._lead)} {rule}"))

    def compile_tools(
        self, tools: list[Any], tool_choice: Any, parallel: bool = True
    ) -> Constraint | None:
        """Return the constraint to call tools, or None if they need not be called.

        Args:
            tools: Tools of the request, as in OpenAI's API.
            tool_choice: "none", "auto", "required" or the function to call.
            parallel: Several calls are allowed. There is always only one of a named function.

        Raises:
            EncodingError: The parameters of a tool are not supported, the tool does not exist, or
                the calls of the base model cannot be parsed.
        """
        if tool_choice in (None, "none", "auto"):
            return None
        if self._form is None:
            raise EncodingError(UNPARSABLE_CALLS)
        functions = [tool["function"] for tool in tools]
        if isinstance(tool_choice, dict):
            name, parallel = tool_choice["function"]["name"], False
            functions = [function for function in functions if function["name"] == name]
            if not functions:
                raise EncodingError(f"tool_choice names the function {name!r}, which is no tool")
        writer = GrammarWriter(self._special)
        return self._compile(writer.grammar(writer.message(self._form, functions, parallel)))

    def _compile(self, grammar: str) -> Constraint:
        try:
            lark = LLMatcher.grammar_from_lark(grammar)
        except UnicodeEncodeError as error:
            raise EncodingError("the schemas have characters that are not valid Unicode") from error
        matcher = LLMatcher(self._tokenizer, lark, log_level=0, limits=LIMITS)
        if matcher.is_error():
            raise _error("the schema is not supported", matcher)
        first = matcher.deep_copy()
        first.compute_bitmask()
        if first.is_error():
            raise _error("the schema is not supported", first)
        return Constraint(matcher, self._end_ids)


def _error(message: str, matcher: LLMatcher) -> EncodingError:
    lines = takewhile(lambda line: not EXCERPT.match(line), matcher.get_error().splitlines())
    reason = " ".join(POSITION.sub("", " ".join(lines)).split())[:ERROR_LENGTH]
    return EncodingError(f"{message}: {reason}")
