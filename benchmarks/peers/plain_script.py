"""A plain training script: frozen network, new two-layer head, photos decoded again every epoch.

    python -m benchmarks.peers.plain_script DATA WEIGHTS --out FILE [--epochs 10]

As tutorials have it: ImageFolder, DataLoader with its defaults, Adam, float32 eager. Nothing in it
is slow on purpose: the backbone keeps no gradients, evaluation runs without them. DATA has `train`
and `validation`. It prints a JSON object when it is ready, after each epoch, and at its end.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from artifact import network as networks


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    side = options.image_size
    to_tensor = transforms.Compose(
        [
            transforms.Resize(round(side * 256 / 224) if side >= 128 else side),
            transforms.CenterCrop(side),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    train = ImageFolder(str(options.data / "train"), to_tensor)
    validation = ImageFolder(str(options.data / "validation"), to_tensor)
    # for torchvision's networks this is torchvision.models.get_model(name) with a new last layer
    model = networks.build(options.network, len(train.classes), [options.hidden], side)
    backbone = load_file(options.weights)
    head = networks.head_path(model)
    wanted = {key: value for key, value in backbone.items() if not key.startswith(f"{head}.")}
    model.load_state_dict(wanted, strict=False)
    model.requires_grad_(False)
    networks.head(model).requires_grad_(True)
    optimizer = torch.optim.Adam(networks.head(model).parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    train_batches = DataLoader(train, batch_size=32, shuffle=True)
    validation_batches = DataLoader(validation, batch_size=32)
    model.eval()  # a frozen backbone keeps its statistics, and the head has none
    print(json.dumps({"ready": True}), flush=True)
    for epoch in range(options.epochs):
        for images, targets in train_batches:
            loss = criterion(model(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        right = 0
        with torch.no_grad():
            for images, targets in validation_batches:
                right += int((model(images).argmax(1) == targets).sum())
        accuracy = right / len(validation)
        print(json.dumps({"epoch": epoch + 1, "accuracy": accuracy}), flush=True)
    torch.save(model.state_dict(), options.out)
    print(json.dumps({"saved": str(options.out)}), flush=True)


if __name__ == "__main__":
    main()
