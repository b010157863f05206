"""What a server is worth under three times what it can do: goodput beside its peak, and /ping.

    python -m benchmarks.overload [--seconds 20] [--times 3] [--rounds 3] [--out FILE.json]

The peak is the best of a few numbers of clients that wait for their answers. Then requests arrive
at `--times` that rate, answered or not. Both take turns, round by round; /ping is asked all along.
"""

import argparse
import contextlib
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import arrivals, load, model, photos, result, servers, setting
from benchmarks.arrivals import Arrivals
from benchmarks.servers import OURS, Place

CONCURRENCY = (4, 8, 16)
WARM_UP_SECONDS = 5.0
PING_SECONDS = 0.02
"""Between two of them."""


def main() -> None:
    options = parse()
    described = setting.describe("overload", options.image)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        base = Path(scratch)
        base.chmod(0o755)  # the image's user may be another one
        say(f"exporting {options.network} with random weights")
        model.make(base / "model", options.network, options.image_size)
        folder = base / "photos"
        folder.mkdir()
        photos.make(folder)
        with servers.running(OURS, Place(base, options.image, options.docker_options)) as server:
            warm = min(WARM_UP_SECONDS, options.seconds)
            load.in_process(server.port, folder, max(CONCURRENCY), warm)
            rounds = [round_of(server.port, folder, options) for _ in range(options.rounds)]
            engine = json.loads(server.facts)["progress"]
    described |= {
        "network": options.network,
        "engine": engine,
        "times": options.times,
        "seconds": options.seconds,
        "rounds": options.rounds,
        "docker_options": options.docker_options,
        "client": "processes of their own on the same machine, which share its processors",
    }
    whole = {"benchmark": "overload", "setting": described, **summarise(rounds)}
    result.give(whole, rows(whole), options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    model.add_options(parser)
    parser.add_argument("--seconds", type=float, default=20, help="of each load; default 20")
    parser.add_argument("--times", type=float, default=3, help="the peak's rate; default 3")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--image", help="run the server in a container of this Docker image")
    parser.add_argument("--docker-options", default="", help="for docker run, e.g. '--cpus 2'")
    result.add_options(parser)
    options: argparse.Namespace = parser.parse_args()
    if min(options.seconds, options.times, options.rounds) <= 0:
        parser.error("--seconds, --times and --rounds must be above 0")
    return options


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def round_of(port: int, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    with pinging(port) as pings:
        seen = [
            load.in_process(port, folder, each, options.seconds / len(CONCURRENCY))
            for each in CONCURRENCY
        ]
    peak = max(len(each.latencies_ms) / each.seconds for each in seen)
    with pinging(port) as pings_over:
        warm = min(WARM_UP_SECONDS, options.seconds)
        over = arrivals.in_process(port, folder, options.times * peak, options.seconds, warm)
    goodput = len(over.latencies_ms) / over.seconds
    say(f"peak {peak:.1f} images/s, {over.asked:.1f} asked, {goodput:.1f} answered")
    time.sleep(1.0)  # what has been given up ends
    return {"peak": peak, "goodput": goodput, "over": over, "at_peak": pings, "under": pings_over}


@contextlib.contextmanager
def pinging(port: int) -> Iterator[list[float]]:
    """Milliseconds of each /ping while the block runs, on one kept connection.

    Raises RuntimeError where one is not 200.
    """
    latencies: list[float] = []
    wrong: list[str] = []
    done = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with contextlib.closing(connection):
            while not done.wait(PING_SECONDS):
                sent = time.perf_counter()
                connection.request("GET", "/ping")
                answer = connection.getresponse()
                answer.read()
                latencies.append(1000 * (time.perf_counter() - sent))
                if answer.status != 200:
                    wrong.append(str(answer.status))

    def guarded() -> None:
        try:
            ask()
        except (OSError, http.client.HTTPException) as error:
            wrong.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield latencies
    finally:
        done.set()
        thread.join()
    if wrong:
        raise RuntimeError(f"/ping was not 200: {wrong[0]}, {len(wrong)} times")


def summarise(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    overs: list[Arrivals] = [each["over"] for each in rounds]
    statuses: Counter[str] = sum((Counter(each.statuses) for each in overs), Counter())
    latencies = [each for over in overs for each in over.latencies_ms]
    ratios = [each["goodput"] / each["peak"] for each in rounds]
    return {
        "peak_images_per_second": round(statistics.median(each["peak"] for each in rounds), 2),
        "asked_per_second": round(statistics.median(each.asked for each in overs), 2),
        "goodput_images_per_second": round(
            statistics.median(each["goodput"] for each in rounds), 2
        ),
        "goodput_ratio": round(statistics.median(ratios), 3),
        "goodput_ratios": [round(each, 3) for each in ratios],
        "statuses": dict(statuses),
        "answered_p50_ms": percentile(latencies, 0.50),
        "answered_p99_ms": percentile(latencies, 0.99),
        "ping_at_peak_p99_ms": percentile(joined(rounds, "at_peak"), 0.99),
        "ping_under_p50_ms": percentile(joined(rounds, "under"), 0.50),
        "ping_under_p99_ms": percentile(joined(rounds, "under"), 0.99),
        "pings": len(joined(rounds, "under")),
        "client_cpu": round(statistics.median(o.cpu_seconds / o.seconds for o in overs), 3),
    }


def joined(rounds: list[dict[str, Any]], name: str) -> list[float]:
    return [each for one in rounds for each in one[name]]


def percentile(values: list[float], share: float) -> float | None:
    """The smallest that at least `share` of all do not exceed; None where there are none."""
    if not values:
        return None
    return round(sorted(values)[max(0, -int(-share * len(values)) - 1)], 2)


def rows(whole: dict[str, Any]) -> list[list[str]]:
    titles = {
        "peak_images_per_second": "peak, images/s",
        "asked_per_second": "asked under overload, 1/s",
        "goodput_images_per_second": "answered under overload, images/s",
        "goodput_ratio": "goodput / peak",
        "answered_p50_ms": "p50 latency of the answered, ms",
        "answered_p99_ms": "p99 latency of the answered, ms",
        "ping_at_peak_p99_ms": "/ping p99 at the peak, ms",
        "ping_under_p50_ms": "/ping p50 under overload, ms",
        "ping_under_p99_ms": "/ping p99 under overload, ms",
    }
    return [["", "value"], *([title, str(whole[key])] for key, title in titles.items())]


if __name__ == "__main__":
    main()
