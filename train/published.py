"""Weights that torchvision publishes: which file a network has, and what is in it.

A file is what its name says: torchvision puts the beginning of its SHA-256 there.
"""

import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from artifact import network as networks
from artifact.vision import models

CLASSES = 1000
"""Of ImageNet, which all of them were trained on."""

RENAMED = (
    # files of the first versions; torchvision's own loaders rename them too
    (re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$"), r"\1\2"),
    (re.compile(r"^(.*\.mlp)\.linear_1\.(\w+)$"), r"\1.0.\2"),
    (re.compile(r"^(.*\.mlp)\.linear_2\.(\w+)$"), r"\1.3.\2"),
)
"""Old name of a tensor -> the name that the networks have today."""

Tensors = dict[str, torch.Tensor]


class PublishedError(ValueError):
    """No such file, or not what was published."""


@dataclass(frozen=True)
class File:
    network: str
    url: str
    side: int
    """Pixels that the published network takes at least; a transformer's weights fit no other."""

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def digest(self) -> str:
        """The first digits of the file's SHA-256."""
        found = re.search(r"-([0-9a-f]{8,64})\.pth$", self.name)
        if not found:
            raise PublishedError(f"{self.name} carries no hash in its name")
        return found[1]


def names() -> list[str]:
    return [name for name in networks.names() if name != networks.SMALL_CNN]


def of(network: str) -> File:
    weights = models.get_model_weights(network).DEFAULT
    return File(network, weights.url, int(weights.meta["min_size"][0]))


def read(path: Path, file: File) -> Tensors:
    """The network's tensors under today's names, all of them and no others. Raises PublishedError
    for a file that holds anything but them; no code of the file is ever run."""
    try:
        weights: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise PublishedError(f"{file.name} is no file of plain tensors") from error
    if not isinstance(weights, dict):
        raise PublishedError(f"{file.name} holds a {type(weights).__name__}, no state dict")
    found = renamed(weights)
    with networks.WithoutWeights():
        made = networks.build(file.network, CLASSES, image_size=max(file.side, 32))
    taken: Tensors = {}
    for key, value in made.state_dict().items():
        tensor = found.get(key)
        if tensor is None and key.endswith("num_batches_tracked"):
            continue  # a counter that files of older versions lack, and that nothing here uses
        if not isinstance(tensor, torch.Tensor) or tensor.shape != value.shape:
            raise PublishedError(f"{file.name} has no {key} of shape {tuple(value.shape)}")
        taken[key] = tensor.contiguous()
    return taken


def renamed(weights: Tensors) -> Tensors:
    """Old names of tensors replaced by today's."""
    return {_renamed(key): value for key, value in weights.items()}


def _renamed(key: str) -> str:
    for old, today in RENAMED:
        key = old.sub(today, key)
    return key
