"""Which engine answers: the artifact's compiled one on a CPU where there is one, else torch.

torch is imported by nobody else, and only once it is chosen.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from artifact import archive, compiled
from container.failure import ModelError
from serve.engine.control import Orders

HOW = "export adds one to an artifact: docker run IMAGE export"


class Engine(Protocol):
    """`name` is that of the artifact's `engines`; batches are of `image_size` pixels a side,
    `streams` of them may be classified at a time, and more than `batch_images` photos in one gain
    nothing. `prepare` does what the first answers need not wait for."""

    name: str
    image_size: int
    streams: int
    batch_images: int

    def classify(self, batch: NDArray[Any]) -> NDArray[np.float32]: ...
    def warm_up(self, count: int) -> float: ...
    def prepare(self) -> None: ...


def load(orders: Orders, progress: Callable[[str], None]) -> Engine:
    """Raises ArtifactError for a damaged model, ModelError where nothing here can answer it."""
    model_dir = Path(orders.model_dir)
    precision = _compiled_precision(model_dir) if orders.device == "cpu" else None
    if _takes_compiled(precision, orders.precision):
        progress("compiling the engine")
        return compiled.CompiledClassifier(
            model_dir, orders.threads, orders.streams, orders.streams_alone
        )
    if orders.precision == "int8":
        raise ModelError(
            "PRECISION=int8: the artifact has no int8 engine for this device",
            f"set PRECISION=auto; {HOW}",
        )
    if importlib.util.find_spec("torch") is None:
        raise ModelError(_without_torch(precision, orders.precision), HOW)
    progress("importing torch")
    # not before the lifeline is watched: this takes seconds
    from serve.engine.torch import TorchEngine

    progress("loading the weights")
    return TorchEngine(
        model_dir, orders.device, orders.precision, orders.threads, orders.batch_images
    )


def is_compiled(model_dir: Path, precision: str) -> bool:
    """Whether the compiled engine would answer on a CPU. Raises ArtifactError."""
    return _takes_compiled(_compiled_precision(model_dir), precision)


def _takes_compiled(there: str | None, asked: str) -> bool:
    return there is not None and asked in ("auto", there)


def _compiled_precision(model_dir: Path) -> str | None:
    """None where there is no compiled engine, or nothing here that runs it."""
    described = archive.read_description(archive.find(model_dir)).compiled
    if not described or not compiled.installed():
        return None
    return str(described["precision"])


def _without_torch(precision: str | None, asked: str) -> str:
    if precision is None:
        return "the artifact has no compiled engine, and this image has no torch to do without one"
    return f"PRECISION={asked}: the compiled engine is {precision}, and this image has no torch"
