"""A loaded artifact that answers: mini-batches of photos -> probabilities, with torch.

The serving engine and the check at the end of training are this same class, so a job cannot succeed
with a model that the server would not load.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from artifact import archive, forward, network
from artifact.preprocess import pixels
from artifact.reference import distance, tolerance

__all__ = ["Classifier", "distance", "tolerance"]


class Classifier:
    """`precision` is `float32`, `bfloat16` or `float16`. Raises ArtifactError where files do not
    fit."""

    def __init__(self, model_dir: Path, device: str = "cpu", precision: str = "float32") -> None:
        self.folder = archive.find(model_dir)
        self.description = archive.read_description(self.folder)
        archive.check_files(self.folder, self.description)
        self.device = torch.device(device)
        self.dtype = getattr(torch, precision)
        described = self.description
        size = described.preprocessing.image_size
        try:
            with network.WithoutWeights():  # random weights would be replaced at once
                self.network = network.build(
                    described.network, len(described.labels), described.hidden_units, size
                )
            weights = load_file(self.folder / archive.WEIGHTS, device=str(self.device))
            network.load(self.network, weights)
        except (network.NetworkError, SafetensorError, RuntimeError) as error:
            first = " ".join(str(error).split())[:300]
            raise archive.ArtifactError(
                f"{archive.WEIGHTS} does not fit {described.network}: {first}"
            ) from error
        self.network.eval().to(dtype=self.dtype).to(memory_format=torch.channels_last)
        rules = described.preprocessing
        self._mean, self._std = (
            network.of_pixels(values, self.device) for values in (rules.mean, rules.std)
        )

    @torch.inference_mode()
    def classify(self, images: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities N x classes of N x H x W x 3 uint8 pixels, or of N x 3 x H x W float32 that
        is normalised already."""
        answer: NDArray[np.float32] = (
            self.probabilities(torch.from_numpy(images).to(self.device)).cpu().numpy()
        )
        return answer

    @torch.inference_mode()
    def probabilities(self, batch: torch.Tensor) -> torch.Tensor:
        """The same of a batch on the device, on the device; nothing here waits for it."""
        if batch.dtype == torch.uint8:
            batch = network.normalised(batch, self._mean, self._std)
        batch = batch.to(dtype=self.dtype, memory_format=torch.channels_last)
        logits = forward.logits(self.network, batch, self.description.test_time_flip)
        return forward.probabilities(
            logits / self.description.temperature, self.description.multi_label
        )

    def reference(self) -> NDArray[np.float32]:
        """Probabilities of the artifact's reference image, through a photo's whole way."""
        data = (self.folder / archive.REFERENCE).read_bytes()
        one = pixels(data, self.description.preprocessing)
        answer: NDArray[np.float32] = self.classify(np.stack([one]))[0]
        return answer
