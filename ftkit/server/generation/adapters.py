"""LoRA adapters of a base model in memory: a limited number of them, and one for each sequence."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from peft import PeftModel
from peft.tuners.lora import LoraLayer

from ftkit.errors import ModelLoadError
from ftkit.server.folder import Folder

MAX_ADAPTERS = 16
"""Maximum number of adapters in memory; more only while sequences use them."""

NO_ADAPTER = "__base__"
"""Name in PEFT for the base model itself."""


class Adapters:
    """The adapters of a base model in memory.

    Args:
        model: The base model.
        folder: Data folder of the service, which has the adapters.
    """

    def __init__(self, model: Any, folder: Folder) -> None:
        self._model, self._folder = model, folder
        self._peft: PeftModel | None = None
        self._loaded: OrderedDict[str, None] = OrderedDict()
        self._names: list[str] = []
        self._hooked: set[int] = set()

    def load(self, job: str, step: int, in_use: set[str]) -> str:
        """Load an adapter unless it is loaded. Return its name in memory.

        Args:
            job: Job that trained the adapter, or "" for the base model itself.
            step: Training step of the adapter.
            in_use: Names of adapters that must stay in memory.

        Raises:
            ModelLoadError: The adapter was deleted.
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
            self._add_hooks()
        self._loaded[name] = None
        self._loaded.move_to_end(name)
        self._remove_unused(in_use | {name})
        return name

    def _remove_unused(self, in_use: set[str]) -> None:
        """Remove the least recently used adapters, if there are too many."""
        for name in [name for name in self._loaded if name not in in_use]:
            if self._peft is None or len(self._loaded) <= MAX_ADAPTERS:
                break
            self._peft.delete_adapter(name)
            del self._loaded[name]

    def use(self, names: list[str]) -> None:
        """Set the adapter of each sequence of the next forward pass."""
        self._names = names

    def _add_hooks(self) -> None:
        """Add hooks to the layers with adapters, which select those of `use`."""
        for module in self._model.modules():
            if isinstance(module, LoraLayer) and id(module) not in self._hooked:
                self._hooked.add(id(module))
                module.register_forward_pre_hook(self._select, with_kwargs=True)

    def _select(self, module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, Any]:
        return args, {**kwargs, "adapter_names": self._names}
