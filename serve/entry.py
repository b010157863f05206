"""One model that is up, or on its way: its description, its queue, its engines and their state."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from container import last_words
from container.settings import Settings
from serve.batcher import Batcher
from serve.engine import keeper
from serve.engine.keeper import Keeper
from serve.model import Model
from serve.plan import Plan
from serve.readiness import Readiness
from serve.traffic import Traffic


@dataclass(frozen=True)
class Entry:
    name: str
    """What the platform calls it; empty where the server has one model only."""
    url: Path
    model: Model
    batcher: Batcher
    readiness: Readiness
    traffic: Traffic
    keepers: list[Keeper]

    def pids(self) -> list[int]:
        """Of the engines' processes that there are now."""
        return [each.pid for each in self.keepers if each.pid is not None]

    def end(self) -> None:
        """Kills the engines, and does not wait for them."""
        for each in self.keepers:
            each.end()

    def close(self, reason: str) -> None:
        """Returns when the engines' processes are gone, and their memory with them; whatever still
        waits for an answer is refused with the reason."""
        self.end()
        for each in self.keepers:
            each.join()
        self.batcher.close(reason)


def start(
    name: str,
    model: Model,
    settings: Settings,
    plan: Plan,
    gpus: int,
    taken: Callable[[int], None],
    give_up: Callable[[str], None] = last_words.end_server,
) -> Entry:
    """Starts the engines, which load by themselves.

    `taken` is told the images of every mini-batch that an engine takes. `give_up` is called with
    the reason, in a keeper's thread, where the model can never be loaded.
    """
    batcher, readiness = Batcher(settings.queue_images), Readiness(max(1, gpus), name)
    batcher.taken = taken
    keepers = keeper.start(model, settings, batcher, readiness, plan, gpus, give_up)
    return Entry(name, model.folder, model, batcher, readiness, Traffic(name), keepers)
