"""Our server beside a plain Flask server, in one run: start, images/s, latency, memory.

    python -m benchmarks.serving [--network resnet50] [--seconds 20] [--image IMAGE] [--out FILE]

Both serve one artifact of random weights and answer the same photos over HTTP. They take turns,
round by round and in changing order, so that a machine that gets slower or busier meets both.
"""

import argparse
import contextlib
import json
import math
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import load, model, photos, result, servers, setting
from benchmarks.load import Load
from benchmarks.servers import OURS, PEER, Place, Server
from container.settings import Settings

NAMES = (OURS, PEER)
CONCURRENCY = (1, 8)
WARM_UP_SECONDS = 5.0

Loads = dict[str, dict[int, list[Load]]]
"""Server -> concurrency -> one per round."""


def main() -> None:
    options = parse()
    described = setting.describe("serving", options.image)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        base = Path(scratch)
        base.chmod(0o755)  # the image's user may be another one
        say(f"exporting {options.network} with random weights")
        model.make(base / "model", options.network, options.image_size)
        folder = options.photos or base / "photos"
        if options.photos is None:
            folder.mkdir()
            photos.make(folder)
        place = Place(base, options.image, options.docker_options, options.peer_workers)
        sent = photos.describe(folder)
        starts = measure_starts(place, options.starts - 1)
        with contextlib.ExitStack() as stack:
            up = {name: stack.enter_context(servers.running(name, place)) for name in NAMES}
            for name, server in up.items():
                starts[name].append(server.start_seconds)
            loads = measure(up, folder, options.seconds, options.rounds)
            memory = {name: server.peak_memory_mib() for name, server in up.items()}
            said = {name: json.loads(server.facts)["progress"] for name, server in up.items()}
    described |= conditions(options, sent, said)
    figures = {name: summarise(starts[name], loads[name], memory[name]) for name in NAMES}
    whole = {"benchmark": "serving", "setting": described, **figures, "ratio": ratio(figures)}
    result.give(whole, rows(whole), options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    model.add_options(parser)
    parser.add_argument("--seconds", type=float, default=20, help="of load, per round and server")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--starts", type=int, default=3, help="of each server; default 3")
    parser.add_argument("--photos", type=Path, help="a folder of .jpg files to send")
    parser.add_argument("--image", help="run both servers in containers of this Docker image")
    parser.add_argument("--docker-options", default="", help="for docker run, e.g. '--cpus 2'")
    parser.add_argument("--peer-workers", type=int, default=1, help="default 1")
    result.add_options(parser)
    options: argparse.Namespace = parser.parse_args()
    if options.photos is not None and not any(options.photos.glob("*.jp*g")):
        parser.error(f"--photos {options.photos}: a folder with .jpg files is expected")
    if min(options.seconds, options.rounds, options.starts, options.peer_workers) <= 0:
        parser.error("--seconds, --rounds, --starts and --peer-workers must be above 0")
    return options


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def measure_starts(place: Place, count: int) -> dict[str, list[float]]:
    """Seconds to the first good /ping, of all starts but the last; the servers take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(count):
        for name in NAMES:
            with servers.running(name, place) as server:
                seconds[name].append(server.start_seconds)
            say(f"{name}: ready after {seconds[name][-1]:.2f} s")
    return seconds


def measure(up: dict[str, Server], folder: Path, seconds: float, rounds: int) -> Loads:
    """Both are up all the time; the one that is not asked is idle."""
    for server in up.values():
        for concurrency in CONCURRENCY:
            load.in_process(server.port, folder, concurrency, min(seconds, WARM_UP_SECONDS))
    loads: Loads = {name: {concurrency: [] for concurrency in CONCURRENCY} for name in up}
    for number in range(rounds):
        for concurrency in CONCURRENCY:
            for name in NAMES if number % 2 == 0 else NAMES[::-1]:
                seen = load.in_process(up[name].port, folder, concurrency, seconds)
                loads[name][concurrency].append(seen)
                speed = len(seen.latencies_ms) / seen.seconds
                say(f"round {number + 1}, {concurrency} at a time, {name}: {speed:.2f} images/s")
    return loads


def conditions(
    options: argparse.Namespace, sent: dict[str, Any], said: dict[str, str]
) -> dict[str, Any]:
    """The part of the setting that is this benchmark's own."""
    return {
        "network": options.network,
        "image_size": options.image_size,
        "engine": said,
        "photos": sent,
        "batch": {OURS: f"up to {Settings.read().batch_images}", PEER: "1"},
        "concurrency": list(CONCURRENCY),
        "seconds": options.seconds,
        "rounds": options.rounds,
        "peer_workers": options.peer_workers,
        "docker_options": options.docker_options,
        "memory": servers.MEMORY,
        "client": "one process on the same machine, a thread and a kept connection for each "
        "request at a time; it shares the processors with the server",
    }


def summarise(starts: list[float], loads: dict[int, list[Load]], memory: float) -> dict[str, Any]:
    return {
        "start_seconds": round(statistics.median(starts), 3),
        "starts": [round(seconds, 3) for seconds in starts],
        "peak_memory_mib": round(memory, 1),
        "at": {str(concurrency): speed(rounds) for concurrency, rounds in loads.items()},
    }


def speed(rounds: list[Load]) -> dict[str, Any]:
    """Of all rounds together; `rounds` shows how far they are apart."""
    latencies = sorted(each for one in rounds for each in one.latencies_ms)
    seconds = sum(one.seconds for one in rounds)
    return {
        "images_per_second": round(len(latencies) / seconds, 3),
        "p50_ms": round(percentile(latencies, 0.50), 2),
        "p99_ms": round(percentile(latencies, 0.99), 2),
        "answers": len(latencies),
        "rounds": [round(len(one.latencies_ms) / one.seconds, 3) for one in rounds],
        "client_cpu": round(sum(one.cpu_seconds for one in rounds) / seconds, 4),
    }


def percentile(ordered: list[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def ratio(figures: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Ours divided by the peer's, whatever is measured."""
    ours, peer = figures[OURS], figures[PEER]
    names = ("images_per_second", "p50_ms", "p99_ms")
    return {
        **{key: round(ours[key] / peer[key], 3) for key in ("start_seconds", "peak_memory_mib")},
        "at": {
            at: {name: round(ours["at"][at][name] / peer["at"][at][name], 3) for name in names}
            for at in ours["at"]
        },
    }


def rows(whole: dict[str, Any]) -> list[list[str]]:
    ours, peer, quotient = whole[OURS], whole[PEER], whole["ratio"]
    lines = [["", OURS, PEER, "ours / peer", "better"]]

    def add(title: str, key: str, of: tuple[Any, Any, Any], better: str) -> None:
        cells = [f"{each[key]:.2f}" for each in of]
        lines.append([title, *cells, better])

    everything = (ours, peer, quotient)
    add("start to first /ping 200, s", "start_seconds", everything, "lower")
    add("peak resident memory, MiB", "peak_memory_mib", everything, "lower")
    for at in quotient["at"]:
        cell = (ours["at"][at], peer["at"][at], quotient["at"][at])
        add(f"images/s, {at} at a time", "images_per_second", cell, "higher")
        add(f"p50 latency, {at} at a time, ms", "p50_ms", cell, "lower")
        add(f"p99 latency, {at} at a time, ms", "p99_ms", cell, "lower")
    return lines


if __name__ == "__main__":
    main()
