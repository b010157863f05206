"""The training loop: epochs, updates and micro-batches over plain PyTorch.

`fit` knows a network, an optimizer and batches. It does not know the platform: what it needs comes
in as arguments, and what happened goes out through `Events`.
"""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from artifact.network import head
from container.failure import NonFiniteLossError
from train import memory
from train.batches import Batches, MicroBatch
from train.distributed import ALONE, Team
from train.evaluate import Evaluation, StopRequestedError, count_right
from train.index import Index
from train.mix import Mixing, unmixed
from train.nonfinite import first_guilty
from train.optimizer import set_rate

ENDED_BY = "ended_by"
"""In `State.found`: why training has ended before its time, with a model."""


@dataclass
class State:
    """Where training is; with the tensors of network, optimizer and generators, a checkpoint."""

    epoch: int = 0
    """The epoch under way, from 0; equal to `epochs` after the last."""
    step_in_epoch: int = 0
    """Updates done in that epoch."""
    step: int = 0
    """Updates done in all."""
    images: int = 0
    loss_sum: float = 0.0
    right: int = 0
    """Sums over the images of the epoch under way."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """The metrics of every finished epoch."""
    best_epoch: int | None = None
    """Number, from 1, of the epoch with the best validation accuracy (mean average precision where
    photos have several labels), then the lowest loss."""
    found: dict[str, Any] = field(default_factory=dict)
    """Values of hyperparameters that were to be found, and the best epoch's thresholds."""
    interrupted: bool = False
    micro_batch: int | None = None
    """Most images in a micro-batch, once memory did not do for more; a resumed run goes on so."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def best(self) -> dict[str, Any] | None:
        return None if self.best_epoch is None else self.history[self.best_epoch - 1]

    def epochs_since_best(self) -> int:
        return len(self.history) - (self.best_epoch or 0)


class Events(Protocol):
    """What the loop tells, and whom it asks."""

    def should_stop(self) -> bool: ...
    def evaluate(self) -> Evaluation: ...
    def bad_files_seen(self, index: Index, lines: list[str]) -> None: ...
    def train_mode(self) -> None: ...
    def update_begins(self, state: State) -> None: ...
    def update_done(self, state: State, images: int) -> None: ...
    def epoch_done(self, state: State, is_best: bool) -> None: ...
    def ended_by(self) -> str: ...


def untimed(stage: str) -> None:
    """Nobody asks where the seconds of a step go."""


def fit(
    network: nn.Module,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    rate: Callable[[int], float],
    batches: Batches,
    state: State,
    events: Events,
    *,
    epochs: int,
    patience: int,
    fine_tune: str,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[None]],
    mix: Mixing = unmixed,
    team: Team = ALONE,
    keep_last: bool = False,
    stage: Callable[[str], None] = untimed,
) -> None:
    """Trains from `state` to its end, in place; returns early when `events.should_stop` says so,
    with an unfinished update dropped. Where `events.ended_by` names a reason, the epoch under way
    and with it training end after the next update, evaluated like any other (`state.found` keeps
    the reason). `keep_last` takes every epoch for better than those before. `stage` is told what
    the seconds from here on are spent on. Raises NonFiniteLossError before a bad update is made."""
    scaler.scale(torch.zeros((), device=device))  # a process may have no photo in the first update
    started, images_before = time.monotonic(), state.images
    while (
        state.epoch < epochs
        and ENDED_BY not in state.found
        and not (patience and state.epochs_since_best() >= patience)
    ):
        batches.micro = state.micro_batch or batches.micro
        set_train_mode(network, fine_tune)
        criterion.train()
        events.train_mode()
        optimizer.zero_grad(set_to_none=True)
        update, begun, short = Update(), None, False
        for batch in batches.epoch(state.epoch, state.step_in_epoch):
            stop = events.should_stop()
            # also before a stop: the others may be in the midst of the update that is dropped
            begun = begun or remember(network, device)
            if not stop:
                if batch.bad:
                    events.bad_files_seen(batches.index, batch.bad)
                if trainable(batch, network):
                    if not update.images:
                        events.update_begins(state)
                    try:
                        learn(
                            network,
                            criterion,
                            scaler,
                            batches,
                            batch,
                            update,
                            device,
                            autocast,
                            mix,
                            stage,
                        )
                    except (RuntimeError, MemoryError) as error:
                        if team.world > 1:  # the others are in the midst of the update
                            raise
                        state.micro_batch = memory.smaller(
                            error, len(batch.targets), batch.spec.images, state.micro_batch
                        )
                        short = True
                        break  # what the pass held is freed with its error
                    if not math.isfinite(update.loss_sum):
                        undo(begun)
                        inputs = batches.prepare(batch.inputs.to(device))
                        with autocast():
                            guilty = first_guilty(network, inputs)
                        raise NonFiniteLossError(
                            f"the loss is {update.loss_sum} in epoch {state.epoch + 1}, step "
                            f"{state.step + 1}, at learning rate {rate(state.step):.3g}; {guilty}"
                        )
                if not batch.spec.last:
                    continue
            stage("optimizer")
            reason = events.ended_by()
            update.ends = float(bool(reason))
            # where several processes train, all of them stop at the same update
            if combine(team, optimizer, network, update, stop):
                undo(begun)
                state.interrupted = True
                return
            set_rate(optimizer, rate(state.step))
            if update.images:
                average(optimizer, batch.spec.images / update.images)
                scaler.step(optimizer)
                scaler.update()
            optimizer.zero_grad(set_to_none=True)
            count(state, update)
            events.update_done(state, update.images)
            if update.ends:
                state.found[ENDED_BY] = reason or "another process"
                break
            update, begun = Update(), None
        if short:
            undo(begun)
            continue  # from that update on
        seconds = time.monotonic() - started
        try:
            evaluation = events.evaluate()
        except StopRequestedError:
            state.interrupted = True
            return
        speed = (state.images - images_before) / max(seconds, 1e-9)
        is_best = close_epoch(state, evaluation, rate(max(0, state.step - 1)), speed, keep_last)
        events.epoch_done(state, is_best)
        started, images_before = time.monotonic(), 0


def learn(
    network: nn.Module,
    criterion: nn.Module,
    scaler: torch.amp.GradScaler,
    batches: Batches,
    batch: MicroBatch,
    update: "Update",
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[None]],
    mix: Mixing,
    stage: Callable[[str], None],
) -> None:
    """A micro-batch forwards and backwards: its share of the update's gradients."""
    stage("host_to_device")
    inputs = batch.inputs.to(device, non_blocking=True)
    targets = batch.targets.to(device, non_blocking=True)
    stage("forward")
    with autocast():
        images, goals = mix(batches.prepare(inputs), targets, batch.spec)
        logits = network(images)
        loss = criterion(logits.float(), goals)
    share = len(targets) / batch.spec.images
    stage("backward")
    scaler.scale(loss * share).backward()
    update.add(loss, logits, targets)
    stage("other")


@dataclass
class Update:
    """Sums over the micro-batches of one update."""

    loss_sum: float = 0.0
    right: int = 0
    images: int = 0
    ends: float = 0.0
    """How many processes want training to end after it."""

    def add(self, loss: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor) -> None:
        self.loss_sum += loss.item() * len(targets)
        self.right += count_right(logits, targets)
        self.images += len(targets)


def combine(
    team: Team, optimizer: torch.optim.Optimizer, network: nn.Module, update: Update, stop: bool
) -> bool:
    """Makes it the update of the whole team, in place; returns whether anybody wants to stop."""
    sums = (update.ends, update.loss_sum, update.right, update.images, stop)
    update.ends, update.loss_sum, right, images, stops = team.combine(optimizer, network, sums)
    update.right, update.images = round(right), round(images)
    return stops > 0


@dataclass(frozen=True)
class Begun:
    """What the forward passes of an update change, as it was before the first of them."""

    buffers: list[tuple[torch.Tensor, torch.Tensor]]
    """Of modules in training, and their values."""
    random: torch.Tensor
    random_cuda: torch.Tensor | None


def remember(network: nn.Module, device: torch.device) -> Begun:
    learning = (module for module in network.modules() if module.training)
    buffers = [each for module in learning for each in module.buffers(recurse=False)]
    return Begun(
        [(buffer, buffer.clone()) for buffer in buffers],
        torch.get_rng_state(),
        torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    )


def undo(begun: Begun | None) -> None:
    """Drops a begun update whole: its photos will be seen again, by a network that has not."""
    if begun is None:
        return
    for buffer, value in begun.buffers:
        buffer.copy_(value)
    torch.set_rng_state(begun.random)
    if begun.random_cuda is not None:
        torch.cuda.set_rng_state(begun.random_cuda)


def average(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Makes the gradients a mean over the photos that were there: bad ones had a share, too."""
    if factor == 1:
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                parameter.grad.mul_(factor)


def set_train_mode(network: nn.Module, fine_tune: str) -> None:
    """A frozen backbone also keeps the statistics of its normalisation."""
    if fine_tune == "all":
        network.train()
    else:
        network.eval()
        head(network).train()


def trainable(batch: MicroBatch, network: nn.Module) -> bool:
    """Not with no photo left; nor with one, where batch statistics are learned: one has none."""
    return len(batch.targets) > 1 or (
        len(batch.targets) == 1 and (batch.spec.images == 1 or not network.training)
    )


def count(state: State, update: Update) -> None:
    state.step += 1
    state.step_in_epoch += 1
    state.images += update.images
    state.loss_sum += update.loss_sum
    state.right += update.right


def close_epoch(
    state: State, evaluation: Evaluation, rate: float, speed: float, keep_last: bool
) -> bool:
    """Writes the epoch into the history; returns whether it is the best so far."""
    images = max(1, state.images)
    metrics = {
        "epoch": state.epoch + 1,
        "step": state.step,
        "train_loss": state.loss_sum / images,
        "train_top1_accuracy": state.right / images,
        **{f"validation_{name}": value for name, value in evaluation.metrics().items()},
        "learning_rate": rate,
        "images_per_second": speed,
    }
    state.history.append(metrics)
    best = state.best
    is_best = keep_last or best is None or rank(metrics) > rank(best)
    if is_best:
        state.best_epoch = len(state.history)
    state.epoch += 1
    state.step_in_epoch = state.images = state.right = 0
    state.loss_sum = 0.0
    return is_best


def rank(metrics: dict[str, Any]) -> tuple[float, float]:
    top1 = metrics["validation_top1_accuracy"]
    return metrics.get("validation_mean_average_precision", top1), -metrics["validation_loss"]
