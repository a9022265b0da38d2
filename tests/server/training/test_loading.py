"""Base models that are adapters, missing or unreadable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ftkit.errors import ModelLoadError

pytestmark = pytest.mark.training


def load_error(base: Path) -> ModelLoadError:
    from ftkit.server.training.loading import load_base

    with pytest.raises(ModelLoadError) as error:
        load_base(str(base))
    return error.value


@pytest.fixture
def adapter(base_model: Path, tmp_path: Path) -> Path:
    """A folder with an adapter alone, whose base model is another folder."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    config = {"base_model_name_or_path": str(base_model), "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("with_model", [False, True])
def test_an_adapter_is_no_base_model(with_model: bool, adapter: Path, base_model: Path) -> None:
    from ftkit.server.training.base import load_reason
    from ftkit.server.training.loading import load_base

    if with_model:
        shutil.copytree(base_model, adapter, dirs_exist_ok=True)
    assert "adapter_config.json" in load_reason(load_error(adapter))
    assert load_base(str(base_model)).name_or_path == str(base_model)


def test_an_adapter_that_appears_while_the_model_is_loaded_is_no_base_model(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftkit.server.training import loading
    from ftkit.server.training.base import load_reason

    monkeypatch.setattr(loading, "_check_complete", lambda base: None)
    assert "adapter" in load_reason(load_error(adapter))


def test_the_error_is_the_same_whatever_the_reason(
    adapter: Path, pickled_model: Path, tmp_path: Path
) -> None:
    from ftkit.server.training.base import load_reason

    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text('{"model_type": "none"}')
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    bases = [
        adapter,
        pickled_model,
        *(tmp_path / name for name in ("file", "empty", "odd", "broken", "missing")),
    ]
    errors = {base: load_error(base) for base in bases}
    assert len({str(error).replace(str(base), "") for base, error in errors.items()}) == 1
    assert len({load_reason(error).replace(str(base), "") for base, error in errors.items()}) > 3


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        ("model.safetensors", b""),
        ("config.json", b"[]"),
        ("config.json", b'{"model_type": "llama", "hidden_size": "large"}'),
    ],
)
def test_a_damaged_file_is_an_error_of_the_base_model(
    name: str, content: bytes, base_model: Path, tmp_path: Path
) -> None:
    from ftkit.server.training.base import load_reason

    folder = tmp_path / "base"
    shutil.copytree(base_model, folder)
    (folder / name).write_bytes(content)
    assert load_reason(load_error(folder))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("config.json", '{"model_type": "t5"}', "models of the type t5 do not continue texts"),
        ("config.json", '{"model_type": "vit"}', "models of the type vit do not continue texts"),
        ("config.json", '{"model_type": "llama", "hidden_size": "large"}', "hidden_size"),
        ("config.json", "[]", "mapping"),
        ("generation_config.json", "[]", "mapping"),
        ("tokenizer.json", "version https://git-lfs.github.com/spec/v1", "line 1 column 1"),
    ],
)
def test_a_base_model_that_cannot_be_trained_is_refused_before_its_weights_are_read(
    name: str, content: str, reason: str, base_model: Path, tmp_path: Path
) -> None:
    from ftkit.server.recipes import builtin_recipes
    from ftkit.server.training.base import load_base_model, load_reason

    folder = tmp_path / "base"
    shutil.copytree(base_model, folder)
    (folder / name).write_text(content)
    with pytest.raises(ModelLoadError) as error:
        load_base_model(str(folder), builtin_recipes().find(str(folder)))
    assert reason in load_reason(error.value)
