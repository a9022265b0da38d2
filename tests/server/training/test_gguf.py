"""Export of a trained model to GGUF, with llama.cpp's converter where FTKIT_GGUF_CONVERTER is set."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import support
from support.local_server import LocalServer, run_forked, wait_for_job
from support.training import method_with, start_job

pytestmark = pytest.mark.training

CONVERTER = Path(support.__file__).with_name("gguf_converter.py")

DOWN_PROJECTION = ("blk.0.ffn_down.weight", "model.layers.0.mlp.down_proj.weight")
"""Names of a trained weight in GGUF files of llama.cpp and in models of transformers."""


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model with a tokenizer of the kind of Llama 2, which llama.cpp knows."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from ftkit.server.training.smoke import ROLES, TEMPLATE

    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    vocabulary = {token: id for id, token in enumerate([*tokens, *map(chr, range(97, 123))])}
    backend = Tokenizer(
        models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True)
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        extra_special_tokens=["<|end|>", *(f"<|{role}|>" for role in ROLES)],
    )
    tokenizer.chat_template = TEMPLATE.replace("<|end|>", "</s>")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = tmp_path_factory.mktemp("llama") / "tiny"
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tuned_model(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The base URL of a service, and the name of a model that it trained."""
    folder = tmp_path_factory.mktemp("service") / "data"
    with LocalServer(folder, {"tiny": str(llama)}) as server, server.client() as client:
        job = start_job(client, model="tiny", method=method_with(n_epochs=1))
        model = wait_for_job(client, job.id, "succeeded").fine_tuned_model
        yield server.url, model


def export(
    tuned_model: tuple[str, str], folder: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    url, model = tuned_model
    local = ["--provider", "local", "--base-url", url]
    return run_forked("models", "export", model, str(folder), *local, *options)


@pytest.mark.parametrize("type", ["f32", "f16"])
def test_a_trained_model_is_exported_as_gguf(
    type: str,
    tuned_model: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from gguf import GGUFReader
    from safetensors.numpy import load_file

    if not os.environ.get("FTKIT_GGUF_CONVERTER"):
        monkeypatch.setenv("FTKIT_GGUF_CONVERTER", str(CONVERTER))
    folder = tmp_path / "out"
    options = ("--gguf", "--gguf-type", type, "--output", "json")
    exported = export(tuned_model, folder, *options)
    assert exported.returncode == 0, exported.stderr
    result = json.loads(exported.stdout)
    assert result["merged"] is True
    assert sorted(path.name for path in folder.iterdir()) == ["Modelfile", result["gguf"]]
    reader = GGUFReader(folder / result["gguf"])
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert len(tensors) == 2 * 9 + 3
    weight = next(tensors[name] for name in DOWN_PROJECTION if name in tensors)
    assert weight.tensor_type.name.lower() == type
    assert export(tuned_model, tmp_path / "merged", "--merge").returncode == 0
    merged = load_file(tmp_path / "merged" / "model.safetensors")[DOWN_PROJECTION[1]]
    assert np.allclose(weight.data, merged, atol=0 if type == "f32" else 1e-3)


def test_nothing_is_left_when_the_converter_fails(
    tuned_model: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    converter = tmp_path / "converter.py"
    converter.write_text("import sys; sys.exit('Model TinyForCausalLM is not supported')")
    monkeypatch.setenv("FTKIT_GGUF_CONVERTER", str(converter))
    exported = export(tuned_model, tmp_path / "out", "--gguf")
    assert exported.returncode == 2
    assert "(exit code 1: Model TinyForCausalLM is not supported)" in exported.stderr
    assert list(tmp_path.iterdir()) == [converter]
    (tmp_path / "out").mkdir()
    assert "already exists" in export(tuned_model, tmp_path / "out", "--gguf").stderr
