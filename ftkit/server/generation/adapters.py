"""LoRA adapters of a base model in memory: a limited number of them, and one for each sequence.

PEFT loads the adapters, and its layers compute the base model only. A hook on each layer adds what
the adapters add: their matrices are concatenated, so that two matrix products are enough for any
number of adapters, and each sequence uses the columns of its own adapter.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from msgspec import Struct
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch.nn.functional import linear

from ftkit.errors import EncodingError, ModelLoadError
from ftkit.server.folder import Folder
from ftkit.server.training.device import device

MAX_ADAPTERS = 16
"""Maximum number of adapters in memory; more only while sequences use them."""

NO_ADAPTER = ""
"""Name for the base model itself."""

NOT_FINITE = (
    "the model's probabilities are not numbers, probably since its training diverged; fine-tune"
    " again with a lower learning rate"
)
"""Message for completions of models that compute NaN or infinity."""


class Matrices(Struct, frozen=True):
    """Matrices of several adapters for one layer.

    Attributes:
        down: The matrices A, of the shape (ranks of all adapters, input size).
        up: The matrices B, multiplied by their scaling, of the shape (output size, ranks of all
            adapters).
        owners: Number of the adapter that each rank belongs to.
    """

    down: torch.Tensor
    up: torch.Tensor
    owners: torch.Tensor


class Adapters:
    """The adapters of a base model in memory.

    Args:
        model: The base model.
        folder: Data folder of the service, which has the adapters.
    """

    def __init__(self, model: Any, folder: Folder) -> None:
        self._model, self._folder = model, folder
        self._peft: PeftModel | None = None
        self._loaded: OrderedDict[str, bool] = OrderedDict()  # if the weights are finite
        self._layers: dict[int, LoraLayer] = {}
        # Of the next forward pass:
        self._names: list[str] = []  # its adapters
        self._numbers = torch.empty(0)  # for each sequence the position of its adapter, or -1
        self._is_uniform = True  # all sequences have the same adapter, so nothing is concatenated
        # Kept until another mixture of adapters is used, or an adapter is removed:
        self._matrices: dict[int, Matrices] = {}
        self._joined_names: list[str] = []

    def load(self, job: str, step: int, in_use: set[str]) -> str:
        """Load an adapter unless it is loaded. Return its name in memory.

        Args:
            job: Job that trained the adapter, or "" for the base model itself.
            step: Training step of the adapter.
            in_use: Names of adapters that must stay in memory.

        Raises:
            ModelLoadError: The adapter was deleted.
            EncodingError: Its weights are not finite. In a batch, they would affect the others.
        """
        if not job:
            return NO_ADAPTER
        name, path = f"{job}-{step}", self._folder.adapter(job, step)
        if not path.exists():
            raise ModelLoadError("the fine-tuned model no longer exists")
        if name not in self._loaded:
            if self._peft is None:
                self._peft = PeftModel.from_pretrained(self._model, str(path), adapter_name=name)
                self._peft.eval()
            else:
                self._peft.load_adapter(str(path), adapter_name=name)
            self._peft.base_model.disable_adapter_layers()
            self._add_hooks()
            self._loaded[name] = self._is_finite(name)
        self._loaded.move_to_end(name)
        self._remove_unused(in_use | {name})
        if not self._loaded[name]:
            raise EncodingError(NOT_FINITE)
        return name

    def _is_finite(self, name: str) -> bool:
        layers = [layer for layer in self._layers.values() if name in layer.lora_A]
        weights = [part[name].weight for layer in layers for part in (layer.lora_A, layer.lora_B)]
        return all(bool(weight.isfinite().all()) for weight in weights)

    def _remove_unused(self, in_use: set[str]) -> None:
        """Remove the least recently used adapters, if there are too many."""
        for name in [name for name in self._loaded if name not in in_use]:
            if self._peft is None or len(self._loaded) <= MAX_ADAPTERS:
                break
            self._peft.delete_adapter(name)
            del self._loaded[name]
            self._matrices, self._joined_names = {}, []

    def use(self, names: list[str]) -> None:
        """Set the adapter of each sequence of the next forward pass."""
        self._names = sorted(set(names) - {NO_ADAPTER})
        numbers = {name: number for number, name in enumerate(self._names)}
        self._numbers = torch.tensor([numbers.get(name, -1) for name in names], device=device())
        self._is_uniform = len(set(names)) == 1

    def _add_hooks(self) -> None:
        """Add a hook to the layers with adapters."""
        for module in self._model.modules():
            if isinstance(module, LoraLayer) and id(module) not in self._layers:
                self._layers[id(module)] = module
                module.register_forward_hook(self._add_outputs)

    def _add_outputs(
        self, layer: Any, inputs: tuple[torch.Tensor], output: torch.Tensor
    ) -> torch.Tensor:
        """Add the outputs of the adapters to the output of a layer of the base model."""
        names = [name for name in self._names if name in layer.lora_A]
        if not names:
            return output
        if self._is_uniform:
            down, up = layer.lora_A[names[0]].weight, layer.lora_B[names[0]].weight
            added = linear(linear(inputs[0].to(down.dtype), down), up) * layer.scaling[names[0]]
        else:
            added = self._joined_outputs(self._join(layer, names), inputs[0])
        return output + added.to(output.dtype)

    def _joined_outputs(self, matrices: Matrices, inputs: torch.Tensor) -> torch.Tensor:
        # In layers of mixtures of experts, each position is a row.
        numbers = self._numbers.repeat_interleave(len(inputs) // len(self._numbers))
        is_own = numbers[:, None] == matrices.owners
        is_own = is_own.view(len(inputs), *[1] * (inputs.dim() - 2), -1)
        hidden = linear(inputs.to(matrices.down.dtype), matrices.down)
        return linear(hidden.where(is_own, 0), matrices.up)

    def _join(self, layer: Any, names: list[str]) -> Matrices:
        """Return the matrices of the adapters for a layer, which the next steps need as well."""
        if self._joined_names != self._names:
            self._matrices, self._joined_names = {}, self._names
        if id(layer) not in self._matrices:
            downs = [layer.lora_A[name].weight for name in names]
            ups = [layer.lora_B[name].weight * layer.scaling[name] for name in names]
            numbers = torch.tensor([self._names.index(name) for name in names])
            ranks = torch.tensor([len(down) for down in downs])
            owners = numbers.repeat_interleave(ranks).to(downs[0].device)
            self._matrices[id(layer)] = Matrices(torch.cat(downs), torch.cat(ups, 1), owners)
        return self._matrices[id(layer)]
