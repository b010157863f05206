"""What the hardware gives without a server: the same engine and decoding in one process, no HTTP.

    python -m benchmarks.limit MODEL PHOTOS SECONDS

`MODEL` holds an artifact, `PHOTOS` JPEGs. Ways to share the processors out are tried in turn, as
nobody knows before which is best on a machine; the limit is the best of them. Photos are already
in memory, and every one that is decoded is another file, as for a server.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from artifact import archive, preprocess
from artifact.preprocess import Preprocessing
from bench.load import distinct
from container import resources
from serve.engine import choice
from serve.engine.control import Orders

MOST, FEW = 8, 2
"""Photos in a batch: a GPU and torch gain from many, a compiled engine on few processors does not.
"""
WARM_UP_SECONDS = 2.0


class Engine(Protocol):
    def classify(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Probabilities N x classes of N x H x W x 3 uint8 pixels."""


class Photos:
    """Bodies of which no two are equal, and their pixels."""

    def __init__(self, folder: Path, rules: Preprocessing) -> None:
        self._files = [path.read_bytes() for path in sorted(folder.glob("*.jp*g"))]
        self._rules = rules
        self._count = 0
        self._lock = threading.Lock()

    def pixels(self) -> NDArray[np.uint8]:
        with self._lock:
            self._count += 1
            number = self._count
        body = distinct(self._files[number % len(self._files)], str(number))
        return preprocess.pixels(body, self._rules)


def engine(folder: Path, threads: int) -> Engine:
    """As the server loads it: on a GPU where there is one, the compiled one where the artifact has
    it, else torch's. No process is started, so that nothing is behind the descriptors."""
    device = "cuda" if resources.gpu_count() else "cpu"
    return choice.load(
        Orders([0], 0, 0, str(folder), device, "auto", threads, MOST, 1, 1), lambda text: None
    )


def in_turns(engines: list[Engine], photos: Photos, until: float, batch_images: int = MOST) -> int:
    """Decode a batch on every processor, then classify it on every processor."""
    done = 0
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        while time.perf_counter() < until:
            batch = list(pool.map(lambda _: photos.pixels(), range(batch_images)))
            done += len(engines[0].classify(np.stack(batch)))
    return done


def beside(engines: list[Engine], photos: Photos, until: float, batch_images: int = MOST) -> int:
    """The next batch is decoded while one is classified."""
    done = 0
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:

        def begin() -> list["Future[NDArray[np.uint8]]"]:
            return [pool.submit(photos.pixels) for _ in range(batch_images)]

        following = begin()
        while time.perf_counter() < until:
            batch = np.stack([each.result() for each in following])
            following = begin()
            done += len(engines[0].classify(batch))
    return done


def each_alone(engines: list[Engine], photos: Photos, until: float) -> int:
    """A thread for each processor that decodes and classifies photo by photo."""
    counts: queue.SimpleQueue[int] = queue.SimpleQueue()

    def work(mine: Engine) -> None:
        done = 0
        while time.perf_counter() < until:
            done += len(mine.classify(photos.pixels()[None]))
        counts.put(done)

    threads = [threading.Thread(target=work, args=(each,)) for each in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts.get() for _ in threads)


Way = Callable[[list[Engine], Photos, float], int]
WAYS: dict[str, Way] = {
    f"{name}, {count}": partial(way, batch_images=count)
    for count in (FEW, MOST)
    for name, way in (("in turns", in_turns), ("beside", beside))
}


def measure(way: Way, engines: list[Engine], photos: Photos, seconds: float) -> float:
    """Images per second, after a warm-up."""
    way(engines, photos, time.perf_counter() + min(seconds, WARM_UP_SECONDS))
    start = time.perf_counter()
    done = way(engines, photos, start + seconds)
    return done / (time.perf_counter() - start)


def run(model: Path, folder: Path, seconds: float) -> dict[str, float]:
    """Way -> images per second."""
    found = archive.find(model)
    photos = Photos(folder, archive.read_description(found).preprocessing)
    processors = len(os.sched_getaffinity(0))
    whole = [engine(found, processors)]
    seen = {name: measure(way, whole, photos, seconds) for name, way in WAYS.items()}
    if resources.gpu_count():
        return seen  # one engine a GPU: photo by photo on several would share it
    parts = [engine(found, 1) for _ in range(processors)]
    return {**seen, "each alone": measure(each_alone, parts, photos, seconds)}


def in_process(model: Path, folder: Path, seconds: float) -> dict[str, float]:
    """`run`, in a fresh process. Raises RuntimeError."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.limit", str(model), str(folder), str(seconds)],
        cwd=Path(__file__).resolve().parents[1],
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the limit's process ended with exit code {done.returncode}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))))
