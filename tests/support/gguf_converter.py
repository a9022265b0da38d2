"""Converter with the options of llama.cpp's `convert_hf_to_gguf.py`: `python gguf_converter.py DIR`.

It writes a real GGUF file with the tensors of a model, but without its tokenizer.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file

parser = argparse.ArgumentParser()
parser.add_argument("model", type=Path)
parser.add_argument("--outfile", type=Path, required=True)
parser.add_argument("--outtype", choices=["f32", "f16"], required=True)
parser.add_argument("--model-name", required=True)
arguments = parser.parse_args()

config = json.loads((arguments.model / "config.json").read_bytes())
writer = gguf.GGUFWriter(arguments.outfile, config["model_type"])
writer.add_name(arguments.model_name)
writer.add_block_count(config["num_hidden_layers"])
for name, tensor in load_file(arguments.model / "model.safetensors").items():
    writer.add_tensor(name, tensor.astype(np.dtype(arguments.outtype.replace("f", "float"))))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
