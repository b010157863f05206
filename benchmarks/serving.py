"""Our server beside others, in one run: start, images/s, latency, memory, and the limit.

    python -m benchmarks.serving [--peers flask,litserve,torchserve] [--limit] [--plot FILE.svg]

All serve one artifact of random weights and answer the same photos over HTTP. They take turns,
round by round and in changing order, so that a machine that gets slower or busier meets all.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import comparison, limit, load, model, photos, plot, result, servers, setting
from benchmarks.load import Load
from benchmarks.servers import FLASK, OURS, PEERS, Place, Server

WARM_UP_SECONDS = 5.0
THREADS = 8
"""Request threads whose memory is compared with that of one."""

Loads = dict[str, dict[int, list[Load]]]
"""Server -> concurrency -> one per round."""


def main() -> None:
    options = parse()
    described = setting.describe("serving", options.image)
    names = (OURS, *options.peers)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        base = Path(scratch)
        base.chmod(0o755)  # the image's user may be another one
        say(f"exporting {options.network} with random weights")
        model.make(base / "model", options.network, options.image_size)
        folder = base / "photos"
        folder.mkdir()
        if options.photos is None:
            photos.make(folder)
        else:
            photos.choose(options.photos, folder)
        place = Place(base, options.image, options.docker_options, options.workers)
        sent = photos.describe(folder)
        starts = measure_starts(place, names, options.starts - 1)
        with contextlib.ExitStack() as stack:
            up = {name: stack.enter_context(servers.running(name, place)) for name in names}
            for name, server in up.items():
                starts[name].append(server.start_seconds)
            loads, bare = measure(up, folder, options)
            memory = {
                name: {
                    "peak_memory_mib": server.peak_memory_mib(),
                    "memory_mib": server.memory_mib(),
                }
                for name, server in up.items()
            }
            said = {name: engine(name, server, place) for name, server in up.items()}
        threads = measure_threads(place, folder, options.seconds) if options.threads else None
    figures = {n: comparison.summarise(starts[n], loads[n], memory[n]) for n in names}
    whole: dict[str, Any] = {
        "benchmark": "serving",
        "setting": described | conditions(options, sent, said),
        "servers": figures,
        "ratio": {name: comparison.ratio(figures[OURS], figures[name]) for name in options.peers},
    }
    if bare:
        whole["limit"] = comparison.of_the_limit(figures[OURS], bare)
    if threads:
        whole["threads"] = threads
    if options.plot:
        plot.draw(whole, options.plot)
    result.give(whole, comparison.rows(whole), options.out, comparison.more(whole))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    model.add_options(parser)
    parser.add_argument("--seconds", type=float, default=20, help="of load, per round and server")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--starts", type=int, default=3, help="of each server; default 3")
    parser.add_argument(
        "--peers", default=FLASK, help=f"some of {','.join(PEERS)}; default {FLASK}"
    )
    parser.add_argument(
        "--concurrency", default="1,8", help="requests at a time, default 1,8; more for a plot"
    )
    parser.add_argument("--limit", action="store_true", help="measure the engine without HTTP too")
    parser.add_argument("--threads", action="store_true", help="memory of 1 and 8 request threads")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw latency over load")
    parser.add_argument("--photos", type=Path, help="a folder of .jpg files to send")
    parser.add_argument("--image", help="run ours and Flask in containers of this Docker image")
    parser.add_argument("--docker-options", default="", help="for docker run, e.g. '--cpus 2'")
    parser.add_argument(
        "--workers", default="", help="processes of peers, e.g. flask=1,litserve=2,torchserve=2"
    )
    result.add_options(parser)
    options: argparse.Namespace = parser.parse_args()
    options.peers = tuple(filter(None, options.peers.split(",")))
    if not set(options.peers) <= set(PEERS):
        parser.error(f"--peers {','.join(options.peers)}: expected some of {', '.join(PEERS)}")
    own = set(options.peers) - {FLASK}
    if own and options.image:
        parser.error(f"--image has no {', '.join(sorted(own))}: use --peers {FLASK}")
    if own and not servers.PEERS_PYTHON.is_file():
        parser.error(f"{', '.join(sorted(own))}: run `make peers` first")
    if options.photos is not None and not any(options.photos.rglob("*.jp*g")):
        parser.error(f"--photos {options.photos}: a folder with .jpg files is expected")
    if min(options.seconds, options.rounds, options.starts) <= 0:
        parser.error("--seconds, --rounds and --starts must be above 0")
    try:
        options.concurrency = [int(each) for each in options.concurrency.split(",")]
        pairs = (each.split("=") for each in filter(None, options.workers.split(",")))
        options.workers = {name: int(count) for name, count in pairs}
    except ValueError as error:
        parser.error(f"--concurrency and --workers take whole numbers: {error}")
    return options


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def measure_starts(place: Place, names: tuple[str, ...], count: int) -> dict[str, list[float]]:
    """Seconds to the first good /ping, of all starts but the last; the servers take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(count):
        for name in names:
            with servers.running(name, place) as server:
                seconds[name].append(server.start_seconds)
            say(f"{name}: ready after {seconds[name][-1]:.2f} s")
    return seconds


def measure(
    up: dict[str, Server], folder: Path, options: argparse.Namespace
) -> tuple[Loads, list[dict[str, float]]]:
    """All are up all the time; those that are not asked are idle, or held where they would not be.
    The limit has its turn too."""
    spinning = [server for name, server in up.items() if name in servers.SPINNING]
    try:
        return _in_turns(up, folder, options)
    finally:
        for server in spinning:  # or nothing would end it
            server.resume()


def _in_turns(
    up: dict[str, Server], folder: Path, options: argparse.Namespace
) -> tuple[Loads, list[dict[str, float]]]:
    seconds = options.seconds
    for server in up.values():
        for concurrency in options.concurrency:
            load.in_process(server.port, folder, concurrency, min(seconds, WARM_UP_SECONDS))
    for name in set(up) & set(servers.SPINNING):
        up[name].pause()
    names = list(up)
    loads: Loads = {name: {concurrency: [] for concurrency in options.concurrency} for name in up}
    bare: list[dict[str, float]] = []
    for number in range(options.rounds):
        for concurrency in options.concurrency:
            for name in names if number % 2 == 0 else names[::-1]:
                with _alone(name, up[name]):
                    seen = load.in_process(up[name].port, folder, concurrency, seconds)
                loads[name][concurrency].append(seen)
                speed = len(seen.latencies_ms) / seen.seconds
                say(f"round {number + 1}, {concurrency} at a time, {name}: {speed:.2f} images/s")
        if options.limit:
            bare.append(limit.in_process(folder.parent / "model", folder, seconds))
            shown = ", ".join(f"{way} {value:.2f}" for way, value in bare[-1].items())
            say(f"round {number + 1}, the limit: {shown} images/s")
    return loads, bare


@contextlib.contextmanager
def _alone(name: str, server: Server) -> Iterator[None]:
    if name in servers.SPINNING:
        server.resume()
    yield
    if name in servers.SPINNING:
        server.pause()


def measure_threads(place: Place, folder: Path, seconds: float) -> dict[str, float]:
    """Ours with one request thread and with several, each as busy as it can be."""
    seen = {}
    for threads in (1, THREADS):
        few = Place(place.base, place.image, place.docker_options,
                    settings={"HTTP_THREADS": str(threads)})  # fmt: skip
        with servers.running(OURS, few) as server:
            load.in_process(server.port, folder, threads, min(seconds, WARM_UP_SECONDS))
            seen[threads] = server.memory_mib()
    return {
        "many": THREADS,
        "many_mib": round(seen[THREADS], 1),
        "one_mib": round(seen[1], 1),
        "ratio": round(seen[THREADS] / seen[1], 3),
    }


def engine(name: str, server: Server, place: Place) -> str:
    """What it says of itself, or was told."""
    if name in (OURS, FLASK):
        progress: str = json.loads(server.facts)["progress"]
        return progress
    wait = servers.BATCH_MS[name]
    return (
        f"eager float32, {place.workers_of(name)} processes that share the processors, "
        f"batches of up to {servers.BATCH} within {wait} ms"
    )


def conditions(
    options: argparse.Namespace, sent: dict[str, Any], said: dict[str, str]
) -> dict[str, Any]:
    """The part of the setting that is this benchmark's own."""
    return {
        "network": options.network,
        "image_size": options.image_size,
        "engine": said,
        "photos": sent,
        "batch": f"ours as the engine says, a peer's up to {servers.BATCH}, Flask's 1",
        "concurrency": options.concurrency,
        "seconds": options.seconds,
        "rounds": options.rounds,
        "workers": options.workers,
        "docker_options": options.docker_options,
        "memory": servers.MEMORY,
        "client": "one process on the same machine, a thread and a kept connection for each "
        "request at a time; it shares the processors with the server",
    }


if __name__ == "__main__":
    main()
