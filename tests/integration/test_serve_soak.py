"""Many requests, one after the other: what stays in memory of them."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests

from tests import make, serving

SOAK = os.environ.get("SOAK") == "1"
REQUESTS = 50_000 if SOAK else 4_000
WARM_UP = 4_000
"""Requests until caches and heaps have what they keep: the first thousand take 14 MB of memory, the
next ones up to 0.2 each."""
STRETCHES = 1 if SOAK else 3
"""So often it may be looked at: what is lost with every request is seen in each stretch, the pages
that a heap takes once in one. Of 17 runs the worst had 87 bytes a request, in its first stretch."""
SAMPLES = 20
CLIENTS = 4
MOST_PER_REQUEST = 1e6 / 10_000
ENGINES = {"openvino": make.compiled_artifact, "torch": make.artifact}


def bodies() -> list[tuple[bytes, str]]:
    """Photos, and floats that are no photo's: a compiled engine has a graph of its own for them."""
    floats = np.random.default_rng(0).normal(size=(3, make.IMAGE_SIZE, make.IMAGE_SIZE))
    photos = [(make.photo(seed=seed), "image/jpeg") for seed in range(15)]
    return [*photos, (make.npy(floats.astype(np.float32)), "application/x-npy")]


BODIES = bodies()


def ask(url: str, count: int) -> None:
    """So many requests, by clients side by side."""

    def some(_: int) -> set[int]:
        with requests.Session() as client:
            return {
                client.post(f"{url}/invocations", body, headers={"Content-Type": kind}).status_code
                for number in range(count // CLIENTS)
                for body, kind in [BODIES[number % len(BODIES)]]
            }

    with ThreadPoolExecutor(CLIENTS) as clients:
        assert set().union(*clients.map(some, range(CLIENTS))) == {200}


def processes(server: serving.Server) -> list[int]:
    children = psutil.Process(server.process.pid).children(recursive=True)
    return [server.process.pid, *sorted(each.pid for each in children)]


def held(pids: list[int]) -> int:
    """Bytes of all the processes that are no file's; a page that they share is divided among them.

    Counted page by page: the running counts in `status` may be behind."""
    text = "".join(Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids)
    return 1024 * sum(int(kib) for kib in re.findall(r"Pss_(?:Anon|Shmem):\s+(\d+)", text))


def slope(url: str, pids: list[int]) -> float:
    """Bytes that each request leaves behind, by least squares over one stretch."""
    sizes = [held(pids)]
    for _ in range(SAMPLES):
        ask(url, REQUESTS // SAMPLES)
        sizes.append(held(pids))
    return float(np.polyfit(np.arange(len(sizes)) * (REQUESTS // SAMPLES), sizes, 1)[0])


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("engine", list(ENGINES)[: 2 if SOAK else 1])
def test_memory_stands_still(engine: str, tmp_path: Path) -> None:
    ENGINES[engine](tmp_path / "model")
    # two threads on any machine: then a compiled engine has its graph for load, too; and records,
    # which are written once a minute by default
    settings = {"ENGINE_THREADS": "2", "METRICS_RECORD_SECONDS": "1"}
    with serving.running(tmp_path, tmp_path / "log", **settings) as server:
        pids = processes(server)
        ask(server.url, WARM_UP)
        slopes = [slope(server.url, pids)]
        while slopes[-1] > MOST_PER_REQUEST and len(slopes) < STRETCHES:
            slopes.append(slope(server.url, pids))
        after = processes(server)
        log = (tmp_path / "log").read_text()

    print(f"{engine}: {slopes} bytes a request")
    assert after == pids
    assert f": {engine}-" in log
    assert "the engine goes on as it is" not in log  # its graph for load is there
    assert slopes[-1] <= MOST_PER_REQUEST, slopes
