"""A server of many models under random traffic: what a hot answer takes, and what a cold one.

    python -m benchmarks.multi_model [--models 50] [--memory-mib 1000] [--out FILE]

The client does what the platform does: a model that is not loaded is loaded, and where the server
answers 507 what it names is unloaded first. Requests come from a few threads; models are chosen by
Zipf's law, the second half as often as the first, as products are asked for in a shop.
"""

import argparse
import http.client
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import quantiles
from typing import Any

from bench.load import distinct
from benchmarks import model, photos, result, servers, setting
from benchmarks.servers import OURS, Place

TIMEOUT_SECONDS = 120
LOOK_SECONDS = 0.005
JPEG = {"Content-Type": "image/jpeg"}


@dataclass
class Seen:
    """Seconds of each, from all threads."""

    hot: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    """With the load, and the unloads that made room for it."""
    loads: list[float] = field(default_factory=list)
    unloads: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    most: int = 0
    """Models that were loaded at a time."""


class Client(threading.Thread):
    """Asks for one model after the other."""

    def __init__(self, port: int, base: Path, sent: Iterator[bytes], names: list[str], seen: Seen):
        super().__init__()
        self._base, self._sent, self._names, self._seen = base, sent, names, seen
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            for name in self._names:
                self._one(name, next(self._sent))
        except Exception as error:
            self.failure = error

    def _one(self, name: str, photo: bytes) -> None:
        start = time.monotonic()
        hot = True
        while (status := self._call("POST", f"/models/{name}/invoke", photo)[0]) != 200:
            if status != 404:
                raise RuntimeError(f"{name} was answered with {status}")
            hot = False
            self._load(name)
        (self._seen.hot if hot else self._seen.cold).append(time.monotonic() - start)

    def _load(self, name: str) -> None:
        """Makes room for it, until it is loaded, by this client or another one."""
        order = {"model_name": name, "url": str(self._base / "models" / name / "model")}
        while True:
            start = time.monotonic()
            status, body = self._call("POST", "/models", json.dumps(order).encode())
            if status == 200:
                self._seen.loads.append(time.monotonic() - start)
                there = self._call("GET", "/models?limit=1000")[1]
                self._seen.most = max(self._seen.most, len(there["models"]))
            if status == 200:
                return
            if status == 409:  # the other client's load; the platform would wait for it, too
                time.sleep(LOOK_SECONDS)
                return
            if status != 507 or not body["could_go"]:
                raise RuntimeError(f"{name} cannot be loaded: {status} {body}")
            for each in body["could_go"]:
                start = time.monotonic()
                if self._call("DELETE", f"/models/{each['modelName']}")[0] == 200:
                    self._seen.unloads.append(time.monotonic() - start)

    def _call(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        self._connection.request(method, path, body, JPEG)
        answer = self._connection.getresponse()
        data = answer.read()
        self._seen.statuses[answer.status] += 1
        return answer.status, json.loads(data)


def main() -> None:
    options = parse()
    os.environ["SAGEMAKER_MULTI_MODEL"] = "true"
    os.environ["MODELS_MEMORY_MIB"] = str(options.memory_mib)
    described = setting.describe("multi_model")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        base = Path(scratch)
        print(f"exporting {options.network} with random weights", file=sys.stderr)
        model.make(base / "made", options.network, options.image_size)
        names = [f"model-{number:02d}" for number in range(options.models)]
        for name in names:
            shutil.copytree(base / "made", base / "models" / name / "model")
        compiled = (base / "made" / "engine").is_dir()
        folder = base / "photos"
        folder.mkdir()
        photos.make(folder)
        with servers.running(OURS, Place(base)) as server:
            seen, seconds = measure(server.port, base, folder, names, options)
            memory = server.memory_mib()
    whole: dict[str, Any] = {
        "benchmark": "multi_model",
        "setting": described
        | {
            "network": options.network,
            "image_size": options.image_size,
            "batch": 1,
            "concurrency": options.concurrency,
            "models": options.models,
            "memory_mib": options.memory_mib,
            "requests": options.requests,
            "engine": "compiled" if compiled else "torch",
        },
        "hot": summary(seen.hot),
        "cold": summary(seen.cold),
        "load": summary(seen.loads),
        "unload": summary(seen.unloads),
        "loaded_at_most": seen.most,
        "statuses": {str(status): count for status, count in sorted(seen.statuses.items())},
        "images_per_second": round(options.requests / seconds, 2),
        "server_memory_mib": round(memory),
    }
    result.give(whole, rows(whole), options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--network", default="mobilenet_v3_small", help="of all models")
    parser.add_argument("--image-size", type=int, default=224, help="default 224")
    parser.add_argument("--models", type=int, default=50, help="default 50")
    parser.add_argument(
        "--memory-mib", type=int, default=1000, help="of all loaded models; default 1000"
    )
    parser.add_argument("--requests", type=int, default=1000, help="default 1000")
    parser.add_argument("--concurrency", type=int, default=2, help="clients; default 2")
    result.add_options(parser)
    options: argparse.Namespace = parser.parse_args()
    if min(options.models, options.requests, options.concurrency) < 1:
        parser.error("--models, --requests and --concurrency must be above 0")
    return options


def measure(
    port: int, base: Path, folder: Path, names: list[str], options: argparse.Namespace
) -> tuple[Seen, float]:
    """What the clients have seen, and the seconds of it all."""
    draw = random.Random(0)
    weights = [1 / rank for rank in range(1, len(names) + 1)]
    asked = draw.choices(names, weights, k=options.requests)
    files = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
    # every body is different, so that no cache can answer it
    sent = [distinct(photo, str(at)) for at, photo in zip(range(len(asked)), cycle(files))]
    seen, count = Seen(), options.concurrency
    clients = [
        Client(port, base, iter(sent[at::count]), asked[at::count], seen) for at in range(count)
    ]
    start = time.monotonic()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    for client in clients:
        if client.failure is not None:
            raise client.failure
    return seen, time.monotonic() - start


def summary(seconds: list[float]) -> dict[str, float]:
    """Milliseconds."""
    if not seconds:
        return {"count": 0, "p50_ms": 0.0, "p99_ms": 0.0}
    cuts = quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else seconds * 99
    return {
        "count": len(seconds),
        "p50_ms": round(cuts[49] * 1000, 1),
        "p99_ms": round(cuts[98] * 1000, 1),
    }


def rows(whole: dict[str, Any]) -> list[list[str]]:
    kinds = {
        "hot": "answers of a loaded model",
        "cold": "answers of a model that had to be loaded",
        "load": "  its load alone",
        "unload": "  an unload that made room",
    }
    lines = [["", "count", "p50 ms", "p99 ms"]]
    for kind, title in kinds.items():
        found = whole[kind]
        lines.append(
            [title, str(found["count"]), f"{found['p50_ms']:.1f}", f"{found['p99_ms']:.1f}"]
        )
    lines.append(["models loaded at a time, at most", str(whole["loaded_at_most"]), "", ""])
    return lines


if __name__ == "__main__":
    main()
