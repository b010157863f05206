"""Has the engine made by a process of its own, for an artifact that is whole without.

Whatever goes wrong there costs the engine and never the job: torch serves what has none.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from train.compiled.order import Order, Photos

LEAST_SECONDS = 600.0
FACTOR = 20
"""So many times its budget an engine may take in all, on a machine that others load too."""
POLL_SECONDS = 0.5
LAST_SECONDS = 30.0
"""For a process to end that has nothing more to say."""
LAST_WORDS = 2000


def make(
    order: Order,
    photos: Photos,
    say: Callable[[str], None],
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Writes `engine/` into the artifact's folder; what `model.json` is to say as `compiled`, or
    nothing where there is no engine, which is said with its reason."""
    with tempfile.TemporaryDirectory(prefix=".engine-", dir=order.artifact) as scratch:
        photos.write(Path(scratch))
        order.write(Path(scratch))
        return _heard(Path(scratch), order, say, should_stop)


def _heard(
    scratch: Path, order: Order, say: Callable[[str], None], should_stop: Callable[[], bool]
) -> dict[str, Any]:
    deadline = time.monotonic() + max(LEAST_SECONDS, FACTOR * order.budget_seconds)
    with (scratch / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "train.compiled", str(scratch)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=_environment(order.threads),
        )
    assert process.stdout is not None
    why, rest = "", b""
    try:
        while True:
            if should_stop():
                why = "the job is to stop"
                break
            if time.monotonic() > deadline:
                why = "it took too long"
                break
            if not select.select([process.stdout], [], [], POLL_SECONDS)[0]:
                continue
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                process.wait(LAST_SECONDS)
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if "say" in message:
                    say(f"compiled engine: {message['say']}")
                elif "made" in message:
                    made: dict[str, Any] = message["made"]
                    return made
                else:
                    why = message["unfit"]
    except subprocess.TimeoutExpired:
        why = "it did not end"
    finally:
        process.kill()
        process.stdout.close()
        status = process.wait()
    why = why or f"its process ended with {status}: {_tail(scratch / 'log')}"
    say(f"warning: no compiled engine, torch will serve: {why}")
    return {}


def _environment(threads: int) -> dict[str, str]:
    # a processor's engine needs no GPU, and none of its memory
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(threads)}


def _tail(log: Path) -> str:
    text = log.read_bytes()[-LAST_WORDS:].decode("utf-8", "replace").strip()
    return text.splitlines()[-1][:300] if text else "it said nothing"
