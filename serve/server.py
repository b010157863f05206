"""What all requests share: settings, the models that are up, and what bounds the requests."""

import atexit
import logging
import threading
from dataclasses import dataclass
from functools import partial

from container.opt_ml import Paths
from container.settings import Settings
from serve import entry
from serve.loader import Loader
from serve.model import Model
from serve.plan import Plan
from serve.readiness import READY, State, now
from serve.registry import Registry
from serve.watch import Watch

log = logging.getLogger("serve")


@dataclass
class Server:
    """What the requests share. `decoding` bounds the memory of photos."""

    settings: Settings
    registry: Registry
    watch: Watch
    loader: Loader | None
    """Of a server that has many models."""
    decoding: threading.Semaphore
    since: str
    """When it was started: UTC, ISO 8601."""

    def state(self) -> State:
        """What /ping says: of the one model; a server of many is ready before it has any, and
        stays so whatever becomes of one."""
        if self.loader is None:
            return self.registry.only().readiness.whole()
        return State(READY, self.since, "", f"{len(self.registry.entries())} models are loaded")


def start(settings: Settings, paths: Paths) -> Server:
    """Starts the engine, where there is one model. Raises ModelError where it cannot be read."""
    registry = Registry()
    atexit.register(registry.close)
    watch = Watch(settings, registry.entries)
    many = settings.multi_model == "true"
    gpus = settings.gpus
    plan = Plan.make(settings, gpus)
    log.info("%s", plan.line(settings))
    if not many:
        model, taken = Model.read(paths.model), partial(watch.batch, "")
        registry.add(entry.start("", model, settings, plan, gpus, taken))
    return Server(
        settings,
        registry,
        watch,
        Loader(settings, plan, registry, watch, paths.models) if many else None,
        threading.Semaphore(plan.decoding),
        now(),
    )
