"""What every peer runs behind its HTTP: eager float32 torchvision from the artifact's weights.

Nothing in it is slow on purpose: inference mode, the weights loaded once, torchvision's own
transforms. What differs between the peers is their servers, batching and processes.
"""

import io
import json
import os
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file
from torchvision import transforms

from artifact import network

TOP = 5


class Eager:
    """The model on a GPU, or on `threads` threads of the CPU."""

    def __init__(self, threads: int, folder: Path | None = None) -> None:
        folder = folder or Path(os.environ.get("MODEL_DIR", "/opt/ml/model"))
        described = json.loads((folder / "model.json").read_text())
        rules, self.labels = described["preprocessing"], described["labels"]
        torch.set_num_threads(threads)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # for torchvision's networks this is torchvision.models.get_model(name, num_classes=...)
        self.model = network.build(described["network"], len(self.labels), (), rules["image_size"])
        self.model.load_state_dict(load_file(folder / "weights.safetensors"))
        self.model.eval().to(self.device)
        self.to_tensor = transforms.Compose(
            [
                transforms.Resize(rules["resize"]),
                transforms.CenterCrop(rules["image_size"]),
                transforms.ToTensor(),
                transforms.Normalize(rules["mean"], rules["std"]),
            ]
        )

    def decode(self, body: bytes) -> torch.Tensor:
        """3 x H x W, normalised."""
        tensor: torch.Tensor = self.to_tensor(Image.open(io.BytesIO(body)).convert("RGB"))
        return tensor

    @torch.inference_mode()
    def classify(self, photos: list[torch.Tensor]) -> list[list[dict[str, Any]]]:
        """The most probable labels of each photo."""
        logits = self.model(torch.stack(photos).to(self.device))
        found = torch.softmax(logits, 1).topk(min(TOP, len(self.labels)))
        return [
            [
                {"label": self.labels[index], "index": index, "probability": probability}
                for index, probability in zip(indices, probabilities, strict=True)
            ]
            for indices, probabilities in zip(
                found.indices.tolist(), found.values.tolist(), strict=True
            )
        ]
