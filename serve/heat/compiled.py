"""Maps out of the compiled engine: a graph of its own, made from the engine's at its first use.

A server that is never asked for one pays nothing. The answers of both graphs are the same: the
second one only says more.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifact import archive
from artifact.archive import Description
from artifact.compiled import Graph, core
from serve.heat import tail


class CompiledMaps:
    """`folder` holds the artifact. Costs a reading and a compilation of the graph."""

    def __init__(self, folder: Any, description: Description, threads: int) -> None:
        model = core().read_model(folder / archive.ENGINE_GRAPH)
        found = tail.with_maps(model)
        self._graph = None if found is None else Graph(found, description, threads)
        self._labels = len(description.labels)

    def classify(
        self, images: NDArray[Any], labels: NDArray[np.int32]
    ) -> NDArray[np.float32] | None:
        """Probabilities, then H * W numbers of one label's map, for each photo: of that in
        `labels`, or of the most probable one where that is below 0. None where there are no maps.
        """
        if self._graph is None:
            return None
        both = self._graph.classify(images)
        probabilities = both[:, : self._labels]
        maps = both[:, self._labels :].reshape(len(both), self._labels, -1)
        asked = np.where(labels < 0, probabilities.argmax(1), labels)
        rows: NDArray[np.float32]
        rows = np.concatenate([probabilities, maps[np.arange(len(both)), asked]], 1)
        return rows
