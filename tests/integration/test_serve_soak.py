"""Many requests, one after the other: what stays in memory of them."""

import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import requests

from tests import make, serving

REQUESTS = 50_000 if os.environ.get("SOAK") == "1" else 2_000
WARM_UP = 1_000
"""Requests until caches and heaps have what they keep."""
MOST_PER_REQUEST = 1e6 / 10_000
RESOLUTION = 0.5e6
"""Bytes: what a heap of this size takes and gives back by itself, seen over few requests."""


def held(pids: list[int]) -> int:
    """Bytes of all the processes that are no file's."""
    texts = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    return sum(1024 * int(re.findall(r"RssAnon:\s+(\d+)", text)[0]) for text in texts)


@pytest.mark.timeout(3600)
def test_memory_stands_still(tiny_artifact: Path, tmp_path: Path) -> None:
    photos = [make.photo(seed=seed) for seed in range(16)]
    wrong: list[int] = []
    with serving.running(tiny_artifact, tmp_path / "log") as server:
        pids = [server.process.pid, server.worker().pid, server.engine().pid]

        def ask(count: int) -> None:
            with requests.Session() as client:
                for number in range(count):
                    body, headers = photos[number % 16], {"Content-Type": "image/jpeg"}
                    answer = client.post(f"{server.url}/invocations", body, headers=headers)
                    if answer.status_code != 200:
                        wrong.append(answer.status_code)

        sizes = []
        for count in [WARM_UP, *[REQUESTS // 10] * 10]:
            clients = [threading.Thread(target=ask, args=(count // 4,)) for _ in range(4)]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
            sizes.append(held(pids))
        after = [server.process.pid, server.worker().pid, server.engine().pid]

    slope = np.polyfit(np.arange(len(sizes)) * (REQUESTS // 10), sizes, 1)[0]
    assert not wrong
    assert after == pids
    assert slope <= MOST_PER_REQUEST + RESOLUTION / REQUESTS, sizes
