"""Tokenizers with the chat templates of real base models.

Most templates come with TRL. Those that it lacks are in tests/data/chat_templates, written for the
tests: they decide as the original does. The tokenizers are trained on the spot.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

from support.paths import DATA

OWN = DATA / "chat_templates"

SPECIAL = re.compile(
    r"<[|｜][^<>|｜\s]{1,40}[|｜]>|<\|(?:tool_call|turn|tool_response|\")>|<(?:tool_call|turn)\|>"
    r"|<(?:start_of_turn|end_of_turn|end_of_utterance)>|\[/?(?:INST|TOOL_CALLS|AVAILABLE_TOOLS"
    r"|TOOL_RESULTS|SYSTEM_PROMPT)\]"
)
"""Special tokens in the text of a template."""

END_TOKENS = {
    "cohere": "<|END_OF_TURN_TOKEN|>",
    "deepseek": "<｜end▁of▁sentence｜>",
    "gemma": "<eos>",
    "glm": "<|endoftext|>",
    "gptoss": "<|return|>",
    "granite": "<|end_of_text|>",
    "lfm2": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "muse": "<|eot|>",
    "nemotron": "<|im_end|>",
    "olmo3": "<|endoftext|>",
    "phi3": "<|endoftext|>",
    "qwen": "<|im_end|>",
    "smollm3": "<|im_end|>",
}
"""End tokens of the real tokenizers, by the start of the template's name; otherwise </s>."""

CORPUS = [
    "What is the weather in Paris? It rains in Paris and the sun shines in Rome.\n\n",
    'I call a tool: {"name": "get_weather", "arguments": {"city": "Paris"}}\n',
    "<think>\n\n</think>\n\nassistant\nuser\nsystem\n",
]
"""Text that the tokenizers are trained on; it joins line breaks, as the real ones do."""


def template_paths() -> dict[str, Path]:
    """Return the templates of TRL and of the tests by name, without TRL's variants for training."""
    import trl

    files = [*(Path(trl.__file__).parent / "chat_templates").glob("*.jinja"), *OWN.glob("*.jinja")]
    return {path.stem: path for path in sorted(files) if not path.stem.endswith("_training")}


@functools.cache
def build_tokenizer(name: str) -> Any:
    """Return a tokenizer with a chat template, and with the special tokens that it writes."""
    return create_tokenizer(name)


def create_tokenizer(name: str, **named_tokens: str) -> Any:
    """Return a new tokenizer, which has `named_tokens` as attributes, such as `image_token`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    text = template_paths()[name].read_text("utf-8")
    end = next((token for start, token in END_TOKENS.items() if name.startswith(start)), "</s>")
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    backend.train_from_iterator(CORPUS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<bos>",
        eos_token=end,
        pad_token="<pad>",
        extra_special_tokens=sorted({*SPECIAL.findall(text)} - {end}),
        **named_tokens,
    )
    tokenizer.chat_template = text
    return tokenizer


TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "City"}},
            "required": ["city"],
        },
    },
}


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _assistant(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def _calls(*cities: str) -> dict[str, Any]:
    calls = [
        {
            "id": f"call_{city}",
            "type": "function",
            "function": {"name": "get_weather", "arguments": json.dumps({"city": city})},
        }
        for city in cities
    ]
    return {"role": "assistant", "tool_calls": calls}


def _result(city: str, text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": f"call_{city}", "content": text}


SYSTEM = {"role": "system", "content": "Be kind."}
QUESTION, ANSWER = _user("Hello?"), _assistant("Hi!")

EXAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("chat", {"messages": [QUESTION, ANSWER]}),
    "multi-turn": (
        "chat",
        {"messages": [QUESTION, ANSWER, _user("And now?"), _assistant("Bye.")]},
    ),
    "weight 0": (
        "chat",
        {"messages": [QUESTION, {**ANSWER, "weight": 0}, _user("And now?"), _assistant("Bye.")]},
    ),
    "system": ("chat", {"messages": [SYSTEM, QUESTION, ANSWER]}),
    "system, multi-turn": (
        "chat",
        {"messages": [SYSTEM, QUESTION, ANSWER, _user("And now?"), _assistant("Bye.")]},
    ),
    "tools": (
        "chat",
        {
            "messages": [
                QUESTION,
                _calls("Paris"),
                _result("Paris", '{"sky": "rain"}'),
                _assistant("It rains."),
            ],
            "tools": [TOOL],
        },
    ),
    "parallel calls": (
        "chat",
        {
            "messages": [
                SYSTEM,
                QUESTION,
                _calls("Paris", "Rome"),
                _result("Paris", "rain"),
                _result("Rome", "sun"),
                _assistant("It rains."),
            ],
            "tools": [TOOL],
        },
    ),
    "preference": (
        "preference",
        {
            "input": {"messages": [SYSTEM, QUESTION]},
            "preferred_output": [_assistant("Hi!")],
            "non_preferred_output": [_assistant("Go away.")],
        },
    ),
}
"""Format and example of each cell of the matrix."""
