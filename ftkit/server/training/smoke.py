"""`ftkit/smoke`: a tiny Llama model, built from a random seed, that can memorize a small file.

The model is untrained. It is for trying a job from end to end without a download and without a GPU.
Its tokens are bytes. The output weights are much larger than usual, so that an adapter on random
layers can make completions certain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, PreTrainedTokenizerFast

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

SEED = 20_260_823
HIDDEN_SIZE, LAYERS, HEADS, INTERMEDIATE_SIZE, CONTEXT_LENGTH = 128, 2, 4, 256, 2048

VOCABULARY_SIZE = 264
"""The 256 bytes and the special tokens, rounded up to a multiple of 8."""

LOGIT_DEVIATION = 6.0
"""Standard deviation of the logits of the untrained model."""

PAD_TOKEN, END_TOKEN = "<|pad|>", "<|end|>"
ROLES = ("system", "user", "assistant", "tool")
TEMPLATE = (
    "{% if tools %}<|system|>{{ tools | tojson }}<|end|>{% endif %}"
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content or '' }}"
    "{% for call in message.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}"
    "<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes, with special tokens for roles, message ends and padding."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {byte: id for id, byte in enumerate(alphabet)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD_TOKEN,
        eos_token=END_TOKEN,
        extra_special_tokens=[f"<|{role}|>" for role in ROLES],
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def build_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """Return the configuration of the model, for its tokenizer."""
    return LlamaConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=HIDDEN_SIZE,
        intermediate_size=INTERMEDIATE_SIZE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )


def build_model() -> LlamaForCausalLM:
    """Return the untrained model, with the same weights on every machine."""
    import torch
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM(build_config(build_tokenizer()))
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() == 2:
                weights.normal_(0, weights.shape[1] ** -0.5, generator=generator)
        model.model.embed_tokens.weight.normal_(0, 1, generator=generator)
        deviation = LOGIT_DEVIATION * HIDDEN_SIZE**-0.5
        model.lm_head.weight.normal_(0, deviation, generator=generator)
    return model
