"""Conversion of an exported model to GGUF: the command, its failures, and what is left behind."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from ftkit.cli import run
from ftkit.errors import FtkitError, UsageError
from ftkit.jobs.gguf import convert, find_converter, gguf_name

EMPTY_GGUF = "b'GGUF' + (3).to_bytes(4, 'little') + bytes(16)"
"""Expression for a GGUF file of version 3 without tensors and metadata."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with files like those of a model."""
    folder = tmp_path / "model {of mine}"
    (folder / "nested").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "nested/file"):
        (folder / name).write_text("{}")
    return folder


def script(folder: Path, code: str) -> list[str]:
    """Return the command of a converter with this code; `out` is the path that it is to write."""
    path = folder / "converter.py"
    start = "import os, sys, pathlib\nout = pathlib.Path(sys.argv[sys.argv.index('--outfile') + 1])"
    path.write_text(f"{start}\n{code}\n", "utf-8")
    return [sys.executable, str(path)]


def test_the_model_is_replaced_by_the_file_and_a_modelfile(model: Path, tmp_path: Path) -> None:
    code = f"out.write_bytes({EMPTY_GGUF}); pathlib.Path({str(tmp_path)!r}, 'arguments').write_text(' '.join(sys.argv[1:]))"
    convert(model, "mine", "q8_0", script(tmp_path, code))
    assert sorted(path.name for path in model.iterdir()) == ["Modelfile", "mine.gguf"]
    assert (model / "Modelfile").read_text() == "FROM ./mine.gguf\n"
    assert (tmp_path / "arguments").read_text() == (
        f"{model} --outfile mine.gguf --outtype q8_0 --model-name mine"
    )


@pytest.mark.parametrize(
    ("model_type", "left_out"),
    [("qwen3_5_text", True), ("qwen3_next", True), ("qwen3", False), ("llama", False)],
)
def test_draft_layers_that_transformers_drops_are_left_out(
    model_type: str, left_out: bool, model: Path, tmp_path: Path
) -> None:
    (model / "config.json").write_text(json.dumps({"model_type": model_type}))
    code = f"out.write_bytes({EMPTY_GGUF}); assert ('--no-mtp' in sys.argv) is {left_out}"
    convert(model, "mine", "f16", script(tmp_path, code))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('loading'); sys.exit('unknown model')", r"\(exit code 1: unknown model\)"),
        ("raise ValueError('no such tensor')", r"\(exit code 1: ValueError: no such tensor\)"),
        ("sys.exit(3)", r"\(exit code 3\)"),
        ("out.write_bytes(b'GG'); os.kill(os.getpid(), 9)", r"\(signal 9\)"),
        ("pass", "wrote no file"),
        ("out.mkdir()", "wrote no file"),
        ("out.write_bytes(b'')", "something else than a GGUF file"),
        ("out.write_bytes(b'ggml1234')", "something else than a GGUF file"),
    ],
)
def test_a_converter_that_fails_is_one_line(
    code: str, message: str, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(FtkitError, match=message) as raised:
        convert(model, "mine", "f16", script(tmp_path, code))
    assert "\n" not in str(raised.value)


@pytest.mark.training  # needs gguf, which only that environment has
def test_a_damaged_file_is_refused_where_it_can_be_read(model: Path, tmp_path: Path) -> None:
    command = script(tmp_path, f"out.write_bytes(({EMPTY_GGUF})[:12])")
    with pytest.raises(FtkitError, match="GGUF file that is damaged"):
        convert(model, "mine", "f16", command)


def test_a_converter_that_cannot_be_run_is_one_line(model: Path, tmp_path: Path) -> None:
    with pytest.raises(FtkitError, match=r"cannot run .*none: no such file"):
        convert(model, "mine", "f16", [str(tmp_path / "none")])


@pytest.mark.parametrize("name", ["convert_hf_to_gguf.py", "convert_hf_to_gguf"])
def test_the_converter_is_found_in_the_path(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.touch(mode=0o755)
    assert find_converter({"PATH": str(tmp_path)}) == [str(path)]


def test_the_converter_is_found_by_the_environment(tmp_path: Path) -> None:
    converter = tmp_path / "my.py"
    converter.touch()
    found = find_converter({"PATH": "", "FTKIT_GGUF_CONVERTER": str(converter)})
    assert found == [sys.executable, str(converter)]
    program = tmp_path / "program"
    program.touch()
    assert find_converter({"FTKIT_GGUF_CONVERTER": str(program)}) == [str(program)]


def test_a_missing_converter_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"install llama\.cpp, or set FTKIT_GGUF_CONVERTER"):
        find_converter({"PATH": str(tmp_path)})
    with pytest.raises(UsageError, match="must be the path of a file, not"):
        find_converter({"FTKIT_GGUF_CONVERTER": str(tmp_path / "none.py")})


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("ft:Qwen/Qwen3-0.6B::abc12345", "Qwen-Qwen3-0.6B-abc12345"),
        ("ft:ftkit/smoke:my model:abc:ckpt-step-3", "ftkit-smoke-my-model-abc-ckpt-step-3"),
        ("ft:../../x:\n:a", "x-a"),
        ("ft:::", "model"),
    ],
)
def test_the_name_of_a_model_is_a_file_name(model: str, name: str) -> None:
    assert gguf_name(model) == name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gguf", "--merge"], "leave out --merge"),
        (["--gguf-type", "f16"], "--gguf-type needs --gguf"),
        (["--gguf", "--gguf-type", "q4_0"], "q4_0"),
        (["--gguf"], "install llama.cpp"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    options: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.delenv("FTKIT_GGUF_CONVERTER", raising=False)
    assert run(["models", "export", "ft:a::b", "out", *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
