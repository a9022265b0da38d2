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
from msgspec.structs import replace

from ftkit.errors import EncodingError
from ftkit.server.training.images import image_urls
from ftkit.server.training.messages import (
    Message,
    template_messages,
    template_tools,
    text_part,
)
from ftkit.server.training.template import ChatTemplate, Turn
from ftkit.server.training.vision import Vision, read_images

IGNORED_LABEL = -100
"""Label of tokens that are excluded from the loss: `ignore_index` of PyTorch's cross entropy."""


class Sequence(Struct):
    """Token ids, with a label for each: the id itself, or `IGNORED_LABEL`.

    The images of a sequence are decoded anew for each batch that it is in, since the pixels of a
    dataset may not fit into memory.

    Attributes:
        cut: Number of tokens with a label that truncation removed.
        image_prompt: Text that the images are in, or "" without images.
        image_count: Number of images; they are the first ones of the example.
        path: File of the example.
        offset: Position of the example in the file, in bytes.
    """

    input_ids: list[int]
    labels: list[int]
    cut: int = 0
    image_prompt: str = ""
    image_count: int = 0
    path: str = ""
    offset: int = 0

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


class EncodedTurn(Struct, frozen=True):
    """Token ids of a prompt and of its completion.

    Attributes:
        image_prompt, image_count: As in `Sequence`.
    """

    prompt_ids: list[int]
    completion_ids: list[int]
    image_prompt: str = ""
    image_count: int = 0

    def sequence(self) -> Sequence:
        """Return the prompt with its completion, which the loss covers."""
        return Sequence(
            self.prompt_ids + self.completion_ids,
            [IGNORED_LABEL] * len(self.prompt_ids) + self.completion_ids,
            image_prompt=self.image_prompt,
            image_count=self.image_count,
        )


class Encoder:
    """Encodes the examples of a dataset for a base model.

    Args:
        tokenizer: Tokenizer of the base model.
        max_tokens: Length to which sequences are truncated.
        options: Variables of the chat template.
        end_ids: Ids of tokens that end a completion.
        vision: Image input of the base model, or None.
    """

    def __init__(
        self,
        tokenizer: Any,
        max_tokens: int,
        options: dict[str, Any] | None = None,
        end_ids: tuple[int, ...] = (),
        vision: Vision | None = None,
    ) -> None:
        self._tokenizer, self._max_tokens = tokenizer, max_tokens
        self._options, self._end_ids = options, end_ids
        self._vision = vision
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

    def writes_images(self) -> bool:
        """Return True if the base model has image input, and its chat template writes images."""
        if self._vision is None:
            return False
        content = [{"type": "image"}, text_part("What is this?")]
        try:
            prompt = self.template.prompt([{"role": "user", "content": content}])
        except EncodingError:
            return False
        return self._vision.token in prompt

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
        turn = self._encode_turn(Turn(prompt, completion + end), special=True)
        return self._truncate(turn.sequence())

    def _preference(self, example: dict[str, Any]) -> Pair:
        if image_urls(example["input"]["messages"]):
            raise EncodingError("images in preferences are not supported; remove the example")
        messages = template_messages(example["input"]["messages"])
        tools = template_tools(example["input"])
        outputs = []
        for key in ("preferred_output", "non_preferred_output"):
            answer = template_messages(example[key])
            outputs.append(self._encode_turn(self.template.turn([*messages, *answer], tools)))
        chosen, rejected = (output.completion_ids for output in outputs)
        prompt_ids, other_prompt = (output.prompt_ids for output in outputs)
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
        images = read_images(example["messages"], self._vision)
        if self._vision:
            self._vision.check_size(images, self._max_tokens)
        messages = template_messages(example["messages"])
        learned = [
            index
            for index, message in enumerate(example["messages"])
            if message["role"] == "assistant" and message.get("weight") != 0
        ]
        turns = []
        for index in learned:
            turn = self.template.turn(messages[: index + 1], tools)
            count = len(image_urls(example["messages"][:index]))
            turns.append(self._encode_turn(turn, images[:count]))
            if len(turns[-1].prompt_ids) >= self._max_tokens:
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

    def _encode_turn(
        self, turn: Turn, images: list[Any] | None = None, special: bool = False
    ) -> EncodedTurn:
        """Return the token ids of a prompt and of its completion.

        Raises:
            EncodingError: The images do not match the placeholders in the prompt.
        """
        images = images or []
        prompt_ids, ids = self._split(turn, special)
        if self._vision is None:
            return EncodedTurn(prompt_ids, ids)
        self._vision.check_placeholders(prompt_ids + ids, len(images))
        if not images:
            return EncodedTurn(prompt_ids, ids)
        inputs = self._vision.inputs([turn.prompt], [images])
        return EncodedTurn(inputs["input_ids"][0].tolist(), ids, turn.prompt, len(images))

    def _split(self, turn: Turn, special: bool = False) -> tuple[list[int], list[int]]:
        """Return the token ids of a prompt and of its completion, without expanding images.

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
        if sequence.image_count:
            assert self._vision
            if self._vision.has_features(sequence.input_ids[limit:]):
                raise EncodingError(
                    f"its images are not within the limit of {limit:,} tokens; use fewer or smaller"
                    " ones"
                )
        cut = sum(label != IGNORED_LABEL for label in sequence.labels[limit:])
        return replace(
            sequence,
            input_ids=sequence.input_ids[:limit],
            labels=sequence.labels[:limit],
            cut=cut,
        )


def _join(turns: Iterable[EncodedTurn]) -> Iterator[Sequence]:
    """Yield the sequences of a conversation: each turn joins the one before that it continues."""
    current: Sequence | None = None
    for turn in turns:
        following = turn.sequence()
        if current is not None:
            length = len(current.input_ids)
            if turn.prompt_ids[:length] == current.input_ids:
                following.labels[:length] = current.labels
            else:
                yield current
        current = following
    if current is not None:
        yield current
