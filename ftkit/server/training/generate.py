"""Text generation, in a process of its own: `python -m ftkit.server.worker generate DATA_DIR`.

Requests and responses are JSON lines on standard input and output. A request is either of

    {"id", "base", "job", "step", "recipe", "messages" | "prompt",
     "n", "max_tokens", "temperature", "top_p", "stop", "seed"}
    {"cancel": id}

and the responses to a request, where `index` is the number of the choice, are

    {"id", "index", "text"} ...
    {"id", "index", "finish_reason", "tokens"}
    {"id", "done": true, "prompt_tokens"} | {"id", "error", "code"}

The code of an error is "server_error", or names what is wrong with the request. Requests are
processed one at a time. The process exits when its standard input is closed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import msgspec
import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from ftkit.errors import EncodingError, ModelLoadError, RecipeError
from ftkit.server.commands import RequestReader
from ftkit.server.folder import Folder
from ftkit.server.logs import LogLimit
from ftkit.server.out_of_memory import is_out_of_memory
from ftkit.server.recipes import Recipe
from ftkit.server.training.base import REASON_LENGTH, BaseModel, load_base_model, load_reason
from ftkit.server.training.device import device, free_memory
from ftkit.server.training.loading import add_adapter, load_on_device
from ftkit.server.training.messages import Message, template_messages
from ftkit.server.training.streaming import IncrementalDecoder, LeadFilter, StopSequences
from ftkit.server.training.template import ChatTemplate
from ftkit.server.training.vision import TEXT_INPUTS, read_images

DEFAULT_TEMPERATURE = 1.0
"""Sampling temperature of requests without one, as in OpenAI's API."""

MIN_SAMPLING_TEMPERATURE = 1e-6
"""Temperature below which decoding is greedy, since dividing the logits by it would overflow."""

DEFAULT_CONTEXT_LENGTH = 2048
"""Context length in tokens of models whose configuration has none."""

OUT_OF_MEMORY = (
    "The completion needs more memory than is free; try again later, or with a shorter prompt or"
    " fewer tokens."
)
"""Message for completions that run out of memory."""

Send = Callable[..., None]
"""Sends the keyword arguments as a response."""

logger = logging.getLogger(__name__)


class LoadedModel:
    """The model in memory: a base model, with the adapter of a fine-tuned one."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._key: tuple[str, str, int] | None = None
        self._base: BaseModel | None = None
        self._template: ChatTemplate | None = None
        self._longest_token = 0
        self.model: Any = None

    @property
    def tokenizer(self) -> Any:
        """Tokenizer of the base model."""
        assert self._base
        return self._base.tokenizer

    def load(self, base: str, job: str, step: int, recipe: Recipe) -> None:
        """Load a model unless it is loaded already.

        Args:
            base: Base model.
            job: Job that trained the adapter, or "" for the base model itself.
            step: Training step of the adapter.
            recipe: Recipe of the job, or of the base model.

        Raises:
            ModelLoadError: The base model cannot be loaded, or the adapter was deleted.
        """
        if self._key == (base, job, step):
            return
        self._key = self.model = None  # frees the memory of the other model first
        self._base, self._template = load_base_model(base, recipe), None
        self._longest_token = max(map(len, self.tokenizer.get_vocab()))
        model = load_on_device(base, recipe)
        if job:
            model = add_adapter(model, self._folder.adapter(job, step))
        self.model = model.eval()
        self._key = (base, job, step)

    @property
    def context_length(self) -> int:
        """Maximum number of tokens of prompt and completion together."""
        assert self._base
        return self._base.context_length or DEFAULT_CONTEXT_LENGTH

    @property
    def max_prompt_characters(self) -> int:
        """Number of characters that no prompt that fits the context exceeds.

        Each token is at most the longest one of the vocabulary. Only a tokenizer that drops text,
        such as repeated spaces, could fit a longer prompt into the context.
        """
        return self.context_length * self._longest_token

    @property
    def template(self) -> ChatTemplate:
        """Chat template of the base model.

        Raises:
            EncodingError: The base model has none, or none that answers.
        """
        assert self._base
        if self._template is None:
            base = self._base
            self._template = ChatTemplate(base.tokenizer, base.recipe.template, base.end_ids)
        return self._template

    def read_images(self, messages: list[Message]) -> list[Any]:
        """Decode the images in messages of the API.

        Raises:
            EncodingError: The model has no image input, or an image cannot be decoded.
        """
        assert self._base
        return read_images(messages, self._base.vision)

    def encode(self, text: str, images: list[Any], is_chat: bool) -> dict[str, Any]:
        """Return the inputs for a prompt.

        Args:
            text: The prompt.
            images: Images of the prompt.
            is_chat: The prompt has the special tokens that the chat template writes.

        Raises:
            EncodingError: The images do not match the prompt, or exceed the context.
        """
        assert self._base
        vision = self._base.vision
        encoding = self.tokenizer(text, add_special_tokens=not is_chat, return_tensors="pt")
        inputs = {name: encoding[name] for name in TEXT_INPUTS}
        if vision:
            vision.check_placeholders(inputs["input_ids"][0].tolist(), len(images))
            vision.check_size(images, self.context_length)
            inputs = vision.inputs([text], [images]) if images else inputs
        return {name: values.to(device()) for name, values in inputs.items()}

    def end_ids(self, chat: bool) -> list[int]:
        """Return the ids of the tokens that end a completion."""
        if chat:
            return self.template.end_ids
        assert self._base
        ids = {*self._base.end_ids, self.tokenizer.eos_token_id}
        return sorted(ids - {None})


class CompletionStream(StoppingCriteria):  # type: ignore[misc]
    """Stopping criterion that streams a completion up to its first stop sequence.

    Args:
        tokenizer: Tokenizer of the model.
        prompt_tokens: Number of tokens of the prompt.
        lead: Removes what precedes an answer.
        stop: Stop sequences.
        send: Called with each new part of the completion as `text`.
        is_cancelled: Returns True to end the completion.
    """

    def __init__(
        self,
        tokenizer: Any,
        prompt_tokens: int,
        lead: LeadFilter,
        stop: list[str],
        send: Send,
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._lead = lead
        self._decoder, self._stops = IncrementalDecoder(tokenizer), StopSequences(stop)
        self._read = prompt_tokens
        self._send, self._is_cancelled = send, is_cancelled

    @property
    def stopped(self) -> bool:
        """True if there was a stop sequence."""
        return self._stops.found

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """Send the new text. Return True for each sequence if the completion is to end."""
        ended = self._is_cancelled()
        if not ended:
            self.update(input_ids[0])
            ended = self.stopped
        return torch.full((input_ids.shape[0],), ended, dtype=torch.bool, device=input_ids.device)

    def update(self, ids: Any, final: bool = False) -> None:
        """Send the new text of a completion.

        Args:
            ids: All tokens of the prompt and the completion so far.
            final: Send text that was held back, too, since no tokens follow.
        """
        new = ids[self._read :].tolist()
        self._read += len(new)
        text = self._decoder.add(self._lead.add_tokens(new), final)
        text = self._stops.add(self._lead.add_text(text, final), final)
        if text:
            self._send(text=text)


def complete(
    model: LoadedModel, request: dict[str, Any], send: Send, is_cancelled: Callable[[], bool]
) -> None:
    """Load the model of a request and generate its completions.

    Raises:
        ModelLoadError: The model cannot be loaded.
        EncodingError: The chat template cannot express the messages.
    """
    recipe = msgspec.convert(request["recipe"], Recipe)
    model.load(request["base"], request["job"], request["step"], recipe)
    is_chat = "messages" in request
    images = model.read_images(request["messages"]) if is_chat else []
    text = _prompt_text(model, request)
    if len(text) > model.max_prompt_characters:
        size = f"{len(text):,} characters"
        send(error=_too_long(size, model.context_length), code="context_length_exceeded")
        return
    prompt = model.encode(text, images, is_chat)
    prompt_tokens = prompt["input_ids"].shape[1]
    available = model.context_length - prompt_tokens
    if available < 1:
        size = f"{prompt_tokens:,} tokens"
        send(error=_too_long(size, model.context_length), code="context_length_exceeded")
        return
    config = _generation_config(
        model, request, min(request["max_tokens"] or available, available), model.end_ids(is_chat)
    )
    for index in range(request["n"]):
        if is_cancelled():
            return
        if request["seed"] is not None:
            torch.manual_seed((request["seed"] + index) % 2**63)
        stream = CompletionStream(
            model.tokenizer,
            prompt_tokens,
            _lead_filter(model, is_chat),
            request["stop"],
            partial(send, index=index),
            is_cancelled,
        )
        tokens, finish_reason = _generate(model, prompt, config, stream)
        send(index=index, finish_reason=finish_reason, tokens=tokens)
    send(done=True, prompt_tokens=prompt_tokens)


def _prompt_text(model: LoadedModel, request: dict[str, Any]) -> str:
    if "messages" in request:
        return model.template.prompt(template_messages(request["messages"]))
    tokenizer = model.tokenizer
    return str(request["prompt"] or tokenizer.bos_token or tokenizer.eos_token or "")


def _lead_filter(model: LoadedModel, is_chat: bool) -> LeadFilter:
    if not is_chat:
        return LeadFilter("", [])
    return LeadFilter(model.template.features.lead, model.template.lead_ids)


def _too_long(size: str, context_length: int) -> str:
    return f"The prompt has {size}; the context length of this model is {context_length:,} tokens."


def _generate(
    model: LoadedModel, prompt: dict[str, Any], config: GenerationConfig, stream: CompletionStream
) -> tuple[int, str]:
    """Generate one completion. Return its number of tokens, and its finish reason."""
    with torch.inference_mode():
        output = model.model.generate(
            **prompt,
            generation_config=config,
            stopping_criteria=StoppingCriteriaList([stream]),
        )
    ids = output[0][prompt["input_ids"].shape[1] :]
    stream.update(output[0], final=True)
    stopped = stream.stopped or (len(ids) > 0 and int(ids[-1]) in config.eos_token_id)
    return len(ids), "stop" if stopped else "length"


def _generation_config(
    model: LoadedModel, request: dict[str, Any], max_tokens: int, end_ids: list[int]
) -> GenerationConfig:
    temperature = DEFAULT_TEMPERATURE if request["temperature"] is None else request["temperature"]
    top_p = 1.0 if request["top_p"] is None else request["top_p"]
    sampling = {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}
    return GenerationConfig(
        max_new_tokens=max_tokens,
        eos_token_id=end_ids,
        pad_token_id=model.tokenizer.pad_token_id,
        **(sampling if temperature >= MIN_SAMPLING_TEMPERATURE else {"do_sample": False}),
    )


def _send(responses: TextIO, request_id: str, **response: Any) -> None:
    responses.write(json.dumps({"id": request_id, **response}) + "\n")
    responses.flush()


def _respond(
    model: LoadedModel, request: dict[str, Any], cancelled: set[str], responses: TextIO
) -> None:
    """Process a request. Every error becomes a response, so that the process can go on."""
    id, code = request["id"], ""
    send = partial(_send, responses, id)
    try:
        if id not in cancelled:
            complete(model, request, send, lambda: id in cancelled)
    except Exception as error:
        code, message = _explain(error)
        send(error=message, code=code)
    if code == "out_of_memory":
        free_memory()  # after the handler, since the exception refers to tensors
    cancelled.discard(id)


def _explain(error: Exception) -> tuple[str, str]:
    """Return the code and the message of an exception, and log what clients do not see of it."""
    if is_out_of_memory(error):
        logger.warning("%s (%s)", OUT_OF_MEMORY, load_reason(error))
        return "out_of_memory", OUT_OF_MEMORY
    if isinstance(error, ModelLoadError):
        logger.warning("%s (%s)", error, load_reason(error))
        return "model_not_found", str(error)
    if isinstance(error, RecipeError):
        return "server_error", str(error)
    if isinstance(error, EncodingError):
        return "invalid_value", str(error)[:REASON_LENGTH]
    logger.exception("a completion failed")
    return "server_error", f"The completion failed ({type(error).__name__}); see generate.log."


def process_requests(root: Path, reader: RequestReader, responses: TextIO) -> None:
    """Process requests until the process ends.

    Args:
        root: Data folder of the service.
        reader: Source of the requests.
        responses: File to write the responses to.
    """
    logger.addFilter(LogLimit())
    model = LoadedModel(Folder(root))
    while True:
        _respond(model, reader.requests.get(), reader.cancelled, responses)
