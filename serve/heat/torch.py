"""Maps out of torch: Grad-CAM's gradient of a label by the last feature map, place by place.

Only the network's end is followed back, so that this costs little more than the answer itself.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from artifact import forward, network
from artifact.inference import Classifier

TOKENS = ("vit_",)
"""Networks whose places mix in all of their layers: their first and only map says nothing."""


class TorchMaps:
    """Of a loaded classifier, whose network it shares."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._network = classifier.network
        self._network.requires_grad_(False)
        self._layer = self._last_map()

    def _last_map(self) -> nn.Module | None:
        """The layer that is done last of those with N x C x H x W of more than one place."""
        described = self._classifier.description
        if described.network.startswith(TOKENS):
            return None
        seen: list[nn.Module] = []

        def see(module: nn.Module, inputs: Any, output: Any) -> None:
            is_map = isinstance(output, torch.Tensor) and output.ndim == 4
            if is_map and output.shape[2] * output.shape[3] > 1:
                seen.append(module)

        hooks = [each.register_forward_hook(see) for each in self._network.modules()]
        try:
            size = described.preprocessing.image_size
            with torch.inference_mode():
                self._network(self._prepared(np.zeros((1, size, size, 3), np.uint8)))
        finally:
            for hook in hooks:
                hook.remove()
        return seen[-1] if seen and seen.count(seen[-1]) == 1 else None

    def _prepared(self, images: NDArray[Any]) -> torch.Tensor:
        classifier = self._classifier
        batch = torch.from_numpy(images).to(classifier.device)
        if batch.dtype == torch.uint8:
            rules = classifier.description.preprocessing
            batch = network.normalise(batch, rules.mean, rules.std)
        return batch.to(dtype=classifier.dtype, memory_format=torch.channels_last)

    def classify(
        self, images: NDArray[Any], labels: NDArray[np.int32]
    ) -> NDArray[np.float32] | None:
        """Probabilities, then H * W numbers of one label's map, for each photo: of that in
        `labels`, or of the most probable one where that is below 0. None where there are no maps.
        """
        if self._layer is None:
            return None
        described = self._classifier.description
        batch = self._prepared(images)
        features: list[torch.Tensor] = []

        def keep(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
            features.append(output.detach().requires_grad_())
            # what follows may write in place
            return features[-1].clone()

        hook = self._layer.register_forward_hook(keep)
        try:
            with torch.enable_grad():
                logits = forward.logits(self._network, batch, described.test_time_flip)
                probabilities = forward.probabilities(
                    logits.detach() / described.temperature, described.multi_label
                )
                given = torch.from_numpy(labels.astype(np.int64)).to(logits.device)
                asked = torch.where(given < 0, probabilities.argmax(1), given)
                slopes = torch.autograd.grad(logits.gather(1, asked[:, None]).sum(), features)
        finally:
            hook.remove()
        maps = [(a * b).float().sum(1) for a, b in zip(features, slopes, strict=True)]
        whole = maps[0].detach()
        if len(maps) == 2:  # of the mirror image
            whole = whole + maps[1].detach().flip(2)
        rows = torch.cat([probabilities.float(), whole.flatten(1)], 1)
        answer: NDArray[np.float32] = rows.cpu().numpy()
        return answer
