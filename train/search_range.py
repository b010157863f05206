"""`auto`: a batch size and a learning rate that are found before the first epoch.

What was found goes into the checkpoint and is taken from there, so that a restarted job trains as
it began. Nothing here depends on a clock: the same seed finds the same values.
"""

import contextlib
import copy
import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from container.failure import NonFiniteLossError
from train import loop, optimizer
from train.batches import Batches, MicroBatch
from train.distributed import Team
from train.evaluate import Evaluation, StopRequestedError
from train.hyperparameters import FIELDS, Hyperparameters
from train.index import Index
from train.mix import Mixing
from train.progress import say
from train.schedule import steps_per_epoch
from train.schema import AUTO

SMALLEST_BATCH, LARGEST_BATCH, LARGEST_GPU_BATCH = 8, 128, 512
"""Batch normalisation is noisy below the first; a CPU is busy with far fewer photos than a GPU."""
FEWEST_UPDATES = 50
"""An epoch's: with fewer a network learns less per epoch than better gradients give back."""
MEMORY_SHARE = 0.8
"""Of the GPU: the rest is for what fragments and grows."""

UPDATES = 40
"""Of the range test: enough to see the fall, and less than an epoch of most data sets."""
RANGES = {"sgd": (1e-4, 10.0), "adam": (1e-6, 1.0), "adamw": (1e-6, 1.0)}
BELOW_LOWEST_LOSS = 10
"""The loss is lowest just before it breaks out; a tenth of that rate is safe and near the best."""
DIVERGED = 2.0
"""Times the lowest loss: there the test ends."""
SMOOTHING = 0.7
LEAST_FALL = 0.02
"""Part of the first loss by which it must fall for the test to have said anything."""
TABLE_ROWS = 10

Autocast = Callable[[], AbstractContextManager[None]]


def with_batch_size(
    chosen: Hyperparameters,
    found: dict[str, Any],
    network: nn.Module,
    photos: int,
    device: torch.device,
    autocast: Autocast,
    team: Team,
) -> Hyperparameters:
    """The largest of a ladder that leaves FEWEST_UPDATES an epoch and fits the GPU's memory. On a
    CPU micro-batches bound the memory whatever the batch size."""
    if chosen.batch_size != AUTO:
        return chosen
    if "batch_size" not in found:
        own = _batch_size(photos, _fits(chosen, network, device, autocast)) if team.leads else 0
        found["batch_size"] = team.from_leader(own)
    say(f"batch_size: auto is {found['batch_size']}")
    return replace(chosen, batch_size=found["batch_size"])


def _batch_size(photos: int, memory: Callable[[int], tuple[bool, str]] | None) -> int:
    say("batch_size: updates per epoch" + (", memory" if memory else ""))
    best = size = SMALLEST_BATCH
    while size <= (LARGEST_GPU_BATCH if memory else LARGEST_BATCH):
        updates = steps_per_epoch(photos, size)
        enough = updates >= FEWEST_UPDATES or size == SMALLEST_BATCH
        fits, note = memory(size) if memory and enough else (True, "")
        say(f"  {size}: {updates}{f', {note}' if note else ''}")
        if not (enough and fits):
            break
        best, size = size, size * 2
    return best


def _fits(
    chosen: Hyperparameters, network: nn.Module, device: torch.device, autocast: Autocast
) -> Callable[[int], tuple[bool, str]] | None:
    """Batch size -> whether an update of it fits the GPU, and what it takes; None on a CPU."""
    if device.type != "cuda":
        return None
    limit = MEMORY_SHARE * torch.cuda.mem_get_info(device)[1]

    def fits(size: int) -> tuple[bool, str]:
        try:
            taken = _memory(chosen, network, size, device, autocast)
        except torch.cuda.OutOfMemoryError:
            return False, "more than there is"
        return taken <= limit, f"{taken / 2**30:.1f} GiB of {limit / 2**30:.1f}"

    return fits


def _memory(
    chosen: Hyperparameters,
    network: nn.Module,
    size: int,
    device: torch.device,
    autocast: Autocast,
) -> int:
    """Bytes that one update takes at its peak, with the two moments of Adam for each weight."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    with torch.random.fork_rng([device]):
        own = copy.deepcopy(network).to(device).to(memory_format=torch.channels_last)
        loop.set_train_mode(own, chosen.fine_tune)
        shape = (size, 3, chosen.image_size, chosen.image_size)
        with autocast():
            loss = own(torch.zeros(shape, device=device)).float().logsumexp(1).mean()
        loss.backward()
    trained = sum(each.nbytes for each in own.parameters() if each.requires_grad)
    return torch.cuda.max_memory_allocated(device) + 2 * trained


def with_learning_rate(
    chosen: Hyperparameters,
    found: dict[str, Any],
    network: nn.Module,
    criterion: nn.Module,
    scaler: torch.amp.GradScaler,
    batches: Batches,
    device: torch.device,
    autocast: Autocast,
    mix: Mixing,
    should_stop: Callable[[], bool],
    team: Team,
) -> Hyperparameters:
    """By a range test (Smith 2017) on a copy of the network, over the job's own first photos: the
    leader's, for all."""
    if chosen.learning_rate != AUTO:
        return chosen
    if "learning_rate" not in found:
        rate, cut = team.from_leader(
            _test(chosen, network, criterion, scaler, batches, device, autocast, mix, should_stop)
            if team.leads
            else None
        )
        if cut:  # a restarted job makes a whole test
            return replace(chosen, learning_rate=rate)
        found["learning_rate"] = rate
    say(f"learning_rate: auto is {found['learning_rate']:g}")
    return replace(chosen, learning_rate=found["learning_rate"])


def _test(
    chosen: Hyperparameters,
    network: nn.Module,
    criterion: nn.Module,
    scaler: torch.amp.GradScaler,
    batches: Batches,
    device: torch.device,
    autocast: Autocast,
    mix: Mixing,
    should_stop: Callable[[], bool],
) -> tuple[float, bool]:
    """The rate, and whether a stop has cut the test."""
    low, high = RANGES[chosen.optimizer]
    probe, micro = Probe(should_stop), batches.micro
    # dropout, too, is the same in every test, and the run's own is left where it was
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(chosen.seed)
        own = copy.deepcopy(network)
        with contextlib.suppress(NonFiniteLossError):  # the end of the range, early
            loop.fit(
                own, criterion, optimizer.make(chosen, own), copy.deepcopy(scaler),
                lambda step: low * (high / low) ** (step / (UPDATES - 1)),
                Endless(batches, batches.index), loop.State(), probe, epochs=1,
                patience=0, fine_tune=chosen.fine_tune, device=device, autocast=autocast, mix=mix,
            )  # fmt: skip
    batches.micro = micro  # the run finds its own, and its checkpoints know it
    rates = [low * (high / low) ** (step / (UPDATES - 1)) for step in range(UPDATES)]
    return choose(rates, probe.losses), should_stop()


def choose(rates: list[float], losses: list[float]) -> float:
    """Two digits, so that the last bits of a sum decide nothing. Prints what was seen."""
    default = float(FIELDS["learning_rate"].default)  # type: ignore[arg-type]
    smooth = smoothed(losses)
    say("learning_rate: loss after updates at a rising rate")
    for at in range(0, len(smooth), max(1, UPDATES // TABLE_ROWS)):
        say(f"  {rates[at]:.1e}: {smooth[at]:.4f}")
    if not smooth or min(smooth) > smooth[0] - LEAST_FALL * abs(smooth[0]):
        say(f"note: the loss fell at no rate, so learning_rate is the default, {default:g}")
        return default
    best = min(range(len(smooth)), key=smooth.__getitem__)
    return float(f"{rates[best] / BELOW_LOWEST_LOSS:.1e}")


def smoothed(losses: list[float]) -> list[float]:
    """An exponential mean without the pull towards its start."""
    sums, weight, means = 0.0, 0.0, []
    for loss in losses:
        sums = SMOOTHING * sums + (1 - SMOOTHING) * loss
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        means.append(sums / weight)
    return means


@dataclass
class Probe:
    """Events of a loop that only asks for the loss of every update."""

    asked_to_stop: Callable[[], bool]
    losses: list[float] = field(default_factory=list)
    updates: int = 0
    _before: float = 0.0

    def should_stop(self) -> bool:
        lowest = min(self.losses, default=math.inf)
        diverged = bool(self.losses) and self.losses[-1] > DIVERGED * lowest + 1
        return diverged or self.updates >= UPDATES or self.asked_to_stop()

    def update_done(self, state: loop.State, images: int) -> None:
        self.updates += 1
        same = self.losses[-1:] or [0.0]  # of an update without a photo that can be read
        self.losses += [(state.loss_sum - self._before) / images] if images else same
        self._before = state.loss_sum

    def evaluate(self) -> Evaluation:
        raise StopRequestedError

    def ended_by(self) -> str:
        return ""

    def train_mode(self) -> None: ...
    def update_begins(self, state: loop.State) -> None: ...
    def bad_files_seen(self, index: Index, lines: list[str]) -> None: ...
    def epoch_done(self, state: loop.State, is_best: bool) -> None: ...


@dataclass
class Endless:
    """The epochs of `batches` as one, so that a small data set is enough for the whole range."""

    batches: Batches
    index: Index

    @property
    def micro(self) -> int:
        return self.batches.micro

    @micro.setter
    def micro(self, size: int) -> None:
        self.batches.micro = size

    @property
    def steps(self) -> int:
        return UPDATES

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[MicroBatch]:
        for number in itertools.count(epoch):
            yield from self.batches.epoch(number)

    def in_order(self) -> Iterator[MicroBatch]:
        return self.batches.in_order()

    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.batches.prepare(inputs)
