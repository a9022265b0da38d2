"""`ftkit/smoke`: a tiny Llama-shaped model, made on the spot from a seed, that can learn a small file by heart.

It knows nothing. It is there to rehearse a job from end to end, without a download and without a GPU. A token is a byte. The
output weights are far larger than usual, so that an adapter on random layers can make its answers certain.
"""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SEED = 20_260_823
HIDDEN, LAYERS, HEADS, INNER, CONTEXT = 128, 2, 4, 256, 2048
VOCABULARY = 264
"""The 256 bytes and the marks, rounded up to a multiple of 8."""

CERTAINTY = 6.0
"""The standard deviation of the logits of the untrained model."""

PAD, END = "<|pad|>", "<|end|>"
ROLES = ("system", "user", "assistant", "tool")
TEMPLATE = (
    "{% if tools %}<|system|>{{ tools | tojson }}<|end|>{% endif %}"
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content or '' }}"
    "{% for call in message.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are the 256 bytes, and a mark for each role and end."""
    made = Tokenizer(
        models.BPE(
            vocab={byte: id for id, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))},
            merges=[],
        )
    )
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    marks = [f"<|{role}|>" for role in ROLES]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=PAD, eos_token=END, extra_special_tokens=marks
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def build_model() -> LlamaForCausalLM:
    """The untrained model; the same on every machine."""
    tokenizer = build_tokenizer()
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    chance = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() == 2:
                weights.normal_(0, weights.shape[1] ** -0.5, generator=chance)
        model.model.embed_tokens.weight.normal_(0, 1, generator=chance)
        model.lm_head.weight.normal_(0, CERTAINTY * HIDDEN**-0.5, generator=chance)
    return model
