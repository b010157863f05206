"""The engine's side: load, report, answer batches, and be gone as soon as the server is gone."""

import contextlib
import ctypes
import logging
import os
import signal
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from artifact.archive import ArtifactError
from container.failure import Failure, ModelError, classify, reason
from serve.engine import choice, memory, wire
from serve.engine.control import BEAT_SECONDS, Loaded, Orders, Reporter, lanes
from serve.engine.soundness import Probe
from serve.heat.engine import Maps

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15

FIRST_TO_GO, NEXT_TO_GO = 800, 300
"""Of 1,000, to the kernel where memory runs out: an engine that loads goes before one that answers,
and both before the server, which has more than one model or starts the one again."""


def run(orders: Orders) -> int:
    _settle_in()
    threading.Thread(target=_watch, args=(orders.lifeline,), daemon=True).start()
    reporter = Reporter(orders.control)
    socks = [socket.socket(fileno=each) for each in orders.sockets]
    try:
        engine, seconds = _load(orders, reporter)
        probe, maps = Probe(engine), Maps(engine)
    except Exception as error:
        failure = _explain(error)
        # a model that does not fit stays so; memory or a device may be free later
        reporter.failed(reason(failure, error), final=isinstance(failure, ModelError))
        return 1
    threading.Thread(target=_beat, args=(reporter,), daemon=True).start()
    _offer(NEXT_TO_GO)
    note = getattr(engine, "note", "")  # of an engine that has measured
    best = min(orders.batch_images, engine.batch_images)
    reporter.loaded(Loaded(engine.name, orders.device, seconds, engine.streams, best, note))
    answering = Answering(maps, probe, orders.batch_images, threading.Semaphore(engine.streams))
    for sock in socks[1 : lanes(engine.streams)]:
        threading.Thread(target=_lane, args=(sock, answering, reporter), daemon=True).start()
    if engine.streams > orders.streams_alone:
        threading.Thread(target=_prepare, args=(engine,), daemon=True).start()
    _lane(socks[0], answering, reporter)
    return 0


@dataclass(frozen=True)
class Answering:
    """What all lanes share: `turns` are as many as the engine computes batches at a time."""

    maps: Maps
    probe: Probe
    most: int
    turns: threading.Semaphore


def _prepare(engine: choice.Engine) -> None:
    try:
        own = memory.size(os.getpid())
        if own is None or memory.may_double(own, memory.room()):
            engine.prepare()
        else:
            logging.warning("the engine goes on as it is: more of it would not fit into memory")
    except Exception:
        logging.exception("the engine goes on as it is: preparing it for more requests failed")


def _lane(sock: socket.socket, answering: Answering, reporter: Reporter) -> None:
    """Answers batches, until the server closes. A lane that cannot go on ends all of them."""
    try:
        _answer(sock, answering)
    except Exception as error:
        logging.exception("the engine cannot go on")
        reporter.failed(f"the engine failed: {type(error).__name__}: {error}", final=False)
        os._exit(1)


def _settle_in() -> None:
    """Named in `ps`; killed with its parent even while stopped, when no thread of ours can act."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to handle
    _offer(FIRST_TO_GO)
    try:
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_NAME, b"engine", 0, 0, 0)
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    except (OSError, AttributeError):  # not on macOS
        return


def _offer(score: int) -> None:
    with contextlib.suppress(OSError):  # not on macOS; refused where somebody set more
        Path("/proc/self/oom_score_adj").write_text(str(score))


def _watch(lifeline: int) -> None:
    """The server holds the other end and never writes: reading returns when it is gone."""
    os.read(lifeline, 1)
    os._exit(0)


def _load(orders: Orders, reporter: Reporter) -> tuple[choice.Engine, float]:
    """The engine, and the seconds of a whole batch when warm."""
    engine = choice.load(orders, reporter.progress)
    seconds = 0.0
    for count in sorted({1, orders.batch_images}):
        reporter.progress(f"warming up with {count} images")
        seconds = engine.warm_up(count)
    return engine, seconds


def _explain(error: Exception) -> Failure:
    if isinstance(error, ArtifactError):
        return ModelError(str(error))
    return classify(error)


def _beat(reporter: Reporter) -> None:
    while True:
        reporter.beat()
        time.sleep(BEAT_SECONDS)


def _answer(sock: socket.socket, answering: Answering) -> None:
    """Raises the error after which the device may not be trusted."""
    maps, probe = answering.maps, answering.probe
    while True:
        received = wire.receive_batch(sock, maps.image_size, answering.most)
        if received is None:
            return
        batch, labels = received
        try:
            with answering.turns:
                rows = maps.classify(batch, labels)
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            if not probe.sound_after(error, len(batch)):
                wire.send_failure(sock, words)
                raise
            # halves come next: one traceback is enough
            logging.error("a batch of %d failed", len(batch), exc_info=len(batch) == 1)
            wire.send_failure(sock, words, wire.REFUSED)
            continue
        wire.send_answer(sock, rows)
