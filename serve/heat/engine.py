"""The engine's side of explanations: maps are made at their first use, in the engine's process."""

import logging
import threading
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from artifact import compiled

Labels = NDArray[np.int32]
Rows = NDArray[np.float32]


class Classifying(Protocol):
    @property
    def image_size(self) -> int: ...

    def classify(self, batch: NDArray[Any]) -> Rows: ...


class WithMaps(Protocol):
    def classify(self, images: NDArray[Any], labels: Labels) -> Rows | None: ...


class Maps:
    """One engine's answers, for all of its lanes. Without maps, or where they cannot be made, it
    gives probabilities alone: the server then covers parts of the photo (`serve.heat.occlusion`).
    """

    def __init__(self, engine: Classifying) -> None:
        self._engine = engine
        self.image_size = engine.image_size
        self._made: WithMaps | None = None
        self._tried = False
        self._lock = threading.Lock()

    def classify(self, batch: NDArray[Any], labels: Labels | None) -> Rows:
        """Probabilities, and behind them the maps of the labels, where any are asked for and the
        network has them."""
        if labels is None:
            return self._engine.classify(batch)
        with self._lock:  # hooks and requests for inference are one thread's at a time
            if not self._tried:
                self._tried = True
                self._made = self._make()
            rows = None if self._made is None else self._made.classify(batch, labels)
        return self._engine.classify(batch) if rows is None else rows

    def _make(self) -> WithMaps | None:
        engine = self._engine
        try:
            if isinstance(engine, compiled.CompiledClassifier):
                from serve.heat.compiled import CompiledMaps

                return CompiledMaps(engine.folder, engine.description, engine.threads)
            from serve.heat.torch import TorchMaps

            return TorchMaps(engine.classifier)  # type: ignore[attr-defined]
        except Exception:  # whatever a library raises, occlusion explains this network too
            logging.exception("this network's maps cannot be had")
            return None
