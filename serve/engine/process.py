"""The server's side of one engine process: started fresh, heard, asked, and killed when it is lost.

Two threads use it. The keeper's thread starts it, asks it and closes it; a listener of its own
reads the engine's reports, and kills the process when they stop: whoever waits for it wakes.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.engine import wire
from serve.engine.control import BEAT_SECONDS, SILENT_SECONDS, Loaded, Orders, parse

ROOT = Path(__file__).resolve().parents[2]
MIN_BATCH_SECONDS = 10.0
SLOW_FACTOR = 30
"""A batch that takes so many times its warm-up's time is stuck, not just on a busy machine."""


class EngineLostError(Exception):
    """The engine died, hangs, or does not speak the protocol; its reason is fit for /ping."""


class EngineProcess:
    """`progress` and `lost` are called from the listener's thread."""

    def __init__(
        self,
        orders: dict[str, Any],
        environment: dict[str, str],
        progress: Callable[[str], None],
        lost: Callable[[str], None],
    ) -> None:
        self._progress, self._on_lost = progress, lost
        self.lost: str | None = None
        self.loaded: Loaded | None = None
        self.final = False
        """The engine said that another try would fail in the same way."""
        self.settled = threading.Event()
        """Loaded or lost."""
        self._sock, theirs = socket.socketpair()
        self._control, control = os.pipe()
        lifeline, self._lifeline = os.pipe()
        child = Orders(socket=theirs.fileno(), control=control, lifeline=lifeline, **orders)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "serve.engine", child.as_argument()],
                pass_fds=(child.socket, control, lifeline),
                env=environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # signals to the server's group are the server's to handle
            )
        finally:
            theirs.close()
            os.close(control)
            os.close(lifeline)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def classify(self, images: list[NDArray[Any]], classes: int) -> NDArray[np.float32]:
        """Probabilities of images of one type. Raises EngineLostError."""
        try:
            wire.send_batch(self._sock, images)
            return wire.receive_answer(self._sock, len(images), classes)
        except TimeoutError:
            seconds = self._sock.gettimeout() or 0
            self._lose(f"the engine is stuck: no answer to a batch for {seconds:.0f} s")
        except wire.WireError as error:
            self._listener.join(1)  # it knows how the process died
            self._lose(f"the engine failed: {error}")
        except OSError as error:
            self._listener.join(1)
            self._lose(f"the connection to the engine broke: {error}")
        raise EngineLostError(self.lost)

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """Kills the process and frees what belongs to it; the object is of no use afterwards."""
        self.kill()
        self._process.wait()
        self._listener.join()
        self._sock.close()
        os.close(self._control)
        os.close(self._lifeline)

    def _lose(self, reason: str) -> None:
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
                    self._lose(f"the engine is stopped or stuck: silent for {SILENT_SECONDS} s")
                    return
                continue
            silent = 0
            data = os.read(self._control, 65536)
            if not data:
                self._lose(_death(self._process.wait()))
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._hear(parse(line))

    def _hear(self, message: dict[str, Any]) -> None:
        if "progress" in message:
            self._progress(message["progress"])
        elif "loaded" in message:
            facts = Loaded(**message["loaded"])
            self._sock.settimeout(max(MIN_BATCH_SECONDS, SLOW_FACTOR * facts.batch_seconds))
            self.loaded = facts
            self.settled.set()
        elif "failed" in message:
            self.final = message["final"]
            self._lose(message["failed"])


def _death(status: int) -> str:
    if status < 0:
        return f"the engine died with {signal.Signals(-status).name}"
    return f"the engine ended with exit code {status}"


def environment(threads: int, gpu: int | None) -> dict[str, str]:
    """Of the child: its share of processors is planned before the framework is imported."""
    planned = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        planned[name] = str(threads)
    # threads that spin while they wait take the processors from those that decode the next photos
    planned.setdefault("OMP_WAIT_POLICY", "passive")
    planned["PYTHONDONTWRITEBYTECODE"] = planned["PYTHONUNBUFFERED"] = "1"
    # -P keeps the current folder out; ours is named
    planned["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    if gpu is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        planned["CUDA_VISIBLE_DEVICES"] = visible.split(",")[gpu] if visible else str(gpu)
    return planned
