"""The Debugger's hook: saves tensors of a training job where the platform uploads them.

Off unless asked for, and then nothing of smdebug is imported. What it costs is measured while the
job trains, and held within a budget; an error inside it is logged once and turns the hook off,
never the job. A run ends in the same weights with it and without it.

A saved step of training is one update: weights from before it; activations of its first
micro-batch; loss, logits and labels of all its photos; the gradients that the optimizer is given.
A saved step of evaluation is one whole evaluation, under the number of its first mini-batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from debugger.hook.settings import Settings, SettingsError, read
from debugger.hook.settings import asked as asked

if TYPE_CHECKING:
    import torch
    from torch import nn

Pass = Callable[[], None]
"""Sends the step's photos through the whole network, changing nothing."""


class Hook(Protocol):
    """What a training program tells; all of it returns at once where nothing is saved."""

    @property
    def folder(self) -> Path | None:
        """Where tensors are saved."""

    def register(
        self,
        network: "nn.Module",
        criterion: "nn.Module",
        optimizer: "torch.optim.Optimizer",
        updates: int = 0,
        evaluated: int = 0,
    ) -> None:
        """Before the first step. What was done before a restart: updates, and mini-batches of
        evaluations."""

    def cached(self, trained: "nn.Module") -> None:
        """From here on only the network's part `trained` runs, on what the rest once answered."""

    def update_begins(self, step: int, whole: Pass | None = None) -> None:
        """Before the first forward pass of update number `step`, from 0; told again where that
        update is begun anew."""

    def update_done(self) -> None:
        """After the optimizer's step."""

    def evaluation_begins(self, batches: int, whole: Pass | None = None) -> None:
        """Before an evaluation of so many mini-batches."""

    def evaluation_done(self) -> None: ...

    def close(self, failed: bool = False) -> None:
        """Writes what is open, says what it cost; nothing is recorded after it. `failed`: the step
        that was begun is worth a look, too."""


class NoHook:
    folder: Path | None = None

    def register(
        self,
        network: "nn.Module",
        criterion: "nn.Module",
        optimizer: "torch.optim.Optimizer",
        updates: int = 0,
        evaluated: int = 0,
    ) -> None: ...
    def cached(self, trained: "nn.Module") -> None: ...
    def update_begins(self, step: int, whole: Pass | None = None) -> None: ...
    def update_done(self) -> None: ...
    def evaluation_begins(self, batches: int, whole: Pass | None = None) -> None: ...
    def evaluation_done(self) -> None: ...
    def close(self, failed: bool = False) -> None: ...


@dataclass(frozen=True)
class Place:
    """This process among those that train, and where its files go."""

    tensors: Path
    """Where no configuration names a folder."""
    tensorboard: Path
    cost: Path
    """The JSON file that says what the hook did and cost; the leader's."""
    rank: int = 0
    first_here: bool = True
    """Of the processes that share the folder: it makes room for the others."""
    resumed: bool = False
    """A restart: the folder holds steps of this very run."""
    spent: Callable[[float], None] = lambda seconds: None
    """Told what every call took of the training thread."""


def create(
    settings: Settings | None, place: Place, budget: float, say: Callable[[str], None]
) -> Hook:
    """A hook that saves what `settings` ask for, at a cost of at most `budget` per cent of the
    job's time (0 for any); none without settings, or where this process is not to write."""
    if settings is None or (place.rank and settings.workers == "one"):
        return NoHook()
    try:
        from debugger.hook.tensors import TensorHook

        return TensorHook(settings, place, budget, say)
    except Exception as error:  # whatever smdebug raises, training goes on without it
        say(f"debugger: no tensors are saved: {type(error).__name__}: {error}")
        return NoHook()


def configured(
    config: Path | None, place: Place, wished: Settings | None, say: Callable[[str], None],
    **platform: Any,
) -> Settings | None:  # fmt: skip
    """From the platform's `debughookconfig.json` where it is present, else what is `wished` by
    hyperparameters. A file that cannot be understood is said and saves nothing."""
    if config is None:
        return wished
    try:
        return read(config, place.tensors, place.tensorboard, **platform)
    except SettingsError as error:
        say(f"debugger: no tensors are saved: {config.name}: {error}")
        return None
    except Exception as error:  # whatever else a file may hold, training goes on without it
        say(f"debugger: no tensors are saved: {config.name}: {type(error).__name__}: {error}")
        return None
