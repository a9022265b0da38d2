"""Adapters of several fine-tuned models in one batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftkit.errors import EncodingError
from ftkit.server.folder import Folder

pytestmark = [
    pytest.mark.training,
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # of PEFT's call of transformers
]

CONFIGURATIONS = {
    "all": {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"},
    "some": {"r": 8, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"]},
    "one": {"r": 2, "lora_alpha": 2, "target_modules": ["down_proj"]},
}
"""Options of PEFT for the adapter of each job."""


@pytest.fixture(scope="module")
def base() -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "vocab_size": 50}
    config = LlamaConfig(num_hidden_layers=2, num_attention_heads=4, **sizes)
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def folder(base: Any, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A data folder with an adapter for each configuration, and one whose training diverged."""
    folder = Folder(tmp_path_factory.mktemp("adapters"))
    for job, options in CONFIGURATIONS.items():
        save_adapter(base, folder.adapter(job, 1), options)
    save_adapter(base, folder.adapter("diverged", 1), CONFIGURATIONS["all"], factor=float("nan"))
    return folder


def save_adapter(base: Any, path: Path, options: dict[str, Any], factor: float = 1) -> None:
    from copy import deepcopy

    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **options)
    model = get_peft_model(deepcopy(base), config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.3).mul_(factor)
    model.save_pretrained(path)


def test_each_sequence_of_a_batch_gets_what_its_adapter_alone_adds(
    base: Any, folder: Folder
) -> None:
    from copy import deepcopy

    import torch
    from peft import PeftModel

    from ftkit.server.generation.adapters import NO_ADAPTER, Adapters

    model = deepcopy(base)
    adapters = Adapters(model, folder)
    names = [adapters.load(job, 1, set()) for job in ("one", "all", "some", "", "all")]
    assert names[3] == NO_ADAPTER
    ids = torch.randint(0, 50, (len(names), 6), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = []
        for row, name in enumerate(names):
            job = name.removesuffix("-1")
            alone = (
                PeftModel.from_pretrained(deepcopy(base), folder.adapter(job, 1)) if job else base
            )
            expected.append(alone(ids[row : row + 1]).logits[0])
        adapters.use(names)
        assert torch.allclose(model(ids).logits, torch.stack(expected), atol=1e-4)
        for row, name in enumerate(names):
            adapters.use([name])
            assert torch.allclose(model(ids[row : row + 1]).logits[0], expected[row], atol=1e-4)


def test_an_adapter_whose_training_diverged_is_refused(base: Any, folder: Folder) -> None:
    from copy import deepcopy

    from ftkit.server.generation.adapters import Adapters

    adapters = Adapters(deepcopy(base), folder)
    adapters.load("all", 1, set())
    for _ in range(2):
        with pytest.raises(EncodingError, match="diverged"):
            adapters.load("diverged", 1, set())
