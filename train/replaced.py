"""Which photos a run learns from, by their bytes: it goes on from no checkpoint of others.

Names do not tell: photos are corrected and given again under the names that they had. The doctor
looks at as many as its time allows, so two starts are compared where both know a photo.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from train.channels import Splits
from train.index import Index

PART = "photos"
"""Name of this part in a checkpoint."""


class Contents:
    """A part of every checkpoint."""

    def __init__(self, splits: Splits) -> None:
        self._indexes: list[Index] = [splits.train, splits.validation]
        self._known = splits.contents

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"known": torch.from_numpy(self._known.view(np.int64))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What an earlier start has seen stays known."""
        earlier = _known(state.get("known"))
        if len(earlier) == len(self._known):
            self._known = np.where(self._known == 0, earlier, self._known)

    def others(self, tensors: Mapping[str, torch.Tensor]) -> str:
        """How the photos of a checkpoint differ from these; nothing where they do not, as far as
        both are known."""
        earlier = _known(tensors.get(f"{PART}/known"))
        if len(earlier) != len(self._known):  # an older program's
            return ""
        both = (earlier != 0) & (self._known != 0)
        differ = np.flatnonzero(both & (earlier != self._known))
        if not len(differ):
            return ""
        return (
            f"{len(differ)} of {both.sum()} photos compared hold other bytes under the same names, "
            f"{self._name(int(differ[0]))} among them"
        )

    def _name(self, position: int) -> str:
        for index in self._indexes:
            if position < len(index):
                return f"{index.channel}/{index.name(position)}"
            position -= len(index)
        return "another host's"


def _known(tensor: torch.Tensor | None) -> NDArray[np.uint64]:
    return np.zeros(0, np.uint64) if tensor is None else tensor.numpy().view(np.uint64)
