"""What the GPUs of this container do, through NVML; nothing where there is none.

GPUUtilization is NVML's: the share of the last moment in which a kernel ran, however small.
GPUMemoryUtilization is memory in use by all of it, as the platform has it (not NVML's utilisation
of the memory's bus, which has the same name).
"""

import os
from typing import Any

from debugger.profiler.machine import Reading


class Gpus:
    """`absent` says why nothing is read, empty where something is."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        self.absent = ""
        try:
            import pynvml
        except ImportError:
            self.absent = "nvidia-ml-py is not installed"
            return
        try:
            pynvml.nvmlInit()
            self._nvml = pynvml
            self._handles = _handles(pynvml, os.environ.get("CUDA_VISIBLE_DEVICES"))
        except pynvml.NVMLError as error:
            self.absent = f"NVML: {error}"
        if not self._handles and not self.absent:
            self.absent = "no GPU is visible"

    def __len__(self) -> int:
        return len(self._handles)

    def read(self) -> list[Reading]:
        """What a GPU does not tell, as a part of one does not, is left out."""
        readings = []
        for number, handle in enumerate(self._handles):
            name = f"gpu{number}"
            try:
                use = self._nvml.nvmlDeviceGetUtilizationRates(handle)
                readings.append(Reading("gpu", name, "GPUUtilization", float(use.gpu)))
            except self._nvml.NVMLError:
                pass
            try:
                memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
                share = round(100 * memory.used / memory.total, 2)
                readings.append(Reading("gpu", name, "GPUMemoryUtilization", share))
            except self._nvml.NVMLError:
                pass
        return readings

    def close(self) -> None:
        if self._nvml is not None:
            self._handles = []
            self._nvml.nvmlShutdown()
            self._nvml = None


def _handles(nvml: Any, visible: str | None) -> list[Any]:
    """In the order in which torch counts them."""
    count = nvml.nvmlDeviceGetCount()
    if visible is None:
        return [nvml.nvmlDeviceGetHandleByIndex(at) for at in range(count)]
    handles = []
    for word in (part.strip() for part in visible.split(",")):
        if word.isdecimal() and int(word) < count:
            handles.append(nvml.nvmlDeviceGetHandleByIndex(int(word)))
        elif word.startswith(("GPU-", "MIG-")):
            handles.append(nvml.nvmlDeviceGetHandleByUUID(word))
        else:
            break  # CUDA stops at the first that is not there
    return handles
