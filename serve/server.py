"""What all requests share: settings, the model, its queue and engines, and what bounds both."""

import atexit
import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

from container import resources
from container.settings import Settings
from serve.batcher import Batcher
from serve.engine import keeper
from serve.engine.keeper import Keeper
from serve.model import Model
from serve.plan import Plan
from serve.readiness import Readiness
from serve.watch import Watch

log = logging.getLogger("serve")


@dataclass
class Server:
    """What the requests share. `decoding` bounds the memory of photos."""

    settings: Settings
    model: Model
    batcher: Batcher
    readiness: Readiness
    decoding: threading.Semaphore
    keepers: list[Keeper] = field(default_factory=list)
    name: str = ""

    def __post_init__(self) -> None:
        self.watch = Watch(self.settings, lambda: [self])


def start(settings: Settings, model_dir: Path) -> Server:
    """Starts the engines. Raises ModelError where the model cannot be read."""
    model = Model.read(model_dir)
    gpus = resources.gpu_count()
    plan = Plan.make(settings, gpus)
    log.info("%s", plan.line(settings))
    server = Server(
        settings,
        model,
        Batcher(settings.queue_images),
        Readiness(max(1, gpus)),
        threading.Semaphore(plan.decoding),
    )
    server.batcher.taken = server.watch.tally("").batch
    server.keepers = keeper.start(model, settings, server.batcher, server.readiness, plan, gpus)
    for each in server.keepers:
        atexit.register(each.close)
    return server
