"""gunicorn's worker: its process, signals and heartbeat around the front's thread.

gunicorn's own threaded worker reads heads and bodies in the threads that should work on them, one
for each client however slow, and waits up to two seconds for a client to close its side in the
thread that accepts.
"""

import os
import resource
from typing import Any

from gunicorn.workers.base import Worker

from container import resources
from container.settings import MIB, Settings
from serve.front.acceptor import Acceptor, Limits

FILES = 16384
OTHER_FILES = 256
"""Open files that are no connections: libraries, engines, photos on their way."""
STOP_MARGIN_SECONDS = 3
"""Before gunicorn kills: time to say 503 to what did not end."""
HELD_SHARE = 8
HELD_BYTES = 256 * MIB


class FrontWorker(Worker):  # type: ignore[misc]
    """Named by `worker_class` in gunicorn's configuration."""

    def run(self) -> None:
        settings = Settings.read()
        front = Acceptor(
            self.wsgi,
            self.sockets,
            self._limits(settings),
            self.cfg,
            self.PIPE,
            self.wsgi.extensions["watch"].refused,
            self.wsgi.extensions["direct"],
        )
        front.run(self._alive)

    def _alive(self) -> bool:
        self.notify()
        return bool(self.alive) and self.ppid == os.getppid()

    def _limits(self, settings: Settings) -> Limits:
        return Limits(
            connections=min(self.cfg.worker_connections, open_files() - OTHER_FILES),
            requests=settings.request_limit,
            threads=settings.planned_http_threads,
            body=settings.max_payload_bytes,
            held=held_bytes(settings.max_payload_bytes),
            deadline_seconds=settings.deadline_seconds,
            idle_seconds=self.cfg.keepalive,
            stop_seconds=self.cfg.graceful_timeout - STOP_MARGIN_SECONDS,
        )


def open_files() -> int:
    """How many this process may have, after asking for enough: a shell's usual limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def held_bytes(body: int, memory: "resources.Memory | None" = None) -> int:
    """For bodies: an eighth of the container's memory, at most 256 MiB, at least two bodies."""
    limit: Any = (memory or resources.memory()).limit
    return max(2 * body, min(HELD_BYTES, limit // HELD_SHARE if limit else HELD_BYTES))
