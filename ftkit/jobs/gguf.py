"""GGUF files of exported models, written by the converter of llama.cpp."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ftkit._text import last_line
from ftkit.errors import FtkitError, UsageError, os_error_message

CONVERTER_VARIABLE = "FTKIT_GGUF_CONVERTER"
"""Environment variable with the path of the converter."""

CONVERTERS = ("convert_hf_to_gguf.py", "convert_hf_to_gguf")
"""Names of the converter in the PATH: as llama.cpp has it, and as packages install it."""

TYPES = ("f32", "f16", "bf16", "q8_0")
"""Types of the weights that the converter writes; others need llama.cpp's `llama-quantize`."""

DEFAULT_TYPE = "f16"
"""Type of the weights that all programs read."""

DRAFT_LAYERS = ("qwen3_5", "qwen3_next")
"""Beginnings of model types with layers for drafts (multi-token prediction).

transformers leaves these layers out, and the converter would miss them.
"""

MAGIC = b"GGUF"
"""First bytes of a GGUF file."""


def find_converter(environment: Mapping[str, str]) -> list[str]:
    """Return the command that starts the converter, without its arguments.

    Args:
        environment: Environment variables; `FTKIT_GGUF_CONVERTER` is preferred to the PATH.

    Raises:
        UsageError: There is no converter.
    """
    path = environment.get(CONVERTER_VARIABLE)
    if path:
        if not Path(path).is_file():
            raise UsageError(f"{CONVERTER_VARIABLE} must be the path of a file, not {path!r}")
        script = os.path.abspath(path)
        return [sys.executable, script] if path.endswith(".py") else [script]
    installed = (shutil.which(name, path=environment.get("PATH")) for name in CONVERTERS)
    converter = next(filter(None, installed), None)
    if converter is None:
        raise UsageError(
            "GGUF files need convert_hf_to_gguf.py of llama.cpp; install llama.cpp, or set"
            f" {CONVERTER_VARIABLE} to its path in a copy of github.com/ggml-org/llama.cpp"
        )
    return [os.path.abspath(converter)]


def gguf_name(model: str) -> str:
    """Return the name of a fine-tuned model as a file name without extension."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", model.removeprefix("ft:"))[:200].strip("-.") or "model"


def convert(folder: Path, name: str, type: str, converter: list[str]) -> None:
    """Replace the model in a folder by `NAME.gguf` and a `Modelfile` for Ollama.

    Args:
        folder: Folder with model and tokenizer, as transformers saves them.
        name: Name of the model in the file.
        type: Type of the weights, one of `TYPES`.
        converter: Command that starts the converter, with absolute paths.

    Raises:
        FtkitError: The converter fails, or what it writes is no GGUF file.
    """
    result, log = folder / f"{name}.gguf", folder / "convert.log"
    # The converter expands braces in the path of its output, so that is relative to the folder.
    options = ["--outfile", result.name, "--outtype", type, "--model-name", name]
    config = json.loads((folder / "config.json").read_bytes())
    if config.get("model_type", "").startswith(DRAFT_LAYERS):
        options.append("--no-mtp")
    try:
        with log.open("wb") as output:
            exit_code = subprocess.run(
                [*converter, str(folder.absolute()), *options],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
            ).returncode
    except OSError as error:
        raise FtkitError(f"cannot run {converter[-1]}: {os_error_message(error)}") from error
    if exit_code:
        cause = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
        reason = ": ".join(filter(None, (cause, last_line(log))))
        raise FtkitError(f"the model cannot be converted to GGUF ({reason})")
    _verify(result)
    for path in folder.iterdir():
        if path != result:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / "Modelfile").write_text(f"FROM ./{result.name}\n", "utf-8")


def _verify(path: Path) -> None:
    """Raise `FtkitError` if a file is no GGUF file; read it if the package gguf is installed."""
    if not path.is_file():
        raise FtkitError("the converter wrote no file")
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise FtkitError("the converter wrote something else than a GGUF file")
    try:
        from gguf import GGUFReader
    except ImportError:
        return
    try:
        GGUFReader(path)
    except Exception as error:  # whatever NumPy or the reader raises for a file that ends early
        raise FtkitError(f"the converter wrote a GGUF file that is damaged: {error}") from error
