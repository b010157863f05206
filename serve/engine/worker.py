"""The engine's side: load, report, answer batches, and be gone as soon as the server is gone."""

import ctypes
import logging
import os
import signal
import socket
import threading
import time

from artifact.archive import ArtifactError
from container.failure import Failure, ModelError, classify, reason
from serve.engine import choice, wire
from serve.engine.control import BEAT_SECONDS, Loaded, Orders, Reporter

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15


def run(orders: Orders) -> int:
    _settle_in()
    threading.Thread(target=_watch, args=(orders.lifeline,), daemon=True).start()
    reporter = Reporter(orders.control)
    sock = socket.socket(fileno=orders.socket)
    try:
        engine = _load(orders, reporter)
    except Exception as error:
        failure = _explain(error)
        # a model that does not fit stays so; memory or a device may be free later
        reporter.failed(reason(failure, error), final=isinstance(failure, ModelError))
        return 1
    threading.Thread(target=_beat, args=(reporter,), daemon=True).start()
    return _answer(sock, engine, orders)


def _settle_in() -> None:
    """Named in `ps`; killed with its parent even while stopped, when no thread of ours can act."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to handle
    try:
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_NAME, b"engine", 0, 0, 0)
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    except (OSError, AttributeError):  # not on macOS
        return


def _watch(lifeline: int) -> None:
    """The server holds the other end and never writes: reading returns when it is gone."""
    os.read(lifeline, 1)
    os._exit(0)


def _load(orders: Orders, reporter: Reporter) -> choice.Engine:
    engine = choice.load(orders, reporter.progress)
    seconds = 0.0
    for count in sorted({1, orders.batch_images}):
        reporter.progress(f"warming up with {count} images")
        seconds = engine.warm_up(count)
    reporter.loaded(Loaded(engine.name, orders.device, seconds))
    return engine


def _explain(error: Exception) -> Failure:
    if isinstance(error, ArtifactError):
        return ModelError(str(error))
    return classify(error)


def _beat(reporter: Reporter) -> None:
    while True:
        reporter.beat()
        time.sleep(BEAT_SECONDS)


def _answer(sock: socket.socket, engine: choice.Engine, orders: Orders) -> int:
    """Until the server closes. After any error the process ends: its device may not be trusted."""
    while True:
        batch = wire.receive_batch(sock, engine.image_size, orders.batch_images)
        if batch is None:
            return 0
        try:
            probabilities = engine.classify(batch)
        except Exception as error:
            logging.exception("a batch of %d images failed", len(batch))
            wire.send_failure(sock, f"{type(error).__name__}: {error}")
            return 1
        wire.send_answer(sock, probabilities)
