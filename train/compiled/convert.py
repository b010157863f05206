"""A network of torch -> a graph of OpenVINO from pixels to probabilities."""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from artifact import compiled, forward
from artifact.archive import Description
from artifact.inference import Classifier

MOST_OFF = 1e-3
"""Between probabilities of the float32 graph and of torch: a converter's mistake would otherwise
become the model's."""


class UnfitError(Exception):
    """The network cannot be converted, or its graph answers otherwise."""


class Served(nn.Module):
    """All that lies between pixels and probabilities: N x 3 x H x W float32 -> N x classes."""

    def __init__(self, network: nn.Module, described: Description) -> None:
        super().__init__()
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.network = network
        self._described = described
        shape = (1, 3, 1, 1)
        rules = described.preprocessing
        mean = torch.tensor([255 * value for value in rules.mean]).view(shape)
        std = torch.tensor([255 * value for value in rules.std]).view(shape)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        described = self._described
        images = (pixels - self.mean) / self.std
        logits = forward.logits(self.network, images, described.test_time_flip)
        return forward.probabilities(logits / described.temperature, described.multi_label)


def convert(classifier: Classifier) -> Any:
    """A graph for any number of photos. Raises UnfitError."""
    described = classifier.description
    side = described.preprocessing.image_size
    openvino = compiled.runtime()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # the converter traces, which torch calls deprecated
            warnings.simplefilter("ignore")
            graph = openvino.convert_model(
                Served(classifier.network, described).eval(),
                example_input=torch.zeros(2, 3, side, side),
            )
        graph.reshape([-1, 3, side, side])
        # quantisation by accuracy looks at outputs that have names
        graph.output(0).get_tensor().set_names({"probabilities"})
    except Exception as error:  # whatever a converter raises, torch serves this network, too
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UnfitError(f"it cannot be converted: {first[:200]}") from error
    return graph


def check(graph: compiled.Graph, classifier: Classifier) -> None:
    """Raises UnfitError where the graph's answers are not those of the network."""
    side = classifier.description.preprocessing.image_size
    # one more than it was traced with: the number of photos must not have become a constant
    noise = np.random.default_rng(0).integers(0, 256, (3, side, side, 3)).astype(np.uint8)
    try:
        mine: NDArray[np.float32] = graph.classify(noise)
    except RuntimeError as error:
        raise UnfitError(f"its graph does not answer: {str(error).strip()[:200]}") from error
    off = float(np.abs(mine - classifier.classify(noise)).max())
    if not off <= MOST_OFF:
        raise UnfitError(f"its graph answers otherwise: a probability is {off:.3g} off")
