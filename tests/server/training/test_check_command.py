"""`ftkit serve check`, and the same from Python."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.chat_templates import EXAMPLES, build_tokenizer
from support.fixture_types import Write
from support.local_server import run_forked
from support.models import SMOKE
from support.training import encode_jsonl
from support.vision_models import build_vision_model, color_example

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def mistral(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with the tokenizer and the configuration of a base model, but no weights."""
    from transformers import LlamaConfig

    folder = tmp_path_factory.mktemp("base") / "mistral"
    build_tokenizer("mistral_v0_3").save_pretrained(folder)
    LlamaConfig(max_position_embeddings=512).save_pretrained(folder)
    return str(folder)


def check(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = run_forked("serve", "check", *arguments, "--output", "json")
    return done.returncode, json.loads(done.stdout)


def test_the_tokens_of_each_sequence_are_shown_with_the_learned_ones(
    mistral: str, write: Write
) -> None:
    path = write(encode_jsonl([EXAMPLES["system, multi-turn"][1]]))
    code, result = check(mistral, str(path))
    assert code == 0
    assert result["supports"] == {
        "system": True,
        "tools": True,
        "parallel_tool_calls": True,
        "thinking": False,
        "tool_calls": True,
        "images": False,
    }
    assert (result["context_length"], result["end_of_turn"]) == (512, "</s>")
    assert result["answers_obstacle"] == "it writes ' ' before an answer"
    prompts = (
        "<bos>[INST] Be kind.\n\nHello?[/INST]",
        "<bos>[INST] Hello?[/INST] Hi!</s>[INST] Be kind.\n\nAnd now?[/INST]",
    )
    assert result["examples"] == [
        {
            "line": 1,
            "refused": None,
            "cut": 0,
            "spans": [{"text": prompt, "learned": False}, {"text": answer, "learned": True}],
        }
        for prompt, answer in zip(prompts, (" Hi!</s>", " Bye.</s>"), strict=True)
    ]


def test_the_text_shows_the_recipe(write: Write) -> None:
    settings = "processes = 3\nthreads = 5\nsave_total_limit = 7\npacking = true\n"
    recipe = write(f'["{SMOKE}"]\n{settings}'.encode(), "recipe.toml")
    text = run_forked("serve", "check", SMOKE, "--recipe", str(recipe)).stdout
    lines = {" ".join(line.split()) for line in text.splitlines()}
    assert "chats with --answers yes" in lines
    assert {"processes 3", "CPU threads 5", "checkpoints kept 7", "packing yes"} <= lines


def test_a_preference_is_shown_once_for_each_output(write: Write) -> None:
    path = write(encode_jsonl([EXAMPLES["preference"][1]]))
    code, result = check(SMOKE, str(path))
    learned = [example["spans"][1]["text"] for example in result["examples"]]
    assert (code, learned) == (0, ["Hi!<|end|>", "Go away.<|end|>"])


def test_lines_that_cannot_be_trained_on_are_refused_with_the_reason(write: Write) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    lines = [
        EXAMPLES["plain"][1],
        {"messages": []},
        {"messages": [{"role": "user", "content": [image]}, EXAMPLES["plain"][1]["messages"][1]]},
    ]
    code, result = check(SMOKE, str(write(encode_jsonl(lines))))
    assert code == 1
    assert [example["refused"] for example in result["examples"]] == [
        None,
        '"messages" is empty; add messages, or remove the example',
        "the base model does not support images",
    ]


def test_a_compressed_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(gzip.compress(encode_jsonl([EXAMPLES["plain"][1]])))
    code, result = check(SMOKE, str(path))
    assert (code, len(result["examples"])) == (0, 1)


def test_text_output_marks_what_is_learned(write: Write) -> None:
    path = write(encode_jsonl([EXAMPLES["plain"][1]] * 5))
    done = run_forked("serve", "check", SMOKE, str(path), "--limit", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(
        "\nline 1\n  <|user|>Hello?<|end|><|assistant|>\n+ Hi!<|end|>\n"
        "\n5 examples: 0 refused, 0 cut\n"
    )


def test_images_are_shown_with_the_number_of_their_tokens(tmp_path: Path, write: Write) -> None:
    base = str(build_vision_model("qwen2_5_vl", tmp_path / "qwen"))
    path = str(write(encode_jsonl([color_example("red", "Red.")])))
    code, result = check(base, path)
    assert code == 0
    assert result["supports"]["images"]
    assert result["image_token"] == "<|image_pad|>"
    (example,) = result["examples"]
    prompt, answer = (span["text"] for span in example["spans"])
    assert prompt.count("<|image_pad|>") == 4
    assert answer == "Red.<|im_end|>"
    done = run_forked("serve", "check", base, path)
    assert re.search(r"^  images +yes$", done.stdout, re.MULTILINE)
    assert (
        "  <|vision_start|><|image_pad|> x 4<|vision_end|>Which color?<|im_end|>\n" in done.stdout
    )


@pytest.mark.parametrize("base", ["nobody/nothing", "missing-folder"])
def test_a_base_that_cannot_be_loaded_is_one_line(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = run_forked("serve", "check", base)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"the base model {base} cannot be loaded" in done.stderr
    assert "Traceback" not in done.stderr


def test_python_gives_the_same(write: Write) -> None:
    from ftkit.server.training.inspection import BaseInspector, ExampleCheck, Span

    path: Path = write(encode_jsonl([EXAMPLES["plain"][1]]))
    spans = [Span("<|user|>Hello?<|end|><|assistant|>", False), Span("Hi!<|end|>", True)]
    assert list(BaseInspector(SMOKE).check_file(path)) == [ExampleCheck(1, None, 0, spans)]
