"""A base model in memory, with its tokenizer, chat templates and adapters."""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import Any

import llguidance.hf
import torch
from transformers.cache_utils import DynamicCache

from ftkit.errors import EncodingError
from ftkit.server.folder import Folder
from ftkit.server.generation.adapters import Adapters
from ftkit.server.generation.constraints import ConstraintCompiler
from ftkit.server.generation.tool_calls import UNPARSABLE_CALLS, detect_tool_format
from ftkit.server.generation.tool_format import ToolFormat
from ftkit.server.recipes import Recipe
from ftkit.server.training.base import load_base_model
from ftkit.server.training.device import device, device_memory
from ftkit.server.training.loading import load_on_device
from ftkit.server.training.messages import Message
from ftkit.server.training.template import ChatTemplate
from ftkit.server.training.vision import TEXT_INPUTS, read_images

DEFAULT_CONTEXT_LENGTH = 2048
"""Context length in tokens of models whose configuration has none."""

DEFAULT_THREADS = torch.get_num_threads()
"""Number of CPU threads for recipes that leave it to PyTorch."""

CACHE_SHARE = 0.5
"""Share of the memory beside the weights that the KV cache may take."""


class LoadedTemplate:
    """A chat template with its tool format and compilers, each created when it is first used.

    Args:
        chat: The chat template.
        tokenizer: Tokenizer of the base model.
        vocabulary_size: Number of logits of the base model.

    Attributes:
        chat: The chat template.
    """

    def __init__(self, chat: ChatTemplate, tokenizer: Any, vocabulary_size: int) -> None:
        self.chat = chat
        self._tokenizer, self._vocabulary_size = tokenizer, vocabulary_size

    @cached_property
    def tool_format(self) -> ToolFormat:
        """Format of tool calls.

        Raises:
            EncodingError: Calls cannot be parsed.
        """
        form = detect_tool_format(self.chat)
        if form is None:
            raise EncodingError(UNPARSABLE_CALLS)
        return form

    def compiler(self, has_tools: bool) -> ConstraintCompiler:
        """Return the compiler of constraints, with the form of calls if there are tools.

        Raises:
            EncodingError: The tokenizer is not supported.
        """
        return self._compiler_with_tools if has_tools else self._compiler

    @cached_property
    def _compiler(self) -> ConstraintCompiler:
        return self._new_compiler(None)

    @cached_property
    def _compiler_with_tools(self) -> ConstraintCompiler:
        return self._new_compiler(self.tool_format)

    def _new_compiler(self, form: ToolFormat | None) -> ConstraintCompiler:
        lead = self.chat.features.lead
        return ConstraintCompiler(
            self._tokenizer, self._vocabulary_size, self.chat.end_ids, lead, form
        )


class LoadedBase:
    """A base model in memory.

    Args:
        base: Name of the base model.
        recipe: Recipe of the base model.
        folder: Data folder of the service.

    Attributes:
        model: The model, a module of PyTorch.
        adapters: Its adapters.
        cache_bytes: Maximum size of the KV cache of a batch.

    Raises:
        ModelLoadError: The base model cannot be loaded.
        RecipeError: This machine lacks something that the recipe needs.
    """

    def __init__(self, base: str, recipe: Recipe, folder: Folder) -> None:
        torch.set_num_threads(recipe.threads or DEFAULT_THREADS)
        self._base = load_base_model(base, recipe)
        self._templates: dict[str, LoadedTemplate] = {}
        self._longest_token = max(map(len, self.tokenizer.get_vocab()))
        torch.set_num_threads(recipe.threads or DEFAULT_THREADS)
        self.model = load_on_device(base, recipe).eval()
        self.adapters = Adapters(self.model, folder)
        weights = sum(tensor.nbytes for tensor in self.model.parameters())
        self.cache_bytes = int((device_memory() - weights) * CACHE_SHARE)
        self._parameters = inspect.signature(self.model.forward).parameters

    @property
    def tokenizer(self) -> Any:
        """Tokenizer of the base model."""
        return self._base.tokenizer

    @property
    def context_length(self) -> int:
        """Maximum number of tokens of prompt and completion together."""
        return self._base.context_length or DEFAULT_CONTEXT_LENGTH

    @property
    def max_prompt_characters(self) -> int:
        """Number of characters that no prompt that fits the context exceeds.

        Each token is at most the longest one of the vocabulary. Only a tokenizer that drops text,
        such as repeated spaces, could fit a longer prompt into the context.
        """
        return self.context_length * self._longest_token

    def template(self, recipe: Recipe) -> LoadedTemplate:
        """Return the chat template with the options of a recipe.

        Raises:
            EncodingError: The base model has none, or none that answers.
        """
        key = repr(sorted(recipe.template.items()))
        if key not in self._templates:
            chat = ChatTemplate(self.tokenizer, recipe.template, self._base.end_ids)
            self._templates[key] = LoadedTemplate(chat, self.tokenizer, self._vocabulary_size)
        return self._templates[key]

    @property
    def end_ids(self) -> list[int]:
        """Ids of the tokens that end a text completion."""
        return sorted({*self._base.end_ids, self.tokenizer.eos_token_id} - {None})

    def read_images(self, messages: list[Message]) -> list[Any]:
        """Decode the images in messages of the API.

        Raises:
            EncodingError: The model has no image input, or an image cannot be decoded.
        """
        return read_images(messages, self._base.vision)

    def encode(self, text: str, images: list[Any], is_chat: bool) -> dict[str, Any]:
        """Return the inputs of the model for a prompt.

        Args:
            text: The prompt.
            images: Images of the prompt.
            is_chat: The prompt has the special tokens that the chat template writes.

        Raises:
            EncodingError: The images do not match the prompt, or exceed the context.
        """
        vision = self._base.vision
        encoding = self.tokenizer(text, add_special_tokens=not is_chat, return_tensors="pt")
        inputs = {name: encoding[name] for name in TEXT_INPUTS}
        if vision:
            vision.check_placeholders(inputs["input_ids"][0].tolist(), len(images))
            vision.check_size(images, self.context_length)
            inputs = vision.inputs([text], [images]) if images else inputs
        return inputs

    def check_ids(self, ids: list[int]) -> None:
        """Check that tokens are in the vocabulary, and that the model computes them.

        Raises:
            EncodingError: A token is not in the vocabulary.
        """
        size = min(len(self.tokenizer), self.model.config.get_text_config().vocab_size)
        if unknown := next((id for id in ids if not 0 <= id < size), None):
            raise EncodingError(f"token {unknown} is not in the vocabulary, which has {size:,}")

    def token_bytes(self, id: int) -> bytes:
        """Return the bytes that a token stands for."""
        content: bytes = self._byte_tokenizer.decode_bytes([id])
        return content

    @cached_property
    def _byte_tokenizer(self) -> Any:
        return llguidance.hf.from_tokenizer(self.tokenizer, n_vocab=self._vocabulary_size)

    @property
    def _vocabulary_size(self) -> int:
        """Number of logits, which may exceed the number of tokens."""
        size: int = self.model.config.get_text_config().vocab_size
        return size

    def new_cache(self) -> DynamicCache:
        """Return an empty KV cache."""
        return DynamicCache(config=self.model.config)

    def forward(
        self, inputs: dict[str, Any], cache: DynamicCache, adapters: list[str], all_logits: bool
    ) -> torch.Tensor:
        """Compute the next positions of sequences, and add them to the cache.

        Args:
            inputs: Inputs of the model.
            cache: KV cache of the earlier positions.
            adapters: Name of the adapter of each sequence.
            all_logits: Return the logits of all positions instead of those of the last.

        Returns:
            Logits as float32, of the shape (sequences, positions, size of the vocabulary).
        """
        self.adapters.use(adapters)
        tensors = {name: values.to(device()) for name, values in inputs.items()}
        optional = {"position_ids": tensors.pop("position_ids", None)}
        if not all_logits:
            optional["logits_to_keep"] = 1
        for name in optional.keys() & self._parameters.keys():
            tensors[name] = optional[name]
        with torch.inference_mode():
            output = self.model(**tensors, past_key_values=cache, use_cache=True)
        logits: torch.Tensor = output.logits if all_logits else output.logits[:, -1:]
        return logits.float()

    def rope_offset(self) -> int:
        """Return the distance of positions from those of text, after a prompt with images.

        Models such as Qwen2.5-VL give the tokens of an image positions of their own.
        """
        deltas = getattr(getattr(self.model, "model", None), "rope_deltas", None)
        return 0 if deltas is None else int(deltas.flatten()[0])
