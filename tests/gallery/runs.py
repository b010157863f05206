"""Training runs of a second each, in plain PyTorch under smdebug's hook, healthy or with a disease.

Photos are templates with noise, 16 x 16 pixels, mean 0 and std 1; the network is two blocks of
convolution, normalisation and ReLU, and a linear head. All that rules look at is saved at every
step.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

BATCH, CLASSES, SIDE = 16, 4, 16
COLOURS = [[1.0, 1.0, -1.0], [1.0, -1.0, 1.0], [-1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]]
"""Of the classes: far from each other in every pair."""
SAVED = r"weight|bias|relu|tanh|scale_output|Loss|^Net_|^Deep_|^Flat_"


@dataclass(frozen=True)
class Run:
    """What differs from the healthy run."""

    rate: float = 3e-3
    epochs: int = 6
    steps: int = 8
    """Per epoch."""
    frozen: bool = False
    """The backbone."""
    cut: bool = False
    """The head is frozen and the backbone is trained."""
    network: Callable[[], nn.Module] | None = None
    prepare: Callable[[nn.Module], None] = lambda network: None
    photos: Callable[[torch.Tensor], torch.Tensor] = lambda photos: photos
    labels: Callable[[torch.Tensor], torch.Tensor] = lambda labels: labels
    same_batch: bool = False
    noise: float = 0.6
    """1 is photos of nothing but noise."""
    leak: bool = False
    """Photos of training are evaluated."""
    poison: int | None = None
    """Step at which a layer of the second block begins to divide by zero."""
    sleep: tuple[int, float] | None = None
    """Step, and seconds that it takes."""


class Block(nn.Module):
    def __init__(self, before: int, after: int, normalise: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, padding=1)
        self.bn = nn.BatchNorm2d(after) if normalise else nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        self.scale = Scale()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale(self.relu(self.bn(self.conv(images))))


class Scale(nn.Module):
    by = 1.0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images / self.by if self.by != 1 else images


class Net(nn.Module):
    def __init__(self, normalise: bool = True) -> None:
        super().__init__()
        self.block1 = Block(3, 8, normalise)
        self.block2 = Block(8, 16, normalise)
        self.pool = nn.AvgPool2d(4)
        self.fc = nn.Linear(256, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = nn.functional.max_pool2d(self.block1(images), 2)
        images = nn.functional.max_pool2d(self.block2(images), 1)
        return self.fc(self.pool(images).mean((2, 3), keepdim=True).expand(-1, -1, 4, 4).flatten(1))


class Deep(nn.Module):
    """A dozen sigmoids in a row: at each the gradient shrinks by four or more."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3 * SIDE * SIDE, 16)
        self.middle = nn.ModuleList(nn.Linear(16, 16) for _ in range(12))
        self.sigmoid = nn.Sigmoid()
        self.fc = nn.Linear(16, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = self.sigmoid(self.first(images.flatten(1)))
        for layer in self.middle:
            values = self.sigmoid(layer(values))
        return self.fc(values)


class Flat(nn.Module):
    """A tanh whose inputs are far out."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3 * SIDE * SIDE, 16)
        self.tanh = nn.Tanh()
        self.fc = nn.Linear(16, CLASSES)
        with torch.no_grad():
            self.first.weight.mul_(500)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.tanh(self.first(images.flatten(1))))


class Smooth(nn.Module):
    """A tanh and a sigmoid, which are well used."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3 * SIDE * SIDE, 32)
        self.tanh = nn.Tanh()
        self.second = nn.Linear(32, 32)
        self.sigmoid = nn.Sigmoid()
        self.fc = nn.Linear(32, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = self.tanh(self.first(images.flatten(1)))
        return self.fc(self.sigmoid(self.second(values)))


class Adam:
    """As published. torch's own loads the compiler first, which takes longer than all runs."""

    def __init__(self, parameters: list[nn.Parameter], rate: float) -> None:
        self.parameters, self.rate, self.updates = parameters, rate, 0
        self.means = [torch.zeros_like(each) for each in parameters]
        self.squares = [torch.zeros_like(each) for each in parameters]

    @torch.no_grad()
    def step(self) -> None:
        self.updates += 1
        rest = [1 - each**self.updates for each in (0.9, 0.999)]
        for parameter, mean, square in zip(self.parameters, self.means, self.squares, strict=True):
            if parameter.grad is None:
                continue
            mean.lerp_(parameter.grad, 0.1)
            square.mul_(0.999).addcmul_(parameter.grad, parameter.grad, value=0.001)
            parameter.sub_(self.rate * (mean / rest[0]) / ((square / rest[1]).sqrt() + 1e-8))


def scaled(factor: float) -> Callable[[nn.Module], None]:
    """Begins with weights so many times as large."""

    def prepare(network: nn.Module) -> None:
        for parameter in network.parameters():
            parameter.data.mul_(factor)

    return prepare


def dead(network: nn.Module) -> None:
    network.block2.conv.bias.data.fill_(-100.0)


def plain() -> nn.Module:
    """Without normalisation, which would repair what is planted."""
    return Net(normalise=False)


def unbalanced(labels: torch.Tensor) -> torch.Tensor:
    """Of the last class one photo in sixteen keeps its label; the others become the first's."""
    few = (labels == CLASSES - 1) & (torch.arange(len(labels)) % (16 * CLASSES) != CLASSES - 1)
    return torch.where(few, 0, labels)


def twins(photos: torch.Tensor) -> torch.Tensor:
    """The templates of classes 2 and 3 become one."""
    photos[3] = photos[2]
    return photos


RUNS = {
    "healthy": Run(),
    "again": Run(),
    "frozen": Run(frozen=True, rate=2e-2),
    "smooth": Run(network=Smooth, noise=0.8, rate=2e-3, epochs=12),
    "deep": Run(network=Deep, epochs=1),
    "flat": Run(network=Flat, epochs=1),
    "dead": Run(network=plain, prepare=dead, epochs=1),
    "tiny": Run(network=plain, prepare=scaled(1e-3), rate=1e-4, epochs=2),
    "huge": Run(prepare=scaled(30), epochs=1),
    "poison": Run(poison=10, epochs=2),
    "still": Run(rate=1e-12, same_batch=True),
    "cut": Run(cut=True, epochs=2),
    "fast": Run(frozen=True, noise=0.9, rate=30.0, epochs=2),
    "heart": Run(noise=1.0, epochs=16, steps=3, rate=1e-2),
    "unbalanced": Run(labels=unbalanced, epochs=4),
    "twins": Run(photos=twins, leak=True, epochs=2),
    "raw": Run(photos=lambda photos: (photos * 50 + 128).clamp(0, 255), epochs=4),
    "asleep": Run(epochs=1, sleep=(5, 4.0)),
}


@dataclass
class Photos:
    photos: torch.Tensor
    labels: torch.Tensor

    @classmethod
    def make(cls, run: Run, count: int, templates: torch.Tensor) -> "Photos":
        labels = run.labels(torch.arange(count) % CLASSES)
        noise = torch.randn(count, 3, SIDE, SIDE)
        shown = templates[labels] if run.noise < 1 else torch.zeros_like(noise)
        mixed = (1 - run.noise**2) ** 0.5 * shown + run.noise * noise
        return cls(mixed, labels)


def train(name: str, seed: int, folder: Path) -> None:
    """One run, its tensors in `folder`."""
    import smdebug.pytorch as smd

    run = RUNS[name]
    torch.manual_seed(seed)
    quarters = torch.randn(CLASSES, 3, 2, 2).repeat_interleave(8, 2).repeat_interleave(8, 3)
    templates = 0.5 * quarters + torch.tensor(COLOURS)[:, :, None, None]
    templates -= templates.mean((0, 2, 3), keepdim=True)
    templates /= templates.std((0, 2, 3), keepdim=True)
    scale = run.photos if name != "twins" else lambda photos: photos
    if name == "twins":
        templates = run.photos(templates)
    learned = Photos.make(run, BATCH * run.steps, templates)
    examined = Photos.make(run, 64, templates)
    if run.leak:
        examined = Photos(learned.photos[:64], learned.labels[:64])
    network = (run.network or Net)()
    run.prepare(network)
    if run.frozen:
        network.requires_grad_(False)
        network.fc.requires_grad_(True)
    if run.cut:
        network.fc.requires_grad_(False)
    criterion = nn.CrossEntropyLoss()
    hook = smd.Hook(
        out_dir=str(folder), include_regex=SAVED, save_config=smd.SaveConfig(save_interval=1)
    )
    hook.register_module(network)
    hook.register_loss(criterion)
    optimizer = Adam([each for each in network.parameters() if each.requires_grad], run.rate)
    step = 0
    for _ in range(run.epochs):
        hook.set_mode(smd.modes.TRAIN)
        network.train()
        if run.frozen:
            network.eval()
        order = torch.randperm(len(learned.labels))
        for _ in range(run.steps):
            at = order[:BATCH] if not run.same_batch else torch.arange(BATCH)
            order = order.roll(-BATCH)
            if step == run.poison:
                network.block2.scale.by = 0.0
            if run.sleep and step == run.sleep[0]:
                time.sleep(run.sleep[1])
            network.zero_grad()
            criterion(network(scale(learned.photos[at])), learned.labels[at]).backward()
            optimizer.step()
            step += 1
        hook.set_mode(smd.modes.EVAL)
        network.eval()
        with torch.no_grad():
            for first in range(0, 64, BATCH):
                at = slice(first, first + BATCH)
                criterion(network(scale(examined.photos[at])), examined.labels[at])
    hook.close()
    if not run.sleep:
        steady(folder)


def steady(folder: Path) -> None:
    """As a machine that does nothing else would have saved it: that this one was busy is no disease
    of the run."""
    written = sorted((folder / "index").rglob("*.json"))
    begun = written[0].stat().st_mtime
    for at, path in enumerate(written):
        os.utime(path, (begun + at / 100, begun + at / 100))
