"""Small real runs with the Debugger's hook, and what smdebug's own reader finds of them."""

import os
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from debugger import hook as debug
from debugger.hook.settings import When

PHOTOS, SIDE, CLASSES = 6, 8, 3


class Net(nn.Module):
    """Has what hooks stumble over: one in-place ReLU for two places, statistics, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.deep = nn.Conv2d(4, 4, 3)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(4, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn(self.conv(images)))
        x = self.relu(self.deep(x))
        return self.fc(self.drop(x.mean((2, 3))))


def made(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net()


def photos(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(step)
    images = torch.randn(PHOTOS, 3, SIDE, SIDE, generator=random)
    return images, torch.randint(0, CLASSES, (PHOTOS,), generator=random)


def settings(folder: Path, *collections: str, **more) -> debug.Settings:
    chosen = {"interval": 1, "eval_interval": 1, "reductions": [], "patterns": [],
              "histograms": False, **more}  # fmt: skip
    return debug.asked(
        folder / "tensors", folder / "tensorboard", collections=list(collections), **chosen
    )


def hook(folder: Path, wished: debug.Settings | None, said: list[str], budget: float = 0, **more):
    place = debug.Place(
        folder / "tensors", folder / "tensorboard", folder / "debugger.json", **more
    )
    return debug.create(wished, place, budget, said.append)


def update(network, listener, optimizer, step, loss=None, autocast=None, scaler=None):
    """One of a plain loop."""
    images, targets = photos(step)
    loss = loss or nn.CrossEntropyLoss()
    scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
    listener.update_begins(step)
    optimizer.zero_grad()
    with autocast or torch.autocast("cpu", enabled=False):
        logits = network(images)
    scaler.scale(loss(logits.float(), targets)).backward()
    scaler.step(optimizer)
    scaler.update()
    listener.update_done()
    return logits


def train(network, listener, steps=3, first=0, seen=None, **more):
    """Registers, trains and closes; `seen` is what the hook is given, a wrapper perhaps."""
    criterion = nn.CrossEntropyLoss()
    trained = [each for each in network.parameters() if each.requires_grad]
    optimizer = torch.optim.SGD(trained, 0.1, momentum=0.9)
    seen = network if seen is None else seen
    listener.register(seen, criterion, optimizer, first)
    torch.manual_seed(1)
    for step in range(first, first + steps):
        update(seen, listener, optimizer, step, criterion, **more)
    listener.close()
    return {name: each.clone() for name, each in network.state_dict().items()}


def trial(folder: Path):
    """By smdebug's reader, at once: it waits a second otherwise."""
    os.environ["SMDEBUG_TRAINING_END_DELAY_REFRESH"] = "0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from smdebug.trials import create_trial

        return create_trial(str(folder))


def modes():
    from smdebug import modes

    return modes


def steps_saved(when: When, until: int, widening: int = 1) -> list[int]:
    return [step for step in range(until) if when.due(step, widening)]


def relu_inputs(network: Net, images: torch.Tensor) -> list[torch.Tensor]:
    """Computed without a module in place."""
    with torch.no_grad():
        first = network.bn(network.conv(images))
        return [first, network.deep(functional.relu(first))]
