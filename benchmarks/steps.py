"""Full fine-tuning, update by update: the real loop beside a plain one, and the wait for data.

    python -m benchmarks.steps BASE [--network resnet50] [--image-size 224] [--updates 4]

Both take turns in one process. Ours is timed twice: on batches in memory, as the plain one is, and
on photos that workers decode, where the wait for the next batch is told apart. The last line is a
JSON object.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from artifact import network as networks
from artifact.network import normalise
from artifact.preprocess import Preprocessing
from artifact.rules import IMAGENET_MEAN, IMAGENET_STD
from container.opt_ml import Job
from train import device, loaders, loop, optimizer, photos
from train.batches import Batches, MicroBatch
from train.distributed import ALONE
from train.evaluate import Evaluation
from train.gathered import Gathered
from train.hyperparameters import Hyperparameters
from train.index import Index
from train.schedule import schedule_epoch


class Held:
    """`Batches` in memory: the same pixels in every update."""

    def __init__(self, index: Index, classes: int, size: int, micro: int, side: int) -> None:
        self.index, self.size, self.micro = index, size, micro
        random = np.random.default_rng(0)
        self.pixels = torch.from_numpy(random.integers(0, 256, (size, side, side, 3), np.uint8))
        self.targets = torch.from_numpy(random.integers(0, classes, size))
        self.steps = 1

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[MicroBatch]:
        for spec in schedule_epoch(self.size, self.size, self.micro, 0, epoch):
            yield MicroBatch(spec, self.pixels[spec.positions], self.targets[spec.positions])

    def in_order(self) -> Iterator[MicroBatch]:
        return self.epoch(0)

    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        return normalise(inputs, IMAGENET_MEAN, IMAGENET_STD)


class Watched:
    """Other batches, with the seconds that they were waited for."""

    def __init__(self, inner: Batches) -> None:
        self.inner, self.index, self.micro = inner, inner.index, inner.micro
        self.waited = 0.0

    @property
    def steps(self) -> int:
        return self.inner.steps

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[MicroBatch]:
        batches = self.inner.epoch(epoch, first_step)
        while True:
            started = time.monotonic()
            batch = next(batches, None)
            self.waited += time.monotonic() - started
            if batch is None:
                return
            yield batch

    def in_order(self) -> Iterator[MicroBatch]:
        return self.inner.in_order()

    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.inner.prepare(inputs)


class Clock:
    """The loop's events: when each update was done, and how long the data had been waited for."""

    def __init__(self, updates: int, waited: Callable[[], float] = float) -> None:
        self.updates, self.waited = updates, waited
        self.at: list[float] = []
        self.waits: list[float] = []

    def ended_by(self) -> str:
        return ""

    def should_stop(self) -> bool:
        return len(self.at) > self.updates

    def train_mode(self) -> None:
        if not self.at:  # the start, and not every epoch's
            self._tick()

    def update_done(self, state: loop.State, images: int) -> None:
        self._tick()

    def _tick(self) -> None:
        self.at.append(time.monotonic())
        self.waits.append(self.waited())

    def evaluate(self) -> Evaluation:
        return Evaluation(0.0, np.zeros((2, 2), np.int64))

    def update_begins(self, state: loop.State) -> None: ...
    def bad_files_seen(self, index: Index, lines: list[str]) -> None: ...
    def epoch_done(self, state: loop.State, is_best: bool) -> None: ...


class Ours:
    """A network that the real loop trains, with what a job would choose."""

    def __init__(self, chosen: Hyperparameters, classes: int) -> None:
        torch.manual_seed(0)
        self.device = device.pick()
        self.dtype = device.precision(chosen.precision, self.device)
        made = networks.build(chosen.network, classes, (), chosen.image_size).to(self.device)
        self.network = made.to(memory_format=torch.channels_last)
        self.optimizer = optimizer.make(chosen, self.network)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=False)

    def train(self, batches: Batches, events: Clock, epochs: int = 1) -> None:
        loop.fit(
            self.network, nn.CrossEntropyLoss(), self.optimizer, self.scaler, lambda step: 1e-5,
            batches, loop.State(), events, epochs=epochs, patience=0, fine_tune="all",
            device=self.device, autocast=self.autocast,
        )  # fmt: skip

    def autocast(self) -> torch.autocast:
        half = self.dtype is not torch.float32
        return torch.autocast(self.device.type, self.dtype, enabled=half)


class Plain:
    """Float32, eager, one batch, Adam: as tutorials have it."""

    def __init__(self, chosen: Hyperparameters, classes: int, held: Held) -> None:
        torch.manual_seed(0)
        self.device = device.pick()
        self.network = networks.build(chosen.network, classes, (), chosen.image_size)
        self.network.to(self.device).train()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-5)
        self.criterion = nn.CrossEntropyLoss()
        self.images = held.prepare(held.pixels).contiguous().to(self.device)
        self.targets = held.targets.to(self.device)

    def step(self) -> float:
        started = time.monotonic()
        loss = self.criterion(self.network(self.images), self.targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item()  # on a GPU the step is over only now
        return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("base", type=Path, help="a job's folder tree")
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--updates", type=int, default=4)
    options = parser.parse_args()
    chosen = Hyperparameters(
        network=options.network, image_size=options.image_size, fine_tune="all", pretrained=False
    )
    job = Job.read(options.base, {})
    gathered = Gathered(ALONE, job)
    splits = photos.read_splits(job, chosen, gathered)
    classes = len(splits.labels)
    ours = Ours(chosen, classes)
    rules = Preprocessing.for_size(chosen.image_size)
    made = loaders.make(chosen, splits, rules, ours.device, ours.dtype, gathered)
    flops = device.forward_flops(chosen.network, chosen.image_size)
    micro = device.micro_batch(chosen.batch_size, flops, ours.device)
    held = Held(splits.train, classes, chosen.batch_size, micro, chosen.image_size)
    figures = steps(ours, Plain(chosen, classes, held), held, options.updates)
    precision = str(ours.dtype).removeprefix("torch.")
    whole = figures | waits(ours, made.train, options.updates) | {"precision": precision}
    print(json.dumps(whole), flush=True)


def steps(ours: Ours, plain: Plain, held: Held, updates: int) -> dict[str, Any]:
    """Medians after a first turn that is not counted."""
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    for turn in range(updates + 1):
        clock = Clock(1)
        ours.train(held, clock)
        now = {"ours": clock.at[1] - clock.at[0], "plain": plain.step()}
        for name, value in now.items():
            if turn:
                seconds[name].append(value)
    return {f"{name}_step_seconds": statistics.median(each) for name, each in seconds.items()} | {
        "steps": seconds
    }


def waits(ours: Ours, batches: Batches, updates: int) -> dict[str, float]:
    """From the first update's end to the last one's: the start of the workers is not a step's."""
    watched = Watched(batches)
    clock = Clock(updates + 1, lambda: watched.waited)
    ours.train(watched, clock, epochs=updates + 1)
    whole, waited = clock.at[-1] - clock.at[1], clock.waits[-1] - clock.waits[1]
    return {"step_with_data_seconds": whole / max(1, len(clock.at) - 2),
            "data_wait_share": waited / max(whole, 1e-9)}  # fmt: skip


if __name__ == "__main__":
    main()
