"""Training examples as token sequences with a loss mask.

The loss covers the completion of each assistant message whose weight is not 0, after the very
tokens that the model is sent when it answers (see `template.py`). The messages of a conversation
share one sequence as long as the conversation continues what was sent. A message that the chat
template writes differently once others follow becomes a sequence of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from ftkit.errors import EncodingError
from ftkit.server.training.messages import Message, template_messages, template_tools
from ftkit.server.training.template import ChatTemplate, Turn

IGNORED_LABEL = -100
"""Label of tokens that are excluded from the loss: `ignore_index` of PyTorch's cross entropy."""


class Sequence(Struct):
    """Token ids, with a label for each: the id itself, or `IGNORED_LABEL`.

    Attributes:
        cut: Number of tokens with a label that truncation removed.
    """

    input_ids: list[int]
    labels: list[int]
    cut: int = 0

    @property
    def is_learned(self) -> bool:
        """True if the loss covers a token."""
        return any(label != IGNORED_LABEL for label in self.labels)


class Pair(Struct):
    """Token ids of a prompt, and of its preferred and its rejected completion.

    Attributes:
        chosen_cut, rejected_cut: Number of tokens of each completion that truncation removed.
    """

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]
    chosen_cut: int = 0
    rejected_cut: int = 0

    @property
    def cut(self) -> int:
        """Number of tokens of both completions that truncation removed."""
        return self.chosen_cut + self.rejected_cut

    @property
    def is_learned(self) -> bool:
        """True if there is something to compare."""
        return bool(self.chosen_ids and self.rejected_ids)

    def sequences(self) -> list[Sequence]:
        """Return the prompt with each completion."""
        ignored = [IGNORED_LABEL] * len(self.prompt_ids)
        return [
            Sequence(self.prompt_ids + ids, ignored + ids, cut)
            for ids, cut in (
                (self.chosen_ids, self.chosen_cut),
                (self.rejected_ids, self.rejected_cut),
            )
        ]


class Encoder:
    """Encodes the examples of a dataset for a base model.

    Args:
        tokenizer: Tokenizer of the base model.
        max_tokens: Length to which sequences are truncated.
        options: Variables of the chat template.
        end_ids: Ids of tokens that end a completion.
    """

    def __init__(
        self,
        tokenizer: Any,
        max_tokens: int,
        options: dict[str, Any] | None = None,
        end_ids: tuple[int, ...] = (),
    ) -> None:
        self._tokenizer, self._max_tokens = tokenizer, max_tokens
        self._options, self._end_ids = options, end_ids
        self._template: ChatTemplate | None = None

    @property
    def template(self) -> ChatTemplate:
        """Chat template of the base model.

        Raises:
            EncodingError: The base model has none, or none that can be trained.
        """
        if self._template is None:
            self._template = ChatTemplate(self._tokenizer, self._options, self._end_ids)
        return self._template

    def encode(self, example: dict[str, Any], format: str) -> list[Sequence] | list[Pair]:
        """Return the sequences of an example, or its pair if it is a preference.

        Args:
            example: Example of a dataset.
            format: Format of the dataset: "chat", "completions" or "preference".

        Raises:
            EncodingError: The base model cannot be trained on the example.
        """
        if format == "preference":
            return [self._preference(example)]
        if format == "completions":
            return [self._completion(example)]
        return self._chat(example)

    def _completion(self, example: dict[str, Any]) -> Sequence:
        prompt, completion = example["prompt"], example["completion"]
        end = self._tokenizer.eos_token or ""
        prompt_ids, ids = self._split(Turn(prompt, completion + end), special=True)
        return self._truncate(_sequence(prompt_ids, ids))

    def _preference(self, example: dict[str, Any]) -> Pair:
        messages = template_messages(example["input"]["messages"])
        tools = template_tools(example["input"])
        outputs = []
        for key in ("preferred_output", "non_preferred_output"):
            answer = template_messages(example[key])
            outputs.append(self._split(self.template.turn([*messages, *answer], tools)))
        (prompt_ids, chosen), (other_prompt, rejected) = outputs
        if prompt_ids != other_prompt:
            raise EncodingError("the chat template writes another prompt for each of the outputs")
        room = max(self._max_tokens - len(prompt_ids), 0)
        return Pair(
            prompt_ids[: self._max_tokens],
            chosen[:room],
            rejected[:room],
            max(len(chosen) - room, 0),
            max(len(rejected) - room, 0),
        )

    def _chat(self, example: dict[str, Any]) -> list[Sequence]:
        tools = template_tools(example)
        messages = template_messages(example["messages"])
        learned = [
            index
            for index, message in enumerate(example["messages"])
            if message["role"] == "assistant" and message.get("weight") != 0
        ]
        turns = []
        for index in learned:
            turns.append(self._split(self.template.turn(messages[: index + 1], tools)))
            if len(turns[-1][0]) >= self._max_tokens:
                break
        sequences = [self._truncate(sequence) for sequence in _join(turns)]
        if sequences:
            sequences[-1].cut += self._count_answers(messages, learned[len(turns) :])
        return sequences

    def _count_answers(self, messages: list[Message], indexes: list[int]) -> int:
        """Return about the number of tokens of answers beyond the limit.

        They are not rendered, since that takes time in proportion to all that precedes them.
        """
        end = self.template.features.end
        return sum(len(self._ids(messages[index]["content"] + end, False)) for index in indexes)

    def _split(self, turn: Turn, special: bool = False) -> tuple[list[int], list[int]]:
        """Return the token ids of a prompt and of its completion.

        The ids of the prompt are those of the prompt alone, even where a tokenizer would join its
        end with the start of the completion.
        """
        prompt = self._ids(turn.prompt, special)
        both = self._ids(turn.prompt + turn.completion, special)
        if both[: len(prompt)] == prompt:
            return prompt, both[len(prompt) :]
        return prompt, self._ids(turn.completion, False)

    def _ids(self, text: str, special: bool) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=special)["input_ids"]
        return ids

    def _truncate(self, sequence: Sequence) -> Sequence:
        limit = self._max_tokens
        cut = sum(label != IGNORED_LABEL for label in sequence.labels[limit:])
        return Sequence(sequence.input_ids[:limit], sequence.labels[:limit], cut)


def _sequence(prompt_ids: list[int], ids: list[int]) -> Sequence:
    return Sequence(prompt_ids + ids, [IGNORED_LABEL] * len(prompt_ids) + ids)


def _join(turns: Iterable[tuple[list[int], list[int]]]) -> Iterator[Sequence]:
    """Yield the sequences of a conversation: each turn joins the one before that it continues."""
    current: Sequence | None = None
    for prompt_ids, ids in turns:
        following = _sequence(prompt_ids, ids)
        if current is not None:
            length = len(current.input_ids)
            if prompt_ids[:length] == current.input_ids:
                following.labels[:length] = current.labels
            else:
                yield current
        current = following
    if current is not None:
        yield current
