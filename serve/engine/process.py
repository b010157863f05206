"""The server's side of one engine process: started fresh, heard, asked, and killed when it is lost.

The keeper's thread starts it and closes it, a thread for each lane asks it; a listener of its own
reads the engine's reports, and kills the process when they stop: whoever waits for it wakes.
"""

import os
import select
import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.engine import spawn, wire
from serve.engine.control import BEAT_SECONDS, SILENT_SECONDS, Loaded, lanes, parse

MIN_BATCH_SECONDS = 10.0
SLOW_FACTOR = 30
"""A batch that takes so many times its warm-up's time is stuck, not just on a busy machine."""


class EngineLostError(Exception):
    """The engine died, hangs, or does not speak the protocol; its reason is fit for /ping."""


class EngineProcess:
    """What it tells is heard by nobody until somebody takes it over."""

    def __init__(
        self,
        orders: dict[str, Any],
        environment: dict[str, str],
    ) -> None:
        self.progress: Callable[[str], None] = _nobody
        self._on_lost: Callable[[str], None] = _nobody
        self.lost: str | None = None
        self.loaded: Loaded | None = None
        self.final = False
        """The engine said that another try would fail in the same way."""
        self.settled = threading.Event()
        """Loaded or lost."""
        started = spawn.started(orders, environment)
        self._process, self._socks = started.process, started.sockets
        self._control, self._lifeline = started.control, started.lifeline
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lanes(self) -> int:
        """Batches that it takes at a time, each with a `lane` of its own."""
        return min(len(self._socks), lanes(self.loaded.streams)) if self.loaded else 1

    def classify(
        self,
        images: list[NDArray[Any]],
        classes: int,
        lane: int = 0,
        labels: list[int] | None = None,
    ) -> NDArray[np.float32]:
        """Probabilities of images of one type; with `labels`, their maps behind them. Raises
        EngineLostError, or BatchError where the engine lives on and may be asked about a part."""
        sock = self._socks[lane]
        try:
            wire.send_batch(sock, images, labels)
            return wire.receive_answer(sock, len(images), classes, labels is not None)
        except TimeoutError:
            seconds = sock.gettimeout() or 0
            self.lose(f"the engine is stuck: no answer to a batch for {seconds:.0f} s")
        except wire.WireError as error:
            self._listener.join(1)  # it knows how the process died
            self.lose(f"the engine failed: {error}")
        except OSError as error:
            self._listener.join(1)
            self.lose(f"the connection to the engine broke: {error}")
        raise EngineLostError(self.lost)

    def take_over(self, progress: Callable[[str], None], lost: Callable[[str], None]) -> None:
        """From here on these are called, by the listener's thread; a loss that has happened
        already is told at once."""
        self.progress, self._on_lost = progress, lost
        if self.lost is not None:
            lost(self.lost)

    def retire(self) -> None:
        """Ends it for good, and nobody is told of a loss."""
        self.progress = self._on_lost = _nobody
        self.close()

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """Kills the process and frees what belongs to it; the object is of no use afterwards."""
        self.kill()
        self._process.wait()
        self._listener.join()
        for sock in self._socks:
            sock.close()
        os.close(self._control)
        os.close(self._lifeline)

    def lose(self, reason: str) -> None:
        """The first reason counts. Killing the process wakes whoever waits for an answer."""
        if self.lost is None:
            self.lost = reason
            self._on_lost(reason)
        self.kill()
        self.settled.set()

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        silent, rest = 0, b""
        while True:
            # counted in polls: after a pause of the whole container both sides are late, not one
            if not poll.poll(BEAT_SECONDS * 1000):
                silent += 1
                if self.loaded and silent * BEAT_SECONDS >= SILENT_SECONDS:
                    self.lose(f"the engine is stopped or stuck: silent for {SILENT_SECONDS} s")
                    return
                continue
            silent = 0
            data = os.read(self._control, 65536)
            if not data:
                self.lose(_death(self._process.wait()))
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._hear(parse(line))

    def _hear(self, message: dict[str, Any]) -> None:
        if "progress" in message:
            self.progress(message["progress"])
        elif "loaded" in message:
            facts = Loaded(**message["loaded"])
            for sock in self._socks:
                sock.settimeout(max(MIN_BATCH_SECONDS, SLOW_FACTOR * facts.batch_seconds))
            self.loaded = facts
            self.settled.set()
        elif "failed" in message:
            self.final = message["final"]
            self.lose(message["failed"])


def _nobody(_: str) -> None:
    pass


def _death(status: int) -> str:
    if status < 0:
        return f"the engine died with {signal.Signals(-status).name}"
    return f"the engine ended with exit code {status}"
