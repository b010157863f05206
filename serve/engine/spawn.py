"""A fresh engine process, and the one that is started before the server knows anything else.

An engine takes most of the time until the first answer. What starts it needs little of the server:
so the first one is begun before the rest is imported, and taken over when its keeper asks for it.
"""

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from container.settings import Settings
from serve.engine import control
from serve.engine.control import Orders
from serve.plan import Plan

ROOT = Path(__file__).resolve().parents[2]

_starter = ThreadPoolExecutor(1, "start-engines")
"""The kernel kills an engine when the thread that has started it ends, and not just the process: so
this one does, which ends with the process."""


@dataclass(frozen=True)
class Started:
    """The server's ends of what it shares with the process."""

    process: "subprocess.Popen[bytes]"
    sockets: list[socket.socket]
    control: int
    lifeline: int


_begun: list[tuple[object, Started]] = []


def begin(orders: dict[str, Any], environment: dict[str, str]) -> None:
    """Starts a process that the first `started` of the same arguments returns."""
    _begun.append(((orders, environment), _start(orders, environment)))


def started(orders: dict[str, Any], environment: dict[str, str]) -> Started:
    """Of one that was begun, or of a new one."""
    if _begun:
        asked, found = _begun.pop()
        if asked == (orders, environment) and found.process.poll() is None:
            return found
        found.process.kill()
        found.process.wait()
        for each in found.sockets:
            each.close()
        os.close(found.control)
        os.close(found.lifeline)
    return _start(orders, environment)


def _start(orders: dict[str, Any], environment: dict[str, str]) -> Started:
    pairs = [socket.socketpair() for _ in range(control.lanes(orders["streams"]))]
    theirs = [each.fileno() for _, each in pairs]
    ours, reports = os.pipe()
    lifeline, our_lifeline = os.pipe()
    child = Orders(sockets=theirs, control=reports, lifeline=lifeline, **orders)
    try:
        process = _starter.submit(
            subprocess.Popen[bytes],
            [sys.executable, "-P", "-m", "serve.engine", child.as_argument()],
            pass_fds=(*theirs, reports, lifeline),
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # signals to the server's group are the server's to handle
        ).result()
    finally:
        for _, each in pairs:
            each.close()
        os.close(reports)
        os.close(lifeline)
    return Started(process, [each for each, _ in pairs], ours, our_lifeline)


def orders(model_dir: Path, settings: Settings, plan: Plan, gpu: int | None) -> dict[str, Any]:
    """What the engine is told, but for the ends of its connections."""
    return {
        "model_dir": str(model_dir),
        "device": "cpu" if gpu is None else "cuda",
        "precision": settings.precision,
        "threads": plan.threads,
        "batch_images": settings.most_batch_images,
        "streams": plan.streams,
        "streams_alone": plan.streams_alone,
    }


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
