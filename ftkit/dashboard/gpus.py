"""NVIDIA GPUs of this machine, by the NVIDIA Management Library (NVML).

NVML comes with the driver. It is initialized for each reading and shut down again, so that GPUs can
be reset, and their modes changed, while nobody looks at them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

MAX_GPUS = 64
"""Maximum number of GPUs that are read."""


class Gpu(Struct, frozen=True):
    """A GPU. Values that NVML does not have for it are None.

    Attributes:
        name: Name of the product.
        used: Used memory in bytes.
        total: Memory in bytes.
        utilization: Share of the last sample period in which it computed, from 0 to 1.
        celsius: Temperature in degrees Celsius.
        processes: Memory of each process in bytes, by process id.
    """

    name: str
    used: int | None = None
    total: int | None = None
    utilization: float | None = None
    celsius: int | None = None
    processes: dict[int, int | None] = {}


class GpuReading(Struct, frozen=True):
    """The GPUs, and the reason why they cannot be read, or ""."""

    gpus: tuple[Gpu, ...] = ()
    error: str = ""


def read_gpus() -> GpuReading:
    """Return the GPUs: none without a driver."""
    try:
        import pynvml
    except ImportError:
        return GpuReading()
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return GpuReading()
    except pynvml.NVMLError as error:
        return GpuReading(error=str(error))
    try:
        count = min(pynvml.nvmlDeviceGetCount(), MAX_GPUS)
        return GpuReading(tuple(_read(pynvml, number) for number in range(count)))
    except pynvml.NVMLError as error:
        return GpuReading(error=str(error))
    finally:
        pynvml.nvmlShutdown()


def _read(nvml: Any, number: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(number)

    def value(read: Callable[..., Any], *arguments: Any) -> Any:
        """Return a value of the GPU, or None: not all GPUs have all of them."""
        try:
            return read(handle, *arguments)
        except nvml.NVMLError:
            return None

    name = value(nvml.nvmlDeviceGetName)
    memory = value(nvml.nvmlDeviceGetMemoryInfo)
    rates = value(nvml.nvmlDeviceGetUtilizationRates)
    return Gpu(
        # A text, but bytes in versions of nvidia-ml-py before 11.515.
        name=name.decode("utf-8", "replace") if isinstance(name, bytes) else name or "GPU",
        used=memory and int(memory.used),
        total=memory and int(memory.total),
        utilization=rates and rates.gpu / 100,
        celsius=value(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
        processes={
            process.pid: process.usedGpuMemory
            for process in value(nvml.nvmlDeviceGetComputeRunningProcesses) or ()
        },
    )
